"""Data of the hub that is out of reach, changed, refused or not to be trusted: a sentence each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

import ffmerge_core as fm
from ffmerge_core import extras
from ffmerge_core.compression.running import pinned
from ffmerge_core.errors import DataError, PlanError
from ffmerge_core.sources.data import data_name
from ffmerge_core.sources.data_names import hub_data
from ffmerge_core.sources.hub_tasks import hub_labelled, hub_texts
from tests.sources.data_sets import REPO, THREE, Lay, lead_to, sentences, silent, texts
from tests.sources.hub_server import COMMIT, OLDER, Hub


def test_a_run_is_pinned_and_refused_on_other_data(
    data_hub: Hub, lay: Lay, writer: Path, tmp_path: Path
) -> None:
    lay(THREE)
    model = fm.load(writer, f"hf:{REPO}")
    plan = fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla")
    recipe = pinned(fm.Recipe(str(writer), plan, data=f"hf:{REPO}"), model)
    assert recipe.data == f"hf:{REPO}@{COMMIT}"
    saved = fm.save(fm.apply(model, plan), tmp_path / "merged").folder
    lay({**THREE, "data/train-00000-of-00001.parquet": texts(41)}, commit=OLDER)
    data_hub.branches["main"] = OLDER  # the repository moves on
    fm.run(recipe)
    assert fm.load(saved).data == recipe.data
    with pytest.raises(PlanError, match=r"The content of someone/data has changed"):
        fm.run(replace(recipe, data=f"hf:{REPO}"))
    # On a computer where nothing is kept and nothing can be reached it opens without data.
    data_hub.refuse = (500, "")
    for kept in (tmp_path / "assets").rglob("*.*"):
        kept.unlink()
    assert fm.load(saved).task is None


@pytest.mark.parametrize("how", ["switched off", "no server"])
def test_offline(
    how: str, data_hub: Hub, lay: Lay, writer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(THREE)
    before = fm.evaluate(fm.load(writer, f"hf:{REPO}"))
    if how == "switched off":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        _http.close_session()
    else:
        lead_to("http://127.0.0.1:9", monkeypatch)
    data_hub.seen.clear()
    try:
        for name in (f"hf:{REPO}", f"hf:{REPO}@{COMMIT}"):
            assert fm.evaluate(fm.load(writer, name)).value == before.value
        assert data_hub.seen == []
        for name in (
            f"hf:{REPO}@{OLDER}", f"hf:{REPO}@old", f"hf:{REPO}?examples=3", "hf:a/b", "wikitext-2",
        ):  # fmt: skip
            with pytest.raises(DataError, match=r"hub cannot be reached, .* was not read on this"):
                fm.load(writer, name)
    finally:
        monkeypatch.undo()
        _http.close_session()


def test_a_connection_that_is_cut(data_hub: Hub, lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
    monkeypatch.setattr(datasets.config, "STREAMING_READ_RETRY_INTERVAL", 0)
    lay(THREE)
    name = "data/train-00000-of-00001.parquet"
    data_hub.cuts[name] = [300] * 100
    with pytest.raises(DataError, match=r"the connection to it was cut") as refused:
        hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    assert "127.0.0.1" not in str(refused.value)
    data_hub.cuts[name] = [300, 600]
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    assert list(own.texts["train"]) == sentences(40)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "", r"answered 401 .*: it does not accept the login"),
        (401, "RepoNotFound", r"knows no data set someone/data, or it is private .* HF_TOKEN"),
        (404, "RepoNotFound", r"knows no data set someone/data, .* Check the spelling"),
        (404, "RevisionNotFound", r"The data set someone/data has no branch, tag or commit"),
        (403, "GatedRepo", r"data set someone/data is gated: .* HF_TOKEN or run `hf auth login`"),
        (403, "", r"answered 403 for the data set someone/data: it does not let this login"),
        (429, "", r"answered 429 .* asked too often by this computer\. Wait"),
        (500, "", r"answered 500 .* trouble of its own\. Try again later, or give a file of your"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence(
    status: int, code: str, said: str, data_hub: Hub, lay: Lay
) -> None:
    lay(THREE)
    data_hub.refuse = (status, code)
    with pytest.raises(DataError, match=said) as refused:
        data_name(f"hf:{REPO}")
    assert len(str(refused.value)) < 300
    assert "127.0.0.1" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", r"data set someone/data is gated"),
        (401, "GatedRepo", r"data set someone/data is gated"),
        (404, "EntryNotFound", r"answered 404 for the data set someone/data .* has no such file"),
        (500, "", r"answered 500 for the data set someone/data .* give a file of your own"),
    ],
)
def test_files_that_the_hub_refuses_are_a_sentence(
    status: int, code: str, said: str, data_hub: Hub, lay: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(THREE)
    data_hub.gated = (status, code)
    with pytest.raises(DataError, match=said) as refused:
        hub_texts(hub_data(data_name(f"hf:{REPO}") or ""), silent)
    assert "127.0.0.1" not in str(refused.value)


def test_a_private_data_set_opens_with_a_token_that_is_never_shown(
    data_hub: Hub, lay: Lay, writer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(THREE)
    data_hub.token = "hf_secretsecretsecret"
    with pytest.raises(DataError, match="private"):
        fm.load(writer, f"hf:{REPO}")
    monkeypatch.setenv("HF_TOKEN", data_hub.token)
    model = fm.load(writer, f"hf:{REPO}")
    assert "secret" not in f"{model!r} {model.data} {model.task!r}"


OUTSIDE = "---\nconfigs:\n- config_name: default\n  data_files: {}\n---\n"


def test_code_and_files_outside_of_the_repository_are_never_read(
    data_hub: Hub, lay: Lay, tmp_path: Path
) -> None:
    here = tmp_path / "mine.txt"
    here.write_text("private\n" * 50)
    lay({"README.md": OUTSIDE.format(here), "train.txt": "text\n" * 50}, "someone/outside")
    with pytest.raises(DataError, match=r"names a file outside of the repository"):
        hub_texts(hub_data(f"hf:someone/outside@{COMMIT}"), silent)
    lay({"data.py": "raise SystemExit('code of a repository ran')", "train.txt": "a\n" * 50})
    with pytest.raises(DataError, match=r"is read by a script, .*@refs/convert/parquet"):
        hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    lay({"train.xml": "<a/>"}, "someone/other")
    with pytest.raises(DataError, match=r"its data as xml; files of parquet, json, csv, text"):
        hub_texts(hub_data(f"hf:someone/other@{COMMIT}"), silent)
    lay({"notes.bin": "nothing"}, "someone/nothing")
    with pytest.raises(DataError, match=r"has no files of parquet, json, csv, text that could"):
        hub_texts(hub_data(f"hf:someone/nothing@{COMMIT}"), silent)


def test_a_folder_of_the_same_name_is_not_taken_for_it(
    data_hub: Hub, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(THREE)
    here = tmp_path / "here"
    (here / REPO).mkdir(parents=True)
    (here / REPO / "train.txt").write_text("another text\n" * 50)
    monkeypatch.chdir(here)
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    assert list(own.texts["train"]) == sentences(40)


def test_a_damaged_file_is_a_sentence(data_hub: Hub, lay: Lay) -> None:
    place = lay({"train.csv": "text\nfine\n"})
    (place / "train.parquet").write_bytes(b"PAR1 this is none PAR1")
    (place / "train.csv").unlink()
    with pytest.raises(DataError, match=r"someone/data cannot be read: .*Choose another"):
        hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)


def test_what_was_kept_and_is_damaged_is_read_again(
    data_hub: Hub, lay: Lay, tmp_path: Path
) -> None:
    lay(THREE)
    data = hub_data(f"hf:{REPO}@{COMMIT}")
    before = hub_texts(data, silent)
    data_hub.seen.clear()
    assert hub_texts(data, silent) == before
    assert data_hub.seen == []
    for kept in (tmp_path / "assets").rglob("*.*"):
        kept.write_bytes(kept.read_bytes()[:-9])
    assert hub_texts(data, silent) == before
    assert data_hub.seen


def test_where_nothing_can_be_kept_it_is_read_each_time(
    data_hub: Hub, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(THREE)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        data_hub.seen.clear()
        own = hub_texts(hub_data(data_name(f"hf:{REPO}") or ""), silent)
        assert list(own.texts["train"]) == sentences(40)
        assert data_hub.sent("train-00000-of-00001.parquet")


def test_words_and_numbers_in_one_column(data_hub: Hub, lay: Lay) -> None:
    # `datasets` reads a CSV by 10,000 rows, and numbers where all of them are numbers.
    rows = [f"{i},text {i}" for i in range(10_000)] + ["odd,one more"]
    lay({"train.csv": "label,text\n" + "\n".join(rows)})
    own = hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}"), True, silent)
    found = {text: label for each in own.pairs.values() for label, text in each}
    assert (found["one more"], found["text 7"], len(found)) == ("odd", "7", 10_001)


def test_without_the_library_it_says_what_to_install(
    data_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'needs datasets, .*pip install "ffmerge\[datasets\]"'):
        data_name("hf:someone/data")
