from ffmerge_core.reporting.scores import figures_of
from ffmerge_core.tasks.metrics import metric

PLAIN = {
    "metric": "accuracy", "value": 0.9, "interval": [0.8, 1.0], "n": 10,
    "loss": 0.3, "loss_interval": [0.2, 0.4],
}  # fmt: skip


def test_a_score_of_the_first_version_has_its_metric_and_its_loss():
    figures = figures_of(PLAIN)
    assert list(figures) == ["accuracy", "loss"]
    assert figures["accuracy"] == (0.9, 0.8, 1.0)
    assert figures["loss"] == (0.3, 0.2, 0.4)


def test_others_stand_between_the_metric_and_the_loss():
    others = {"bits per byte": {"value": 1.4, "interval": [1.3, 1.5]}}
    figures = figures_of({**PLAIN, "metric": "perplexity", "others": others})
    assert list(figures) == ["perplexity", "bits per byte", "loss"]
    assert figures["bits per byte"] == (1.4, 1.3, 1.5)


def test_the_loss_of_an_agreement_is_a_divergence_and_every_name_is_known():
    names = list(figures_of({**PLAIN, "metric": "top-1 agreement"}))
    assert names == ["top-1 agreement", "KL divergence"]
    assert [metric(name).higher_is_better for name in names] == [True, False]
