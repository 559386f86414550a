"""One calibration pass: the right values, from the right data, leaving the model alone."""

from collections.abc import Iterator
from itertools import combinations

import pytest
import torch
from timm.layers import GluMlp, SwiGLUPacked

import ffmerge_core as fm
from ffmerge_core.analysis.similarity import linear_cka
from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.models.structure import weights_by_role
from ffmerge_core.plan import DropFF
from ffmerge_core.tasks.batch import Batch
from tests.conftest import timm_vit
from tests.models.tiny import NoiseTask, marian


def test_shapes_and_the_number_of_tokens(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=100)
    assert feats.n_tokens == 100
    assert feats.shortfall is None
    for sublayer in model.sublayers:
        got = feats[sublayer.name]
        assert got.pre.shape == (100, sublayer.d_ff)
        assert got.output.shape == got.attention.shape == (100, sublayer.d_model)
        assert got.hidden is got.pre


def test_values_are_the_sublayers_own(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=34, seed=3)
    assert model.task is not None
    images = next(iter(model.task.calibration(3, batch_size=2))).args[0]
    sublayer = model.sublayers[1]
    seen: list[torch.Tensor] = []
    entry = model.model.get_submodule(sublayer.w_in.module)
    handle = entry.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    with torch.no_grad():
        model.model(images)
    handle.remove()
    weights = weights_by_role(model.model, sublayer)
    pre = seen[0].reshape(-1, sublayer.d_model) @ weights["in.weight"].T + weights["in.bias"]
    torch.testing.assert_close(feats[sublayer.name].pre, pre.detach(), atol=1e-4, rtol=1e-4)
    out = torch.nn.functional.gelu(pre) @ weights["out.weight"].T + weights["out.bias"]
    torch.testing.assert_close(feats[sublayer.name].output, out.detach(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("packed", [SwiGLUPacked, GluMlp])
def test_of_a_gate_packed_with_it_w_in_alone_is_kept(
    task: fm.ImageClassification, packed: type[torch.nn.Module]
) -> None:
    model = fm.load(timm_vit(mlp_layer=packed), task=task)
    sublayer = model.sublayers[0]
    seen: list[torch.Tensor] = []
    entry = model.model.get_submodule(sublayer.w_in.module)
    handle = entry.register_forward_hook(lambda _, __, output: seen.append(output))
    model.model(next(task.calibration(0)).args[0])
    handle.remove()
    # The gate is the first half of SwiGLUPacked's, and the second of GluMlp's.
    first = sublayer.d_ff if packed is SwiGLUPacked else 0
    pre = fm.calibrate(model)[sublayer.name].pre
    assert torch.equal(pre, seen[0].flatten(0, 1)[:, first : first + sublayer.d_ff])


def test_the_seed_draws_and_repeats(model: fm.LoadedModel) -> None:
    first, again, other = (fm.calibrate(model, tokens=50, seed=s) for s in (0, 0, 1))
    assert torch.equal(first["encoder.0"].pre, again["encoder.0"].pre)
    assert not torch.equal(first["encoder.0"].pre, other["encoder.0"].pre)


def test_fewer_tokens_than_asked_for_are_used_and_said(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=10**6)
    assert feats.n_tokens == 60 * 17
    assert feats.shortfall is not None
    assert "1,000,000" in feats.shortfall
    assert "1,020" in feats.shortfall
    held = feats["encoder.0"].pre.untyped_storage().nbytes()
    assert held == 1020 * model.sublayers[0].d_ff * 4


def test_padding_never_enters(task: fm.ImageClassification) -> None:
    """A task whose second half of every batch is padding gives the first half's numbers."""

    class Padded:
        kind, data, metric = task.kind, task.data, task.metric

        def calibration(self, seed: int, batch_size: int = 64):  # type: ignore[no-untyped-def]
            for batch in task.calibration(seed, batch_size):
                images = batch.args[0]
                rubbish = torch.full_like(images, 9.0)
                mask = torch.zeros(2 * len(images), 17, dtype=torch.bool)
                mask[: len(images)] = True
                yield Batch((torch.cat([images, rubbish]),), masks={"encoder": mask})

    module = timm_vit()
    plain = fm.calibrate(fm.load(module, task=task), tokens=900)
    padded = fm.calibrate(fm.load(module, task=Padded()), tokens=900)  # type: ignore[arg-type]
    for name in ("encoder.0", "encoder.2"):
        torch.testing.assert_close(padded[name].pre, plain[name].pre)
    torch.testing.assert_close(
        padded.correlation("encoder.0", "encoder.1"), plain.correlation("encoder.0", "encoder.1")
    )


def test_not_finite_values_name_the_sublayer(model: fm.LoadedModel) -> None:
    with torch.no_grad():
        weights_by_role(model.model, model.sublayers[1])["out.bias"][0] = float("inf")
    with pytest.raises(DataError, match=r"^encoder\.1 gave values .*Check the weights"):
        fm.calibrate(model, tokens=50)


def test_reading_is_told_and_features_say_of_what_they_are(model: fm.LoadedModel) -> None:
    said: list[tuple[object, ...]] = []
    # 60 images of 17 tokens, 64 images a batch at most.
    feats = fm.calibrate(model, tokens=2000, seed=5, report=lambda *told: said.append(told))
    assert said == [(60 * 17, 2000, "Reading calibration tokens")]
    assert (feats.revision, feats.seed) == (model.revision, 5)
    assert (feats.asked, feats.n_tokens) == (2000, 60 * 17)
    assert feats.sublayers == model.sublayers
    usual = fm.calibrate(model)
    assert (usual.asked, usual.seed) == (10_000, 0)


def test_no_more_is_read_than_asked_for() -> None:
    task = Batches([torch.rand(1, 1, 8, 8) for _ in range(3)])
    model = fm.load(timm_vit(), task=task)  # type: ignore[arg-type]
    assert fm.calibrate(model, tokens=34).n_tokens == 34
    assert task.read == 2
    assert fm.calibrate(model, tokens=35).n_tokens == 35
    assert task.read == 2 + 3


class Batches:
    """A task of images that counts the batches that were read of it."""

    kind = data = metric = revision = examples = "given"

    def __init__(self, images: list[torch.Tensor], mask: torch.Tensor | None = None) -> None:
        self.images, self.read = images, 0
        self.masks = {} if mask is None else {"encoder": mask}

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        for image in self.images:
            self.read += 1
            yield Batch((image,), masks=self.masks)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_two_tokens_are_the_fewest_that_a_split_can_have(n: int) -> None:
    mask = (torch.arange(17) < n)[None]
    model = fm.load(timm_vit(), task=Batches([torch.rand(1, 1, 8, 8)], mask))  # type: ignore[arg-type]
    if n < 2:
        with pytest.raises(DataError, match=r"^The training split gave fewer than 2 tokens"):
            fm.calibrate(model)
    else:
        assert fm.calibrate(model, tokens=2).n_tokens == fm.calibrate(model).n_tokens == 2


def test_what_is_left_out_in_training_is_there(task: fm.ImageClassification) -> None:
    model = fm.load(timm_vit(proj_drop_rate=0.5), task=task)
    calm = fm.calibrate(model, tokens=50)
    model.model.train()
    assert torch.equal(fm.calibrate(model, tokens=50)["encoder.2"].pre, calm["encoder.2"].pre)
    assert model.model.training, "the model is left as it was"


def test_it_stops_within_one_batch_and_leaves_no_hook(model: fm.LoadedModel) -> None:
    calls = []

    def report(step: int, total: int, message: str, values: object = None) -> None:
        calls.append(step)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        fm.calibrate(model, tokens=1000, report=report)
    assert len(calls) == 1
    assert not any(module._forward_hooks for module in model.model.modules())


def test_a_pair_is_matched_once(model: fm.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    feats = fm.calibrate(model, tokens=200)
    there = feats.match("encoder.0", "encoder.1")
    monkeypatch.setattr(fm.Features, "correlation", lambda *_: pytest.fail("computed twice"))
    assert feats.match("encoder.0", "encoder.1") is there
    back = feats.match("encoder.1", "encoder.0")
    assert torch.equal(back.permutation[there.permutation], torch.arange(len(back.permutation)))


def test_a_match_does_not_depend_on_who_asks_first(model: fm.LoadedModel) -> None:
    """With two dead neurons several matches are best; the recipe must still give one."""
    for sublayer in model.sublayers[:2]:
        weights = weights_by_role(model.model, sublayer)
        with torch.no_grad():
            weights["in.weight"][:3] = 0
    first, second = (fm.calibrate(model, tokens=100) for _ in range(2))
    there = first.match("encoder.0", "encoder.1")
    back = second.match("encoder.1", "encoder.0")
    assert torch.equal(torch.argsort(back.permutation), there.permutation)


@pytest.mark.parametrize("of", ["output", "pre", "attention", "aligned"])
@pytest.mark.parametrize("metric", ["cka", "unbiased_cka"])
def test_the_similarity_matrix(model: fm.LoadedModel, of: str, metric: str) -> None:
    feats = fm.calibrate(model, tokens=300)
    table = fm.similarity_matrix(feats, of=of, metric=metric)  # type: ignore[arg-type]
    names = [sublayer.name for sublayer in model.sublayers]
    assert list(table.index) == list(table.columns) == names
    assert (table.to_numpy() == table.to_numpy().T).all()
    assert table.to_numpy().diagonal() == pytest.approx(1, abs=1e-6)
    assert table.to_numpy().max() <= 1 + 1e-6


@pytest.mark.parametrize("of", ["output", "pre", "attention"])
@pytest.mark.parametrize(("metric", "unbiased"), [("cka", False), ("unbiased_cka", True)])
def test_each_view_is_of_its_own_values(
    model: fm.LoadedModel, of: str, metric: str, unbiased: bool
) -> None:
    feats = fm.calibrate(model, tokens=300)
    table = fm.similarity_matrix(feats, of=of, metric=metric)
    one, other = (getattr(feats[name], of) for name in ("encoder.0", "encoder.2"))
    expected = linear_cka(one, other, unbiased=unbiased)
    assert table.loc["encoder.0", "encoder.2"] == pytest.approx(expected, abs=1e-7)


def test_aligned_neurons_are_compared_by_their_matches(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=300)
    steps: list[tuple[object, ...]] = []
    table = fm.similarity_matrix(feats, of="aligned", report=lambda *said: steps.append(said))
    names = [sublayer.name for sublayer in model.sublayers]
    for one, other in combinations(names, 2):
        assert float(table.loc[one, other]) == feats.match(one, other).after < 1
    assert steps == [(done, 3, "Comparing pairs of sublayers") for done in (1, 2, 3)]


def test_outputs_are_compared_by_cka_unless_something_else_is_said(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=4)
    asked = fm.similarity_matrix(feats, of="output", metric="cka")
    assert fm.similarity_matrix(feats).equals(asked)
    assert not fm.similarity_matrix(feats, metric="unbiased_cka").equals(asked)


def test_two_stacks_are_compared_each_by_itself() -> None:
    module = marian()
    feats = fm.calibrate(fm.load(module, task=NoiseTask(module)), tokens=20)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"stacks encoder, decoder; say which: stack="):
        fm.similarity_matrix(feats)
    with pytest.raises(DataError, match=r"no stack 'middle'; this model has encoder, decoder\."):
        fm.similarity_matrix(feats, stack="middle")
    steps: list[tuple[object, ...]] = []
    table = fm.similarity_matrix(feats, stack="decoder", report=lambda *said: steps.append(said))
    assert list(table.index) == ["decoder.0", "decoder.1", "decoder.2"]
    assert steps == [(done, 6, "Comparing pairs of sublayers") for done in range(1, 7)]


def test_unknown_choices_are_refused(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=20)
    with pytest.raises(DataError, match="of is 'ff'"):
        fm.similarity_matrix(feats, of="ff")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="metric is 'cosine'"):
        fm.similarity_matrix(feats, metric="cosine")  # type: ignore[arg-type]
    few = fm.calibrate(model, tokens=3)
    with pytest.raises(DataError, match="4 tokens or more"):
        fm.similarity_matrix(few, metric="unbiased_cka")
    with pytest.raises(DataError, match="no stack 'decoder'"):
        fm.similarity_matrix(feats, stack="decoder")
    with pytest.raises(DataError, match="tokens is 1; a whole number from 2 up"):
        fm.calibrate(model, tokens=1)


def test_a_model_with_no_ff_sublayer_left_is_refused_in_a_sentence(model: fm.LoadedModel) -> None:
    bare = fm.apply(model, DropFF(tuple(sublayer.name for sublayer in model.sublayers)))
    with pytest.raises(DataError, match=r"^No FF sublayer .* Calibrate the original model"):
        fm.calibrate(bare)
