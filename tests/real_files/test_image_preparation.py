"""A picture reaches the model as timm's or transformers' own reading of the folder makes it."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.image_classification import ImageClassification
from tests.real_files.images import (
    SIDE,
    edit,
    flat_timm_folder,
    pictures,
    timm_folder,
    timm_vit,
    transformers_folder,
)

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CLIP = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("images"))


def task_of(source: Any, images: Path) -> ImageClassification:
    task = fm.load(source, task=images).task
    assert isinstance(task, ImageClassification)
    return task


def assert_fed(task: ImageClassification, expected: list[torch.Tensor]) -> None:
    """Every image of the three splits is one of those expected, each once."""
    fed = torch.cat(
        [batch.args[0] for split in task.splits for batch in task.inputs(split)]
    ).flatten(1)
    distances = torch.cdist(fed, torch.stack(expected).flatten(1), p=float("inf"))
    assert len(fed) == len(expected)
    assert sorted(distances.argmin(1).tolist()) == list(range(len(expected)))
    scale = max(1.0, float(torch.stack(expected).abs().max()))  # some are fed 0 to 255
    assert float(distances.min(1).values.max()) < 2e-6 * scale


TIMM = [
    {},
    IMAGENET,
    CLIP,
    {"crop_pct": 1.0},
    {"crop_pct": 0.875, "interpolation": "bilinear", **IMAGENET},
    {"crop_pct": 0.9, "interpolation": "bicubic", **CLIP},
    {"crop_pct": 0.95, "interpolation": "lanczos"},
    {"crop_pct": 0.7, "interpolation": "nearest"},
    {"crop_pct": 0.9, "crop_mode": "squash"},
    {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"},
    {"crop_pct": 0.8, "crop_mode": "border", **IMAGENET},
    {"crop_pct": 1.0, "crop_mode": "border"},
    {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
]


@pytest.mark.parametrize("config", TIMM, ids=[f"timm {n}" for n in range(len(TIMM))])
def test_a_timm_folder_is_read_as_timm_reads_it(
    config: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    folder = timm_folder(tmp_path / "model")
    edit(
        folder / "config.json",
        pretrained_cfg={"input_size": [3, SIDE, SIDE], "num_classes": 3, **config},
    )
    assert_as_timm(folder, images)


@pytest.mark.parametrize("config", [{}, IMAGENET, {"crop_pct": 1.0, "crop_mode": "squash", **CLIP}])
def test_a_flat_configuration_of_older_files_is_read_as_timm_reads_it(
    config: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    folder = flat_timm_folder(tmp_path / "model", **config)
    assert_as_timm(folder, images)


def assert_as_timm(folder: Path, images: Path) -> None:
    own = timm.create_model(f"local-dir:{folder}", pretrained=True)
    transform = create_transform(**resolve_data_config({}, model=own))
    expected = [transform(Image.open(path)) for path in sorted(images.rglob("*.png"))]
    assert_fed(task_of(folder, images), expected)


def test_a_timm_module_in_memory_is_read_by_what_it_carries(images: Path) -> None:
    model = timm_vit(pretrained_cfg_overlay={"crop_pct": 0.9, **IMAGENET})
    config = resolve_data_config({"input_size": (3, SIDE, SIDE)}, model=model)
    assert (config["crop_pct"], config["mean"]) == (0.9, IMAGENET["mean"])
    transform = create_transform(**config)
    expected = [transform(Image.open(path)) for path in sorted(images.rglob("*.png"))]
    assert_fed(task_of(model, images), expected)


SIZE = {"height": SIDE, "width": SIDE}
PROCESSORS = [
    ("ViT", {"size": SIZE}),
    ("ViT", {"size": SIZE, "do_normalize": False}),
    ("ViT", {"size": SIZE, "do_normalize": False, "rescale_factor": 1 / 127.5}),
    ("ViT", {"size": SIZE, "rescale_factor": 1 / 127.5}),
    ("ViT", {"size": SIZE, "do_rescale": False}),
    ("ViT", {"size": SIZE, "do_rescale": False, "do_normalize": False}),
    ("ViT", {"size": SIZE, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [64] * 3}),
    ("ViT", {"size": SIZE, "image_mean": 0.5, "image_std": 0.25}),
    ("ViT", {"size": SIZE, "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]}),
    ("ViT", {"size": SIZE, "resample": 0}),
    ("ViT", {"size": SIZE, "resample": 3}),
    ("ViT", {"size": SIDE}),
    ("DeiT", {"size": {"height": 20, "width": 20}, "crop_size": SIZE}),
    ("CLIP", {"size": {"shortest_edge": SIDE}, "crop_size": SIZE}),
    ("CLIP", {"size": {"shortest_edge": 20}, "crop_size": SIZE, "resample": 2}),
    ("BeitImage", {"size": {"height": 18, "width": 18}, "crop_size": SIZE, "do_center_crop": True}),
    ("BitImage", {"size": {"shortest_edge": 18}, "crop_size": SIZE}),
    ("SiglipImage", {"size": SIZE}),
    ("ConvNextImage", {"size": {"shortest_edge": SIDE}, "crop_pct": 0.9}),
    ("EfficientNetImage", {"size": SIZE, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("LevitImage", {"size": {"shortest_edge": SIDE}, "crop_size": SIZE}),
    ("MobileViTImage", {"size": {"shortest_edge": 18}, "crop_size": SIZE}),
]


@pytest.mark.parametrize(
    ("kind", "options"), PROCESSORS, ids=[f"{n} {kind}" for n, (kind, _) in enumerate(PROCESSORS)]
)
def test_a_transformers_folder_is_read_as_its_processor_reads_it(
    kind: str, options: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    import transformers

    name = f"{kind.removesuffix('Image')}ImageProcessor"
    folder = transformers_folder(tmp_path / "model")
    getattr(transformers, name)(**options).save_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    expected = [
        processor(images=Image.open(path), return_tensors="pt")["pixel_values"][0].float()
        for path in sorted(images.rglob("*.png"))
    ]
    assert_fed(task_of(folder, images), expected)


def test_a_lone_processor_config_is_read_and_travels(images: Path, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, ViTImageProcessor

    folder = transformers_folder(tmp_path / "model")
    own = {"size": SIZE, "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]}
    inner = json.loads(ViTImageProcessor(**own).to_json_string())
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    processor = AutoImageProcessor.from_pretrained(folder)
    expected = [
        processor(images=Image.open(path), return_tensors="pt")["pixel_values"][0]
        for path in sorted(images.rglob("*.png"))
    ]
    model = fm.load(folder, task=images)
    assert_fed(task_of(folder, images), expected)
    for layout in ("compact", "portable"):
        saved = fm.save(model, tmp_path / layout, layout).folder
        assert_fed(task_of(saved, images), expected)


def test_an_old_processor_file_is_its_models(images: Path, tmp_path: Path) -> None:
    """Files of transformers 4.20 name a feature extractor, or nothing but numbers."""
    from transformers import AutoImageProcessor

    folder = transformers_folder(tmp_path / "model")
    for extra in ({"feature_extractor_type": "ViTFeatureExtractor"}, {}):
        values = {"size": SIDE, "resample": 2, "do_normalize": True, "image_mean": [0.4] * 3}
        (folder / "preprocessor_config.json").write_text(json.dumps(values | extra))
        processor = AutoImageProcessor.from_pretrained(folder)
        expected = [
            processor(images=Image.open(path), return_tensors="pt")["pixel_values"][0]
            for path in sorted(images.rglob("*.png"))
        ]
        assert_fed(task_of(folder, images), expected)


def test_a_processor_of_another_size_is_fitted_and_says_so(images: Path, tmp_path: Path) -> None:
    from transformers import ViTImageProcessor

    folder = transformers_folder(tmp_path / "model")
    ViTImageProcessor().save_pretrained(folder)  # 224×224
    task = task_of(folder, images)
    assert task.shape == (3, SIDE, SIDE)
    assert "whole picture resized because the processor's size differs" in task.notes["images"]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_models_are_normalised_by_the_mean_of_the_colours(mode: str, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", mode=mode)
    folder = timm_folder(tmp_path / "timm", in_chans=1)
    edit(folder / "config.json", pretrained_cfg={"mean": [0.1, 0.2, 0.3], "std": [0.5] * 3})
    task = task_of(folder, images)
    assert (task.shape[0], task.mean, task.std) == (1, (pytest.approx(0.2),), (0.5,))


def test_how_images_are_read_stands_with_every_score(images: Path, tmp_path: Path) -> None:
    folder = timm_folder(tmp_path / "model")
    edit(folder / "config.json", pretrained_cfg={"crop_pct": 0.875, **IMAGENET})
    score = fm.evaluate(fm.load(folder, task=images))
    assert score.notes["images"] == (
        "timm's transform to 3×16×16: bicubic, center crop of 87.5%, "
        "mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"
    )
    bare = fm.evaluate(fm.load(transformers_folder(tmp_path / "bare"), task=images))
    assert bare.notes["images"].endswith("because no file beside the weights says how")


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_pct": "much"},
        {"crop_mode": "border", "mean": "dark"},
        {"interpolation": "magic"},
        {"std": 3},
        {"mean": [0.1, "x", 0.2]},
    ],
    ids=str,
)
def test_a_timm_configuration_that_makes_no_sense_is_a_sentence(
    wrong: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    folder = timm_folder(tmp_path / "model")
    edit(folder / "config.json", pretrained_cfg=wrong)
    with pytest.raises(DataError, match=r"timm cannot prepare images as .* Correct its mean"):
        fm.load(folder, task=images)
