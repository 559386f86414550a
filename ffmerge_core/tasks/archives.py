"""The files of a folder or of a zip archive, read one at a time and never unpacked to disk.

An archive is not trusted: what its directory says is checked before, and what comes out
of it while it is read.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ffmerge_core.errors import DataError

MAX_FILES = 100_000
MAX_FILE_BYTES = 50_000_000
MAX_ZIP_BYTES = 500_000_000

_JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
# A zip's directory has one of these signatures for each entry.
_ENTRY = b"PK\x01\x02"
_ENCRYPTED = 0x1
# Control characters, and the surrogates that stand for bytes which are no UTF-8: no page and no
# JSON can show them.
_UNSHOWN = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
# How zipfile and zlib refuse damage; DataError is a ValueError, so it is never raised under these.
_DAMAGE = (BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Files:
    """names: sorted, with "/" between parts; without hidden files and what file managers leave.

    read: the content of a name, at most 50 MB; raises `DataError` if it is damaged or larger.
    """

    names: tuple[str, ...]
    read: Callable[[str], bytes]


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files of a folder (two levels: folders and their files) or of a zip.

    At most 100,000 files; a zip at most 500 MB, packed and unpacked. Raises `DataError` if it
    is absent, damaged or over these bounds, or has names, links, encryption or compression
    that are refused.
    """
    if path.is_dir():
        yield _folder(path)
    elif path.is_file():
        with _open_zip(path) as archive:
            yield _members(path.name, archive)
    else:
        raise DataError(f"{path} does not exist. Check the path of the folder or zip file.")


def _folder(path: Path) -> Files:
    root = path.resolve()
    paths: dict[str, Path] = {}
    for top in _visible(root, root):
        for file in _visible(top, root) if top.is_dir() else [top]:
            name = file.relative_to(root).as_posix()
            if file.is_dir():
                raise DataError(
                    f"{name} in {root.name} is a folder inside a class folder; only files were "
                    "expected there. Move its files up, or choose the folder that holds the "
                    "class folders."
                )
            if not file.is_file():
                raise DataError(f"{name} in {root.name} is not an ordinary file. Remove it.")
            paths[name] = file
            _check_count(len(paths), root.name)
    return Files(tuple(sorted(paths)), lambda name: _read_file(paths[name], name))


def _visible(folder: Path, root: Path) -> list[Path]:
    """What lies in `folder` and is not junk; refuses links that lead out of `root`."""
    try:
        found = sorted(entry for entry in folder.iterdir() if not _is_junk(entry.name))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error}. Check its permissions.") from error
    for entry in found:
        name = entry.relative_to(root).as_posix()
        if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(root):
            raise DataError(
                f"{name} is a link that leads out of {root.name}. Put the files themselves there."
            )
        if _UNSHOWN.search(name):
            raise DataError(
                f"{name!a} in {root.name} has characters that cannot be shown. Rename it."
            )
    return found


def _read_file(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Check its permissions.") from error
    if len(content) > MAX_FILE_BYTES:
        raise DataError(_too_big(name))
    return content


@contextmanager
def _open_zip(path: Path) -> Iterator[ZipFile]:
    if _size(path) > MAX_ZIP_BYTES:
        raise DataError(
            f"{path.name} is larger than {MAX_ZIP_BYTES // 1_000_000} MB, the most that is read of "
            "a zip file. Unpack it and choose the folder."
        )
    # Before zipfile builds an object for each: the number in the header may lie.
    _check_count(_count(path, _ENTRY), path.name)
    try:
        archive = ZipFile(path)
    except _DAMAGE as error:
        raise DataError(
            f"{path.name} is not a zip file that can be opened ({error}). Choose a folder or a zip "
            "file of images by class, or pack it again."
        ) from error
    with archive:
        yield archive


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Check its permissions.") from error


def _count(path: Path, signature: bytes) -> int:
    """How often `signature` stands in the file; occurrences do not overlap."""
    found, rest = 0, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                window = rest + chunk
                found += window.count(signature)
                # Shorter than a signature, so none is counted twice.
                rest = window[-(len(signature) - 1) :]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Check its permissions.") from error
    return found


def _members(name: str, archive: ZipFile) -> Files:
    found: dict[str, ZipInfo] = {}
    for info in archive.infolist():
        member = _checked(info, name)
        is_folder = info.filename.endswith(("/", "\\"))
        if is_folder or any(_is_junk(part) for part in member.split("/")):
            continue
        if member.lower().endswith(_ARCHIVES):
            raise DataError(
                f"{member} in {name} is an archive inside an archive. Unpack it and pack again."
            )
        if member in found:
            raise DataError(f"{name} holds {member} twice. Pack it again.")
        found[member] = info
    # True sizes, since what does not come out at exactly its size is refused.
    total = sum(info.file_size for info in found.values())
    if total > MAX_ZIP_BYTES:
        raise DataError(
            f"{name} unpacks to {total / 1e6:,.0f} MB; at most {MAX_ZIP_BYTES // 1_000_000} MB "
            "are read of a zip file. Unpack it and choose the folder."
        )
    return Files(tuple(sorted(found)), lambda member: _read_member(archive, found[member], member))


def _checked(info: ZipInfo, archive: str) -> str:
    """The entry's name, "/" between its parts, if the entry may be read at all."""
    name = info.filename.replace("\\", "/")
    parts = name.split("/")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
        problem = "has a path that leads out of the archive"
    elif not name or _UNSHOWN.search(name):
        problem = "has a name that cannot be shown"
    elif stat.S_ISLNK(info.external_attr >> 16):
        problem = "is a link, not a file"
    elif info.flag_bits & _ENCRYPTED:
        problem = "is encrypted"
    elif info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        problem = "is compressed in another way than deflate"
    else:
        return "/".join(part for part in parts if part not in ("", "."))
    shown = name if name and not _UNSHOWN.search(name) else ascii(name)
    raise DataError(f"{shown} in {archive} {problem}. Pack plain files, without a password.")


def _read_member(archive: ZipFile, info: ZipInfo, name: str) -> bytes:
    if info.file_size > MAX_FILE_BYTES:
        raise DataError(_too_big(name))
    try:
        with archive.open(info) as file:
            # One byte more than announced, to see whether there is more.
            content = file.read(info.file_size + 1)
    except _DAMAGE as error:
        raise DataError(
            f"{name} is damaged inside the zip file: {error}. Pack it again."
        ) from error
    if len(content) != info.file_size:
        raise DataError(
            f"{name} is damaged inside the zip file: {len(content):,} bytes came out where "
            f"{info.file_size:,} were announced. Pack it again."
        )
    return content


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _check_count(n: int, name: str) -> None:
    if n > MAX_FILES:
        raise DataError(f"{name} has over {MAX_FILES:,} files, the most that are read. Take fewer.")


def _too_big(name: str) -> str:
    return (
        f"{name} is larger than {MAX_FILE_BYTES // 1_000_000} MB, the most that is read of one "
        "file. Save it smaller."
    )
