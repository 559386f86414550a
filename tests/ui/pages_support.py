"""The app in process: opening, pressing, waiting, reading."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from ffmerge_core.plan import stack_of
from pages._ui.compare.table import table_key
from pages._ui.similarity.picking import draft_key
from pages._ui.state.shared import (
    WORKSPACE_PARAMETER,
    job_registry,
    run_store,
    workspace_store,
)

ROOT = Path(__file__).parents[2]
DEMO = "demo:vit-digits"
SECONDS = 120
TOKENS = 1_000


def open_app(page: str = "model", workspace_id: str | None = None) -> AppTest:
    tab = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    if workspace_id is not None:
        tab.query_params[WORKSPACE_PARAMETER] = workspace_id
    tab.run()
    return go(tab, page)


def picking() -> AppTest:
    """A new tab on the Similarity page, measured by few tokens: for tests of something else."""
    tab = open_app()
    workspace_store().find(id_of(tab)).choose(tokens=TOKENS)
    return go(tab, "similarity")


def go(tab: AppTest, page: str) -> AppTest:
    tab.switch_page(f"pages/{page}.py").run()
    return settle(tab)


def id_of(tab: AppTest) -> str:
    found = tab.query_params[WORKSPACE_PARAMETER]
    return found if isinstance(found, str) else found[0]


def settle(tab: AppTest) -> AppTest:
    """Wait for the tab's jobs, and draw the page as it is after them."""
    for job in job_registry().active(id_of(tab)):
        job_registry().wait(job.id, SECONDS)
    tab.run()
    assert not tab.exception
    return tab


def press(tab: AppTest, label: str) -> AppTest:
    next(button for button in tab.button if button.label == label).click()
    tab.run()
    return settle(tab)


def metrics(tab: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def sentences(tab: AppTest) -> str:
    kinds = (tab.markdown, tab.caption, tab.info, tab.warning, tab.error, tab.success)
    return "\n".join(element.value for kind in kinds for element in kind)


def add_group(tab: AppTest, *names: str) -> None:
    pick(tab, *names)
    press(tab, "Add group")


def pick(tab: AppTest, *names: str) -> None:
    """Make `names` the draft of their stack, which must be the one that is shown."""
    tab.multiselect(key=draft_key(stack_of(names[0]))).set_value(list(names)).run()


def with_run(*groups: tuple[str, ...]) -> AppTest:
    """A tab that has merged, on the Merge page."""
    tab = picking()
    for group in groups or (("encoder.6", "encoder.7"),):
        add_group(tab, *group)
    return press(go(tab, "merge"), "Merge")


def select(tab: AppTest, *rows: int) -> None:
    """Select rows of the runs' table, as the front end does; it holds for the next run only."""
    key = table_key(run_store().list(DEMO))
    tab.session_state[key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}


def selected(tab: AppTest, *rows: int) -> AppTest:
    select(tab, *rows)
    tab.run()
    select(tab, *rows)
    return tab


def compare(*rows: int) -> AppTest:
    return selected(open_app("compare"), *rows)
