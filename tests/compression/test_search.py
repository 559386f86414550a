"""Windows, their scores, and what beside them: each against the steps done by hand."""

from __future__ import annotations

import gc
import weakref
from itertools import combinations

import numpy as np
import pytest
from torch import nn

import ffmerge_core as fm
from ffmerge_core.compression import search
from ffmerge_core.compression.reducing import parameters_left
from ffmerge_core.compression.search import Window, windows
from ffmerge_core.errors import Cancelled, PlanError
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.plan import DropLayers, MergePlan
from tests.conftest import noise_task, timm_vit
from tests.models.tiny import marian

DEPTH = 5


@pytest.fixture(scope="module")
def model() -> fm.LoadedModel:
    return fm.load(timm_vit(depth=DEPTH), task=noise_task())


@pytest.fixture(scope="module")
def feats(model: fm.LoadedModel) -> fm.Features:
    return fm.calibrate(model, tokens=300)


def encoder(*indices: int) -> tuple[str, ...]:
    return tuple(f"encoder.{index}" for index in indices)


def test_windows_slide_over_a_stack(model: fm.LoadedModel) -> None:
    assert windows(model.sublayers, 2) == [
        Window(start, (encoder(start, start + 1, start + 2),)) for start in range(3)
    ]
    assert len(windows(model.sublayers, 1)) == DEPTH - 1
    assert windows(model.sublayers, DEPTH - 1) == [Window(0, (encoder(*range(DEPTH)),))]


def test_both_stacks_give_the_same_width_from_the_same_layer() -> None:
    sublayers = fm.load(marian()).sublayers
    assert windows(sublayers, 2, "both") == [
        Window(0, (("encoder.0", "encoder.1"), ("decoder.0", "decoder.1"))),
        Window(1, (("encoder.1", "encoder.2"), ("decoder.1", "decoder.2"))),
    ]
    assert [window.groups for window in windows(sublayers, 2, "decoder")] == [
        (("decoder.0", "decoder.1", "decoder.2"),)
    ]


@pytest.mark.parametrize(
    ("remove", "stack", "said"),
    [
        (0, "encoder", "0 FF sublayers cannot be removed from the 3 of encoder; 1 to 2 can be."),
        (3, "decoder", "3 FF sublayers cannot be removed from the 3 of decoder; 1 to 2 can be."),
        (3, "both", "2 to 4 can be, an even number, half of them from each."),
        (6, "both", "the 3 of encoder and the 3 of decoder; 2 to 4"),
        (1, None, "encoder and decoder; say which to search: encoder, decoder or both."),
        (1, "pooler", "There is no stack 'pooler'; this model has encoder and decoder."),
    ],
)
def test_what_cannot_be_met_is_said_with_what_can(
    remove: int, stack: str | None, said: str
) -> None:
    with pytest.raises(PlanError) as refused:
        windows(fm.load(marian()).sublayers, remove, stack)
    assert said in str(refused.value)


def test_a_stack_of_one_has_no_window() -> None:
    with pytest.raises(PlanError, match="only one FF sublayer, and a merge needs two or more"):
        windows(fm.load(timm_vit(depth=1)).sublayers, 1)


def test_every_row_is_the_merge_done_by_hand(model: fm.LoadedModel, feats: fm.Features) -> None:
    before, weights = fm.evaluate(model), fingerprint(model.model)
    methods = ("permute", "vanilla", "copy", "random")
    table = fm.search_windows(model, feats, 2, methods=methods, anchors=["middle"])
    assert fingerprint(model.model) == weights, "the original is untouched"
    assert len(table) == 4 * 3
    assert table["loss"].is_monotonic_increasing
    assert set(zip(table["method"], table["start"], strict=True)) == {
        (method, start) for method in methods for start in range(3)
    }
    cka = fm.similarity_matrix(feats)
    for row in table.to_dict("records"):
        group = encoder(*range(row["start"], row["start"] + 3))
        assert row["plan"] == MergePlan((group,), row["method"], "middle")
        assert row["layers"] == f"encoder {row['start']}–{row['start'] + 2}"
        merged = fm.apply(model, row["plan"], feats)
        score = fm.evaluate(merged)
        change = score.versus(before)
        assert (row["accuracy"], row["loss"]) == (score.value, score.loss)
        assert (row["accuracy low"], row["accuracy high"]) == score.interval
        assert (row["loss low"], row["loss high"]) == score.loss_interval
        assert row["loss change"] == change.loss
        assert (row["loss change low"], row["loss change high"]) == change.loss_interval
        assert row["n_parameters"] == merged.n_parameters
        pairs = list(combinations(group, 2))
        assert row["mean CKA"] == pytest.approx(np.mean([cka.loc[pair] for pair in pairs]))
        assert row["mean aligned correlation"] == pytest.approx(
            np.mean([feats.match(*pair).after for pair in pairs])
        )


