"""The language that a model translates into, as the files beside its weights say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.storage.record import RECORD
from ffmerge_core.tasks.bleu import Told, language_of, said_by_tokenizer

CARD = "README.md"
_CARD_CHARACTERS = 1_000_000
# A token that stands for a language, as M2M-100, mBART and NLLB have them.
_TOKEN = re.compile(r"(?:__)?[a-z]{2,3}(?:_[A-Za-z]{2,4})?(?:__)?")
_FRONT = re.compile(r"\A---[ \t]*\n(.*?)^---", re.DOTALL | re.MULTILINE)
_LIST = re.compile(r"^language:[ \t]*(.*(?:\n[ \t]*-[ \t]+\S.*)*)", re.MULTILINE)
_TARGET = re.compile(r"^\W*target languages?(?:\(s\))?\W*:(.+)$", re.IGNORECASE | re.MULTILINE)
_CODE = re.compile(r"[A-Za-z][\w-]*")


def target_language(model: LoadedModel) -> Told | None:
    """What the configuration forces, else the tokenizer or the model card says; None if none does.

    What leaves it open whether the language is Chinese, Japanese, Korean or none of them does
    not count. Nor does a card's list of two languages, which does not say which is the target.
    """
    said = (*_said_by_config(model), said_by_tokenizer(model.tokenizer), *_said_by_card(model))
    return next((told for told in said if told and language_of(told.language) is not None), None)


def _said_by_config(model: LoadedModel) -> Iterator[Told]:
    module: Any = model.model
    first = getattr(getattr(module, "generation_config", None), "forced_bos_token_id", None)
    if isinstance(first, int) and model.tokenizer is not None:
        token = model.tokenizer.convert_ids_to_tokens(first)
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            yield Told(token.strip("_"), "the token that begins every translation")
    found = getattr(getattr(module, "config", None), "tgt_lang", None)
    if isinstance(found, str) and found:
        yield Told(found, "tgt_lang of the configuration")


def _said_by_card(model: LoadedModel) -> Iterator[Told]:
    """OPUS-MT writes which languages are the target's; others list all, without order."""
    # A model that was saved here has no card of its own: it is told by that of its original.
    original = model.settings.get(RECORD, {}).get("source", model.source)
    text = _text_of(Path(model.source) / CARD) or _text_of(Path(original) / CARD)
    if found := _TARGET.search(text):
        yield Told(" ".join(_CODE.findall(found[1])), "the model card")
    front = _FRONT.search(text)
    listed = _LIST.search(front[1]) if front else None
    codes = _CODE.findall(listed[1]) if listed else []
    if len(codes) == 1:
        yield Told(codes[0], "the model card")


def _text_of(card: Path) -> str:
    """What it says, or nothing if it is not there or is no text."""
    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            return file.read(_CARD_CHARACTERS)
    except (OSError, ValueError):
        return ""
