"""What a decoder reads of a reference is what its library would make of labels, without a loss."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core.tasks.batch import IGNORED, Batch
from ffmerge_core.tasks.outputs import logits_in, token_losses
from tests.conftest import randomise

WORDS = 50
WIDE = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "max_position_embeddings": 32}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
IDS = {"vocab_size": WORDS, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
# Class → its configuration. How each shifts its labels is its own.
MODELS: dict[str, dict[str, Any]] = {
    "MarianMTModel": {**WIDE, "decoder_start_token_id": 1},
    "BartForConditionalGeneration": WIDE,
    "MBartForConditionalGeneration": WIDE,
    "M2M100ForConditionalGeneration": WIDE,
    "BlenderbotForConditionalGeneration": WIDE,
    "PegasusForConditionalGeneration": {**WIDE, "decoder_start_token_id": 1},
    "T5ForConditionalGeneration": {**T5, "decoder_start_token_id": 1},
    "MT5ForConditionalGeneration": {**T5, "decoder_start_token_id": 1},
}


def built(name: str) -> nn.Module:
    kind = getattr(transformers, name)
    return randomise(kind(kind.config_class(**{**IDS, **MODELS[name]})))


def batch() -> Batch:
    """Three pairs of unlike lengths, padded."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(3, WORDS, (2, 3, 7), generator=generator)
    real = torch.arange(7) < torch.tensor([[7], [4], [2]])
    rows[:, torch.arange(3), torch.tensor([6, 3, 1])] = 2
    source, target = rows
    return Batch(
        kwargs={
            "input_ids": source.masked_fill(~real, 1),
            "attention_mask": real.long(),
            "use_cache": False,
        },
        masks={"encoder": real, "decoder": real},
        reference=target.masked_fill(~real, IGNORED),
    )


@torch.no_grad()
def theirs(model: Any, given: Batch) -> tuple[Tensor, Tensor]:
    output = model(**given.kwargs, labels=given.reference)
    return output.logits, output.loss


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_loss_are_those_of_labels(name: str) -> None:
    model, given = built(name), batch()
    with torch.no_grad():
        output = given.run(model)
    logits, loss = theirs(model, given)
    real, reference = given.masks["decoder"], given.reference
    assert reference is not None
    assert output.loss is None
    torch.testing.assert_close(output.logits[real], logits[real], rtol=0, atol=0)
    losses = token_losses(output.logits, reference)
    assert float(losses.sum() / real.sum()) == pytest.approx(float(loss), rel=1e-5)
    assert float(losses[~real].abs().sum()) == 0


class Wrapper(nn.Module):
    """As a library wraps a model that it trains in several processes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **kwargs: Any) -> Any:
        return self.module(**kwargs)


def test_a_wrapped_model_reads_the_same() -> None:
    model, given = built("MarianMTModel"), batch()
    with torch.no_grad():
        found = logits_in(given.run(Wrapper(model)))
    torch.testing.assert_close(found, theirs(model, given)[0])


def test_behind_its_end_a_row_may_hold_anything_that_is_known() -> None:
    """A padding token beyond the decoder's table reaches no embedding, and changes nothing."""
    given, seen = batch(), {}

    class Small(nn.Module):
        def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
            start = torch.full_like(labels[:, :1], 4)
            return torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, 99)], 1)

        def forward(self, decoder_input_ids: Tensor, **_: Any) -> Any:
            seen["ids"] = decoder_input_ids
            logits = functional.one_hot(decoder_input_ids, WORDS).float()
            return SimpleNamespace(logits=logits)

    given.run(Small())
    real, reference = given.masks["decoder"], given.reference
    assert reference is not None
    assert int(seen["ids"].max()) < WORDS
    assert seen["ids"][:, 0].tolist() == [4, 4, 4]
    before = real[:, 1:]
    assert torch.equal(seen["ids"][:, 1:][before], reference[:, :-1][before])
