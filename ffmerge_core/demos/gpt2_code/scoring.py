"""Bits per byte with a sliding window, as the transformers guide to perplexity has it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core.demos.gpt2_code.model import CONTEXT

STRIDE = CONTEXT // 2


@dataclass(frozen=True)
class Score:
    """bits_per_byte: over the raw UTF-8 bytes. perplexity: per token. n_tokens: scored."""

    bits_per_byte: float
    perplexity: float
    n_tokens: int
    n_bytes: int


@torch.inference_mode()
def score(
    model: nn.Module, ids: Tensor, n_bytes: int, stride: int = STRIDE, batch_size: int = 32
) -> Score:
    """Score every token but the first exactly once, each with up to 256 tokens before it.

    ids: (n_tokens,), one stream. n_bytes: of the text that it encodes. stride: tokens by
    which the window moves; from the second window on, only its last `stride` targets count.
    model: called with (batch, tokens), gives `.logits`; in evaluation mode.
    """
    total, n_scored = 0.0, 0
    starts = range(0, max(1, len(ids) - 1 - (CONTEXT - stride)), stride)
    whole = [start for start in starts if start + CONTEXT < len(ids)]
    last = [start for start in starts if start + CONTEXT >= len(ids)]
    batches = [whole[at : at + batch_size] for at in range(0, len(whole), batch_size)]
    for batch in [*batches, *([start] for start in last)]:
        windows = torch.stack([ids[start : start + CONTEXT + 1] for start in batch])
        logits = model(windows[:, :-1]).logits
        losses = functional.cross_entropy(
            logits.transpose(1, 2), windows[:, 1:], reduction="none"
        ).double()
        for start, row in zip(batch, losses, strict=True):
            new = row if start == 0 else row[CONTEXT - stride :]
            total += new.sum().item()
            n_scored += len(new)
    return Score(
        bits_per_byte=total / math.log(2) / n_bytes,
        perplexity=math.exp(total / n_scored),
        n_tokens=n_scored,
        n_bytes=n_bytes,
    )
