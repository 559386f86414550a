"""Steps of a journey through the app in a real browser, shared by the journeys' tests."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

APP = Path(__file__).parents[2] / "app.py"
# The first job of a server imports torch, which a busy machine takes its time for.
FIRST_JOB = 300_000


def visit(page: Page, name: str) -> None:
    page.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def cell(
    page: Page,
    row: int,
    column: int,
    picks: int = 0,
    mode: str = "Drag-a-box",
    n_layers: int = 12,
) -> tuple[float, float]:
    """The middle of a heatmap cell, in pixels of the page.

    picks: made before on this chart; every pick draws it anew, under a name that counts them.
    n_layers: of the stack that is shown.
    """
    plot = page.locator(f".st-key-heatmap-{mode}-{picks} .nsewdrag")
    expect(plot).to_be_visible(timeout=FIRST_JOB)
    box, before = plot.bounding_box(), None
    while box is None or box != before:
        page.wait_for_timeout(500)  # until the page has settled
        box, before = plot.bounding_box(), box
    step = box["width"] / n_layers, box["height"] / n_layers
    return box["x"] + (column + 0.5) * step[0], box["y"] + (row + 0.5) * step[1]


def drag(
    page: Page, first: int, last: int, stack: str = "encoder", picks: int = 0, n_layers: int = 12
) -> None:
    """Drag a box over the block of layers `first` to `last`, and see it in the draft."""
    start, end = (cell(page, at, at, picks, n_layers=n_layers) for at in (first, last))
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()
    expect(draft(page)).to_have_text([f"{stack}.{index}" for index in range(first, last + 1)])


def draft(page: Page) -> Locator:
    return page.locator(".react-aria-ComboBox [data-tag]")


def add_group(page: Page, names: str, number: int = 1) -> None:
    page.get_by_role("button", name="Add group").click()
    expect(page.get_by_text(re.compile(rf"{number} · {names} · \d+ layers"))).to_be_visible()


def merge(page: Page, scored: str = "Validation accuracy, 359 images") -> None:
    visit(page, "Merge")
    page.get_by_role("button", name="Merge", exact=True).click()
    expect(page.get_by_text(scored)).to_be_visible(timeout=FIRST_JOB)


def points(page: Page) -> Locator:
    return page.locator(".js-plotly-plot .scatterlayer .points path.point")
