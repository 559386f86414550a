"""A real server and a real browser for the tests of this folder.

They are skipped, with the reason, where no Chromium or Chrome is found; with
FFMERGE_BROWSER_TESTS=required they fail instead.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS_TO_START = 60
MILLISECONDS_TO_SHOW = 20_000
WIDE = {"width": 1280, "height": 900}

Server = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium or Chrome, headless."""
    path = browser_path()
    if path is None:
        _unavailable(f"no browser is on the path; looked for {', '.join(BROWSERS)}")
    expect.set_options(timeout=MILLISECONDS_TO_SHOW)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab of a browser that remembers nothing; light theme."""
    context = browser.new_context(viewport=WIDE, color_scheme="light")
    context.set_default_timeout(MILLISECONDS_TO_SHOW)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def start_server() -> Server:
    """`with start_server(script, home) as url:` serves a script with that data folder.

    A `port` serves it again at the address of an earlier server.
    """
    return serving


@pytest.fixture(scope="session")
def serve(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], str]]:
    """`serve(script)` is the address of a server that runs it, one a script and session."""
    addresses: dict[Path, str] = {}
    with ExitStack() as servers:

        def address(script: Path) -> str:
            if script not in addresses:
                home = tmp_path_factory.mktemp("home")
                addresses[script] = servers.enter_context(serving(script, home))
            return addresses[script]

        yield address


@pytest.fixture
def both_themes(browser: Browser, tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """`both_themes(url, ready)` takes a picture in light and dark, once `ready(page)` is over.

    Returns {"light": file, "dark": file}.
    """

    def pictures(url: str, ready: Callable[[Page], object]) -> dict[str, Path]:
        files = {}
        for theme in ("light", "dark"):
            context = browser.new_context(viewport=WIDE, color_scheme=theme)
            tab = context.new_page()
            tab.goto(url)
            ready(tab)
            files[theme] = tmp_path / f"{theme}.png"
            tab.screenshot(path=files[theme])
            context.close()
        return files

    return pictures


def browser_path() -> str | None:
    """Where the system's browser is."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def serving(script: Path, home: Path, port: int | None = None) -> Iterator[str]:
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    log = home / "server.log"
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)],
            cwd=ROOT,  # where .streamlit/config.toml is: the tests run what users run
            env={**os.environ, "FFMERGE_HOME": str(home), "PYTHONPATH": search},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_healthy(server, url, log)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the server did not start; it said:\n{log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("FFMERGE_BROWSER_TESTS") == "required":
        pytest.fail(f"Browser tests are required, but {reason}.")
    pytest.skip(f"Browser tests need a browser: {reason}.")
