"""Keeping the weights of the blocks as int8, on top of any plan (after Dettmers et al., 2022)."""

from __future__ import annotations

from dataclasses import replace

from ffmerge_core.checks import expect
from ffmerge_core.errors import PlanError
from ffmerge_core.models.int8 import check_installed, lay_out_int8, rounded
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import shared_copy


def quantize(model: LoadedModel, how: str = "int8") -> LoadedModel:
    """Keep the FF and attention matrices of a model as int8, with one scale a row.

    Weights only: inputs stay floating-point, and so do embeddings, norms, biases and the head,
    which the new model shares with the old one. A merged FF sublayer is rounded once and stays
    one. As many weights are held as before, in about a quarter of the bytes; each forward pass
    turns them back into floating-point numbers, which takes time. Dettmers et al., "LLM.int8()",
    2022.

    Parameters
    ----------
    model : LoadedModel
        Merged, reduced or as loaded; not rounded yet.
    how : {"int8", "llm.int8"}, default "int8"
        "llm.int8" keeps the same weights and has bitsandbytes round the inputs of each matrix
        too, outliers aside.

    Returns
    -------
    LoadedModel
        A new one. It can be scored and saved, but neither merged nor trained.

    Raises
    ------
    PlanError
        For a model that is rounded already, an unknown `how`, and where a package is absent that
        `how` needs.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> small = fm.quantize(model)
    >>> print(f"{small.weight_bytes / model.weight_bytes:.2f}")
    0.28
    >>> small.n_parameters == model.n_parameters
    True
    """
    expect(PlanError, model=(model, LoadedModel))
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
