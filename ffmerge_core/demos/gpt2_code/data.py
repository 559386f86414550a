"""The Python standard library's own source: the text that every installation carries.

Modules go to a split by a hash of their dotted name, so that a module is in the same split
under every version of Python. What the modules say differs between versions: a result holds
for one data revision.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import Split

END_OF_TEXT, END_ID = "<|endoftext|>", 0
TRAIN_SHARE, VALIDATION_SHARE = 0.90, 0.05
# Folders of tests and of packages that are no part of the library itself.
_OUTSIDE = {"test", "tests", "idle_test", "site-packages", "dist-packages"}
# What a build writes about itself, different on every machine.
_BUILD_OUTPUT = ("_sysconfigdata", "config-")


@dataclass(frozen=True)
class Module:
    """One source file. name: dotted, as it is imported."""

    name: str
    text: str

    @property
    def n_bytes(self) -> int:
        return len(self.text.encode())


def split_of(name: str) -> Split:
    """The split of a module, by the SHA-256 of its dotted name: about 90/5/5 % of modules."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if share < TRAIN_SHARE:
        return "train"
    return "validation" if share < TRAIN_SHARE + VALIDATION_SHARE else "test"


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the running Python's standard library, by name; its tests left out.

    Raises `DataError` where Python came without its source, or a file cannot be read.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in root.rglob("*.py"):
        inside = path.relative_to(root)
        if _OUTSIDE & set(inside.parts) or inside.parts[0].startswith(_BUILD_OUTPUT):
            continue
        name = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
        try:
            found.append(Module(name, path.read_bytes().decode()))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{name} of Python's standard library cannot be read ({error}). Use a Python "
                "whose library is whole and in UTF-8."
            ) from error
    if not found:
        raise DataError(
            f"{root} holds no Python source, and this demo's text is the standard library's. "
            "Use a Python installed with its library as .py files."
        )
    return tuple(sorted(found, key=lambda module: module.name))


def of_split(split: Split) -> tuple[Module, ...]:
    """A split's modules, by name."""
    return tuple(module for module in modules() if split_of(module.name) == split)


def encode(tokenizer: Tokenizer, texts: Sequence[Module]) -> Tensor:
    """Token ids, (n_tokens,): the modules one after another, each after one END_OF_TEXT."""
    ids: list[int] = []
    for encoding in tokenizer.encode_batch([module.text for module in texts]):
        ids.append(END_ID)
        ids.extend(encoding.ids)
    return torch.tensor(ids)
