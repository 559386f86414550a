"""Search the windows, merge the best, recover what it cost: in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.walking import APP, FIRST_JOB, points, visit

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_search_merge_and_recover(
    page: Page, start_server: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    # A server of its own: the runs that Compare counts are all of this journey.
    with start_server(APP, tmp_path) as url:
        page.goto(url)
        walk(page)


def walk(page: Page) -> None:
    visit(page, "Search")
    page.get_by_role("button", name="Search windows").click()
    use = page.get_by_role("button", name="Use this window")
    expect(use).to_be_visible(timeout=FIRST_JOB)
    expect(page.get_by_text("Does similarity predict damage?")).to_be_visible()
    use.click()
    expect(page.get_by_role("heading", name="Merge", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"1 · encoder \d+–\d+ · 5 layers"))).to_be_visible()
    page.get_by_role("button", name="Merge", exact=True).click()
    scored = page.get_by_text("Validation accuracy, 359 images")
    expect(scored).to_be_visible(timeout=FIRST_JOB)

    visit(page, "Recover")
    steps = page.get_by_label("Steps", exact=True)
    steps.fill("10")
    steps.press("Enter")
    page.wait_for_timeout(1_500)
    page.get_by_role("button", name="Recover", exact=True).click()
    expect(scored).to_be_visible(timeout=FIRST_JOB)
    visit(page, "Compare")
    expect(points(page)).to_have_count(3)

    # One baseline of the recovered run, fine-tuned in the same way, lands without a reload.
    expect(page.get_by_text(re.compile("Fine-tuned in the same way: 10 steps"))).to_be_visible()
    kinds = page.get_by_role("toolbar", name="Kinds")
    for kind in kinds.get_by_role("button").all_inner_texts():
        if kind != "SVD":
            kinds.get_by_role("button", name=kind).click()
            expect(kinds.get_by_role("button", name=kind)).to_have_attribute(
                "aria-pressed", "false"
            )
    page.get_by_role("button", name="Run baselines").click()
    expect(points(page)).to_have_count(4, timeout=FIRST_JOB)
