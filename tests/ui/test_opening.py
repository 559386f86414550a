"""Opening demos, folders, the user's own data and recipes; what is open stays until another is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ffmerge_core.plan import MergePlan, Recipe
from ffmerge_core.tasks.class_names import FOLDER, ORDER, OWN_NAMES
from pages._ui.state.shared import shelf, workspace_store
from pages._ui.state.subject import Opened, demo_subject
from tests.conftest import transformers_vit
from tests.real_files.images import CLASSES, pictures, timm_folder, timm_vit
from tests.ui.pages_support import (
    DEMO,
    add_group,
    go,
    id_of,
    metrics,
    open_app,
    press,
    sentences,
    settle,
)

GPT2, MARIAN = "demo:gpt2-code", "demo:marian-en-fr"
TEXT = "\n\n".join(f"def f{i}(x):\n    return x + {i}" for i in range(40))
PAIRS = "\n".join(f"It costs {i} euros.\tCela coûte {i} euros." for i in range(40))
PLAN = MergePlan((("decoder.2", "decoder.3"),), method="vanilla", anchor="last")


def open_demo(tab: AppTest, name: str) -> AppTest:
    next(button for button in tab.button if button.key == f"open-{name}").click()
    return tab.run()


def opened(tab: AppTest) -> Opened | None:
    return workspace_store().find(id_of(tab)).opened


def own_data(tab: AppTest, path: Path) -> AppTest:
    """Give a path on the first tab, for the model that is open."""
    next(field for field in tab.text_input if "demo:" in str(field.key)).set_value(str(path))
    return press(tab, "Measure on this")


def upload(tab: AppTest, name: str, content: bytes, at: int = 0) -> None:
    tab.file_uploader[at].upload(name, content)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gpt2-code", {"Validation perplexity": "27.22", "Validation bits per byte": "1.426"}),
        ("marian-en-fr", {"Validation BLEU": "96.4", "Validation chrF": "98.5"}),
    ],
)
def test_each_demo_is_opened_from_its_card_with_its_own_figures(
    name: str, shown: dict[str, str]
) -> None:
    tab = open_demo(open_app(), name)
    subject = demo_subject(f"demo:{name}")
    assert opened(tab) == subject.opened
    assert metrics(tab)["Parameters"] == f"{subject.n_parameters:,}"
    assert shown.items() <= metrics(tab).items()
    assert f"on {subject.scores['test']['n']:,} {subject.examples}" in sentences(tab)
    table = tab.dataframe[0].value
    assert list(table["Sublayer"]) == [sublayer.name for sublayer in subject.sublayers]
    assert ("Stack" in table) == (len(subject.stacks) == 2)


def test_groups_are_found_again_on_going_back_to_a_model() -> None:
    tab = open_app("similarity")
    add_group(tab, "encoder.6", "encoder.7")
    open_demo(go(tab, "model"), "gpt2-code")
    go(tab, "similarity")
    assert "encoder" not in sentences(tab)
    add_group(tab, "decoder.1", "decoder.2")
    open_demo(go(tab, "model"), "vit-digits")
    assert "encoder 6–7" in sentences(go(tab, "similarity"))
    open_demo(go(tab, "model"), "gpt2-code")
    assert "decoder 1–2" in sentences(go(tab, "similarity"))


def test_own_text_for_a_demo_and_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    tab = open_app("similarity")
    open_demo(go(tab, "model"), "gpt2-code")
    go(tab, "similarity")
    add_group(tab, "decoder.1", "decoder.2")
    own_data(go(tab, "model"), path)
    assert opened(tab) == Opened(GPT2, str(path))
    assert "measured on mine.py" in sentences(tab)
    assert "documents: train 32, validation 4, test 4" in sentences(tab)
    assert metrics(tab)["Validation perplexity"] != "27.22"
    go(tab, "similarity")
    assert "decoder 1–2" in sentences(tab), "other data is no other model"
    assert len(tab.get("plotly_chart")) == 1
    shelf.clear()
    assert "measured on mine.py" in sentences(open_app("model", id_of(tab)))
    path.unlink()
    shelf.clear()
    gone = open_app("similarity", id_of(tab))
    assert str(path) in gone.error[0].value
    assert not gone.get("plotly_chart")
    press(gone, "Back to its own data")
    assert "decoder 1–2" in sentences(gone)
    assert metrics(go(gone, "model"))["Validation perplexity"] == "27.22"


def test_an_upload_is_kept_under_its_content_so_that_a_recipe_finds_it(home: Path) -> None:
    tab = open_demo(open_app(), "marian-en-fr")
    upload(tab, "../../pairs?.tsv", PAIRS.encode())
    press(tab, "Measure on this")
    (kept,) = [path for path in (home / "uploads").rglob("*") if path.is_file()]
    assert kept.name == "pairs_.tsv"
    assert kept.read_text() == PAIRS
    assert opened(tab) == Opened(MARIAN, str(kept))
    assert "sentence pairs: train 32, validation 4, test 4" in sentences(tab)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"one line", b"a\tb\n" * 3])
def test_bad_data_is_a_sentence_and_what_was_open_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.tsv"
    path.write_bytes(content)
    tab = open_demo(open_app(), "marian-en-fr")
    own_data(tab, path)
    (error,) = [error.value for error in tab.error]
    assert "bad.tsv" in error
    assert opened(tab) == Opened(MARIAN)
    open_demo(tab, "vit-digits")
    assert not tab.error, "it was said of the other model"


def test_nothing_given_is_a_sentence() -> None:
    tab = open_app()
    for label, sentence in (
        ("Measure on this", "Upload a file or give a path first."),
        (
            "Open model",
            "Give the folder that holds config.json and model.safetensors, or hf: and a name.",
        ),
        ("Open recipe", "Upload a recipe or paste one first."),
    ):
        assert [error.value for error in click(tab, label).error] == [sentence]


def test_fidelity_compares_with_the_original_and_needs_no_labels() -> None:
    tab = open_app()
    tab.toggle[0].set_value(True)
    press(tab, "Measure on this")
    assert opened(tab) == Opened(DEMO, fidelity=True)
    assert metrics(tab)["Validation top-1 agreement"] == "100.0%"
    assert "compared with the original" in sentences(tab)


def test_what_the_model_was_saved_with_is_found_again(tmp_path: Path) -> None:
    import ffmerge_core as fm

    model = fm.load(DEMO)
    plan = fm.MergePlan((("encoder.6", "encoder.7"),), method="vanilla")
    fm.save(fm.apply(model, plan), tmp_path / "mine", layout="compact")
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
    tab.radio(key="measured_on").set_value("saved").run()
    press(tab, "Open model")
    assert metrics(tab)["Parameters"] == f"{602_058 - 33_088:,}"
    assert "Vanilla encoder 6–7" in sentences(tab)
    assert "not merged again" in sentences(go(tab, "similarity"))


def test_a_folder_without_data_is_told_what_to_choose(tmp_path: Path) -> None:
    transformers_vit().save_pretrained(tmp_path / "mine")
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
    tab.radio(key="measured_on").set_value("saved").run()
    press(tab, "Open model")
    assert "Choose the built-in digits or your own data" in tab.error[0].value


def recipe(**others: object) -> str:
    made = Recipe(GPT2, PLAN, tokens=3_000, seed=4).to_dict()
    return json.dumps({**made, **others})


def click(tab: AppTest, label: str) -> AppTest:
    """Press a button and draw the page once, with what it says of the press alone."""
    next(button for button in tab.button if button.label == label).click()
    return tab.run()


def open_recipe(tab: AppTest, text: str) -> AppTest:
    tab.text_area(key="recipe-text").set_value(text)
    return press(tab, "Open recipe")


def test_a_recipe_opens_its_model_and_restores_what_it_says() -> None:
    tab = open_recipe(open_app(), json.dumps([{"name": "a run", "recipe": json.loads(recipe())}]))
    workspace = workspace_store().find(id_of(tab))
    assert (workspace.opened, workspace.groups) == (Opened(GPT2), PLAN.groups)
    chosen = workspace.settings
    assert (chosen.method, chosen.anchor, chosen.tokens, chosen.seed) == (
        "vanilla", "last", 3_000, 4,
    )  # fmt: skip
    assert "The recipe is open: Vanilla decoder 2–3." in sentences(tab)
    assert "Merge with this recipe" in [link.proto.label for link in tab.get("page_link")]
    assert "The recipe also has a recovery" not in sentences(tab)
    go(tab, "merge")
    assert tab.radio(key="method").value == "vanilla"


def test_a_recipe_s_recovery_is_told_where_to_set() -> None:
    tab = open_recipe(open_app(), recipe(recovery={"steps": 30}))
    said = sentences(tab)
    assert "The recipe also has a recovery, a short fine-tune after the merge: 30 steps, " in said
    assert "after the merge: 30 steps, batches of 32, learning rate 0.0003. Set it on" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not JSON", "This is not a recipe, because it is not JSON"),
        (recipe(tokens=2.5), "tokens is 2.5; a whole number was expected"),
        (recipe(plan={"groups": []}), "does not merge groups"),
        (recipe(plan={"kind": "drop-ff", "sublayers": ["decoder.1"]}), "does not merge groups"),
        (recipe(source="demo:nothing"), "There is no demo"),
        (recipe(plan={"groups": [["encoder.1", "encoder.2"]]}), "encoder.1 is not an FF sublayer"),
        (recipe(revision="0" * 64), "weights of demo:gpt2-code have changed since"),
        (recipe(data_revision="0" * 64), "has changed since this recipe was written (revision"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_a_sentence_and_changes_nothing(
    text: str, reason: str
) -> None:
    tab = open_app()
    tab.text_area(key="recipe-text").set_value(text)
    click(tab, "Open recipe")
    if not tab.error:
        settle(tab)
    assert any(reason in error.value for error in tab.error)
    workspace = workspace_store().find(id_of(tab))
    assert (workspace.opened, workspace.groups) == (Opened(DEMO), ())


@pytest.mark.parametrize("named", [False, True])
def test_classes_matched_by_anything_but_names_are_told(named: bool, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", each=5)
    config = {"label_names": list(CLASSES)} if named else {}
    folder = timm_folder(tmp_path / "model", timm_vit(), config)
    tab = open_app()
    tab.text_input(key="folder").set_value(str(folder))
    tab.radio(key="measured_on").set_value("own").run()
    tab.text_input(key="folder-path").set_value(str(images))
    settle(press(tab, "Open model"))
    assert opened(tab) == Opened(str(folder), str(images))
    told = f"The data was matched to the model's classes {ORDER.format(FOLDER)}." in sentences(tab)
    assert told != named
    assert f"classes: {OWN_NAMES if named else ORDER.format(FOLDER)}" in sentences(tab)


def test_models_opened_before_are_a_click_away(tmp_path: Path) -> None:
    folders = [timm_folder(tmp_path / name, timm_vit()) for name in ("first", "second")]
    images = pictures(tmp_path / "images", each=5)
    tab = open_app()
    assert not [each for each in tab.get("button_group") if each.label == "Opened before"]
    for folder in folders:
        tab.text_input(key="folder").set_value(str(folder))
        tab.radio(key="measured_on").set_value("own").run()
        tab.text_input(key="folder-path").set_value(str(images))
        settle(press(tab, "Open model"))
    other = open_app()
    pills = other.button_group(key="opened-before")
    assert pills.options == [str(folder) for folder in reversed(folders)]
    pills.set_value(str(folders[0])).run()
    assert other.text_input(key="folder").value == str(folders[0])
    assert other.button_group(key="opened-before").value is None
