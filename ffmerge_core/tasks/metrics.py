"""The kinds of figures: which way is better, how each is written, and where it is from. Pure.

`METRICS` has a record for each; tables, charts and pages ask it, and none knows a figure by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ffmerge_core.errors import DataError
from ffmerge_core.kinds import Kind, Kinds


@dataclass(frozen=True, kw_only=True)
class Metric(Kind):
    """One kind of figure.

    Attributes
    ----------
    name : str
        As tables and sentences write it, such as "perplexity".
    label : str
        As a title, such as "Perplexity".
    help : str
        One sentence.
    source : str
        The paper that it is from, if there is one.
    higher_is_better : bool
        Which way is better; it cannot be guessed.
    digits : int
        After the decimal point.
    percent : bool
        A share in [0, 1], written in percent.
    alike : str or None
        What it is that two models say alike, such as "predictions that agree"; None where the
        figure is itself such a share.
    loss : str
        What the loss beside it is called.
    answers : bool
        Whether each example has an answer, such as a class or a text, which another model can
        give otherwise; an embedding is none.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> f1 = fm.Metric(
    ...     "F1", "F1", "The harmonic mean of precision and recall.",
    ...     higher_is_better=True, digits=1, percent=True,
    ... )
    >>> f1.text(0.8125), f1.change_text(-0.02)
    ('81.2%', '−2.0 points')
    """

    higher_is_better: bool
    digits: int
    percent: bool = False
    alike: str | None = "predictions that agree"
    loss: str = "loss"
    answers: bool = True

    @property
    def axis(self) -> str:
        """ "accuracy, higher is better": the title of a chart's axis."""
        return f"{self.name}, {'higher' if self.higher_is_better else 'lower'} is better"

    def text(self, value: float) -> str:
        """0.9731 -> "97.3%", 27.009 -> "27.01"; what is not finite -> "unknown"."""
        if not math.isfinite(value):
            return "unknown"
        if self.percent:
            return f"{100 * value:.{self.digits}f}%"
        return f"{value:,.{self.digits}f}"

    def change_text(self, difference: float) -> str:
        """-0.025 -> "−2.5 points", 0.307 -> "+0.31"; zero without a sign."""
        if not math.isfinite(difference):
            return "unknown"
        shown = 100 * difference if self.percent else difference
        text = f"{shown:+,.{self.digits}f}"
        # What rounds to zero has no sign; a minus is a true one.
        text = text.replace("-", "−") if text.strip("+-0.,") else text.lstrip("+-")
        return f"{text} points" if self.percent else text


METRICS = Kinds(
    "metric",
    DataError,
    (
        Metric(
            "accuracy",
            "Accuracy",
            "The share of examples that the model gives their true class.",
            higher_is_better=True,
            digits=1,
            percent=True,
        ),
        Metric(
            "loss",
            "Loss",
            "The quantity that training lowers, as a mean in nats per target.",
            higher_is_better=False,
            digits=3,
        ),
        Metric(
            "perplexity",
            "Perplexity",
            "The exponential of the mean loss: the number of tokens that the model is undecided "
            "among.",
            "Jelinek et al. 1977, doi:10.1121/1.2016299",
            higher_is_better=False,
            digits=2,
            alike="likeliest tokens that agree",
        ),
        Metric(
            "pseudo-perplexity",
            "Pseudo-perplexity",
            "The exponential of the mean loss over hidden tokens: the number of tokens that the "
            "model is undecided among when it fills one in.",
            "Salazar et al. 2020, arXiv:1910.14659",
            higher_is_better=False,
            digits=2,
            alike="likeliest tokens that agree",
        ),
        Metric(
            "bits per byte",
            "Bits per byte",
            "The loss in bits for each byte of the raw text, however it is split into tokens.",
            "Gao et al. 2020, arXiv:2101.00027",
            higher_is_better=False,
            digits=3,
        ),
        Metric(
            "BLEU",
            "BLEU",
            "How many runs of one to four words a translation shares with its reference.",
            "Papineni et al. 2002, doi:10.3115/1073083.1073135",
            higher_is_better=True,
            digits=1,
            alike="translations that are equal",
        ),
        Metric(
            "chrF",
            "chrF",
            "How many runs of one to six characters a translation shares with its reference.",
            "Popović 2015, doi:10.18653/v1/W15-3049",
            higher_is_better=True,
            digits=1,
            alike="translations that are equal",
        ),
        Metric(
            "top-1 agreement",
            "Top-1 agreement",
            "How often the model's first choice of a class or token is also the original's.",
            higher_is_better=True,
            digits=1,
            percent=True,
            alike=None,
            loss="KL divergence",
        ),
        Metric(
            "KL divergence",
            "KL divergence",
            "How far the model's probabilities are from the original's, in nats per position.",
            "Kullback and Leibler 1951, doi:10.1214/aoms/1177729694",
            higher_is_better=False,
            digits=4,
        ),
        Metric(
            "cosine",
            "Cosine",
            "The cosine between the model's embedding of an example and the original's.",
            higher_is_better=True,
            digits=4,
            alike=None,
            answers=False,
        ),
    ),
    made=Metric,
)


def metric(name: str) -> Metric:
    """A metric by its name. Raises `DataError` for one that is not known here."""
    if name not in METRICS:
        # Which way is better cannot be guessed, and a wrong guess would turn every choice around.
        raise DataError(
            f"There is no metric called {name!r}; known are {', '.join(METRICS)}. If it is yours, "
            "say which way is better and how it is written: fm.register_metric(fm.Metric("
            f'{name!r}, "Its label", "What it says.", higher_is_better=True, digits=2)).'
        )
    return METRICS[name]


def register_metric(metric: Metric) -> Metric:
    """Make a metric of your own known: tables, charts and pages then write it.

    Parameters
    ----------
    metric : Metric
        Its record, which goes to the end of the list.

    Returns
    -------
    Metric
        The same.

    Raises
    ------
    DataError
        If there is one of its name.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> f1 = fm.Metric(
    ...     "F1", "F1", "The harmonic mean of precision and recall.",
    ...     higher_is_better=True, digits=1, percent=True,
    ... )
    >>> fm.register_metric(f1).axis
    'F1, higher is better'
    """
    return METRICS.register(metric)
