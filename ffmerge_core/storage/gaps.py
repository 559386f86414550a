"""Where a file's tensors and a model's are not the same: what is left out, and what is refused.

A model opens only if everything that it needs is in the file, in its shape. What the file holds
beyond that is refused as well, because it may be a part of the function that the model would then
lack: a bias, a final norm, more blocks, an adapter, the scales of int8 weights. Two kinds are
harmless, and they are left out by name:

- **Buffers of older versions.** Libraries used to write down what they can compute: causal masks,
  positions counted from 0, rotary frequencies. The values show that it is that and nothing learned.
- **A part beside the model**, which hangs at its root, and which config.json does not ask for: a
  pooler, another task's head, the token of a pretraining. What the model computes does not pass
  through it, so leaving it out changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.stored import Types, as_kept, types_by_tensor
from ffmerge_core.models.structure import plain_state
from ffmerge_core.storage.weights import Entries

Shape = tuple[int, ...]

# What hangs at the root of a model and reads only its output.
_BESIDE = frozenset(
    {
        "classifier",
        "cls",
        "head",
        "head_dist",
        "lm_head",
        "multiple_choice_head",
        "pooler",
        "qa_outputs",
        "score",
        "v_head",
    }
)
# What hangs there too and passes the output on to a head: without use only where there is none.
_BEFORE_HEAD = frozenset({"attn_pool", "pre_logits"})
# A head of BERT's pretraining, beside the one that a masked language model keeps.
_SECOND_HEADS = (["cls", "seq_relationship"],)
# What stands for a hidden patch while a model is pretrained.
_PRETRAINING = (["mask_token"], ["embeddings", "mask_token"])


def _is_causal_mask(tensor: Tensor) -> bool:
    if tensor.ndim != 4 or tensor.shape[:2] != (1, 1) or tensor.shape[2] != tensor.shape[3]:
        return False
    return torch.equal(tensor.float(), torch.ones(tensor.shape).tril())


def _is_one_number(tensor: Tensor) -> bool:
    return tensor.numel() == 1


# What the name of a buffer that no model has any more ends in → whether values are such a buffer's.
_OLD_BUFFERS: Mapping[str, Callable[[Tensor], bool]] = {
    "attn.bias": _is_causal_mask,
    "attention.bias": _is_causal_mask,
    "masked_bias": _is_one_number,
    "version": _is_one_number,
}
# Half precision rounds by 2⁻⁸.
_NEAR = 1e-2


def left_out(
    module: nn.Module, unexpected: Iterable[str], value: Callable[[str], Tensor | None]
) -> tuple[str, ...]:
    """The names among `unexpected` that are harmless, in order.

    value: a name → what the file holds by it.
    """
    return tuple(
        name
        for name in sorted(unexpected)
        if _is_beside(module, name) or _is_computed(module, name, value(name))
    )


def named_like_buffers(module: nn.Module, names: Iterable[str]) -> set[str]:
    """The names of a file that may be buffers of older versions: libraries drop them unsaid."""
    known = module.state_dict().keys()
    leaves = _by_leaf(module)
    return {
        name
        for name in names
        if name not in known and (_old_buffer(name) is not None or _leaf(name) in leaves)
    }


def refuse_gaps(folder: Path, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """`SourceError` if the file's names are not exactly the model's."""
    for what, keys in (("lack", sorted(missing)), ("hold unknown", sorted(unexpected))):
        if keys:
            raise SourceError(
                f"The weights in {folder} {what} {some(keys)}: they belong to another model than "
                "config.json describes."
            )


def refuse_shapes(folder: Path, wrong: Iterable[tuple[str, Shape, Shape]]) -> None:
    """`SourceError` for tensors of another shape; wrong: (name, in the file, by config.json)."""
    found = sorted((name, tuple(here), tuple(there)) for name, here, there in wrong)
    if found:
        said = [f"{name} has shape {here} in the file and {there}" for name, here, there in found]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SourceError(
            f"The weights in {folder} do not fit config.json: {said[0]} by config.json{more}. One "
            "of the two is another model's; put those that were saved together side by side."
        )


def read_into(module: nn.Module, folder: Path, entries: Entries) -> Types:
    """Fill a module, in place, with tensors of exactly its names, shapes and kinds.

    A tied one may stand under any of its names. The types that the tensors are kept in, where they
    are others than the module's. Raises `SourceError`.
    """
    places = plain_state(module)
    both = [(name, entries[name], places[name]) for name in entries.keys() & places.keys()]
    refuse_shapes(
        folder,
        (
            (name, entry.shape, here.shape)
            for name, entry, here in both
            if entry.shape != here.shape
        ),
    )
    for name, entry, here in both:
        if entry.dtype.is_floating_point != here.is_floating_point():
            raise SourceError(
                f"The weights in {folder} do not fit config.json: {name} holds {entry.dtype} in "
                f"the file and {here.dtype} was expected. Save the model again."
            )
    filled = Counter(id(here) for _, _, here in both)
    missing = [name for name, place in places.items() if id(place) not in filled]
    # What was apart when it was written is not one here.
    parted = {name for name, _, here in both if filled[id(here)] > 1}
    refuse_gaps(folder, missing, (entries.keys() - places.keys()) | parted)
    with torch.no_grad():
        for _, entry, here in both:
            here.copy_(entry.read())
    kept = {id(here): entry.dtype for _, entry, here in both}
    return {
        name: kept[id(place)]
        for name, place in places.items()
        if place.is_floating_point() and kept[id(place)] != place.dtype
    }


def write_once(module: nn.Module, path: Path, types: Types) -> None:
    """The state of a module as a safetensors file, a tied tensor once, by its first name.

    types: that its tensors are kept in.
    """
    from safetensors.torch import save_file

    first: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in state_to_write(module, types).items():
        first.setdefault(id(tensor), (name, tensor.contiguous()))
    save_file(dict(first.values()), path, {"format": "pt"})


def state_to_write(module: nn.Module, types: Types) -> dict[str, Tensor]:
    """The state by name: what is tied is one tensor, and no two tensors lie in one memory.

    Whoever wrote `one.data = other.data` has two parameters there, which a file holds apart.
    types: that its tensors are kept in.
    """
    kept = types_by_tensor(module, types)
    made: dict[int, Tensor] = {}
    memory: set[int] = set()
    state = {}
    for name, tensor in plain_state(module).items():
        if id(tensor) not in made:
            plain = as_kept(tensor.detach(), kept.get(id(tensor)))
            pointer = plain.untyped_storage().data_ptr()
            made[id(tensor)] = plain.clone() if pointer in memory else plain
            memory.add(pointer)
        state[name] = made[id(tensor)]
    return state


def _is_beside(module: nn.Module, name: str) -> bool:
    """Whether what a name belongs to hangs at the root, where the model has nothing."""
    parts = name.split(".")
    # transformers' models with a head hold the model without one under a name of its own.
    if parts[0] == getattr(module, "base_model_prefix", None) and hasattr(module, parts[0]):
        module, parts = getattr(module, parts[0]), parts[1:]
    if parts in _PRETRAINING or (parts[:2] in _SECOND_HEADS and not _has_at(module, parts[:2])):
        return True
    beside = _BESIDE if _has(module, "head") else _BESIDE | _BEFORE_HEAD
    return parts[0] in beside and not _has(module, parts[0])


def _has_at(module: nn.Module, parts: list[str]) -> bool:
    return len(parts) == 2 and _has(getattr(module, parts[0], module), parts[1])


def _has(module: nn.Module, name: str) -> bool:
    """timm puts an Identity where a model has no head."""
    part = getattr(module, name, None)
    return part is not None and type(part) is not nn.Identity


def _is_computed(module: nn.Module, name: str, tensor: Tensor | None) -> bool:
    """Whether it is an old version's buffer, or has the values of one that the model computes."""
    if tensor is None:
        return False
    if (fits := _old_buffer(name)) is not None and fits(tensor):
        return True
    return any(
        buffer.shape == tensor.shape
        and torch.allclose(buffer.double(), tensor.double(), rtol=_NEAR, atol=0)
        for buffer in _by_leaf(module).get(_leaf(name), ())
    )


def _old_buffer(name: str) -> Callable[[Tensor], bool] | None:
    fits = (fit for ending, fit in _OLD_BUFFERS.items() if f".{name}".endswith(f".{ending}"))
    return next(fits, None)


def _by_leaf(module: nn.Module) -> dict[str, list[Tensor]]:
    """The buffers of a model that it never saves, by the last part of their names."""
    saved = module.state_dict().keys()
    found: dict[str, list[Tensor]] = {}
    for name, buffer in module.named_buffers():
        if name not in saved:
            found.setdefault(_leaf(name), []).append(buffer)
    return found


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def some(names: list[str]) -> str:
    """Three names at most, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
