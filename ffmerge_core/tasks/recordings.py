"""Recordings of speech: what a model that writes speech down is compared with the original on."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.archives import open_files
from ffmerge_core.tasks.batch import Batch, Split, endless, eval_mode
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.own_data import splits_by_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Tokens that the original writes of a recording; the decoders are compared on them.
WRITTEN = 24
# Together with what else runs, this much is held comfortably.
_MOST_BYTES = 2_000_000_000
_BATCH = 4
# By bytes a sample: how it is stored, and what stands for 1.
_STORED = {1: ("u1", 128), 2: ("<i2", 2**15), 4: ("<i4", 2**31)}


@dataclass(frozen=True, eq=False)
class Recordings:
    """A `Task` of what a model hears and what it wrote of it; by itself it has no score.

    heard: by split, (recordings, features, frames) float32. written: by split,
    (recordings, tokens) int64, what the original wrote, with the token that it begins by.
    """

    data: str
    heard: Mapping[Split, Tensor]
    written: Mapping[Split, Tensor]

    kind = "speech"
    metric = "top-1 agreement"
    examples = "recordings"
    unit = "recordings"

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(each):,}" for each in self.heard.values())
        return showing.line(self, f"{self.data}: {sizes} recordings")

    @property
    def revision(self) -> str:
        """SHA-256 of what is heard, split by split."""
        digest = sha256()
        for split, heard in self.heard.items():
            digest.update(f"{split} {tuple(heard.shape)}".encode() + heard.numpy().tobytes())
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        return len(self.heard[split])

    def calibration(self, seed: int, batch_size: int = _BATCH) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(self.size("train"), generator=generator)
        yield from (
            self._batch("train", part) for part in torch.split(order, min(batch_size, _BATCH))
        )

    def inputs(self, split: Split) -> Iterator[Batch]:
        """Every recording, a few at a time."""
        yield from (
            self._batch(split, part) for part in torch.split(torch.arange(self.size(split)), _BATCH)
        )

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split, without end."""
        order = endless(self.size("train"), seed)
        while True:
            yield self._batch("train", torch.tensor([next(order) for _ in range(batch_size)]))

    def loss(self, output: object, batch: Batch) -> Tensor:
        """There is none without the original."""
        raise DataError(f"{self.data} has no text to learn from. Open it with fidelity=True.")

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """There is no score without the original."""
        raise DataError(f"{self.data} has no text to score by. Open it with fidelity=True.")

    def _batch(self, split: Split, rows: Tensor) -> Batch:
        written = self.written[split][rows]
        return Batch((self.heard[split][rows],), {"decoder_input_ids": written, "use_cache": False})


def recordings_task(
    path: str, extractor: Any, write: Callable[[Tensor], Tensor], report: Report = silent
) -> Recordings:
    """The WAV files of a folder or zip, split by a hash of their content.

    extractor: transformers', which makes features of a wave. write: features → what the original
    writes of them. Raises `DataError` for files that are not read.
    """
    name = Path(path).name
    with open_files(Path(path)) as files:
        keys = [sha256(files.read(each)).hexdigest() for each in files.names]
        splits = splits_by_hash(keys, name)
        heard: dict[Split, Tensor] = {}
        done = taken = 0
        for split, chosen in splits.items():
            rows = []
            for position in chosen:
                member = files.names[position]
                wave_ = read_wave(files.read(member), member, int(extractor.sampling_rate))
                rows.append(_features(extractor, wave_))
                done, taken = done + 1, taken + rows[-1].nbytes
                if taken > _MOST_BYTES:
                    raise DataError(
                        f"{name} fills {_MOST_BYTES / 1e9:.0f} GB of memory after {done:,} of "
                        f"{len(keys):,} recordings. Take fewer."
                    )
                report(done, len(keys), f"recordings of {name} read")
            heard[split] = torch.stack(rows)
    written = {
        split: torch.cat([write(part) for part in torch.split(each, _BATCH)])
        for split, each in heard.items()
    }
    return Recordings(name, heard, written)


def read_wave(content: bytes, name: str, rate: int) -> NDArray[np.float32]:
    """A WAV file's samples in [−1, 1], channels averaged. rate: samples a second that it must have.

    Raises `DataError`, with `name`, for anything else.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            found, width, channels = (
                file.getframerate(),
                file.getsampwidth(),
                file.getnchannels(),
            )
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError) as error:
        raise DataError(
            f"{name} is not a WAV file of plain samples ({error}). Convert or remove it."
        ) from None
    if found != rate or width not in _STORED:
        raise DataError(
            f"{name} has {found:,} samples a second of {8 * width} bits; {rate:,} of 8, 16 or 32 "
            "bits were expected. Convert it."
        )
    stored, one = _STORED[width]
    values = np.frombuffer(samples, stored).astype(np.float32).reshape(-1, channels)
    # 8 bits are stored without a sign.
    centred = (values - one if width == 1 else values) / one
    if not len(centred):
        raise DataError(f"{name} holds no sound. Remove it.")
    return np.asarray(centred.mean(axis=1), dtype=np.float32)


def writes(model: nn.Module, heard: Tensor) -> Tensor:
    """What a model writes, token by token, always the likeliest: (recordings, 1 + WRITTEN)."""
    module: Any = model
    config = module.config
    ids = torch.full((len(heard), 1), int(config.decoder_start_token_id))
    with eval_mode(model), torch.inference_mode():
        for _ in range(min(WRITTEN, int(config.max_target_positions) - 1)):
            logits = module(heard, decoder_input_ids=ids, use_cache=False).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
    return ids.clone()


def _features(extractor: Any, samples: NDArray[np.float32]) -> Tensor:
    found = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    features: Tensor = found["input_features"][0]
    return features.float()
