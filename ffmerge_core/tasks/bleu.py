"""BLEU and chrF by sacrebleu, and which of its tokenizers splits a sentence before BLEU counts.

BLEU counts words, and not every script writes spaces between them. So the tokenizer follows
the target language: what the user asks for, else what the model says its language is, else
what the data shows. A score names its tokenizer and who chose it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import is_normalized

import numpy as np

from ffmerge_core.errors import DataError, MissingPackageError
from ffmerge_core.extras import require
from ffmerge_core.plan import BLEU_TOKENIZERS
from ffmerge_core.tasks.measures import Measure

if TYPE_CHECKING:
    from ffmerge_core.tasks.measures import Floats

    Pair = tuple[str, str]

DEFAULT, BY_CHARACTERS = "13a", "char"

# Codes by which models, tokenizers and model cards call three languages: ISO 639, and OPUS-MT's.
_CODES = {
    "zh": "zh zho chi cmn cn yue wuu nan hak gan hsn cjy lzh",
    "ja": "ja jpn jp jap",
    "ko": "ko kor",
}
_LANGUAGES = {code: language for language, codes in _CODES.items() for code in codes.split()}
# Groups of ISO 639-5, and no language at all: one of the three may be among them.
_UNDECIDED = frozenset(["mul", "und", "mis", "zxx", "sit", "zhx", "jpx", "tut"])
_LABEL = re.compile(r"\s*>>([\w-]+)<<")

_HAN = "\u2e80-\u2fdf\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = "\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa1-\uffdc"
_SCRIPTS = {
    "zh": re.compile(f"[{_HAN}]"),
    "ja": re.compile(f"[{_KANA}]"),
    "ko": re.compile(f"[{_HANGUL}]"),
}
# Thai, Lao, Tibetan, Burmese, Khmer: written without spaces between words, and sacrebleu has
# no tokenizer of their own.
_SPACELESS = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
# A word of an alphabet has about this many letters, a word of Chinese one or two.
_LETTERS_A_WORD = 5
# Of Japanese about half is kana; Chinese has none but in a name or a brand.
_LEAST_KANA = 0.1


class Told(NamedTuple):
    """The code of a language, such as "zh", and who says it."""

    language: str
    by: str


class Choice(NamedTuple):
    """A tokenizer of sacrebleu by its name, and who chose it: "as chosen"."""

    name: str
    why: str

    @property
    def note(self) -> str:
        """ "zh, by the references' script"."""
        return f"{self.name}, {self.why}"


def choose(tokenize: str | None, told: Told | None, pairs: Sequence[Pair]) -> Choice:
    """The tokenizer for the references of `pairs`.

    tokenize: what the user asked for. told: the target language, as the model says it. Raises as
    `check_installed` does.
    """
    if tokenize is not None:
        check_installed(tokenize)
        return Choice(tokenize, "as chosen")
    references = [reference for _, reference in pairs]
    by_script = "by the references' script"
    label = label_of(pairs)
    said = (
        told and Told(told.language, f"by the target language {told.language}, as {told.by} says"),
        label and Told(label, "by the language that the source sentences ask for"),
        Told(script_of(references), by_script),
    )
    for each in said:
        if each and (known := language_of(each.language)) is not None:
            return _for_language(known, each.by, references)
    return _for_language("", by_script, references)


def language_of(code: str) -> str | None:
    """ "zh", "ja" or "ko" of a code such as cmn_Hans or zh-CN; "" of another; None if unclear."""
    found = set()
    for part in re.split(r"[+,;\s]+", code.strip(" _<>").lower()):
        first = re.split(r"[_-]", part)[0]
        if first in _UNDECIDED or not 2 <= len(first) <= 3:
            return None
        found.add(_LANGUAGES.get(first, ""))
    return found.pop() if len(found) == 1 else None


def said_by_tokenizer(tokenizer: Any) -> Told | None:
    """The target language as Marian's tokenizers and those of many languages have it."""
    kept = getattr(tokenizer, "init_kwargs", {})
    for name in ("target_lang", "tgt_lang"):
        found = getattr(tokenizer, name, None) or kept.get(name)
        if isinstance(found, str) and language_of(found) is not None:
            return Told(found, f"the tokenizer's {name}")
    return None


