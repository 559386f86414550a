"""Folders and zips: what lies in them, and everything about them that is refused."""

import io
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.tasks import archives
from ffmerge_core.tasks.archives import open_files
from tests.tasks.own_files import assert_same, folder, task, two_classes, zipped

# Folders


def test_a_path_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        task(tmp_path / "nowhere")
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="empty has no files"):
        task(tmp_path / "empty")


def test_files_outside_class_names_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "a", two_classes() | {"README.txt": b"mine"})
    with pytest.raises(DataError, match=r"README\.txt in a lies in no class folder"):
        task(root)
    root = folder(tmp_path / "b", {f"train/{k}": v for k, v in two_classes().items()})
    with pytest.raises(DataError, match="train/cat in b is a folder inside a class folder"):
        task(root)
    deep = two_classes() | {"cat/more/1.png": b""}
    with pytest.raises(DataError, match=r"cat/more/1\.png in c\.zip lies in folders too deep"):
        task(zipped(tmp_path / "c.zip", deep))


def test_what_file_managers_leave_is_skipped(tmp_path: Path) -> None:
    root = folder(tmp_path / "a", two_classes())
    junk = {".DS_Store": b"x", "cat/Thumbs.db": b"x", "__MACOSX/1": b"x", ".git/x/y": b"x"}
    assert_same(task(folder(tmp_path / "b", two_classes() | junk)), task(root))


def test_links_stay_inside_the_folder(tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside", {"1.png": b""})
    root = folder(tmp_path / "photos", two_classes())
    for link, target in (("dog/x.png", outside / "1.png"), ("eel", outside), ("x", root.parent)):
        (root / link).symlink_to(target)
        with pytest.raises(DataError, match=f"{link} is a link that leads out of photos"):
            task(root)
        (root / link).unlink()
    (root / "cat" / "again.png").symlink_to(root / "cat" / "0.png")
    (tmp_path / "elsewhere").symlink_to(root)
    assert sum(map(task(tmp_path / "elsewhere").size, ("train", "validation", "test"))) == 41


@pytest.mark.parametrize("name", ["loop", "nowhere", "pipe"])
def test_what_is_no_ordinary_file_is_named(name: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", two_classes())
    if name == "pipe":
        os.mkfifo(root / "cat" / name)
    else:
        (root / "cat" / name).symlink_to(root / "cat" / ("loop" if name == "loop" else "gone"))
    with pytest.raises(DataError, match=f"cat/{name} in photos is not an ordinary file"):
        task(root)


def test_a_name_that_is_not_utf8_is_shown_in_ascii(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", two_classes())
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DataError, match=r"'caf\\udce9' in photos has characters"):
        task(root)


def test_one_file_over_the_bound_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path, two_classes())
    with (root / "cat" / "big.png").open("wb") as file:
        file.truncate(archives.MAX_FILE_BYTES + 1)
    with pytest.raises(DataError, match=r"cat/big\.png is larger than 50 MB"):
        task(root)


# Zips


def raw_zip(
    path: Path,
    content: bytes,
    *,
    name: str = "cat/{}",
    copies: int = 1,
    size: int | None = None,
    flags: int = 0,
    mode: int = 0o100644,
    claimed: int | None = None,
) -> Path:
    """Image entries cat/0 … of one deflated content, with headers that say what they are told."""
    deflate = zlib.compressobj(9, wbits=-15)
    data = deflate.compress(content) + deflate.flush()
    size = len(content) if size is None else size
    body, directory = io.BytesIO(), io.BytesIO()
    for i in range(copies):
        stored = name.format(i).encode()
        common = struct.pack(
            "<HHHHHIIIHH", 20, flags, 8, 0, 0, zlib.crc32(content), len(data), size, len(stored), 0
        )
        directory.write(b"PK\x01\x02" + struct.pack("<H", 20 | 3 << 8) + common)
        directory.write(struct.pack("<HHHII", 0, 0, 0, mode << 16, body.tell()) + stored)
        body.write(b"PK\x03\x04" + common + stored + data)
    n = copies if claimed is None else claimed
    end = struct.pack("<HHHHIIH", 0, 0, n, n, directory.tell(), body.tell(), 0)
    path.write_bytes(body.getvalue() + directory.getvalue() + b"PK\x05\x06" + end)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos.zip"


def contents(path: Path) -> dict[str, bytes]:
    with open_files(path) as files:
        return {name: files.read(name) for name in files.names}


def test_raw_zips_are_sound_where_nothing_lies(photos: Path) -> None:
    assert contents(raw_zip(photos, b"abc", copies=2)) == {"cat/0": b"abc", "cat/1": b"abc"}


def test_zip_members_are_never_unpacked_to_disk(photos: Path, tmp_path: Path) -> None:
    assert task(zipped(photos, two_classes())).classes == ("cat", "dog")
    assert list(tmp_path.iterdir()) == [photos]


@pytest.mark.parametrize(
    "name", ["../a.png", "cat/../../a.png", "/etc/a.png", "C:/a.png", "c:a.png", "..\\a.png"]
)
def test_paths_that_lead_out_are_refused(name: str, photos: Path) -> None:
    zipped(photos, two_classes() | {name: b""})
    with pytest.raises(DataError, match=r"photos\.zip has a path that leads out of the archive"):
        contents(photos)


@pytest.mark.parametrize(
    ("name", "shown"), [("", "''"), ("cat/\x1b[31m.png", r"'cat/\\x1b\[31m.png'")]
)
def test_names_that_cannot_be_shown_are_refused(name: str, shown: str, photos: Path) -> None:
    with pytest.raises(DataError, match=rf"{shown} in photos\.zip has a name that cannot be shown"):
        contents(raw_zip(photos, b"", name=name))


def test_two_dots_inside_a_name_are_fine(photos: Path) -> None:
    assert contents(zipped(photos, {"cat/a..b.png": b"x"})) == {"cat/a..b.png": b"x"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"mode": stat.S_IFLNK | 0o777}, "is a link"),
        ({"flags": 1}, "is encrypted"),
    ],
)
def test_links_and_encryption_are_refused(given, problem: str, photos: Path) -> None:
    with pytest.raises(DataError, match=rf"cat/0 in photos\.zip {problem}"):
        contents(raw_zip(photos, b"../../etc/passwd", **given))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_cannot_be_bounded_is_refused(method: int, photos: Path) -> None:
    with pytest.raises(DataError, match="compressed in another way than deflate"):
        contents(zipped(photos, {"cat/1.png": b"x" * 1_000}, compression=method))


