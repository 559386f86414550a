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

import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from ffmerge_core.demos.describe import describe, in_words
from ffmerge_core.demos.files import TOKENIZER, read_tokenizer
from ffmerge_core.demos.gpt2_code.data import END_OF_TEXT, encode, of_split
from ffmerge_core.demos.gpt2_code.model import CONTEXT, FOLDER, VOCABULARY, build, code_task
from ffmerge_core.demos.gpt2_code.training import Training, export, replace, training_options
from ffmerge_core.tasks.batch import Split

STEPS = 1200
DECAY = 200  # steps, the last ones, over which the learning rate falls to zero
BATCH_SIZE = 8  # sequences of 256 tokens
MUON_RATE, ADAM_RATE = 0.02, 0.004
# A word with the one sign or space before it; up to three digits; other signs with the
# blanks after them, so that ":\n" and an indentation make one token; blanks.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+\s*|\s+"


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
        logits = model(windows[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    task = code_task(tokenizer)

    def bits_per_byte() -> float:
        return task.evaluate(model, "validation").others["bits per byte"].value

    training.run(steps, decay, loss_of, bits_per_byte, folder, partial(print, flush=True))
    return training


def told(training: Training[GPT2LMHeadModel], command: str, seed: int) -> dict[str, Any]:
    """What the card says that its weights do not."""
    packages = ("torch", "transformers", "tokenizers")
    return {
        "name": "gpt2-code",
        "title": "GPT-2 on Python source",
        "description": (
            "A 12-block GPT-2 of width 128 that continues Python code, trained on the standard "
            "library's own source."
        ),
        "data": (
            "The .py files of the Python standard library, its tests left out, as they come with "
            "the running Python; modules are put into splits by a hash of their dotted name"
        ),
        "data_licence": "Python Software Foundation License Version 2",
        "weights_licence": "MIT",
        "splits": {split: len(of_split(split)) for split in get_args(Split)},
        "unit": "modules",
        "training_command": command,
        "training_time": f"{training.cpu_seconds / 60:.0f} minutes of CPU time on two threads",
        "training_note": "",
        "seed": seed,
        "kept": f"step {training.best_step} kept",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }


def main() -> None:
    options = training_options("Train the code demo; write weights and card.", FOLDER, STEPS, DECAY)
    torch.set_num_threads(2)
    if not (options.out / TOKENIZER).exists():
        text = train_tokenizer().to_str(pretty=True)
        replace(options.out / TOKENIZER, lambda path: path.write_text(text, "utf-8"))
    tokenizer = read_tokenizer(options.out)

    training = train(options.work, tokenizer, options.steps, options.decay, options.seed)
    export(training.model, options.out)
    command = (
        "python -m ffmerge_core.demos.gpt2_code.train "
        f"--steps {options.steps} --decay {options.decay} --seed {options.seed}"
    )
    card = describe("gpt2-code", options.out, told(training, command, options.seed))
    print(in_words(card))


if __name__ == "__main__":
    main()
