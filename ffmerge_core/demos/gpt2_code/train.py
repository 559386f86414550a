"""Trains the demo and writes its tokenizer, weights and card.

    python -m ffmerge_core.demos.gpt2_code.train --out some/folder

The tokenizer and every gradient come from the training split; the weights kept are those
with the lowest bits per byte on the validation split; the test split is scored once, at
the end. Stopped and started again with the same --out, it goes on from its last checkpoint,
and --steps may then be another number. Glibc's allocator returns large blocks to the system
at every step; MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=8000000000 stop that, which
where memory is slow to get makes a step several times faster.
"""

from __future__ import annotations

import argparse
import math
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from ffmerge_core.demos.gpt2_code.data import END_OF_TEXT, corpus_hash, encode, of_split
from ffmerge_core.demos.gpt2_code.model import (
    CONTEXT,
    FOLDER,
    TOKENIZER,
    VOCABULARY,
    build,
    load,
    load_tokenizer,
)
from ffmerge_core.demos.gpt2_code.scoring import STRIDE, score
from ffmerge_core.demos.gpt2_code.training import (
    Training,
    describe,
    export,
    replace,
    sublayer,
    write_card,
)
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.tasks.task import Split

SEED = 0
STEPS = 1200
DECAY = 200  # steps, the last ones, over which the learning rate falls to zero
BATCH_SIZE = 8  # sequences of 256 tokens
MUON_RATE, ADAM_RATE = 0.02, 0.004
CHECKED_TOKENS = 32_768  # of the validation split, while training
QUICK_TOKENS = 16_384  # of the test split, for the card's quick check
# A word with the one sign or space before it; up to three digits; other signs with the
# blanks after them, so that ":\n" and an indentation make one token; blanks.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+\s*|\s+"
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def train_tokenizer() -> Tokenizer:
    """Byte-level BPE learnt from the training split."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((module.text for module in of_split("train")), trainer)
    return tokenizer


def batch(ids: Tensor, step: int, seed: int) -> Tensor:
    """The step's windows, (8, 257): each epoch cuts the text elsewhere and shuffles the cuts."""
    a_epoch = (len(ids) - 2 * CONTEXT) // CONTEXT // BATCH_SIZE
    epoch, position = divmod(step, a_epoch)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    offset = int(torch.randint(CONTEXT, (), generator=generator))
    order = torch.randperm(a_epoch * BATCH_SIZE, generator=generator)
    starts = order[position * BATCH_SIZE : (position + 1) * BATCH_SIZE] * CONTEXT + offset
    return ids[starts[:, None] + torch.arange(CONTEXT + 1)]


def train(
    folder: Path, tokenizer: Tokenizer, steps: int, decay: int, seed: int
) -> Training[GPT2LMHeadModel]:
    """Train, or go on training from the checkpoint in `folder`."""
    torch.manual_seed(seed)
    model = build()
    ids = encode(tokenizer, of_split("train"))
    training = Training(model, model.transformer.h, MUON_RATE, ADAM_RATE, inputs_first=True)

    def loss_of(step: int) -> Tensor:
        windows = batch(ids, step, seed)
        logits = model(windows[:, :-1]).logits
        return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    validation = encode(tokenizer, of_split("validation"))[:CHECKED_TOKENS]
    n_bytes = len(tokenizer.decode(validation.tolist()).encode())

    def bits_per_byte() -> float:
        return score(model, validation, n_bytes, stride=CONTEXT).bits_per_byte

    training.run(steps, decay, loss_of, bits_per_byte, folder, partial(print, flush=True))
    return training


def scored(model: GPT2LMHeadModel, tokenizer: Tokenizer, split: Split) -> dict[str, Any]:
    """A whole split's figures for the card."""
    texts = of_split(split)
    n_bytes = sum(module.n_bytes for module in texts)
    result = score(model, encode(tokenizer, texts), n_bytes)
    return {
        "split": split,
        "metric": "bits per byte",
        "value": result.bits_per_byte,
        "loss": math.log(result.perplexity),
        "perplexity": result.perplexity,
        "n_tokens": result.n_tokens,
        "n_bytes": result.n_bytes,
    }


