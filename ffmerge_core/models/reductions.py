"""The kinds of reductions: what each leaves of a model's modules, and their values.

Each kind is a function that lays a model out (`lay_out` of its record), without values, and,
where it computes any, one that fills in those of a sublayer (`fill`). A saved model is laid out
before its weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core.errors import PlanError
from ffmerge_core.kinds import resolve
from ffmerge_core.models.activations import activation
from ffmerge_core.models.families import Family
from ffmerge_core.models.structure import set_weights, weights_by_role
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import DropFF, DropLayers, Factor, Narrow, Plan, Reduce


class Nothing(nn.Module):
    """Stands where a matrix was: zeros of `width` features for every row, no parameters.

    weight: T5 asks every W_out which type its weight has.
    """

    weight = None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """x: (…, any width) → zeros, (…, width)."""
        return x.new_zeros((*x.shape[:-1], self.width))


class Product(nn.Sequential):
    """Stands where a matrix was: two of a lower rank. weight: as of `Nothing`."""

    weight = None


def lay_out(
    module: nn.Module, family: Family, sublayers: Sequence[FFSublayer], plan: Plan
) -> tuple[FFSublayer, ...]:
    """Change `module` in place as a checked reduction says; the FF sublayers that it offers then.

    New parameters are not initialised; those that stay are the same objects.
    """
    assert isinstance(plan.record, Reduce)
    left: tuple[FFSublayer, ...] = resolve(plan.record.lay_out)(module, family, sublayers, plan)
    return left


def drop_layers(
    module: nn.Module, family: Family, sublayers: Sequence[FFSublayer], plan: DropLayers
) -> tuple[FFSublayer, ...]:
    """Without the blocks; the rest is numbered anew."""
    configs = _configs(module)
    _refuse_numbered_attention(module, configs)
    lists = {sublayer.stack: sublayer.block.rpartition(".")[0] for sublayer in sublayers}
    for stack, path in lists.items():
        blocks: Any = module.get_submodule(path)
        gone = [s.block for s in sublayers if s.stack == stack and s.name in plan.layers]
        indices = [int(block.rpartition(".")[2]) for block in gone]
        kept = [index for index in range(len(blocks)) if index not in indices]
        for config in configs:
            _keep_layers(config, kept, len(blocks))
        for index in sorted(indices, reverse=True):
            del blocks[index]
        # A block finds its part of the cache by its number.
        for index, block in enumerate(blocks):
            for part in block.modules():
                if getattr(part, "layer_idx", None) is not None:
                    part.layer_idx = index
        for config in configs:
            setattr(config, family.depths[stack], len(blocks))
        own = getattr(module.get_submodule(path.rpartition(".")[0]), "config", None)
        if own is not None and own is not getattr(module, "config", None):
            # A stack's copy of the configuration (T5) speaks of that stack alone.
            own.num_hidden_layers = len(blocks)
    return family.find(module)


def drop_ff(
    module: nn.Module, family: Family, sublayers: Sequence[FFSublayer], plan: DropFF
) -> tuple[FFSublayer, ...]:
    """With nothing in the place of the sublayers, which are offered no longer."""
    for sublayer in sublayers:
        if sublayer.name in plan.sublayers:
            for role, path in sublayer.modules.items():
                # Nothing is computed on the way: an activation, a gate's halves and dropout
                # accept rows without features.
                kept: nn.Module = Nothing(sublayer.d_model if role == "out" else 0)
                module.set_submodule(path, nn.Identity() if role == "norm" else kept)
    return tuple(each for each in sublayers if each.name not in plan.sublayers)


def factor(
    module: nn.Module, family: Family, sublayers: Sequence[FFSublayer], plan: Factor
) -> tuple[FFSublayer, ...]:
    """With two matrices for each; no W_in and W_out are left to merge, so they are not offered."""
    for sublayer in sublayers:
        if sublayer.name in plan.sublayers:
            _factor(module, sublayer, plan.rank)
    return tuple(each for each in sublayers if each.name not in plan.sublayers)


def fill_factors(
    original: nn.Module, reduced: nn.Module, sublayer: FFSublayer, plan: Factor, feats: object
) -> None:
    """The factors of each matrix, by truncated SVD."""
    for role, path in sublayer.modules.items():
        if role == "norm":
            continue
        factors: Any = reduced.get_submodule(path)
        weight = original.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        with torch.no_grad():
            left, right = truncated_svd(weight.T if sublayer.transposed else weight, plan.rank)
            factors[0].weight.copy_(right)
            factors[1].weight.copy_(left)


def narrow(
    module: nn.Module, family: Family, sublayers: Sequence[FFSublayer], plan: Narrow
) -> tuple[FFSublayer, ...]:
    """With fewer neurons each; offered with their new width."""
    return tuple(
        _narrow(module, each, plan) if each.name in plan.sublayers else each for each in sublayers
    )


def fill_narrowed(
    original: nn.Module,
    reduced: nn.Module,
    sublayer: FFSublayer,
    plan: Narrow,
    feats: Mapping[str, Any],
) -> None:
    """The neurons of the largest share, in their old order. feats: name → features with `pre`."""
    weights = weights_by_role(original, sublayer)
    with torch.no_grad():
        w_out = weights["out.weight"].T if sublayer.transposed else weights["out.weight"]
        activations = activation(original, sublayer.act)(feats[sublayer.name].pre)
        shares = neuron_shares(activations, w_out.float())
        kept = shares.argsort(descending=True, stable=True)[: plan.width].sort().values
        rows, columns = (1, 0) if sublayer.transposed else (0, 1)
        narrowed = {
            "in.weight": weights["in.weight"].index_select(rows, kept),
            "out.weight": weights["out.weight"].index_select(columns, kept),
        }
        if "in.bias" in weights:
            narrowed["in.bias"] = weights["in.bias"][kept]
    set_weights(reduced, sublayer, narrowed)


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B (rows, rank) and A (rank, columns), B A the nearest to `matrix` in the Frobenius norm.

    The singular values are shared out evenly, so that neither factor dwarfs the other.
    """
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    root = values[:rank].sqrt()
    return (left[:, :rank] * root).to(matrix.dtype), (root[:, None] * right[:rank]).to(matrix.dtype)


