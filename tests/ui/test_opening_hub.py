"""Data of the hub on the Model page: it is streamed, its splits are said, and recipes keep it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from pages._ui.state.shared import workspace_store
from tests.sources.conftest import data_hub, lay  # noqa: F401
from tests.sources.data_sets import Lay
from tests.sources.hub_server import COMMIT, Hub
from tests.ui.pages_support import id_of, open_app, press, sentences

DEMO = "demo:gpt2-code"
TEXTS = [f"def f{i}(x):\n    return x + {i}" for i in range(40)]


@pytest.fixture
def tab(data_hub: Hub, lay: Lay) -> AppTest:  # noqa: F811
    lay({"train.parquet": pa.table({"code": TEXTS}), "test.parquet": pa.table({"code": TEXTS[:3]})})
    tab = open_app()
    next(button for button in tab.button if button.key == "open-gpt2-code").click()
    return tab.run()


def measure_on(tab: AppTest, name: str) -> AppTest:
    next(field for field in tab.text_input if DEMO in str(field.key)).set_value(name)
    return press(tab, "Measure on this")


def test_the_page_takes_a_name_and_says_how_it_was_split(tab: AppTest) -> None:
    measure_on(tab, "hf:someone/data?text=code")
    assert not tab.error
    opened = workspace_store().find(id_of(tab)).opened
    assert opened.data == f"hf:someone/data@{COMMIT}?text=code"
    said = sentences(tab)
    assert "validation carved by hash from “train”, because there is none; test is “test”" in said


def test_a_name_that_leads_nowhere_is_a_sentence(tab: AppTest, data_hub: Hub) -> None:  # noqa: F811
    for name, said in (
        ("hf:someone/nothing", "The hub knows no data set someone/nothing"),
        ("hf:someone/data?words=code", "“words” in hf:someone/data"),
        ("wikitext-2", "The hub knows no data set Salesforce/wikitext"),
        ("imagenet-1k", "imagenet-1k is for image-classification, and this model is for language"),
    ):
        (error,) = [error.value for error in measure_on(tab, name).error]
        assert said in error
    assert workspace_store().find(id_of(tab)).opened.source == DEMO
