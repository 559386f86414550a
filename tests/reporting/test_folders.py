from pathlib import Path

import pytest

from ffmerge_core.errors import StorageError
from ffmerge_core.reporting.folders import data_folder, write_atomically


def test_the_data_folder_is_made_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("FFMERGE_HOME", str(tmp_path / "a" / "b"))
    assert data_folder() == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_without_the_variable_it_is_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FFMERGE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    folder = data_folder()
    assert folder.is_dir()
    assert tmp_path in folder.parents


def test_a_folder_that_cannot_be_made_names_itself_and_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FFMERGE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StorageError, match=r"file/home cannot be made.*FFMERGE_HOME"):
        data_folder()


def test_a_folder_that_is_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FFMERGE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="FFMERGE_HOME"):
        data_folder()


def test_an_atomic_write_replaces_the_file_and_leaves_no_draft(tmp_path):
    target = tmp_path / "figures.json"
    write_atomically(target, b"old")
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_draft(tmp_path, full_disk):
    target = tmp_path / "figures.json"
    target.write_bytes(b"old")
    done = full_disk(
        "from ffmerge_core.reporting.folders import write_atomically",
        f"write_atomically(Path({str(target)!r}), b'x' * 100_000)",
    )
    assert "StorageError: " in done.stderr
    assert "FFMERGE_HOME" in done.stderr
    assert target.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_a_write_below_a_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomically(Path(tmp_path / "file" / "figures.json"), b"new")
