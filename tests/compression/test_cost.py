"""What work and models cost: how it is measured, never how long it takes here."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core import demos
from ffmerge_core.compression.cost import latencies, measured
from ffmerge_core.errors import Cancelled
from ffmerge_core.tasks.batch import Batch


class Counted(nn.Module):
    """Writes down that it ran, in which mode, and takes its time at first."""

    def __init__(self, name: str, ran: list[tuple[str, bool, bool]], slow: int = 0) -> None:
        super().__init__()
        self.name, self.ran, self.slow = name, ran, slow

    def forward(self, *_: object, **__: object) -> None:
        self.ran.append((self.name, self.training, torch.is_inference_mode_enabled()))
        if sum(name == self.name for name, *_ in self.ran) <= self.slow:
            time.sleep(0.3)


class OneBatch:
    examples = "images"

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def inputs(self, split: str) -> Iterator[Batch]:
        assert split == "validation"
        yield self.batch
        raise AssertionError("one batch is enough")


IMAGES: Any = OneBatch(Batch((torch.zeros(7, 1, 8, 8),)))


def test_models_take_turns_after_a_pass_that_is_not_counted() -> None:
    ran: list[tuple[str, bool, bool]] = []
    one, other = Counted("one", ran, slow=1).train(), Counted("other", ran).eval()
    first, second = latencies((one, other), IMAGES)
    assert [name for name, *_ in ran] == ["one", "other"] * 10
    assert all(not training and inference for _, training, inference in ran)
    assert (one.training, other.training) == (True, False)
    assert 0 < first.seconds < 0.3, "the slow first pass counted"
    assert second.seconds > 0
    assert first.per_second * first.seconds == pytest.approx(7)
    assert first.unit == second.unit == "images"


def test_slow_models_run_fewer_times_and_one_counts_at_least() -> None:
    ran: list[tuple[str, bool, bool]] = []
    both = Counted("one", ran, slow=99), Counted("other", ran, slow=99)
    assert all(latency.seconds >= 0.3 for latency in latencies(both, IMAGES))
    assert 4 <= len(ran) < 20


def test_tokens_are_counted_without_padding() -> None:
    masks = {
        "encoder": torch.tensor([[True, True, False]]),
        "decoder": torch.tensor([[True, True, True]]),
    }
    task: Any = OneBatch(Batch(kwargs={"input_ids": torch.zeros(1, 3)}, masks=masks))
    (latency,) = latencies((Counted("one", []),), task)
    assert latency.unit == "tokens"
    assert latency.per_second * latency.seconds == pytest.approx(5)


def test_cancel_stops_the_timing_between_rounds() -> None:
    ran: list[tuple[str, bool, bool]] = []
    steps: list[float] = []

    def stop(step: int, total: int, message: str, values: object = None) -> None:
        steps.append(step / total)
        if len(steps) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        latencies((Counted("one", ran),), IMAGES, stop)
    assert len(ran) == 2
    assert steps == sorted(steps)


def test_memory_is_told_by_step() -> None:
    with measured() as cost:
        with cost.step("small"):
            pass
        with cost.step("large"):
            held = torch.ones(16_000_000)  # 64 MB, written to
        del held
        with cost.step("small"):
            pass
    assert cost.seconds.keys() == cost.memory.keys() == {"small", "large"}
    assert cost.memory["large"] >= cost.memory["small"] > 0
    assert cost.peak_memory >= max(cost.memory.values())


@pytest.mark.parametrize("name", demos.names())
def test_a_demo_is_timed_in_its_own_unit(name: str) -> None:
    model = fm.load(f"demo:{name}")
    small = fm.quantize(model)
    for latency in latencies((model.model, small.model), model.require_task()):
        assert latency.seconds > 0
        assert latency.unit == ("images" if name == "vit-digits" else "tokens")


def test_a_run_is_timed_and_quantised(model: fm.LoadedModel) -> None:
    plan = fm.MergePlan((("encoder.0", "encoder.1"),))
    wanted = fm.Recipe(model.source, plan, tokens=200)
    plain = fm.run(wanted, model=model)
    small = fm.run(fm.Recipe.from_dict(replace(wanted, quantize="int8").to_dict()), model=model)
    whole, record = plain.record(), small.record()
    assert whole["quantized"] is None
    assert "quantize" not in plain.seconds
    assert "quantize" in small.seconds
    assert small.merged.quantized == "int8"
    for side in ("original", "merged"):
        assert record["latency"][side].keys() == {"seconds", "per_second", "unit"}
        assert record[side]["n_parameters"] == whole[side]["n_parameters"]
    assert small.seconds.keys() == record["memory"].keys()
    assert record["original"]["weight_bytes"] == whole["original"]["weight_bytes"]
    assert 0 < record["quantized"] < record["merged"]["weight_bytes"]
    saved = whole["merged"]["weight_bytes"] - record["merged"]["weight_bytes"]
    assert saved > 2 * record["quantized"]
    assert small.after.loss != plain.after.loss
    assert small.before.loss == plain.before.loss
    again = fm.run(small.recipe, model=model, before=small.before)
    assert again.after.loss == small.after.loss
    assert again.recipe.quantize == "int8"
