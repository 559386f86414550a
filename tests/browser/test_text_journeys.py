"""The main job on the language model and the translator, in a real browser."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.walking import APP, FIRST_JOB, add_group, draft, drag, merge, points, visit

pytestmark = pytest.mark.browser


@pytest.fixture
def app(page: Page, serve: Callable[[Path], str]) -> Page:
    page.goto(serve(APP))
    return page


def open_demo(page: Page, name: str) -> None:
    """Choose a demo on the Model page, and see that it is open."""
    page.locator(f".st-key-open-{name} button").first.click()
    expect(page.get_by_text(f"demo:{name}").first).to_be_visible()


@pytest.mark.slow
def test_the_whole_journey_of_a_language_model(app: Page) -> None:
    open_demo(app, "gpt2-code")
    expect(app.get_by_text("decoder.11").first).to_be_attached()
    visit(app, "Similarity")
    drag(app, 4, 7, stack="decoder")
    add_group(app, "decoder 4–7")
    expect(app.get_by_text(f"{2_674_432 - 3 * 131_712:,}")).to_be_visible()

    merge(app, "Validation perplexity, 256 windows")
    for figure in ("Validation bits per byte", "Validation loss", "−395,136 (−14.8%)"):
        expect(app.get_by_text(figure)).to_be_visible()
    expect(app.get_by_text(re.compile(r"The loss rose on \d+ of 256"))).to_be_visible()

    app.get_by_label("Text to continue").fill("import os\n\ndef main(")
    app.get_by_role("button", name="Continue").click()
    written = app.locator("pre").filter(has_text="def main(")
    expect(written).to_have_count(2, timeout=FIRST_JOB)

    with app.expect_download() as recipe:
        app.get_by_role("button", name="Recipe (JSON)").click()
    assert '"demo:gpt2-code"' in Path(recipe.value.path()).read_text()

    visit(app, "Compare")
    expect(points(app)).to_have_count(2)
    app.get_by_text("bits per byte", exact=True).first.click()
    expect(points(app)).to_have_count(2)


@pytest.mark.slow
def test_the_whole_journey_of_a_translator(app: Page) -> None:
    open_demo(app, "marian-en-fr")
    visit(app, "Similarity")
    drag(app, 2, 4, stack="encoder", n_layers=6)
    add_group(app, "encoder 2–4")
    app.get_by_role("radio", name="decoder").click()
    drag(app, 1, 2, stack="decoder", picks=1, n_layers=6)
    add_group(app, "decoder 1–2", number=2)
    expect(app.get_by_text("1 · encoder 2–4 · 3 layers")).to_be_visible()

    merge(app, "Validation BLEU, 200 sentences")
    for figure in ("Validation chrF", "−296,736 (−14.2%)"):
        expect(app.get_by_text(figure)).to_be_visible()
    expect(app.get_by_text("Reference").first).to_be_visible()

    app.get_by_role("tab", name="Your own sentence").click()
    app.get_by_role("textbox", name="Sentence").fill("The boat costs 12 euros.")
    app.get_by_role("button", name="Translate").click()
    expect(app.get_by_text("12 euros.").last).to_be_visible(timeout=FIRST_JOB)

    app.get_by_role("button", name="Save compact").click()
    expect(app.get_by_role("button", name="Save compact again")).to_be_visible(timeout=FIRST_JOB)
    with app.expect_download() as saved:
        app.get_by_role("button", name="Zip").click()
    names = zipfile.ZipFile(io.BytesIO(Path(saved.value.path()).read_bytes())).namelist()
    assert {name.rsplit("/", 1)[-1] for name in names} >= {"merged.safetensors", "ffmerge.json"}

    visit(app, "Compare")
    expect(points(app)).to_have_count(2)


def test_groups_stay_with_the_model_they_were_picked_on(app: Page) -> None:
    visit(app, "Similarity")
    drag(app, 8, 9)
    add_group(app, "encoder 8–9")
    visit(app, "Model")
    open_demo(app, "gpt2-code")
    visit(app, "Similarity")
    expect(draft(app)).to_have_count(0)
    expect(app.get_by_text("There is no group yet.")).to_be_visible()
    visit(app, "Model")
    open_demo(app, "vit-digits")
    visit(app, "Similarity")
    expect(app.get_by_text("1 · encoder 8–9 · 2 layers")).to_be_visible()


def measure_on(page: Page, file: Path) -> None:
    """Upload a file, and ask for it once the page has taken it in."""
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_test_id("stFileUploader").get_by_text(file.name)).to_be_visible()
    page.wait_for_timeout(2_000)
    page.get_by_role("button", name="Measure on this").click()


def test_a_text_of_ones_own_and_bad_data(app: Page, tmp_path: Path) -> None:
    open_demo(app, "gpt2-code")
    app.get_by_text("Your own data, another model, or a recipe").click()
    bad = tmp_path / "notes.txt"
    bad.write_bytes(b"fine\n\xff\xfe broken\n")
    measure_on(app, bad)
    expect(app.get_by_text(re.compile("line 2"))).to_be_visible(timeout=FIRST_JOB)
    expect(app.get_by_text("2,674,432").first).to_be_visible()

    good = tmp_path / "code.py"
    good.write_text("\n\n".join(f"def f{n}(x):\n    return x + {n}" for n in range(400)))
    measure_on(app, good)
    expect(app.get_by_text("measured on code.py")).to_be_visible(timeout=FIRST_JOB)
    expect(app.get_by_text(re.compile("Validation perplexity")).first).to_be_visible()
