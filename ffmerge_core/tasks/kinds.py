"""The kinds of tasks: what a model can be for, what data it takes, and how an example is shown.

A family names the kind that its models are for. `TASKS` has a record for each; opening data,
the command line and the pages ask it. Reading records imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ffmerge_core.errors import DataError
from ffmerge_core.kinds import Kind, Kinds, Work

DIGITS = "digits"

Shows = Literal["images", "texts", "sentences"]


@dataclass(frozen=True, kw_only=True)
class TaskKind(Kind):
    """One kind of task, with what the user's own data for it looks like.

    Fidelity is none: it scores the inputs of any of them.

    Attributes
    ----------
    name : str
        As a `Task` and a `Family` say it, such as "translation".
    label : str
        For reading.
    help : str
        One sentence.
    source : str
        The paper or project that it is from, if there is one.
    metric : str
        What it is scored by, such as "BLEU".
    examples : str
        What a model is scored on, in the plural.
    data : str
        What the user's own data is, in a few words, such as "a text file".
    format : str
        How that data has to look, in sentences.
    read : callable or str
        (model, name, fidelity, report) → the task of that data, or "module:function"; by
        fidelity it needs no labels. name: an absolute path, or "hf:org/name@commit" of the hub.
    takes_digits : bool
        Whether `read` knows the built-in "digits".
    shows : {"images", "texts", "sentences"} or None
        How the pages look at one example, which its task holds as `ImageClassification`,
        `LanguageModeling` or `Translation` does; None for a list of numbers and losses.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> riddles = fm.TaskKind(
    ...     "riddles", "Riddles", "Guesses riddles.", metric="accuracy", examples="riddles",
    ...     data="a file of riddles", format="A text file with a riddle a line.",
    ...     read="my_package.riddles:read",
    ... )
    >>> riddles.shows is None
    True
    """

    metric: str
    examples: str
    data: str
    format: str
    read: Work
    takes_digits: bool = False
    shows: Shows | None = None


TASKS = Kinds(
    "kind of task",
    DataError,
    (
        TaskKind(
            "image-classification",
            "Image classification",
            "Decides which of several classes an image belongs to.",
            metric="accuracy",
            examples="images",
            data="a folder or zip of images by class",
            format="A zip or a folder that holds one folder of images for each class. The folders "
            "are named as the model names its classes, or by the numbers of the classes.",
            read="ffmerge_core.sources.readers:images",
            takes_digits=True,
            shows="images",
        ),
        TaskKind(
            "language-modeling",
            "Language modelling",
            "Predicts the next token of a text.",
            metric="perplexity",
            examples="windows",
            data="a text file",
            format="A text file in UTF-8 with any extension: prose, code, notes. Blank lines "
            "separate its documents.",
            read="ffmerge_core.sources.readers:texts",
            shows="texts",
        ),
        TaskKind(
            "masked-language-modeling",
            "Masked language modelling",
            "Fills in tokens that are hidden in a text.",
            metric="pseudo-perplexity",
            examples="pieces",
            data="a text file",
            format="A text file in UTF-8 with any extension: prose, code, notes. Blank lines "
            "separate its documents.",
            read="ffmerge_core.sources.readers:masked_texts",
        ),
        TaskKind(
            "text-classification",
            "Text classification",
            "Decides which of several classes a text belongs to.",
            metric="accuracy",
            examples="texts",
            data="a file of labelled texts",
            format="A text file in UTF-8 with one example on each line: label, tab, text. The "
            "labels are the model's class names or the numbers of its classes.",
            read="ffmerge_core.sources.readers:labelled_texts",
        ),
        TaskKind(
            "translation",
            "Translation",
            "Translates a sentence into another language.",
            metric="BLEU",
            examples="sentences",
            data="a file of sentence pairs",
            format="A text file in UTF-8 with one pair of sentences on each line: source, tab, "
            "target.",
            read="ffmerge_core.sources.readers:pairs",
            shows="sentences",
        ),
        TaskKind(
            "text",
            "Text, compared",
            "Reads text; a merged model is compared with the original, on text without labels.",
            metric="top-1 agreement",
            examples="windows",
            data="a text file",
            format="A text file in UTF-8 with any extension. Blank lines separate its documents.",
            read="ffmerge_core.sources.readers:compared_texts",
        ),
        TaskKind(
            "speech",
            "Speech, compared",
            "Writes down speech; a merged model is compared with the original.",
            metric="top-1 agreement",
            examples="recordings",
            data="a folder or zip of recordings",
            format="A zip or a folder of WAV files, with as many samples a second as the model "
            "takes. A text is not needed.",
            read="ffmerge_core.sources.readers:recordings",
        ),
    ),
    made=TaskKind,
)


def register_task(kind: TaskKind) -> TaskKind:
    """Make a kind of task of your own known: data for it is read, and pages offer it.

    Parameters
    ----------
    kind : TaskKind
        Its record, which goes to the end of the list.

    Returns
    -------
    TaskKind
        The same.

    Raises
    ------
    DataError
        If there is one of its name.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> riddles = fm.TaskKind(
    ...     "riddles", "Riddles", "Guesses riddles.", metric="accuracy", examples="riddles",
    ...     data="a file of riddles", format="A text file with a riddle a line.",
    ...     read="my_package.riddles:read",
    ... )
    >>> fm.register_task(riddles).label
    'Riddles'
    """
    return TASKS.register(kind)