def quick_check(model: GPT2LMHeadModel, tokenizer: Tokenizer) -> dict[str, Any]:
    """The test split's first tokens: a figure that is measured again in seconds."""
    ids = encode(tokenizer, of_split("test"))[:QUICK_TOKENS]
    n_bytes = len(tokenizer.decode(ids.tolist()).encode())
    return {"tokens": len(ids), "value": score(model, ids, n_bytes).bits_per_byte}


def describe_split(tokenizer: Tokenizer, split: Split) -> dict[str, int]:
    texts = of_split(split)
    return {
        "files": len(texts),
        "bytes": sum(module.n_bytes for module in texts),
        "tokens": len(encode(tokenizer, texts)),
    }


def card(
    training: Training[GPT2LMHeadModel], tokenizer: Tokenizer, command: str, seed: int
) -> dict[str, Any]:
    """What a first page says of the demo, its figures left out."""
    return {
        "name": "gpt2-code",
        "title": "GPT-2 on Python source",
        "description": (
            "A 12-block GPT-2 of width 128 that continues Python code, trained on the standard "
            "library's own source."
        ),
        "family": "transformers GPT-2",
        "data": (
            "The .py files of the Python standard library, its tests left out, as they come with "
            "the running Python; modules are put into splits by a hash of their dotted name"
        ),
        "data_licence": "Python Software Foundation License Version 2",
        "weights_licence": "MIT",
        "corpus_hash": corpus_hash(),
        "splits": {split: describe_split(tokenizer, split) for split in _SPLITS},
        "metric": "bits per byte",
        "scoring": (
            f"windows of {CONTEXT} tokens moved by {STRIDE} over the split's files, joined by name "
            "with one end-of-text token before each; every token after the first is scored once, "
            "end-of-text included, and the bits are divided by the files' raw UTF-8 bytes"
        ),
        "training_command": command,
        "training_cpu_seconds": round(training.cpu_seconds),
        "seed": seed,
        "step": training.best_step,
        "versions": {
            "python": platform.python_version(),
            **{each: version(each) for each in ("torch", "transformers", "tokenizers")},
        },
        **describe(training.model, _part, _sublayers(training.model)),
    }


def _sublayers(model: GPT2LMHeadModel) -> list[FFSublayer]:
    return [
        sublayer(
            model,
            f"decoder.{index}",
            f"transformer.h.{index}.attn",
            f"transformer.h.{index}.mlp.c_fc",
            f"transformer.h.{index}.mlp.c_proj",
            "gelu_tanh",
        )
        for index in range(model.config.n_layer)
    ]


def _part(parameter: str) -> str:
    for piece, part in (
        (".mlp.", "FF"),
        (".attn.", "attention"),
        (".ln_", "norms"),
        (".wte.", "embeddings"),
        (".wpe.", "embeddings"),
    ):
        if piece in parameter:
            return part
    raise ValueError(f"{parameter} belongs to no known part of the model.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the code demo; write weights and card.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    parser.add_argument("--work", type=Path, help="folder for checkpoints; --out unless given")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--decay", type=int, default=DECAY, help="steps, the last ones")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()

    torch.set_num_threads(2)
    work = options.work or options.out
    for folder in (options.out, work):
        folder.mkdir(parents=True, exist_ok=True)
    if not (options.out / TOKENIZER).exists():
        text = train_tokenizer().to_str(pretty=True)
        replace(options.out / TOKENIZER, lambda path: path.write_text(text, "utf-8"))
    tokenizer = load_tokenizer(options.out)

    training = train(work, tokenizer, options.steps, options.decay, options.seed)
    before = quick_check(training.model, tokenizer)["value"]
    digest = export(training.model, options.out)
    model = load(options.out)
    command = (
        "python -m ffmerge_core.demos.gpt2_code.train "
        f"--steps {options.steps} --decay {options.decay} --seed {options.seed}"
    )
    described = {
        **card(training, tokenizer, command, options.seed),
        "weights_sha256": digest,
        "validation": scored(model, tokenizer, "validation"),
        "test": scored(model, tokenizer, "test"),
        "quick_check": quick_check(model, tokenizer),
    }
    write_card(options.out, described)
    print(
        f"step {training.best_step} kept: validation {described['validation']['value']:.4f} bits "
        f"per byte, test {described['test']['value']:.4f}; quick check "
        f"{described['quick_check']['value']:.6f}, {before:.6f} before half precision"
    )


if __name__ == "__main__":
    main()