def test_an_archive_inside_an_archive_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"cat/more\.ZIP in photos\.zip is an archive inside"):
        contents(zipped(photos, {"cat/more.ZIP": b"PK"}))


def test_a_name_that_stands_twice_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"photos\.zip holds cat/1\.png twice"):
        contents(zipped(photos, {"cat/1.png": b"x", "cat\\1.png": b"y"}))


def test_an_entry_over_the_bound_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match="cat/0 is larger than 50 MB"):
        contents(raw_zip(photos, bytes(archives.MAX_FILE_BYTES + 1)))


def test_a_bomb_of_many_entries_is_refused(photos: Path) -> None:
    raw_zip(photos, bytes(49_000_000), copies=11)
    assert photos.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"photos\.zip unpacks to 539 MB; at most 500 MB"):
        contents(photos)


def test_a_header_that_understates_the_size_unpacks_no_more_than_it_says(photos: Path) -> None:
    raw_zip(photos, bytes(400_000_000), size=1_000)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="cat/0 is damaged inside the zip file: Bad CRC"):
            contents(photos)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_header_that_overstates_the_size_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"cat/0 is damaged .* 3 bytes came out where 9 were"):
        contents(raw_zip(photos, b"abc", size=9))


def test_entries_are_counted_whatever_the_header_says(photos: Path) -> None:
    raw_zip(photos, b"", copies=archives.MAX_FILES + 1, claimed=1)
    with pytest.raises(DataError, match=r"photos\.zip has over 100,000 files"):
        contents(photos)


def test_a_zip_file_over_the_bound_is_refused(photos: Path) -> None:
    with photos.open("wb") as file:
        file.truncate(archives.MAX_ZIP_BYTES + 1)
    with pytest.raises(DataError, match=r"photos\.zip is larger than 500 MB"):
        contents(photos)


def test_a_changed_byte_is_noticed(photos: Path) -> None:
    zipped(photos, {"cat/1.png": b"pixels"})
    photos.write_bytes(photos.read_bytes().replace(b"pixels", b"pixelz"))
    with pytest.raises(DataError, match=r"cat/1\.png is damaged inside the zip file: Bad CRC"):
        contents(photos)


@pytest.mark.parametrize("content", [b"", b"Not a zip.", b"\x1f\x8b\x08" + bytes(100)])
def test_what_is_no_zip_is_named(content: bytes, photos: Path) -> None:
    photos.write_bytes(content)
    with pytest.raises(DataError, match=r"photos\.zip is not a zip file that can be opened"):
        contents(photos)


def test_a_zip_cut_off_or_with_noise_gives_a_sentence_or_true_contents(photos: Path) -> None:
    files = {f"cat/{i}.png": bytes([i]) * 200 for i in range(5)}
    good = zipped(photos, files, compression=zipfile.ZIP_DEFLATED).read_bytes()
    photos.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match="not a zip file"):
        contents(photos)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        noisy = np.frombuffer(good, dtype=np.uint8).copy()
        noisy[rng.integers(0, len(good), 2)] = rng.integers(0, 256, 2)
        photos.write_bytes(noisy.tobytes())
        try:
            found = contents(photos)
        except DataError:
            refused += 1
        else:
            assert set(found.values()) <= set(files.values())
    assert refused > 100
