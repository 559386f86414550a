"""A user's own text: splits by content, and a sentence for every file that cannot be used."""

import os
import random
from hashlib import sha256
from itertools import chain
from pathlib import Path

import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.tasks import own_data
from ffmerge_core.tasks.own_data import read_pairs, read_texts, splits_by_hash


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def blocks(n: int) -> list[str]:
    return [f"Block {i},\nin two lines." for i in range(n)]


def rows(n: int) -> list[str]:
    return [f"The number {i}.\tLe nombre {i}." for i in range(n)]


@pytest.mark.parametrize("n", [10, 11, 19, 100, 1_234])
def test_splits_hold_every_example_once_and_80_10_10_percent(n: int) -> None:
    splits = splits_by_hash([str(i) for i in range(n)])
    assert sorted(chain(*splits.values())) == list(range(n))
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert splits[split]
        assert len(splits[split]) == pytest.approx(share * n, abs=1)


def test_splits_are_cut_in_the_order_of_the_hashes() -> None:
    keys = [f"clé {i}" for i in range(20)]
    order = sorted(range(20), key=lambda i: sha256(keys[i].encode()).hexdigest())
    splits = splits_by_hash(keys)
    assert splits["train"] == sorted(order[:16])
    assert splits["validation"] == sorted(order[16:18])
    assert splits["test"] == sorted(order[18:])


def test_splits_do_not_depend_on_order_or_repetition() -> None:
    keys = [str(i) for i in range(50)]
    shuffled = keys * 3
    random.Random(0).shuffle(shuffled)
    once, often = splits_by_hash(keys), splits_by_hash(shuffled)
    for split, chosen in once.items():
        assert {keys[i] for i in chosen} == {shuffled[i] for i in often[split]}
    assert sum(map(len, often.values())) == 150


def test_too_few_different_keys_are_counted_in_the_error() -> None:
    with pytest.raises(DataError, match=r"notes has 9 different examples; .* at least 10"):
        splits_by_hash([str(i % 9) for i in range(100)], "notes")
    with pytest.raises(DataError, match="1 different example;"):
        splits_by_hash(["same", "same"])


def test_documents_are_the_blocks_between_blank_lines(tmp_path: Path) -> None:
    expected = ["    indented\n  start", *blocks(11)]
    content = "\n \n" + "\n\t \n\n".join(expected) + "\n\n"
    own = read_texts(write(tmp_path / "notes.md", content))
    assert own.name == "notes.md"
    assert sorted(chain(*own.texts.values())) == sorted(expected)
    assert all(own.texts.values())
    for documents in own.texts.values():
        assert sorted(documents, key=expected.index) == list(documents)


def test_a_file_of_few_blocks_is_taken_by_lines(tmp_path: Path) -> None:
    lines = [f"line {i}" for i in range(12)]
    content = "\n".join(lines[:6]) + "\n\n" + "\n".join(lines[6:])
    own = read_texts(write(tmp_path / "lines", content))
    assert sorted(chain(*own.texts.values())) == sorted(lines)


def test_repeated_blocks_do_not_count_as_ten(tmp_path: Path) -> None:
    own = read_texts(write(tmp_path / "a.txt", "\n\n".join([*blocks(9), blocks(1)[0]])))
    assert "Block 8," in chain(*own.texts.values())


def test_byte_order_mark_and_line_ends_change_no_document(tmp_path: Path) -> None:
    content = "\n\n".join(blocks(10))
    plain = read_texts(write(tmp_path / "a.txt", content))
    windows = read_texts(write(tmp_path / "b.txt", "\ufeff" + content.replace("\n", "\r\n")))
    old_mac = read_texts(write(tmp_path / "c.txt", content.replace("\n", "\r")))
    assert plain.texts == windows.texts == old_mac.texts


def test_the_revision_is_the_files_sha256_whatever_its_name(tmp_path: Path) -> None:
    content = "\n\n".join(blocks(10)) + "\n"
    own = read_texts(write(tmp_path / "a.txt", content))
    assert own.revision == sha256(content.encode()).hexdigest()
    assert read_texts(write(tmp_path / "b", content)).revision == own.revision
    assert read_texts(write(tmp_path / "a.txt", content + "More.")).revision != own.revision