def neuron_shares(activations: Tensor, w_out: Tensor) -> Tensor:
    """How much each neuron puts into the output, (d_ff,).

    activations: (n_tokens, d_ff), what W_out receives. w_out: (d_model, d_ff).
    """
    shares: Tensor = activations.norm(dim=0) * w_out.norm(dim=0)
    return shares


def _configs(module: nn.Module) -> list[Any]:
    """The transformers configurations in a model, each once; timm's models have none."""
    found = (getattr(part, "config", None) for part in module.modules())
    return list({id(config): config for config in found if config is not None}.values())


def _keep_layers(config: Any, kept: Sequence[int], depth: int) -> None:
    """Let what a configuration lists by layer, such as `layer_types`, list those that stay."""
    for name, value in list(vars(config).items()):
        if "layer" in name and isinstance(value, list | tuple) and len(value) == depth:
            setattr(config, name, type(value)(value[index] for index in kept))
    if hasattr(config, "stage_names"):
        # What a backbone hands out: its last stage, as transformers has it by itself.
        config.stage_names = config.stage_names[: len(kept) + 1]
        config.set_output_features_output_indices(out_features=None, out_indices=None)
    if hasattr(config, "attention_types"):
        # GPT-Neo makes its list anew from this one, which counts repetitions.
        config.attention_types = [[[kind], 1] for kind in config.attention_layers]


def _refuse_numbered_attention(module: nn.Module, configs: Sequence[Any]) -> None:
    """`PlanError` for attention whose scale depends on its layer's number.

    In memory it would keep its scale; saved and built again, it would get another one.
    """
    scaled = any(getattr(config, "scale_attn_by_inverse_layer_idx", False) for config in configs)
    if scaled or any(hasattr(part, "lambda_init") for part in module.modules()):
        raise PlanError(
            "This model scales attention by the number of the layer, and dropping layers would "
            "renumber the layers that stay. Drop FF sublayers instead."
        )


def _factor(module: nn.Module, sublayer: FFSublayer, rank: int) -> None:
    weights = weights_by_role(module, sublayer)
    for role, path in sublayer.modules.items():
        if role == "norm":
            continue
        weight, bias = weights[f"{role}.weight"], weights.get(f"{role}.bias")
        n_out, n_in = weight.T.shape if sublayer.transposed else weight.shape
        first = _linear(n_in, rank, weight)
        second = _linear(rank, n_out, weight)
        second.bias = bias  # type: ignore[assignment]
        module.set_submodule(
            path, Product(first, second).train(module.get_submodule(path).training)
        )


def _linear(n_in: int, n_out: int, like: Tensor) -> nn.Linear:
    """Without a bias and without drawing random numbers for what is overwritten anyway."""
    made = nn.Linear(n_in, n_out, bias=False, device="meta", dtype=like.dtype)
    return made.to_empty(device=like.device)


def _narrow(module: nn.Module, sublayer: FFSublayer, plan: Narrow) -> FFSublayer:
    entry: Any = module.get_submodule(sublayer.w_in.module)
    out: Any = module.get_submodule(sublayer.w_out.module)
    d_model, width = sublayer.d_model, plan.width
    if sublayer.transposed:
        entry.nf, out.nx = width, width
        shapes = (d_model, width), (width, d_model)
    else:
        entry.out_features, out.in_features = width, width
        shapes = (width, d_model), (d_model, width)
    for matrix, shape in zip((entry, out), shapes, strict=True):
        matrix.weight = _blank(matrix.weight, shape)
    if entry.bias is not None:
        entry.bias = _blank(entry.bias, (width,))
    return replace(sublayer, d_ff=width, n_parameters=plan.parameters_left(sublayer))


def _blank(like: Tensor, shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(like.detach().new_empty(shape), like.requires_grad)
