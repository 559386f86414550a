"""How a model wants its images, read as timm and transformers read it themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from torch import Tensor

from ffmerge_core.errors import DataError
from ffmerge_core.models.families.vision import pretrained_cfg
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.storage.folders import PROCESSORS
from ffmerge_core.storage.library import one_line
from ffmerge_core.tasks.image_classification import ImageClassification, of_channels
from ffmerge_core.tasks.preparation import Preparation, stretched

Shape = tuple[int, int, int]


def image_shape(model: LoadedModel) -> Shape:
    """(channels, height, width) that the model takes."""
    _, channels, height, width = model.family.example(model.model).args[0].shape
    return channels, height, width


def preparation_of(model: LoadedModel) -> Preparation:
    """What its own data says, or the files beside its weights; else stretched, around 0.5.

    Raises `DataError` if those files say what their library cannot carry out.
    """
    shape = image_shape(model)
    if isinstance(own := model.task, ImageClassification):
        return stretched(shape, own.mean, own.std, "stretched, and normalised as its own data is")
    if any(name in model.settings for name in PROCESSORS):
        return _by_transformers(model, shape)
    if cfg := pretrained_cfg(model.model, model.settings):
        return _by_timm(model, cfg, shape)
    half = (0.5,) * shape[0]
    return stretched(
        shape,
        half,
        half,
        f"stretched to {_size(shape)}, mean and deviation 0.5, because no file beside the weights "
        "says how",
    )


def _by_timm(model: LoadedModel, cfg: dict[str, Any], shape: Shape) -> Preparation:
    from timm.data import create_transform, resolve_data_config

    channels = shape[0]
    try:
        # The size is that of the model as it was built; a configuration may be of another.
        config = resolve_data_config({"input_size": shape}, pretrained_cfg=cfg)
        mean, std = (
            of_channels(tuple(map(float, config[name])), channels) for name in ("mean", "std")
        )
        transform = create_transform(**config | {"mean": mean, "std": std}, normalize=False)

        def pixels(plain: Image.Image) -> Tensor:
            found: Tensor = transform(plain)
            return found.float() / 255

        pixels(_flat(shape[1:], 0).convert("L" if channels == 1 else "RGB"))
    except Exception as error:  # whatever a wrong configuration makes of timm's functions
        raise DataError(
            f"timm cannot prepare images as the configuration of {model.source} says "
            f"({one_line(error)}). Correct its mean, std, crop_pct, crop_mode or interpolation."
        ) from None
    how = (
        f"timm's transform to {_size(shape)}: {config['interpolation']}, "
        f"{config['crop_mode']} crop of {config['crop_pct']:.1%}, {_normal(mean, std)}"
    )
    return Preparation(shape, pixels, mean, std, how)


def _by_transformers(model: LoadedModel, shape: Shape) -> Preparation:
    name = next(name for name in PROCESSORS if name in model.settings)
    try:
        processor = _processor(model)
        other = (shape[1] * 2 + 3, shape[2] * 3 + 5)  # neither square nor of the model's size
        own_size = tuple(_fed(processor, _flat(other, 0)).shape[1:]) == shape[1:]
        # Where the processor is of another size than the model: the whole picture, at the model's.
        size = {"height": shape[1], "width": shape[2]}
        fit = {} if own_size else {"size": size, "do_resize": True, "do_center_crop": False}
        if (found := tuple(_fed(processor, _flat(other, 0), **fit).shape)) != (3, *shape[1:]):
            raise ValueError(f"it makes {_size(found)} of a picture")
        # What it makes of black and of white tells all that follows the pixels: factor, offset,
        # mean and deviation, whichever it has.
        black, white = (
            _fed(processor, _flat(shape[1:], value), **fit)[:, shape[1] // 2, shape[2] // 2]
            for value in (0, 255)
        )
        if not bool((white > black).all()):
            raise ValueError("it does not make white brighter than black")
    except Exception as error:  # whatever a wrong file makes of a processor
        raise DataError(
            f"transformers cannot prepare images for {_size(shape)} as {name} of {model.source} "
            f"says ({one_line(error)}). Save the model's own image processor beside it."
        ) from None

    def pixels(plain: Image.Image) -> Tensor:
        fed = _fed(processor, plain, **fit) - black[:, None, None]
        found = (fed / (white - black)[:, None, None]).clamp(0, 1).float()
        return found if shape[0] == len(found) else found.mean(0, keepdim=True)

    mean, std = (
        # As their file has them: single precision leaves noise behind the seventh digit.
        of_channels(tuple(float(f"{value:.7g}") for value in each.tolist()), shape[0])
        for each in (-black / (white - black), 1 / (white - black))
    )
    kind = type(processor).__name__
    resized = "" if own_size else ", the whole picture resized because the processor's size differs"
    return Preparation(
        shape, pixels, mean, std, f"{kind} to {_size(shape)}{resized}, {_normal(mean, std)}"
    )


def _processor(model: LoadedModel) -> Any:
    """transformers' own, from the files that go with the weights, which may be gone by now."""
    from transformers import AutoImageProcessor

    return _read_beside(model, AutoImageProcessor.from_pretrained)


def _read_beside(model: LoadedModel, read: Any) -> Any:
    with TemporaryDirectory(prefix="ffmerge-") as place:
        for name in PROCESSORS:
            if name in model.settings:
                Path(place, name).write_text(json.dumps(model.settings[name]), "utf-8")
        config: Any = model.model.config
        config.save_pretrained(place)  # where an old file does not say whose it is
        return read(place, local_files_only=True, trust_remote_code=False)


def feature_extractor_of(model: LoadedModel) -> Any:
    """What makes features of sound, as the file beside the weights says; `DataError` if none does.

    It must make as many frames as the model's encoder takes.
    """
    from transformers import AutoFeatureExtractor

    read: Any = AutoFeatureExtractor.from_pretrained
    try:
        found = _read_beside(model, read)
        frames = int(found.nb_max_frames)
    except Exception as error:  # whatever a wrong file makes of an extractor, or none
        raise DataError(
            f"How {model.source} wants its sound is not known ({one_line(error)}). Put the "
            "model's own preprocessor_config.json beside its weights."
        ) from None
    config: Any = model.model.config
    if frames != 2 * config.max_source_positions:
        raise DataError(
            f"The file beside the weights makes {frames:,} frames, and the model takes "
            f"{2 * config.max_source_positions:,}. Put its own preprocessor_config.json there."
        )
    return found


def _fed(processor: Any, picture: Image.Image, **options: Any) -> Tensor:
    """What the processor makes of one picture, (3, height, width) float64.

    In colour, since it may hold a mean for each, also where a model sees grey alone.
    """
    found = processor(images=picture.convert("RGB"), return_tensors="pt", **options)
    pixels: Tensor = found["pixel_values"][0].double()
    return pixels


def _flat(size: Sequence[int], value: int) -> Image.Image:
    """size: (height, width). In mode L."""
    return Image.new("L", (size[1], size[0]), value)


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _normal(mean: Sequence[float], std: Sequence[float]) -> str:
    said = (" ".join(f"{value:.4g}" for value in dict.fromkeys(each)) for each in (mean, std))
    return "mean {}, deviation {}".format(*said)
