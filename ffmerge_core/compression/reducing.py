"""Carrying out the plans that reduce without sharing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ffmerge_core.analysis.features import Features
from ffmerge_core.errors import PlanError, ProofError
from ffmerge_core.kinds import resolve
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.reductions import lay_out
from ffmerge_core.models.structure import shared_copy
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import Plan, Reduce
from ffmerge_core.progress import Report, silent
from ffmerge_core.storage.folders import CONFIG


def reduce(
    model: LoadedModel, plan: Plan, feats: Features | None, report: Report = silent
) -> LoadedModel:
    """A new model, reduced by a checked plan. What was not reduced is shared with `model`."""
    assert isinstance(plan.record, Reduce)
    expected = parameters_left(model, plan)
    reduced = shared_copy(model.model)
    left = lay_out(reduced, model.family, model.sublayers, plan)
    members = [sublayer for sublayer in model.sublayers if sublayer.name in plan.names]
    for done, sublayer in enumerate(members):
        report(done, len(members), f"Reducing {sublayer.name}")
        if plan.record.fill is not None:
            resolve(plan.record.fill)(model.model, reduced, sublayer, plan, feats)
    report(len(members), len(members), "Reduced")
    result = replace(
        model,
        model=reduced,
        sublayers=left,
        plan=plan,
        settings=_settings(model, reduced, plan),
    )
    if result.n_parameters != expected:
        raise ProofError(
            f"The reduced model holds {result.n_parameters:,} parameters where {expected:,} were "
            "expected; some of its weights were tied before."
        )
    return result


def parameters_left(model: LoadedModel, plan: Plan) -> int:
    """How many parameters `model` holds after a plan that fits it; nothing is carried out."""

    names = model.model.named_parameters(remove_duplicate=False)
    holders = Counter(id(parameter) for _, parameter in names)

    def owned(path: str) -> int:
        """Parameters that go with a module: one that others hold too, with the last of them."""
        gone = 0
        module = model.model.get_submodule(path)
        for _, parameter in module.named_parameters(remove_duplicate=False):
            holders[id(parameter)] -= 1
            gone += 0 if holders[id(parameter)] else parameter.numel()
        return gone

    return model.n_parameters - plan.parameters_removed(model.sublayers, owned)


def fits(plan: Plan, sublayers: Sequence[FFSublayer]) -> bool:
    """Whether a plan can be carried out on a model of these sublayers."""
    try:
        plan.check(sublayers)
    except PlanError:
        return False
    return True


def _settings(model: LoadedModel, module: nn.Module, plan: Plan) -> Mapping[str, Mapping[str, Any]]:
    """What timm is told to build; transformers' models carry their own configuration."""
    config = model.settings.get(CONFIG)
    # What timm can build anew has blocks that are whole, and fewer of them.
    if config is None or not plan.record.portable:
        return model.settings
    lists = {each.stack: each.block.rpartition(".")[0] for each in model.sublayers}
    depths = {
        model.family.depths[stack]: sum(1 for _ in module.get_submodule(path).children())
        for stack, path in lists.items()
    }
    arguments = {**(config.get("model_args") or {}), **depths}
    return {**model.settings, CONFIG: {**config, "model_args": arguments}}
