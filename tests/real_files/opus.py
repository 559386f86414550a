"""A folder as OPUS-MT's are: two sentencepiece models, a vocabulary, a Marian of random weights."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import sentencepiece
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

from tests.conftest import randomise

LONGEST = 64
END, UNKNOWN, PAD = "</s>", "<unk>", "<pad>"
ZH = "今天气很好我是学生她正在读书去车站怎么走请问图馆儿那里有没水喝吃饭明来吗谢"


def sentences(letters: str, n: int, seed: int, space: str = " ") -> list[str]:
    """Sentences of three to eight words that are drawn from sixty."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(letters, k=1 + each % 4)) for each in range(60)]
    return [space.join(draw.choices(words, k=draw.randint(3, 8))) + "." for _ in range(n)]


@cache
def corpus() -> tuple[tuple[str, str], ...]:
    sides = sentences("abcdefghi", 400, 1), sentences(ZH, 400, 2, space="")
    return tuple(zip(*sides, strict=True))


@cache
def pieces(side: int) -> bytes:
    """A sentencepiece model of one side of the corpus."""
    import io

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([pair[side] for pair in corpus()]), model_writer=model,
        vocab_size=120, model_type="unigram", hard_vocab_limit=False, minloglevel=9,
    )  # fmt: skip
    return model.getvalue()


def vocabulary(sides: Sequence[int]) -> dict[str, int]:
    """Padding is last, as OPUS-MT has it; of two vocabularies it has one number in both."""
    found = [END, UNKNOWN] if len(sides) > 1 else [END, UNKNOWN, PAD]
    for side in sides:
        model = sentencepiece.SentencePieceProcessor(model_proto=pieces(side))
        found += [model.id_to_piece(id) for id in range(model.get_piece_size())]
    known = dict.fromkeys([*found, PAD])
    return {piece: id for id, piece in enumerate(each for each in known if each != "<s>")}


def marian(words: int, target_words: int | None = None) -> MarianMTModel:
    """With a vocabulary for each side where `target_words` is given."""
    pad = words - 1 if target_words is None else 2
    config = MarianConfig(
        vocab_size=words, decoder_vocab_size=target_words or words, d_model=32, encoder_layers=3,
        decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=LONGEST,
        activation_function="swish", scale_embedding=True, pad_token_id=pad, eos_token_id=0,
        forced_eos_token_id=0, decoder_start_token_id=pad, bos_token_id=None,
        share_encoder_decoder_embeddings=target_words is None,
        tie_word_embeddings=target_words is None,
    )  # fmt: skip
    model = randomise(MarianMTModel(config), scale=1.0)
    for name, weight in model.named_parameters():
        weight.data *= 0.1 if "bias" in name else 0.3 if "shared" in name or "embed" in name else 1
    return model  # type: ignore[return-value]


def folder(place: Path, *, separate: bool = False, bare: bool = False, target: str = "zh") -> Path:
    """separate: a vocabulary for each side. bare: as the hub's first folders, which say little."""
    files = place / "files"
    files.mkdir(parents=True)
    for side, name in enumerate(("source.spm", "target.spm")):
        (files / name).write_bytes(pieces(side))
    own, other = (vocabulary((0,)), vocabulary((1,))) if separate else (vocabulary((0, 1)), None)
    (files / "vocab.json").write_text(json.dumps(own), "utf-8")
    (files / "target_vocab.json").write_text(json.dumps(other), "utf-8")
    tokenizer = MarianTokenizer(
        str(files / "source.spm"), str(files / "target.spm"), str(files / "vocab.json"),
        target_vocab_file=str(files / "target_vocab.json") if separate else None,
        separate_vocabs=separate, source_lang="en", target_lang=target,
    )  # fmt: skip
    saved = place / "opus"
    marian(len(own), len(other) if other else None).save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    if bare:
        said = {"source_lang": "en", "target_lang": target}
        (saved / "tokenizer_config.json").write_text(json.dumps(said))
    return saved


def pairs_file(place: Path, n: int = 60) -> Path:
    path = place / "pairs.tsv"
    path.write_text("\n".join("\t".join(pair) for pair in corpus()[:n]), "utf-8")
    return path
