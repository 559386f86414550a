"""Merge and Compare for texts, translations and fidelity, and exports: on a few own examples."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

import ffmerge_core as fm
from ffmerge_core.plan import MergePlan, Recipe
from pages._ui.merge.examples import marked
from pages._ui.merge.export import _zipped
from pages._ui.state.shared import run_store, workspace_store
from pages._ui.state.subject import Opened, demo_subject
from tests.ui.pages_support import DEMO, go, id_of, open_app, press, sentences

GPT2, MARIAN = "demo:gpt2-code", "demo:marian-en-fr"
TEXT = "\n\n".join(f"def f{i}(x):\n    return x + {i}" for i in range(40))
PAIRS = "\n".join(f"It costs {i} euros.\tCela coûte {i} euros." for i in range(40))


def merged(opened: Opened, *groups: tuple[str, ...]) -> AppTest:
    """A tab that merged without aligning, which needs no calibration."""
    workspace = workspace_store().find(None)
    workspace.open(opened)
    workspace.set_groups(groups, demo_subject(opened.source).sublayers)
    workspace.choose(method="vanilla")
    return press(open_app("merge", workspace.id), "Merge")


def html(tab: AppTest) -> str:
    return "\n".join(element.proto.body for element in tab.get("html"))


def test_a_language_model_is_merged_tried_and_exported(home: Path) -> None:
    (home / "own.txt").write_text(TEXT, "utf-8")
    opened = Opened(GPT2, str(home / "own.txt"))
    tab = merged(opened, tuple(f"decoder.{i}" for i in range(6)))
    (run,) = run_store().list(GPT2)
    assert run.result is not None
    n = run.result["original"]["validation"]["n"]
    table = tab.table[0].value
    assert {
        f"Validation perplexity, {n} windows",
        "Validation bits per byte",
        "Validation loss",
        "Validation likeliest tokens that agree",
    } <= set(table.index)
    assert "%" not in table.loc["Validation bits per byte", "Change"]
    assert "return x" in tab.code[0].value, "the window whose loss rose is shown"

    tab.text_area(key="prompt").set_value("def f(x):")
    tab.number_input(key="new_tokens").set_value(5)
    press(tab, "Continue")
    assert html(tab).count("def f(x):") == 2
    tab.text_area(key="prompt").set_value(" ")
    press(tab, "Continue")
    assert "The text is empty" in sentences(tab)

    press(tab, "Save compact")
    (files,) = (each.value for each in tab.table if "Merged, compact" in each.value.index)
    assert "not saved yet" not in files.loc["Merged, compact"].tolist()
    folder = Path(next(code.value for code in tab.code if "exports" in code.value))
    again = fm.load(folder)
    assert again.n_parameters == run.result["merged"]["n_parameters"]
    assert again.plan == Recipe.from_dict(run.recipe).plan
    (home / "copy.zip").write_bytes(_zipped(folder))
    names = {"compact/ffmerge.json", "compact/merged.safetensors", "compact/tokenizer.json"}
    assert names <= set(_names(home / "copy.zip"))


def _names(path: Path) -> list[str]:
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_a_translator_is_merged_tried_and_compared(home: Path) -> None:
    (home / "own.tsv").write_text(PAIRS, "utf-8")
    opened = Opened(MARIAN, str(home / "own.tsv"))
    tab = merged(opened, ("encoder.1", "encoder.2"), ("decoder.1", "decoder.2"))
    index = list(tab.table[0].value.index)
    assert index[2].startswith("Validation BLEU, ")
    assert index[2].endswith(" sentences")
    assert index[3:] == [
        "Validation chrF",
        "Validation loss",
        "Validation translations that are equal",
        "Speed, tokens a second",
    ]
    assert "nrefs:1" in sentences(tab), "sacrebleu's signature stands below"
    assert "Reference" in html(tab)

    tab.text_input(key="own_sentence").set_value("It costs 7 euros.")
    press(tab, "Translate")
    assert "It costs 7 euros." in html(tab)
    tab.text_input(key="own_sentence").set_value("")
    press(tab, "Translate")
    assert "The sentence is empty" in sentences(tab)

    go(tab, "compare")
    columns = list(tab.dataframe[0].value.columns)
    assert columns[columns.index("BLEU") :][:4] == ["BLEU", "Change", "chrF", "Loss"]
    other = open_app("compare")
    workspace_store().find(id_of(other)).open(Opened(MARIAN))
    other.run()
    assert "1 run of demo:marian-en-fr on other data" in sentences(other)


def test_fidelity_is_shown_as_agreement_and_divergence(home: Path) -> None:
    (home / "own.txt").write_text(TEXT, "utf-8")
    opened = Opened(GPT2, str(home / "own.txt"), fidelity=True)
    tab = merged(opened, ("decoder.1", "decoder.2"))
    index = list(tab.table[0].value.index)
    assert index[2].startswith("Validation top-1 agreement, ")
    assert index[3:] == ["Validation KL divergence", "Speed, tokens a second"]
    assert tab.table[0].value.iloc[2]["Original"].startswith("100.0%")
    assert "farthest from the original" in sentences(tab)
    assert "<|endoftext|>" not in tab.code[0].value
    (run,) = run_store().list(GPT2)
    assert Opened.of(Recipe.from_dict(run.recipe)) == opened
    columns = list(go(tab, "compare").dataframe[0].value.columns)
    assert {"Top-1 agreement", "KL divergence"} <= set(columns)


def test_a_run_stored_by_the_first_version_is_still_shown() -> None:
    score = {
        "split": "validation", "metric": "accuracy", "n": 359, "value": 0.9,
        "interval": [0.8, 1.0], "loss": 0.3, "loss_interval": [0.2, 0.4],
    }  # fmt: skip
    sizes = {"n_parameters": 600_000, "weight_bytes": 2_400_000}
    result = {
        "original": {"validation": score, **sizes},
        "merged": {"validation": score, **sizes},
        "difference": {"validation": {**score, "value": -0.025, "agreement": 0.95}},
        "pairs": [],
        "n_tokens": None,
    }
    plan = MergePlan((("encoder.1", "encoder.2"),), method="vanilla")
    recipe = Recipe(DEMO, plan).to_dict()
    for later in ("fidelity", "data_revision", "python"):
        del recipe[later]
    run = run_store().start(recipe, DEMO, "from before", {})
    run_store().finish(run.id, result, {"merge": 1.0}, None)
    workspace = workspace_store().find(None)
    workspace.open(Opened(DEMO))
    workspace.open_run(run.id)
    tab = open_app("merge", workspace.id)
    row = tab.table[0].value.loc["Validation accuracy, 359 examples"]
    assert row["Change"].startswith("−2.5 points (")
    assert row["Change"].count("points") == 1
    assert any(button.label == "Save compact" and button.disabled for button in tab.button)
    assert len(go(tab, "compare").dataframe[0].value) == 1


def test_what_models_write_is_text_and_never_markup() -> None:
    from ffmerge_core.reporting.text_diff import word_diff

    before, after = word_diff("a <b>x</b>", "a <script>y</script>")
    for text in (marked(before, "original"), marked(after, "merged")):
        assert "<b>" not in text
        assert "<script>" not in text
        assert "&lt;" in text
