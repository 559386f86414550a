"""docs/families.md: which models open, read from the records, and how to add one.

python -m ffmerge_core.reporting.families_page > docs/families.md
"""

from __future__ import annotations

from ffmerge_core.models.families import FAMILIES, Family
from ffmerge_core.reporting.kinds_page import row
from ffmerge_core.tasks.kinds import TASKS

_HEAD = """\
# Families

A family says where the FF sublayers of a kind of model stand. Each is one short record, and
nothing else lists them: `python -m ffmerge_core.reporting.families_page` prints this page from
the records. What a record declares is proven at every load. A model opens by its class, whatever
it is called: every checkpoint of a class below opens.
"""

_REST = """\
## What no record knows

A model of another class of transformers or timm opens too if a trial finds its FF sublayers: in a
list of blocks an up and a down projection with an activation between them, perhaps with a gate,
packed or not, perhaps with an inner norm. One is taken a block, the largest. The proof admits it
or names what fails. Such a model is marked "discovered", with the name of its class: by `ffmerge
info`, on the Model page, in the record of a run and in `ffmerge.json` beside saved weights. Its
layers cannot be dropped, because what its configuration calls their number is not known. Where
the name of its class does not say what it is for, it is compared with the original only.

What is compared as its attention is the outermost module of that name. Where attention runs in
shifted windows, as in transformers' Swin, its tokens may stand in another order in every other
block, so do not read much into that one view.

## What is refused by name

- **ALBERT**: all its layers share one FF sublayer already.
- **Mixtures of experts** (Mixtral, Qwen MoE, Switch and others): a router sends each token to a
  few of many FF sublayers, so what two of them do on a token cannot be compared.
- **Models without FF sublayers**, such as Mamba or a ResNet.
- **Classes that are not transformers' or timm's own**: code that comes with a model never runs.
  Give such a model as a module in memory, and declare its family.

## How to add one

One declaration and one row.

1. Print the model (`print(module)`) and find the list of its blocks and, in a block, the
   attention, W_in, W_out, the activation and perhaps the gate.
2. Write a `fm.Family` whose `find` is `fm.declare_stack` with these paths. Which half of a packed
   matrix is the gate is not declared: `packed=True` says that it is one, and the model's own FF
   module tells the half. The activation is whatever module stands at its path.
3. Open a model. If the declaration is wrong, the proof names the sublayer.
4. In the package, the record goes to a file of `ffmerge_core/models/families/`, and a row to
   `tests/models/rows.py`: a tiny configuration. The test takes every row from a folder, as its
   library saves it, through proof, similarity, a merge and both layouts, and then opens the
   portable folder with the library alone: the logits are equal. It drops a layer and compares
   that as well.

[CONTRIBUTING.md](../CONTRIBUTING.md) has a whole example, and `examples/own_family.ipynb` walks
through another.
"""


def page() -> str:
    """The page, in Markdown."""
    lines = [_HEAD]
    for package in dict.fromkeys(family.classes[0][0] for family in FAMILIES.values()):
        lines += [f"## Of {package}\n", row(("Family", "Classes", "What it is", "Task", "Source"))]
        lines.append("|" + "---|" * 5)
        lines += [
            row((family.label, _classes(family), family.help, _tasks(family), family.source))
            for family in FAMILIES.values()
            if family.classes[0][0] == package
        ]
        lines.append("")
    return "\n".join([*lines, _REST])


def _classes(family: Family) -> str:
    return ", ".join(f"`{name}`" for _, name in family.classes)


def _tasks(family: Family) -> str:
    """By the kinds' labels, in the order of its classes."""
    kinds = (family.of_class(name).kind for _, name in family.classes)
    return ", ".join(dict.fromkeys(TASKS[kind].label for kind in kinds))


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
