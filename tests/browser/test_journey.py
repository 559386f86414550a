"""The main job in a real browser: see, pick, merge, score, compare."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.walking import APP, FIRST_JOB, add_group, cell, draft, drag, merge, points, visit

N_PAGES = len(list((APP.parent / "pages").glob("[a-z]*.py")))

pytestmark = pytest.mark.browser


@pytest.fixture
def app(page: Page, serve: Callable[[Path], str]) -> Iterator[Page]:
    """The app in a tab that asks nothing of any other computer, whatever a test does."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(serve(APP))
    yield page
    assert asked
    assert {urlsplit(url).hostname for url in asked} <= {"127.0.0.1", None}, "data: has no host"


def test_the_whole_journey_by_dragging_a_box(app: Page) -> None:
    expect(app.get_by_text("602,058").first).to_be_visible()
    expect(app.get_by_text("encoder.11").first).to_be_attached()
    app.get_by_role("link", name="See which FF sublayers resemble each other").click()

    drag(app, 4, 7)
    add_group(app, "encoder 4–7")
    expect(app.get_by_text(f"{602_058 - 3 * 33_088:,}")).to_be_visible()

    app.get_by_role("link", name="Merge these groups").click()
    merge(app)
    expect(app.get_by_text("−99,264 (−16.5%)")).to_be_visible()
    app.get_by_role("button", name="Final score").click()
    expect(app.get_by_text("Test accuracy, 540 images")).to_be_visible(timeout=FIRST_JOB)

    visit(app, "Compare")
    expect(points(app)).to_have_count(2)
    app.reload()
    expect(points(app)).to_have_count(2)
    visit(app, "Similarity")
    expect(app.get_by_text("1 · encoder 4–7 · 4 layers")).to_be_visible()


def test_a_group_made_by_clicks(app: Page) -> None:
    visit(app, "Similarity")
    app.get_by_role("radio", name="Click cells").click()
    clicks = (
        ((2, 3), (2, 3)),
        ((5, 5), (2, 3, 5)),
        ((5, 5), (2, 3)),
        ((8, 2), (2, 3, 8)),
    )
    for picks, (clicked, expected) in enumerate(clicks):
        app.mouse.click(*cell(app, *clicked, picks, mode="Click-cells"))
        expect(draft(app)).to_have_text([f"encoder.{i}" for i in expected])
    add_group(app, "encoder 2–3, 8")
    merge(app)


def test_a_group_made_by_the_keyboard(app: Page) -> None:
    visit(app, "Similarity")
    picker = app.get_by_role("combobox", name="New group")
    for name in ("encoder.9", "encoder.10"):
        picker.focus()
        app.keyboard.type(name)
        app.keyboard.press("Enter")
        expect(draft(app).filter(has_text=re.compile(rf"^{re.escape(name)}$"))).to_be_visible()
    app.keyboard.press("Escape")
    button = app.get_by_role("button", name="Add group")
    expect(button).to_be_enabled()
    app.wait_for_timeout(1_000)  # until the page has settled: a redrawn button loses the focus
    button.focus()
    app.keyboard.press("Enter")
    expect(app.get_by_text("1 · encoder 9–10 · 2 layers")).to_be_visible()
    visit(app, "Merge")
    app.get_by_role("button", name="Merge", exact=True).focus()
    app.keyboard.press("Enter")
    expect(app.get_by_text("Validation accuracy, 359 images")).to_be_visible(timeout=FIRST_JOB)


def test_enter_takes_one_layer_and_not_those_whose_name_starts_alike(app: Page) -> None:
    visit(app, "Similarity")
    picker = app.get_by_role("combobox", name="New group")
    picker.focus()
    app.keyboard.type("encoder.1")
    app.keyboard.press("Enter")
    expect(draft(app)).to_have_text(["encoder.1"])


@pytest.mark.parametrize("path", ["merge", "compare?w=nonsense"])
def test_a_bookmark_is_the_first_thing_a_server_is_asked_for(
    page: Page, start_server: Callable[..., AbstractContextManager[str]], path: str, tmp_path: Path
) -> None:
    with start_server(APP, tmp_path) as url:
        page.goto(f"{url}/{path}")
        name = path.split("?")[0].capitalize()
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        expect(page.get_by_test_id("stTopNavLinkContainer")).to_have_count(N_PAGES)


def test_two_tabs_do_not_see_each_others_groups(app: Page, serve: Callable[[Path], str]) -> None:
    visit(app, "Similarity")
    drag(app, 0, 1)
    add_group(app, "encoder 0–1")
    other = app.context.new_page()
    other.goto(serve(APP))
    visit(other, "Similarity")
    expect(other.get_by_text("There is no group yet.")).to_be_visible()
    drag(other, 10, 11)
    add_group(other, "encoder 10–11")
    expect(app.get_by_text("1 · encoder 0–1 · 2 layers")).to_be_visible()
