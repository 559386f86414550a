"""How soon the first page is painted in a real browser, on a server that was just started.

    python -m benchmarks.first_page

Needs the packages of requirements-dev.txt and a Chromium or Chrome.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.timing import Row, machine, once, print_table
from ffmerge_core import demos
from tests.browser.conftest import FLAGS, ROOT, browser_path, serving

ALLOWED = 3.0


def paint(browser: Browser, url: str) -> None:
    """Open a new tab and wait for the model's parameter count, which the card tells."""
    tab = browser.new_page()
    tab.goto(url)
    tab.get_by_text(f"{demos.card('vit-digits').n_parameters:,}").first.wait_for()
    tab.close()


def main() -> None:
    path = browser_path()
    if path is None:
        raise SystemExit("No Chromium or Chrome is on the path.")
    print(f"{machine()}\n")
    with (
        tempfile.TemporaryDirectory() as home,
        serving(ROOT / "app.py", Path(home)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        browser.new_page().goto("about:blank")
        first = once(lambda: paint(browser, url))
        later = once(lambda: paint(browser, url))
        browser.close()
    print_table(
        [
            Row("first page, first visitor", first, "allowed", ALLOWED),
            Row("first page, second visitor", later, "allowed", ALLOWED),
        ]
    )


if __name__ == "__main__":
    main()
