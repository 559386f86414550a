"""What scoring a batch holds in memory where the vocabulary is large.

    python -m benchmarks.loss_memory

Peaks are of resident memory above what the process held before, each in a process of its own
(Linux counts them). Models are thin, so that their logits are what takes room. The first table
sets a validation batch that is scored beside a forward pass alone of the same batch. The second
sets scoring as it is beside scoring as it was: fifty pairs or 4,096 tokens at once, labels given
to the translator, which then computed a loss of its own, and losses in float64 of all logits.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.timing import machine
from ffmerge_core.tasks.batch import IGNORED
from ffmerge_core.tasks.language_modeling import LanguageModeling
from ffmerge_core.tasks.translation import Translation

D_MODEL, LAYERS, HEADS = 32, 2, 4
LENGTH, CONTEXT = 73, 256
PAIRS, WINDOWS = 50, 16
MOST_OF_FORWARD, MOST_OF_BEFORE = 1.3, 0.15


class Numbers:
    """A tokenizer of numbers, each a token; 0 pads and ends."""

    is_fast = False
    pad_token_id = eos_token_id = 0

    def __init__(self, words: int) -> None:
        self.words = words

    def __len__(self) -> int:
        return self.words

    def __call__(self, text: Any = None, text_target: Any = None, **_: Any) -> dict[str, Any]:
        said = text if text_target is None else text_target
        if isinstance(said, str):
            return {"input_ids": [int(word) for word in said.split()]}
        ids = torch.tensor([[int(word) for word in each.split()] for each in said])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def numbers(words: int, n: int, seed: int) -> str:
    drawn = torch.randint(1, words, (n,), generator=torch.Generator().manual_seed(seed))
    return " ".join(map(str, drawn.tolist()))


def marian(words: int) -> tuple[nn.Module, Translation]:
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=words, d_model=D_MODEL, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=D_MODEL,
        decoder_ffn_dim=D_MODEL, max_position_embeddings=LENGTH, pad_token_id=0, eos_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    said = [numbers(words, LENGTH, seed) for seed in range(2 * PAIRS)]
    pairs = list(zip(said[:PAIRS], said[PAIRS:], strict=True))
    splits = {"train": pairs, "validation": pairs, "test": pairs}
    return MarianMTModel(config).eval(), Translation("numbers", Numbers(words), splits, LENGTH)


def gpt2(words: int) -> tuple[nn.Module, LanguageModeling]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=words, n_positions=CONTEXT, n_embd=D_MODEL, n_layer=LAYERS, n_head=HEADS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    text = numbers(words, (WINDOWS + 1) * CONTEXT // 2, 0)
    texts = dict.fromkeys(("train", "validation", "test"), (text,))
    task = LanguageModeling("numbers", Numbers(words), texts, CONTEXT)
    return GPT2LMHeadModel(config).eval(), task


def forward(model: nn.Module, task: Any) -> None:
    """A forward pass alone of the first validation batch."""
    next(task.inputs("validation")).run(model)


def batch(model: nn.Module, task: Any) -> None:
    """The first validation batch scored."""
    if isinstance(task, Translation):
        task._losses(model, next(task.inputs("validation")))
        return
    windows = next(task._side_by_side(task.windows("validation")))
    list(task._scored(model, task.stream("validation").ids, windows))


def split(model: nn.Module, task: Any) -> None:
    """All of the validation split scored, its translation left out."""
    if isinstance(task, Translation):
        for each in task.inputs("validation"):
            task._losses(model, each)
        return
    for windows in task._side_by_side(task.windows("validation")):
        list(task._scored(model, task.stream("validation").ids, windows))


def before(model: nn.Module, task: Any) -> None:
    """The same as it was scored before."""
    if isinstance(task, Translation):
        given = task._batch(task.scored("validation"))
        labels = given.reference
        assert labels is not None
        logits = model(**{**given.kwargs, "use_cache": None}, labels=labels).logits
        assert bool(logits.isfinite().all())
        functional.cross_entropy(
            logits.double().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
        )
        return
    ids, windows = task.stream("validation").ids, task.windows("validation")
    rows = [ids[window.start : window.stop] for window in windows]
    logits = task._batch(rows).run(model).logits
    assert bool(logits.isfinite().all())
    for window, row in zip(windows, logits, strict=True):
        target = ids[window.start + 1 : window.stop + 1]
        functional.cross_entropy(row[: len(target)].float(), target, reduction="none")


MODELS: dict[str, Callable[[int], tuple[nn.Module, Any]]] = {"Marian": marian, "GPT-2": gpt2}
WORK: dict[str, Callable[[nn.Module, Any], None]] = {
    each.__name__: each for each in (forward, batch, split, before)
}


def peak(name: str, words: int, work: str) -> int:
    """Bytes that one piece of work holds at its highest, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loss_memory", name, str(words), work],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def measure(name: str, words: int, work: str) -> int:
    model, task = MODELS[name](words)
    with torch.inference_mode():
        # The libraries set up what they keep on the first pass.
        one = torch.ones((1, 2), dtype=torch.int64)
        model(input_ids=one, **({"decoder_input_ids": one} if name == "Marian" else {}))
        held = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        WORK[work](model, task)
    return resident("VmHWM") - held


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def print_ratios(title: str, first: str, second: str, sizes: dict[str, int], most: float) -> None:
    print(f"\n{title}\n{'':<28}{first:>12}{second:>12}{'ratio':>9}")
    for name, words in sizes.items():
        one, other = (peak(name, words, work) for work in (first, second))
        label = f"{name}, {words:,} words"
        print(f"{label:<28}{one / 1e6:>9.0f} MB{other / 1e6:>9.0f} MB{one / other:>9.3f}")
    print(f"asked: at most {most}")


def main() -> None:
    if len(sys.argv) == 4:
        name, words, work = sys.argv[1:]
        print(measure(name, int(words), work))
        return
    print(machine())
    wide = {"Marian": 250_000, "GPT-2": 250_000}
    print_ratios("A batch scored, a forward pass alone", "batch", "forward", wide, MOST_OF_FORWARD)
    narrower = {"Marian": 60_000, "GPT-2": 60_000}
    print_ratios("Scoring now and before", "split", "before", narrower, MOST_OF_BEFORE)


if __name__ == "__main__":
    main()
