"""The layouts that a model is saved in, a record each."""

from __future__ import annotations

from dataclasses import dataclass

from ffmerge_core.errors import StorageError
from ffmerge_core.kinds import Kind, Kinds, Work
from ffmerge_core.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Layout(Kind):
    """A way to write a model to a folder.

    write: (model, draft folder) → the number of parameters written. read: (folder, record) → the
    model as it lies there. why_not: (plan or None, quantization or None) → why such a model is
    not written in it, in a sentence, or None. copies: whether tied weights are written out.
    """

    write: Work
    read: Work
    why_not: Work = lambda plan, quantize: None
    copies: bool = False


def why_not_portable(plan: Plan | None, quantize: str | None) -> str | None:
    """Plain transformers and timm must be able to build what is left, and to open its weights."""
    if quantize is not None:
        return (
            f"Plain transformers and timm cannot open {quantize} weights, because they come "
            f"without torchao. Save the model in the compact layout, or save it without {quantize} "
            "weights."
        )
    if plan is not None and not plan.record.portable:
        return (
            f"{plan.record.label} leaves FF sublayers that plain transformers and timm cannot "
            "build. Save it in the compact layout."
        )
    return None


LAYOUTS: Kinds[Layout] = Kinds(
    "layout",
    StorageError,
    (
        Layout(
            name="compact",
            label="Compact",
            help="Keeps one copy of each merged sublayer, so it makes the smallest folder. It "
            "opens here, on the command line and in Python with `ffmerge_core.load`.",
            write="ffmerge_core.storage.compact:write",
            read="ffmerge_core.storage.compact:read",
        ),
        Layout(
            name="portable",
            label="Portable",
            help="Writes every copy out, so it is as large as the original. Plain transformers or "
            "timm load it without this program.",
            write="ffmerge_core.storage.portable:write",
            read="ffmerge_core.storage.portable:read",
            why_not=why_not_portable,
            copies=True,
        ),
    ),
)
