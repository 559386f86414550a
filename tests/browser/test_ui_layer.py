"""The interface layer in a real browser: canvas, themes, workspaces and jobs over refreshes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.browser
APP = Path(__file__).parents[1] / "ui" / "apps" / "app.py"
BOX = re.compile(r"box \[(\d+), (\d+), (\d+), (\d+)\] ink (0\.\d+)")

COUNT_MESSAGES = """() => {
  window.sent = 0;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (message) { window.sent++; send.call(this, message); };
}"""

Serve = Callable[[Path], str]


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw with the mouse through points given as shares of the canvas."""
    box = canvas(page).bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def canvas(page: Page) -> Locator:
    found = page.locator("canvas")
    found.wait_for()
    return found


def drawn(page: Page) -> tuple[int, int, int, int, float]:
    """First and last row, first and last column, share of ink, as Python has them."""
    text = page.get_by_text(BOX)
    text.wait_for()
    found = BOX.search(text.inner_text())
    assert found is not None
    top, bottom, left, right = (int(found[i]) for i in range(1, 5))
    return top, bottom, left, right, float(found[5])


def add_group(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("combobox").fill(name)
        page.get_by_role("option", name=name).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add group").click()


def go_to(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def test_a_stroke_reaches_python_where_it_was_drawn(serve: Serve, page: Page) -> None:
    page.goto(f"{serve(APP)}/draw")
    stroke(page, (0.5, 0.25), (0.5, 0.75))
    top, bottom, left, right, ink = drawn(page)
    # A pen of 7 pixels from row 16 to row 48 around column 32.
    assert (top, bottom) == (pytest.approx(12, abs=1), pytest.approx(51, abs=1))
    assert (left, right) == (pytest.approx(28, abs=1), pytest.approx(35, abs=1))
    assert ink == pytest.approx((32 * 7 + 38) / 64**2, rel=0.1)
    stroke(page, (0.25, 0.5), (0.75, 0.5))
    expect(page.get_by_text(re.compile(r"box \[12, 51, 1\d, 5\d\]"))).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("blank")).to_be_visible()


def test_a_drawing_survives_a_rerun_and_the_keyboard_clears_it(serve: Serve, page: Page) -> None:
    page.goto(f"{serve(APP)}/draw")
    stroke(page, (0.1, 0.1), (0.9, 0.1))
    first = drawn(page)
    stroke(page, (0.1, 0.9), (0.9, 0.9))
    expect(page.get_by_text(re.compile(rf"box \[{first[0]}, 6[0-3]"))).to_be_visible()
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Shift+Tab")
    expect(canvas(page)).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.get_by_text("blank")).to_be_visible()


def test_a_finger_draws(serve: Serve, browser: Browser) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 420, "height": 900})
    page = context.new_page()
    page.goto(f"{serve(APP)}/draw")
    box = canvas(page).bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    top, bottom, left, right, _ = drawn(page)
    assert (top + bottom) / 2 == pytest.approx(32, abs=1.5)
    assert (left + right) / 2 == pytest.approx(16, abs=1.5)
    context.close()


def test_ink_and_paper_differ_in_both_themes(
    serve: Serve, both_themes: Callable[..., dict[str, Path]]
) -> None:
    places: list[tuple[float, float]] = []

    def ready(page: Page) -> None:
        stroke(page, (0.5, 0.25), (0.5, 0.75))
        drawn(page)
        box = canvas(page).bounding_box()
        assert box is not None
        places.append((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))

    pictures = both_themes(f"{serve(APP)}/draw", ready)
    x, y = places[0]
    for theme, darker_ink in (("light", True), ("dark", False)):
        with Image.open(pictures[theme]) as picture:
            grey = picture.convert("L")
            ink, paper = grey.getpixel((x, y)), grey.getpixel((x + 60, y))
        assert abs(ink - paper) > 180, theme
        assert (ink < paper) == darker_ink


def test_groups_survive_pages_and_refreshes_in_one_tab_only(
    serve: Serve, page: Page, browser: Browser
) -> None:
    page.goto(serve(APP))
    add_group(page, "encoder.1", "encoder.0")
    group = page.get_by_text("groups: (('encoder.0', 'encoder.1'),)")
    expect(group).to_be_visible()
    address = page.url
    assert re.search(r"\?w=[0-9a-f]{32}$", address)

    go_to(page, "Work")
    expect(page).to_have_url(re.compile(r"/work\?w=[0-9a-f]{32}$"))
    page.reload()
    go_to(page, "Groups")
    expect(group).to_be_visible()
    page.reload()
    expect(group).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Work")).to_be_visible()

    other = page.context.new_page()
    other.goto(serve(APP))
    expect(other.get_by_text("groups: ()")).to_be_visible()
    other.get_by_role("link", name="Go and draw").click()
    expect(other.get_by_role("heading", name="Draw")).to_be_visible()
    expect(other).to_have_url(re.compile(r"/draw\?w=[0-9a-f]{32}$"))
    assert other.url[-32:] != address[-32:]


def test_a_restart_keeps_groups_and_tells_of_the_interrupted_job(
    start_server: Callable[..., AbstractContextManager[str]], page: Page, tmp_path: Path
) -> None:
    group = page.get_by_text("groups: (('encoder.2', 'encoder.3'),)")
    with start_server(APP, tmp_path) as url:
        page.goto(url)
        add_group(page, "encoder.2", "encoder.3")
        expect(group).to_be_visible()
        go_to(page, "Work")
        page.get_by_role("button", name="Slow").click()
        expect(page.get_by_text(re.compile(r"Batch \d+ of 600"))).to_be_visible()
        address = page.url
    page.goto("about:blank")
    with start_server(APP, tmp_path, port=int(url.rsplit(":", 1)[1])):
        page.goto(address)
        notice = page.get_by_text("The last work job was interrupted")
        expect(notice).to_be_visible()
        page.reload()
        expect(page.get_by_text("whole runs: 1")).to_be_visible()
        expect(notice).to_be_hidden()
        go_to(page, "Groups")
        expect(group).to_be_visible()


def test_a_job_outlives_pages_and_refreshes_and_is_cancelled(serve: Serve, page: Page) -> None:
    page.goto(f"{serve(APP)}/work")
    page.get_by_role("button", name="Slow").click()
    expect(page.get_by_text(re.compile(r"Batch \d+ of 600 · .* left"))).to_be_visible()
    go_to(page, "Groups")
    go_to(page, "Work")
    page.reload()
    progress = page.get_by_text(re.compile(r"Batch \d+ of 600"))
    before = progress.inner_text()
    expect(progress).not_to_have_text(before)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled: nothing was changed.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Cancelled: nothing was changed.")).to_be_visible()


def test_the_end_of_a_job_reruns_the_page_once_and_ends_the_polling(
    serve: Serve, page: Page
) -> None:
    page.goto(f"{serve(APP)}/work")
    expect(page.get_by_text("whole runs: 1")).to_be_visible()
    page.get_by_role("button", name="Quick").click()
    expect(page.get_by_text("result: quick result")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Quick: done in \d\.\d s\."))).to_be_visible()
    # One for the button, one for the end.
    expect(page.get_by_text("whole runs: 3")).to_be_visible()
    page.evaluate(COUNT_MESSAGES)
    time.sleep(1.6)
    assert page.evaluate("window.sent") == 0
    expect(page.get_by_text("whole runs: 3")).to_be_visible()
