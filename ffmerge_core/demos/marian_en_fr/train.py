"""Trains the demo and writes its tokenizer, weights and card.

    python -m ffmerge_core.demos.marian_en_fr.train --out some/folder

The tokenizer and every gradient come from the training split; the weights kept are those
with the lowest loss on the validation split; the test split is translated once, at the end.
Stopped and started again with the same --out, it goes on from its last checkpoint.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import MarianMTModel

from ffmerge_core.demos.describe import describe, in_words
from ffmerge_core.demos.files import TOKENIZER, read_tokenizer
from ffmerge_core.demos.gpt2_code.training import Training, export, replace, training_options
from ffmerge_core.demos.marian_en_fr.data import SIZES, Pair, pairs
from ffmerge_core.demos.marian_en_fr.model import (
    END,
    END_ID,
    FOLDER,
    PAD,
    PAD_ID,
    VOCABULARY,
    build,
    encode,
)

# Many more steps would bring the score so close to 100 that a merge had little to show.
STEPS = 630
DECAY = 130  # steps, the last ones, over which the learning rate falls to zero
BATCH_SIZE = 64  # pairs of sentences
BATCHES_A_BUCKET = 50
MUON_RATE, ADAM_RATE = 0.02, 0.004
CHECKED_PAIRS = 200  # of the validation split, while training


def train_tokenizer(sentences: Sequence[Pair]) -> Tokenizer:
    """Byte-level BPE learnt from both languages; every digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for each in sentences for text in (each.english, each.french))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, END_ID)]
    )
    return tokenizer


def loss_of(model: nn.Module, tokenizer: Tokenizer, sentences: Sequence[Pair]) -> Tensor:
    """Cross-entropy of the references, nats per token, padding left out."""
    source = encode(tokenizer, [each.english for each in sentences])
    target = encode(tokenizer, [each.french for each in sentences])
    shifted = functional.pad(target[:, :-1], (1, 0), value=PAD_ID)
    logits = model(
        input_ids=source,
        attention_mask=source != PAD_ID,
        decoder_input_ids=shifted,
        use_cache=False,
    ).logits
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD_ID)


def batch(sentences: Sequence[Pair], step: int, seed: int) -> list[Pair]:
    """The step's 64 pairs, of like length: buckets of 50 batches are shuffled and sorted."""
    epoch, position = divmod(step, len(sentences) // BATCH_SIZE)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(sentences), generator=generator).tolist()
    bucket, inside = divmod(position, BATCHES_A_BUCKET)
    size = BATCH_SIZE * BATCHES_A_BUCKET
    chosen = order[bucket * size : (bucket + 1) * size]
    chosen.sort(key=lambda index: len(sentences[index].english))
    batches = [chosen[at : at + BATCH_SIZE] for at in range(0, len(chosen), BATCH_SIZE)]
    shuffled = torch.randperm(
        len(batches), generator=torch.Generator().manual_seed(seed + 7919 * (epoch * 100 + bucket))
    )
    return [sentences[index] for index in batches[int(shuffled[inside])]]


def train(
    folder: Path,
    tokenizer: Tokenizer,
    sentences: Sequence[Pair],
    steps: int,
    decay: int,
    seed: int,
) -> Training[MarianMTModel]:
    """Train, or go on training from the checkpoint in `folder`."""
    torch.manual_seed(seed)
    model = build()
    layers = [*model.model.encoder.layers, *model.model.decoder.layers]
    training = Training(model, layers, MUON_RATE, ADAM_RATE, inputs_first=False)
    checked = sorted(pairs("validation", CHECKED_PAIRS), key=lambda each: len(each.english))

    @torch.inference_mode()
    def validation_loss() -> float:
        halves = (checked[: len(checked) // 2], checked[len(checked) // 2 :])
        return sum(loss_of(model, tokenizer, half).item() for half in halves) / 2

    training.run(
        steps,
        decay,
        lambda step: loss_of(model, tokenizer, batch(sentences, step, seed)),
        validation_loss,
        folder,
        partial(print, flush=True),
    )
    return training


def told(training: Training[MarianMTModel], command: str, seed: int) -> dict[str, Any]:
    """What the card says that its weights do not."""
    packages = ("torch", "transformers", "tokenizers", "babel", "num2words", "sacrebleu")
    return {
        "name": "marian-en-fr",
        "title": "Marian, English to French",
        "description": (
            "A 6+6-layer encoder-decoder of width 96 that translates short English sentences full "
            "of dates, amounts, measures and names into French."
        ),
        "data": (
            "Sentences from templates, filled with the Unicode CLDR's dates, times, units, "
            "currencies, territories and languages by way of Babel, and with num2words' numbers "
            "in words; a number, date, time or pair of names is in one split only"
        ),
        "data_licence": (
            "Unicode License v3 (CLDR); numbers in words written by num2words (LGPL); templates MIT"
        ),
        "weights_licence": "MIT",
        "splits": dict(SIZES),
        "unit": "sentence pairs",
        "training_command": command,
        "training_time": f"{training.cpu_seconds / 60:.0f} minutes of CPU time on one thread",
        "training_note": "",
        "seed": seed,
        "kept": f"step {training.best_step} kept",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }


def main() -> None:
    options = training_options(
        "Train the translator; write weights and card.", FOLDER, STEPS, DECAY
    )
    torch.set_num_threads(1)
    sentences = pairs("train")
    if not (options.out / TOKENIZER).exists():
        text = train_tokenizer(sentences).to_str(pretty=True)
        replace(options.out / TOKENIZER, lambda path: path.write_text(text, "utf-8"))
    tokenizer = read_tokenizer(options.out)

    training = train(options.work, tokenizer, sentences, options.steps, options.decay, options.seed)
    export(training.model, options.out)
    command = (
        "python -m ffmerge_core.demos.marian_en_fr.train "
        f"--steps {options.steps} --decay {options.decay} --seed {options.seed}"
    )
    card = describe("marian-en-fr", options.out, told(training, command, options.seed))
    print(in_words(card))


if __name__ == "__main__":
    main()