@pytest.mark.parametrize("read", [read_texts, read_pairs])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "own.txt is empty"),
        (b" \n\r\n\t", "own.txt is empty"),
        (b"one\ntwo\n\xe9t\xe9\n", r"line 3 has the byte 0xe9 at offset 8 .*UTF-8"),
        (b"\xef\xbb\xbfab\xff", r"line 1 has the byte 0xff at offset 5"),
        (b"cut off: \xe2\x82", r"line 1 has the byte 0xe2 at offset 9"),
        (b"text\nand\0binary", "NUL byte at offset 8"),
        ("text".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_not_utf8_text_is_named(read, content, sentence, tmp_path) -> None:
    with pytest.raises(DataError, match=sentence):
        read(write(tmp_path / "own.txt", content))


@pytest.mark.parametrize("read", [read_texts, read_pairs])
def test_what_is_not_an_ordinary_text_file_is_named(read, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"nowhere\.txt does not exist"):
        read(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="does not exist"):
        read(str(write(tmp_path / "file", "x") / "below"))
    with pytest.raises(DataError, match=r"photo\.JPG is an archive or image"):
        read(write(tmp_path / "photo.JPG", "text"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not an ordinary file"):
        read(tmp_path / "pipe")


def test_a_file_over_the_bound_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        file.truncate(own_data.MAX_TEXT_BYTES + 1)
    with pytest.raises(DataError, match="larger than 200 MB"):
        read_texts(path)
    content = "\n\n".join(blocks(10))
    monkeypatch.setattr(own_data, "MAX_TEXT_BYTES", len(content))
    assert read_texts(write(path, content)).texts


def test_too_few_documents_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"few\.txt has 3 different examples"):
        read_texts(write(tmp_path / "few.txt", "a\nb\n\nc\nc\n"))


def test_pairs_keep_order_quotes_and_windows_line_ends(tmp_path: Path) -> None:
    odd = ['"Yes, he said.\t« Oui », dit-il.', 'It\'s "5" \t C\'est "5"', *rows(10)]
    own = read_pairs(write(tmp_path / "en-fr.tsv", "\ufeff" + "\r\n".join(odd) + "\r\n\r\n\n"))
    every = list(chain(*own.pairs.values()))
    assert len(every) == 12
    assert {('"Yes, he said.', "« Oui », dit-il."), ('It\'s "5"', 'C\'est "5"')} <= set(every)
    assert all(own.pairs.values())
    assert own.name == "en-fr.tsv"


def test_equal_sources_share_a_split(tmp_path: Path) -> None:
    content = "\n".join(f"Source {i % 20}.\tTarget {i}." for i in range(100))
    own = read_pairs(write(tmp_path / "a.tsv", content))
    sources = [{source for source, _ in pairs} for pairs in own.pairs.values()]
    assert [len(pairs) for pairs in own.pairs.values()] == [80, 10, 10]
    assert sum(map(len, sources)) == len(set.union(*sources)) == 20


def test_pairs_have_the_files_revision(tmp_path: Path) -> None:
    content = "\n".join(rows(10))
    own = read_pairs(write(tmp_path / "a.tsv", content))
    assert own.revision == sha256(content.encode()).hexdigest()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("no tab", r"line 7 has 1 column; 2 separated by a tab were expected"),
        ("one\ttwo\tthree", r"line 7 has 3 columns; 2"),
        ("source\t", r"line 7 has an empty translation"),
        ("\ttarget", r"line 7 has an empty source sentence"),
        (" \t ", r"line 7 has an empty source sentence"),
        ("", r"line 7 is empty; 2"),
        ("  ", r"line 7 is empty; 2"),
    ],
)
def test_a_line_that_is_no_pair_is_named(line: str, sentence: str, tmp_path: Path) -> None:
    lines = rows(12)
    lines[6] = line
    with pytest.raises(DataError, match=r"a\.tsv, " + sentence):
        read_pairs(write(tmp_path / "a.tsv", "\n".join(lines)))


def test_too_few_sources_name_the_file(tmp_path: Path) -> None:
    content = "\n".join(f"The same.\tTarget {i}." for i in range(50))
    with pytest.raises(DataError, match=r"a\.tsv has 1 different example;"):
        read_pairs(write(tmp_path / "a.tsv", content))
