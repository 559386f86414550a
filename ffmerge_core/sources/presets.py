"""Data sets of the hub that have a short name: those of the paper's experiments."""

from __future__ import annotations

from dataclasses import dataclass

from ffmerge_core.errors import DataError
from ffmerge_core.kinds import Kind, Kinds


@dataclass(frozen=True, kw_only=True)
class Preset(Kind):
    """One data set.

    data: its whole name, as `data_names` reads it: repository, configuration, columns and splits.
    kinds: of the tasks that it is for. licence: of the data, in a few words.
    """

    data: str
    kinds: tuple[str, ...]
    licence: str


_TEXTS = ("language-modeling", "masked-language-modeling")
_WIKITEXT = "https://arxiv.org/abs/1609.07843"
_WIKITEXT_LICENCE = "CC BY-SA 3.0 and GFDL"

PRESETS = Kinds(
    "preset of data",
    DataError,
    (
        Preset(
            "wikitext-2",
            "WikiText-2",
            "Holds good articles of the English Wikipedia, 2 million words of them.",
            source=_WIKITEXT,
            data="hf:Salesforce/wikitext/wikitext-2-raw-v1?text=text&rows=paragraphs",
            kinds=_TEXTS,
            licence=_WIKITEXT_LICENCE,
        ),
        Preset(
            "wikitext-103",
            "WikiText-103",
            "Holds good articles of the English Wikipedia, 103 million words; training reads the "
            "first rows.",
            source=_WIKITEXT,
            data="hf:Salesforce/wikitext/wikitext-103-raw-v1?text=text&rows=paragraphs",
            kinds=_TEXTS,
            licence=_WIKITEXT_LICENCE,
        ),
        Preset(
            "imagenet-1k",
            "ImageNet-1k, validation",
            "Holds photos of 1,000 classes; all splits are carved from the validation split, "
            "which classifiers are not trained on.",
            source="https://arxiv.org/abs/1409.0575",
            data="hf:ILSVRC/imagenet-1k?image=image&label=label&split=validation",
            kinds=("image-classification",),
            licence="ImageNet's own terms, to be accepted on its page: research, not commerce",
        ),
        Preset(
            "tatoeba-eng-zho",
            "Tatoeba, English to Chinese",
            "Holds sentences with translations by volunteers, the Tatoeba challenge's; training "
            "reads its development split.",
            source="https://aclanthology.org/2020.wmt-1.139/",
            data="hf:Helsinki-NLP/tatoeba_mt/eng-zho@refs/convert/parquet"
            "?source=sourceString&target=targetString&train=validation",
            kinds=("translation",),
            licence="CC BY 2.0",
        ),
    ),
    made=Preset,
)