def test_anchors_are_tried_together_where_they_matter(
    model: fm.LoadedModel, feats: fm.Features
) -> None:
    methods = ("permute", "vanilla", "copy", "random", "layer drop")
    table = fm.search_windows(model, feats, 2, methods=methods, anchors=["last", "first", "middle"])
    assert set(zip(table["method"], table["anchor"], table["start"], strict=True)) == {
        *((method, anchor, start) for method in ("permute", "copy")
          for anchor in ("first", "middle", "last") for start in range(3)),
        *((method, "", start) for method in ("vanilla", "random") for start in range(3)),
        *(("layer drop", "", start) for start in table["start"]
          if start in set(table["start"][table["method"] == "layer drop"])),
    }  # fmt: skip
    assert not table.duplicated(["method", "anchor", "start"]).any()
    for anchor in ("first", "middle", "last"):
        alone = fm.search_windows(model, feats, 2, methods=methods, anchors=[anchor])
        mine = table[table["anchor"].isin([anchor, ""])].reset_index(drop=True)
        figures = [name for name in alone.columns if name != "plan"]
        assert mine[figures].equals(alone[figures])
        plans = [plan for plan in mine["plan"] if not isinstance(plan, DropLayers)]
        assert all(plan.anchor == anchor for plan in plans if plan.uses_anchor)


def test_the_middle_of_two_is_the_first_and_is_not_tried_again(
    model: fm.LoadedModel, feats: fm.Features
) -> None:
    table = fm.search_windows(model, feats, 1, anchors=["middle", "last", "first", "first"])
    assert sorted(table["anchor"]) == ["first"] * 4 + ["last"] * 4
    alone = fm.search_windows(model, feats, 1, anchors=["middle"])
    assert set(alone["anchor"]) == {"middle"}
    firsts = table[table["anchor"] == "first"]
    assert list(firsts["loss"]) == list(alone["loss"])


def test_layers_are_dropped_to_the_nearest_number_of_parameters(
    model: fm.LoadedModel, feats: fm.Features
) -> None:
    table = fm.search_windows(model, feats, 3, methods=("permute", "layer drop"))
    merges, drops = (table[table["method"] == name] for name in ("permute", "layer drop"))
    goal = merges["n_parameters"].iloc[0]
    sizes = {
        size: abs(parameters_left(model, DropLayers(encoder(*range(size)))) - goal)
        for size in range(1, DEPTH)
    }
    nearest = min(sizes, key=sizes.__getitem__)
    assert sorted(drops["start"]) == list(range(DEPTH - nearest + 1))
    for row in drops.to_dict("records"):
        plan = DropLayers(encoder(*range(row["start"], row["start"] + nearest)))
        assert row["plan"] == plan
        dropped = fm.apply(model, plan)
        assert row["n_parameters"] == dropped.n_parameters
        assert row["loss"] == fm.evaluate(dropped).loss
        assert np.isnan(row["mean CKA"])
        assert np.isnan(row["mean aligned correlation"])


def test_what_is_at_hand_is_not_measured_again(
    model: fm.LoadedModel, feats: fm.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    cka = {"encoder": fm.similarity_matrix(feats)}
    expected = fm.search_windows(model, feats, 3)
    scored: list[nn.Module] = []
    monkeypatch.setattr(search, "similarity_matrix", None)
    monkeypatch.setattr(
        search, "evaluate", lambda each, report: scored.append(each.model) or fm.evaluate(each)
    )
    found = fm.search_windows(model, feats, 3, before=fm.evaluate(model), similarity=cka)
    assert found.equals(expected)
    assert model.model not in scored


def test_one_merged_model_is_in_memory_at_a_time(
    model: fm.LoadedModel, feats: fm.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[nn.Module]] = []

    def counted(*arguments: object) -> fm.LoadedModel:
        gc.collect()
        assert not [each for each in made if each() is not None]
        merged = fm.apply(*arguments)  # type: ignore[arg-type]
        made.append(weakref.ref(merged.model))
        return merged

    monkeypatch.setattr(search, "apply", counted)
    fm.search_windows(model, feats, 1)
    assert len(made) == DEPTH - 1


def test_progress_rises_to_its_end_and_a_cancel_is_heard(
    model: fm.LoadedModel, feats: fm.Features
) -> None:
    told: list[tuple[int, int, str]] = []

    def report(step: int, total: int, message: str, values: object = None) -> None:
        told.append((step, total, message))
        if cancelled and message.startswith("Scoring permute, encoder 1"):
            raise Cancelled("Cancelled.")

    cancelled = False
    fm.search_windows(model, feats, 2, report=report)
    assert len({total for _, total, _ in told}) == 1
    steps = [step for step, _, _ in told]
    assert steps == sorted(steps)
    assert steps[-1] == told[-1][1]
    told.clear()
    cancelled = True
    with pytest.raises(Cancelled):
        fm.search_windows(model, feats, 2, report=report)
    assert [each for each in told if "encoder 1–3" in each[2] and "Scoring" in each[2]]
    assert not [each for each in told if "encoder 2–4" in each[2] and "Scoring" in each[2]]


def test_methods_that_are_unknown_or_none_are_refused(
    model: fm.LoadedModel, feats: fm.Features
) -> None:
    with pytest.raises(PlanError, match=r"it must be one of permute, .*layer drop"):
        fm.search_windows(model, feats, 1, methods=("best",))  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="name one or more of permute"):
        fm.search_windows(model, feats, 1, methods=())
    with pytest.raises(PlanError, match=r"methods is 'permute'; it must be a list.* \['permute'\]"):
        fm.search_windows(model, feats, 1, methods="permute")
    with pytest.raises(PlanError, match="anchor is 'best'; it must be one of first, middle, last"):
        fm.search_windows(model, feats, 1, anchors=["best"])  # type: ignore[list-item]
    with pytest.raises(PlanError, match="No anchor was named"):
        fm.search_windows(model, feats, 1, anchors=())
