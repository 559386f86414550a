"""Where the FF sublayers of each known family live.

A family is one declaration: how to recognise the model, how to list its sublayers, and what
else other rooms ask. What is declared here is not believed but proven at every load
(`models.proof`).
"""

from __future__ import annotations

from reprlib import repr as clipped
from typing import TYPE_CHECKING

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.kinds import Kinds
from ffmerge_core.models.families import decoders, encoders, seq2seq, timm, vision
from ffmerge_core.models.families.declare import declare, declare_stack
from ffmerge_core.models.families.discovered import discovered
from ffmerge_core.models.families.examples import pair_example, token_example
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.families.refused import refuse_by_name
from ffmerge_core.tasks.kinds import TASKS

if TYPE_CHECKING:
    from torch import nn

FAMILIES: Kinds[Family] = Kinds(
    "family",
    UnsupportedModelError,
    (
        *timm.FAMILIES,
        *vision.FAMILIES,
        *decoders.FAMILIES,
        *encoders.FAMILIES,
        *seq2seq.FAMILIES,
    ),
    made=Family,
)


def register_family(family: Family) -> Family:
    """Make a family of your own known: `load` opens its models, and every page shows them.

    Register it once a process, before a model of it is opened. What it declares is proven at
    every load.

    Parameters
    ----------
    family : Family
        The declaration.

    Returns
    -------
    Family
        The same.

    Raises
    ------
    UnsupportedModelError
        If its name or one of its classes belongs to a family already.
    DataError
        If it is for a kind of task that is not known.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> helium = fm.Family(
    ...     "transformers Helium",
    ...     "Helium",
    ...     "Decoders that write text, with a gate in every FF sublayer.",
    ...     "Kyutai 2025, Helium 1",
    ...     kind="language-modeling",
    ...     classes=(("transformers", "HeliumForCausalLM"),),
    ...     attention=("self_attn",),
    ...     embeddings=("model.embed_tokens",),
    ...     head=("lm_head",),
    ...     depths={"decoder": "num_hidden_layers"},
    ...     find=lambda model: fm.declare_stack(
    ...         model,
    ...         "decoder",
    ...         "model.layers",
    ...         attention="self_attn",
    ...         w_in="mlp.up_proj",
    ...         w_gate="mlp.gate_proj",
    ...         w_out="mlp.down_proj",
    ...         act="mlp.act_fn",
    ...     ),
    ...     example=fm.token_example,
    ... )
    >>> fm.register_family(helium).name
    'transformers Helium'
    """
    if not isinstance(family, Family):
        raise UnsupportedModelError(f"A Family was expected; {clipped(family)} was found.")
    for kind in (family.kind, *family.kinds.values()):
        TASKS.of(kind)
    if not family.classes or not all(map(_is_class, family.classes)):
        raise UnsupportedModelError(
            f"The classes of {family.name} are {clipped(family.classes)}; pairs of a package and a "
            'class name were expected, such as (("transformers", "LlamaForCausalLM"),).'
        )
    for key in family.classes:
        for other in FAMILIES.values():
            if key in other.classes:
                raise UnsupportedModelError(
                    f"{'.'.join(key)} belongs to the family {other.name} already. Name classes "
                    "that no other family has."
                )
    return FAMILIES.register(family)


def _is_class(key: object) -> bool:
    return isinstance(key, tuple) and len(key) == 2 and all(isinstance(each, str) for each in key)


def family_of(model: nn.Module) -> Family:
    """The family that `model` belongs to: one that is declared, or one discovered for it.

    Raises `UnsupportedModelError` for a model that no merge suits, and where nothing is known of
    what it takes.
    """
    key = (type(model).__module__.split(".", 1)[0], type(model).__name__)
    for family in FAMILIES.values():
        if key in family.classes:
            return family.of_class(key[1])
    refuse_by_name(model)
    if (found := discovered(model)) is not None:
        return found
    labels = ", ".join(dict.fromkeys(family.label for family in FAMILIES.values()))
    raise UnsupportedModelError(
        f"The model is a {'.'.join(key)}, and where its FF sublayers are is not known here. Known "
        f"families: {labels}. Declare yours with fm.register_family."
    )


def known_classes(root: str) -> tuple[str, ...]:
    """The class names of one library ("transformers", "timm") that belong to a family."""
    return tuple(
        name for family in FAMILIES.values() for package, name in family.classes if package == root
    )


__all__ = [
    "FAMILIES",
    "Family",
    "declare",
    "declare_stack",
    "family_of",
    "known_classes",
    "pair_example",
    "refuse_by_name",
    "register_family",
    "token_example",
]
