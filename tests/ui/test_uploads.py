"""Uploads: kept once by content, whole, under names that are safe everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from ffmerge_core.errors import StorageError
from pages._ui.state.uploads import keep, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("novel.txt", "novel.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\texts\\my novel?.txt", "my novel_.txt"),
        ("été.tsv", "été.tsv"),
        ("..", "data"),
        ("", "data"),
        (".hidden", "hidden"),
        ("a\x00b\n.zip", "a_b_.zip"),
        ("x" * 300 + ".zip", "x" * 80 + ".zip"),
    ],
)
def test_names_are_safe_and_keep_their_ending(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_equal_content_is_kept_once_and_other_content_beside_it(home: Path) -> None:
    first = keep("a.txt", b"one")
    assert keep("a.txt", b"one") == first
    assert keep("a.txt", b"two") != first
    assert first.read_bytes() == b"one"
    assert first.is_relative_to(home)
    assert len([path for path in home.rglob("*") if path.is_file()]) == 2


def test_a_file_that_was_cut_short_is_written_again(home: Path) -> None:
    path = keep("a.txt", b"whole")
    path.write_bytes(b"who")
    assert keep("a.txt", b"whole").read_bytes() == b"whole"


def test_a_folder_that_cannot_be_made_is_a_sentence(home: Path) -> None:
    (home / "uploads").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot be made"):
        keep("a.txt", b"one")
