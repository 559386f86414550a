"""What a reduction takes away, counted by hand, and up to where it may go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import (
    METHODS,
    DropFF,
    DropLayers,
    Factor,
    MergePlan,
    Narrow,
    Plan,
    Reduction,
    rivals,
    short,
    stack_of,
)


@dataclass(frozen=True)
class Stub:
    """A plain sublayer of 32 neurons, 8 wide: two matrices and two biases."""

    name: str
    d_model: int = 8
    d_ff: int = 32
    n_parameters: int = 32 * 8 + 32 + 8 * 32 + 8
    biases: tuple[bool, bool] = (True, True)
    gated: bool = False
    norm: str | None = None
    alone: str | None = None
    stays: str = ""
    matrices: tuple[tuple[int, int], ...] = ((32, 8), (8, 32))
    shape: tuple[object, ...] = ()
    tied: tuple[str, ...] = ()

    @property
    def stack(self) -> str:
        return stack_of(self.name)

    @property
    def block(self) -> str:
        return f"blocks of {self.name}"


ENCODER = [Stub(f"encoder.{index}") for index in range(3)]
DECODER = [Stub(f"decoder.{index}") for index in range(2)]
TWO = ("encoder.0", "encoder.2")


def test_a_factor_saves_what_two_thin_matrices_save() -> None:
    assert Factor(TWO, rank=3).parameters_removed(ENCODER) == 2 * 2 * (256 - 3 * (32 + 8))
    assert Factor(TWO, rank=3).n_removed == 0
    gate = Stub("encoder.3", matrices=((64, 8), (8, 32)))
    assert Factor((gate.name,), rank=2).parameters_removed([gate]) == 512 - 2 * 72 + 256 - 2 * 40


@pytest.mark.parametrize(
    ("matrices", "most"),
    [
        (((32, 8),), 6),
        (((4, 4),), 1),  # rank 2 is as big
        (((12, 6),), 3),  # rank 4 is as big
        (((3, 2),), 1),  # saves one parameter
        (((3, 1),), 0),
        (((32, 8), (4, 4)), 1),
        (((4, 4), (32, 8)), 1),
    ],
)
def test_the_highest_rank_is_the_last_that_makes_every_matrix_smaller(
    matrices: tuple[tuple[int, int], ...], most: int
) -> None:
    sublayer = Stub("encoder.0", matrices=matrices)
    assert Factor.most(sublayer) == most
    assert Factor.sizes([*ENCODER, sublayer]) == range(1, most + 1)


@pytest.mark.parametrize(
    ("biases", "n_parameters", "a_neuron"),
    [((True, True), 552, 17), ((True, False), 544, 17), ((False, True), 520, 16)],
)
def test_a_narrowed_sublayer_loses_a_row_a_column_and_an_entry_a_neuron(
    biases: tuple[bool, bool], n_parameters: int, a_neuron: int
) -> None:
    sublayer = replace(ENCODER[1], biases=biases, n_parameters=n_parameters)
    here = [ENCODER[0], sublayer, ENCODER[2]]
    plan = Narrow(("encoder.1",), width=20)
    assert repr(plan.parameters_left(sublayer)) == str(n_parameters - 12 * a_neuron)
    assert plan.parameters_removed(here) == 12 * a_neuron
    assert Narrow(TWO, width=20).parameters_removed(here) == 2 * 12 * 17
    small = Stub("encoder.0", d_ff=4, n_parameters=4 * 17 + 8)
    assert Narrow(("encoder.0",), width=3).parameters_left(small) == 3 * 17 + 8


def test_widths_stop_below_the_narrowest_and_are_none_with_a_gate_or_an_inner_norm() -> None:
    assert Narrow.sizes([*ENCODER, Stub("encoder.3", d_ff=16)]) == range(1, 16)
    for unfit in (Stub("encoder.3", gated=True), Stub("encoder.3", norm="norm")):
        assert list(Narrow.sizes([*ENCODER, unfit])) == []


def test_what_is_dropped_is_what_it_holds() -> None:
    held = {"blocks of encoder.0": 700, "blocks of encoder.2": 30}
    assert DropLayers(TWO).parameters_removed(ENCODER, held.__getitem__) == 730
    assert DropFF(TWO).parameters_removed(ENCODER) == 2 * 552
    assert DropLayers(TWO).n_removed == DropFF(TWO).n_removed == 2


@pytest.mark.parametrize(
    "plan",
    [
        DropLayers(("encoder.0", "encoder.1", "decoder.1")),
        DropFF(("encoder.0", "encoder.1", "encoder.2")),
        Factor(TWO, rank=1),
        Factor(TWO, rank=6),
        Narrow(TWO, width=1),
        Narrow(TWO, width=31),
    ],
)
def test_up_to_its_ends_a_reduction_is_taken(plan: Plan) -> None:
    plan.check([*ENCODER, *DECODER])


@pytest.mark.parametrize(
    ("plan", "change", "reason"),
    [
        (
            DropLayers(("decoder.0", "decoder.1", "encoder.0")),
            {},
            r"^Every layer of decoder would be dropped",
        ),
        (
            DropLayers(TWO),
            {"alone": "the positions"},
            r"^The layer of encoder\.0 cannot be dropped: it alone holds the positions.*of encoder",
        ),
        (DropFF(("encoder.9",)), {}, r"^encoder\.9 is not an FF sublayer"),
        (DropFF(("encoder.0", "encoder.0")), {}, r"^encoder\.0 is named twice"),
        (
            Factor(TWO, rank=7),
            {},
            r"^Rank 7 saves nothing in encoder\.0, .*32 × 8 and 8 × 32:.*Rank 6 is the highest",
        ),
        (Narrow(TWO, width=32), {}, r"^encoder\.0 has 32 neurons, .*32 saves.*Keep 31 or fewer"),
        (
            Narrow(TWO, width=3),
            {"gated": True},
            r"^encoder\.0 has a gate .* Narrow plain sublayers",
        ),
        (Narrow(TWO, width=3), {"norm": "norm"}, r"^encoder\.0 has a gate or an inner norm"),
    ],
)
def test_beyond_them_it_is_refused_with_what_can_be(
    plan: Plan, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PlanError, match=reason):
        plan.check([replace(ENCODER[0], **change), *ENCODER[1:], *DECODER])


@pytest.mark.parametrize(("kind", "what"), [(Factor, "rank"), (Narrow, "width")])
def test_a_size_is_a_whole_number_from_one(kind: type[Any], what: str) -> None:
    for size in (0, True, 2.0):
        with pytest.raises(PlanError, match=f"^{what} is {size}; a whole number from 1 up"):
            kind(TWO, size)
    assert kind.of_size(list(TWO), 1) == kind(TWO, **{what: 1})


def test_a_reduction_names_sublayers_and_nothing_else() -> None:
    assert DropLayers.over(list(TWO)) == DropLayers(TWO)
    assert hash(DropLayers(list(TWO))) == hash(DropLayers(TWO))  # type: ignore[arg-type]
    for kind, what in ((DropLayers, "layers"), (DropFF, "sublayers")):
        assert issubclass(kind, Reduction)
        with pytest.raises(PlanError, match=f"^{what} is 'encoder.0'; it must be a list of names"):
            kind("encoder.0")  # type: ignore[arg-type]
        with pytest.raises(PlanError, match=f"^{what} is .*; it must be a list of names"):
            kind(("encoder.0", 1))  # type: ignore[arg-type]
        with pytest.raises(PlanError, match=f"^{what} names none"):
            kind(())


def test_a_plan_is_compared_with_all_methods_but_its_own() -> None:
    assert rivals(MergePlan((), "copy")) == tuple(name for name in METHODS if name != "copy")
    # Without groups there is nothing to permute.
    unaligned = tuple(name for name in METHODS if name != "permute")
    assert rivals(1000) == unaligned
    assert rivals(DropFF(TWO)) == tuple(name for name in unaligned if name != "FF drop")


def test_a_stack_may_have_a_dot_in_its_name() -> None:
    names = ("text.encoder.3", "text.encoder.4", "text.encoder.5", "image.7")
    assert short(names) == "text.encoder 3–5 and image 7"
    assert stack_of(names[0]) == "text.encoder"
