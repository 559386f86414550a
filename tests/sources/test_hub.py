"""Models of the hub, from a server on loopback that speaks its interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import _http

import ffmerge_core as fm
from ffmerge_core.errors import Cancelled, SourceError
from ffmerge_core.sources import hub as hub_source
from ffmerge_core.sources.hub import fetch
from tests.models.tiny import gpt2
from tests.real_files.images import timm_folder
from tests.sources.hub_server import COMMIT, OLDER, Hub, serving

REPO = "someone/gpt2-tiny"
SOURCE = f"hf:{REPO}"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    places = {}
    for commit, depth in ((COMMIT, 3), (OLDER, 2)):
        places[commit] = place = tmp_path_factory.mktemp(commit[:4])
        gpt2(depth).save_pretrained(place)  # type: ignore[operator]
        (place / "README.md").write_text("A model card.\n")
        (place / "modeling_gpt2.py").write_text("raise SystemExit('code of a repository ran')\n")
        (place / "pytorch_model.bin").write_bytes(b"a pickle that must never be read")
        (place / "onnx").mkdir()
        (place / "onnx" / "model.safetensors").write_bytes(b"of another format")
    return places


@pytest.fixture
def hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub({REPO: dict(folders)})) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Its waits between tries would take a minute; the tries themselves stay.
        monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


def revision_of(folder: Path) -> str:
    return fm.load(folder).revision


def test_a_model_is_downloaded_opened_and_pinned(hub: Hub, folders: dict[str, Path]) -> None:
    told: list[str] = []
    model = fm.load(SOURCE, report=lambda step, total, said, values=None: told.append(said))
    assert model.source == f"{SOURCE}@{COMMIT}"
    assert model.revision == revision_of(folders[COMMIT])
    downloading = [said for said in told if said.startswith(f"Downloading {REPO}: ")]
    assert len(downloading) >= 3
    fetched = {path for method, path, _ in hub.seen if method == "GET" and "/resolve/" in path}
    assert {Path(path).name for path in fetched} == {
        "config.json", "generation_config.json", WEIGHTS, "README.md",
    }  # fmt: skip


def test_a_second_time_nothing_is_downloaded_again(hub: Hub) -> None:
    fetch(SOURCE)
    assert len(hub.sent(WEIGHTS)) == 1
    fetch(SOURCE)
    assert len(hub.sent(WEIGHTS)) == 1


@pytest.mark.parametrize("revision", ["old", OLDER])
def test_a_revision_is_pinned(revision: str, hub: Hub, folders: dict[str, Path]) -> None:
    model = fm.load(f"{SOURCE}@{revision}")
    assert model.source == f"{SOURCE}@{OLDER}"
    assert model.revision == revision_of(folders[OLDER])
    assert fm.load(model.source).revision == model.revision


def test_a_merge_of_it_replays_from_its_recipe(hub: Hub, tmp_path: Path) -> None:
    model = fm.load(SOURCE)
    plan = fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla")
    saved = fm.save(fm.apply(model, plan), tmp_path / "merged").folder
    hub.branches["main"] = OLDER  # the repository moves on
    assert fm.load(saved).plan == plan
    assert fm.load(model.source).revision == model.revision
    assert fm.load(SOURCE).revision != model.revision


def test_a_connection_that_is_cut_is_taken_up_where_it_was(
    hub: Hub, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It keeps whole chunks alone, of 10 MB by default, and this model has 0.1 MB.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    size = (folders[COMMIT] / WEIGHTS).stat().st_size
    hub.cuts[WEIGHTS] = [size // 3, 2 * size // 3]
    found = fetch(SOURCE)
    assert (found.folder / WEIGHTS).read_bytes() == (folders[COMMIT] / WEIGHTS).read_bytes()
    first, *later = hub.sent(WEIGHTS)
    starts = [int(str(span)[len("bytes=") : -1]) for span in later]
    assert first is None
    assert [at // 4096 * 4096 for at in (size // 3, 2 * size // 3)] == starts


def test_a_connection_that_is_cut_for_good_is_a_sentence(hub: Hub) -> None:
    hub.cuts[WEIGHTS] = [100] * 50
    with pytest.raises(SourceError, match=r"to the hub was lost .* that are complete are kept"):
        fetch(SOURCE)
    hub.cuts.clear()
    hub.seen.clear()
    fetch(SOURCE)
    assert hub.sent(WEIGHTS) == [None]
    assert hub.sent("config.json") == []


def test_a_download_can_be_cancelled_and_goes_on_later(hub: Hub) -> None:
    def cancel(step: int, total: int, said: str, values: object = None) -> None:
        if said.startswith("Downloading") and step:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        fetch(SOURCE, cancel)
    assert fetch(SOURCE).folder.name == COMMIT


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "", r"answered 401 .*: it does not accept the login\. Set HF_TOKEN to a token"),
        (401, "RepoNotFound", r"knows no repository someone/gpt2-tiny, or it is private .* HF_TOK"),
        (404, "RepoNotFound", r"knows no repository someone/gpt2-tiny, .* Check the spelling"),
        (403, "GatedRepo", r"someone/gpt2-tiny is gated: .* HF_TOKEN or run `hf auth login`"),
        (403, "", r"answered 403 for someone/gpt2-tiny: it does not let this login"),
        (429, "", r"answered 429 .* asked too often by this computer\. Wait"),
        (500, "", r"answered 500 .* trouble of its own\. Try again later"),
        (503, "", r"answered 503 .* Try again later"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence(status: int, code: str, said: str, hub: Hub) -> None:
    hub.refuse = (status, code)
    with pytest.raises(SourceError, match=said) as refused:
        fm.load(SOURCE)
    assert len(str(refused.value)) < 300
    assert "127.0.0.1" not in str(refused.value)


def test_a_private_model_opens_with_a_token_that_is_never_shown(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secretsecretsecret"
    with pytest.raises(SourceError, match="private") as refused:
        fm.load(SOURCE)
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    model = fm.load(SOURCE)
    assert "secret" not in f"{model!r} {model.source} {model.settings}"


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("how", ["switched off", "no server"])
def test_offline(how: str, warm: bool, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    if warm:
        fetch(SOURCE)
    if how == "switched off":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        _http.close_session()
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    try:
        if warm:
            assert fetch(SOURCE).source == f"{SOURCE}@{COMMIT}"
        else:
            with pytest.raises(SourceError, match=r"cannot be reached, and .* downloaded whole"):
                fetch(SOURCE)
    finally:
        monkeypatch.undo()
        _http.close_session()


def test_offline_with_half_of_a_model(
    hub: Hub, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cuts[WEIGHTS] = [1000] * 50
    with pytest.raises(SourceError):
        fetch(SOURCE)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="not downloaded whole before"):
        fetch(SOURCE)


@pytest.mark.parametrize(
    "source",
    ["hf:", "hf:gpt2", "hf:a/b/c", "hf:../../etc", "hf:a/b@", "hf:a/b@../x", "hf:a b/c", "hf:a/..",
     "hf:" + "a" * 5000],
)  # fmt: skip
def test_what_is_no_address_is_a_sentence(source: str) -> None:
    with pytest.raises(SourceError, match="is no address on the hub") as refused:
        fm.load(source)
    assert len(str(refused.value)) < 450


def test_a_repository_of_pickles_alone_is_refused(hub: Hub, tmp_path: Path) -> None:
    place = tmp_path / "pickles"
    place.mkdir()
    (place / "config.json").write_text("{}")
    (place / "pytorch_model.bin").write_bytes(b"never read")
    hub.repos["someone/pickles"] = {COMMIT: place}
    with pytest.raises(SourceError, match=r"only as a pickle \(pytorch_model\.bin\)"):
        fm.load("hf:someone/pickles")
    assert not hub.sent("pytorch_model.bin")


def test_a_pickle_is_downloaded_with_consent_alone(hub: Hub, tmp_path: Path) -> None:
    place = tmp_path / "pickles"
    module = gpt2()
    module.save_pretrained(place)  # type: ignore[operator]
    (place / WEIGHTS).unlink()
    torch.save(module.state_dict(), place / "pytorch_model.bin")
    (place / "training_args.bin").write_bytes(b"never read")
    hub.repos["someone/pickles"] = {COMMIT: place}
    with pytest.raises(SourceError, match=r"pytorch_model\.bin\).*--allow-bin"):
        fm.load("hf:someone/pickles")
    assert not hub.sent("pytorch_model.bin")
    model = fm.load("hf:someone/pickles", allow_bin=True)
    assert (model.source, model.from_bin) == (f"hf:someone/pickles@{COMMIT}", True)
    assert hub.sent("pytorch_model.bin")
    assert not hub.sent("training_args.bin")
    assert not fm.load(SOURCE, allow_bin=True).from_bin


def test_no_room_is_said_before_anything_is_downloaded(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(hub_source.shutil, "disk_usage", lambda place: usage(10, 10, 5))
    with pytest.raises(SourceError, match=r"takes .* MB and the disk of .* has 0\.0 MB free"):
        fetch(SOURCE)
    assert not hub.sent(WEIGHTS)


def test_names_of_timm_lead_to_their_repository(hub: Hub, tmp_path: Path) -> None:
    name = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    hub.repos[name] = {COMMIT: timm_folder(tmp_path / "vit")}
    model = fm.load("timm:vit_tiny_patch16_224")
    assert (model.source, model.family.name) == (f"hf:{name}@{COMMIT}", "timm ViT")
    with pytest.raises(SourceError, match="timm has no weights called “nothing”"):
        fm.load("timm:nothing")


def test_what_cannot_fit_into_memory_is_said_before_anything_is_downloaded(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_source, "free_memory", lambda: 5)
    with pytest.raises(SourceError, match=r"take 0\.\d\d MB of memory at least, and 0\.00 MB are"):
        fetch(SOURCE)
    assert not hub.sent(WEIGHTS)
