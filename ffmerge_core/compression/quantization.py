"""Keeping the weights of the blocks as int8, on top of any plan (after Dettmers et al., 2022)."""

from __future__ import annotations

from dataclasses import replace

from ffmerge_core.errors import PlanError
from ffmerge_core.models.int8 import check_installed, lay_out_int8, rounded
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import shared_copy


def quantize(model: LoadedModel, how: str = "int8") -> LoadedModel:
    """A new model whose FF and attention matrices are int8, with one scale a row.

    Weights only: inputs stay floating-point, and so do embeddings, norms, biases and the head,
    which it shares with `model`. A merged FF sublayer is rounded once and stays one. As many
    weights are held as before, in about a quarter of the bytes; each forward pass turns them
    back into floating-point numbers, which takes time. how: "llm.int8" keeps the same weights
    and rounds the inputs of each matrix too, outliers aside, by bitsandbytes.
    Raises `PlanError` for a model that is quantised already: round a model once; and without
    what `how` needs.
    """
    check_installed(how, PlanError)
    if model.plan is not None and not model.plan.record.int8:
        raise PlanError(f"What {model.plan.record.label} leaves cannot be rounded to {how}.")
    if model.quantized is not None:
        raise PlanError(
            f"The weights of this model are {model.quantized} already. Quantise a model once."
        )
    module = shared_copy(model.model)
    sublayers = lay_out_int8(module, model.family, model.sublayers, rounded, how)
    return replace(model, model=module, sublayers=sublayers, quantized=how)
