"""Padding never enters a feature, whichever shape a family gives its FF sublayers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.analysis.features import Features
from ffmerge_core.tasks.batch import Batch
from tests.models.tiny import VOCABULARY, gpt2, marian, opt

LENGTHS = (7, 3, 5)
TARGETS = (2, 6, 4)


def sentences(lengths: tuple[int, ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCABULARY, (length,), generator=generator) for length in lengths]


def padded(rows: list[Tensor], padding: int) -> tuple[Tensor, Tensor]:
    """(n, longest) ids and the mask of the real ones."""
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


def decoder_batch(rows: list[Tensor], padding: int) -> Batch:
    ids, mask = padded(rows, padding)
    return Batch((ids,), {"attention_mask": mask.long(), "use_cache": False}, {"decoder": mask})


def marian_batch(rows: list[Tensor], targets: list[Tensor], padding: int) -> Batch:
    source, source_mask = padded(rows, padding)
    target, target_mask = padded(targets, padding)
    kwargs = {
        "attention_mask": source_mask.long(),
        "decoder_input_ids": target,
        "decoder_attention_mask": target_mask.long(),
        "use_cache": False,
    }
    return Batch((source,), kwargs, {"encoder": source_mask, "decoder": target_mask})


@dataclass(frozen=True)
class Given:
    """A task of ready batches."""

    batches: tuple[Batch, ...]

    kind = data = metric = revision = examples = "given"

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        yield from self.batches


def batches(build: Callable[[], nn.Module], padding: int) -> tuple[Given, Given]:
    """The same sentences in one padded batch, and one by one."""
    rows, targets = sentences(LENGTHS, seed=3), sentences(TARGETS, seed=4)
    if build is marian:
        alone = [
            marian_batch([row], [target], padding)
            for row, target in zip(rows, targets, strict=True)
        ]
        return Given((marian_batch(rows, targets, padding),)), Given(tuple(alone))
    alone = [decoder_batch([row], padding) for row in rows]
    return Given((decoder_batch(rows, padding),)), Given(tuple(alone))


def features(module: nn.Module, task: Given) -> Features:
    return fm.calibrate(fm.load(module, task=task), tokens=1000)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [gpt2, opt, marian])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_padded_batch_gives_the_features_of_its_sentences(
    build: Callable[[], nn.Module], padding: int
) -> None:
    module = build()
    together, alone = (features(module, task) for task in batches(build, padding))
    for sublayer in together.sublayers:
        n_tokens = sum(LENGTHS) if build is not marian or sublayer.stack == "encoder" else 12
        for tap in ("pre", "output", "attention"):
            one, other = (getattr(feats[sublayer.name], tap) for feats in (together, alone))
            assert one.shape[0] == n_tokens
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("build", [gpt2, opt, marian])
def test_without_masks_padding_would_enter(build: Callable[[], nn.Module]) -> None:
    """So the test above can fail."""
    module = build()
    [batch] = batches(build, padding=0)[0].batches
    masked = features(module, Given((batch,)))
    bare = features(module, Given((Batch(batch.args, batch.kwargs),)))
    name = masked.sublayers[0].name
    assert len(bare[name].pre) == batch.args[0].numel() > len(masked[name].pre)


@pytest.mark.parametrize("build", [gpt2, opt, marian])
def test_padding_changes_no_correlation_and_no_merge(build: Callable[[], nn.Module]) -> None:
    module = build()
    together, alone = (features(module, task) for task in batches(build, padding=0))
    for stack in dict.fromkeys(sublayer.stack for sublayer in together.sublayers):
        pair = f"{stack}.0", f"{stack}.1"
        torch.testing.assert_close(
            together.correlation(*pair), alone.correlation(*pair), rtol=0, atol=1e-4
        )