def label_of(pairs: Sequence[Pair]) -> str | None:
    """The language that every source asks for by ">>cmn_Hans<<", as OPUS-MT's may; else None."""
    labels = [_LABEL.match(source) for source, _ in pairs]
    return " ".join(sorted({label[1] for label in labels if label})) if all(labels) else None


def script_of(references: Sequence[str]) -> str:
    """ "zh", "ja" or "ko" by the letters of most of what the references say; "" for others."""
    text = "".join(references)
    han, kana, hangul = (len(_SCRIPTS[language].findall(text)) for language in ("zh", "ja", "ko"))
    letters = sum(map(str.isalpha, text)) - han - kana - hangul
    if han + kana + hangul == 0 or han + kana + hangul < letters / _LETTERS_A_WORD:
        return ""
    if hangul > han + kana:
        return "ko"
    return "ja" if kana > _LEAST_KANA * (han + kana) else "zh"


def check_installed(name: str) -> None:
    """Raise `MissingPackageError` if a tokenizer of BLEU needs a package that is not there.

    `DataError` if it reads a file that is not there.
    """
    record = BLEU_TOKENIZERS.of(name)
    if not record.installed:
        raise MissingPackageError(
            f"BLEU's tokenizer {name} needs {' and '.join(record.requires)}, which is not "
            f'installed. Install it: pip install "{record.install}".'
        )
    if record.downloaded:
        require("sacrebleu", "BLEU")
        _check_downloaded(name)


def scores(
    said: Sequence[str], references: Sequence[str], tokenizer: Choice
) -> tuple[list[Measure], dict[str, str]]:
    """BLEU (Papineni et al., 2002) and chrF (Popović, 2015) by sacrebleu, and their signatures."""
    import sacrebleu

    measures, notes = [], {}
    for name, metric in (("BLEU", _bleu(tokenizer.name)), ("chrF", sacrebleu.CHRF())):
        # Both are functions of sums over sentences, which sacrebleu's own resampling uses too.
        statistics = metric._extract_corpus_statistics(list(said), [list(references)])
        rows = np.array(statistics, dtype=np.float64)
        measures.append(Measure(name, rows, _formula(metric)))
        notes[name] = str(metric.get_signature())
    notes["BLEU's tokenizer"] = tokenizer.note
    if apart := sum(not is_normalized("NFC", text) for text in references):
        notes["references"] = (
            f"{apart} of {len(references)} have letters in two parts (Unicode's NFD), which match "
            "none in one part (NFC)"
        )
    return measures, notes


def _for_language(language: str, why: str, references: Sequence[str]) -> Choice:
    """What sacrebleu takes for a language, or what comes nearest where that is not installed."""
    record = next((each for each in BLEU_TOKENIZERS.values() if each.language == language), None)
    if record is not None and record.installed:
        return Choice(record.name, why)
    if record is not None:
        absent = f'{record.name} is not installed: pip install "{record.install}"'
        return Choice(BY_CHARACTERS, f"{why}; {absent}")
    text = "".join(references)
    if 2 * len(_SPACELESS.findall(text)) > sum(map(str.isalpha, text)):
        why += "; this script has no spaces between words: choose char or flores200"
    return Choice(DEFAULT, why)


def _bleu(name: str) -> Any:
    """sacrebleu's BLEU with a tokenizer, if that is here."""
    import sacrebleu

    check_installed(name)
    return sacrebleu.BLEU(tokenize=name)


def _check_downloaded(name: str) -> None:
    # sacrebleu would fetch the file from the internet, which nothing here does by itself.
    from pathlib import Path

    import sacrebleu.tokenizers.tokenizer_spm as sacrebleu_spm

    tokenizer_spm: Any = sacrebleu_spm
    file = Path(tokenizer_spm.SPM_MODELS[name]["url"]).name
    path = Path(tokenizer_spm.SACREBLEU_DIR) / "models" / file
    if not path.is_file():
        raise DataError(
            f"BLEU's tokenizer {name} reads {path}, which is not there. Let sacrebleu fetch it "
            f"once: python -c \"import sacrebleu; sacrebleu.BLEU(tokenize='{name}')\"."
        )


def _formula(metric: Any) -> Callable[[Floats], Floats]:
    def score(sums: Floats) -> Floats:
        rows = sums.reshape(-1, sums.shape[-1])
        values = [metric._compute_score_from_stats(row.astype(int).tolist()).score for row in rows]
        return np.array(values).reshape(sums.shape[:-1])

    return score
