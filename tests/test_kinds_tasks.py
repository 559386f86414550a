"""A metric, a kind of task and a family of one's own, one record each: found everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

import ffmerge_core as fm
from ffmerge_core.cli import app
from ffmerge_core.errors import DataError, UnsupportedModelError
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.plan import MergePlan, Recipe
from ffmerge_core.reporting.run_table import to_frame
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.tasks.kinds import TASKS
from ffmerge_core.tasks.language_modeling import LanguageModeling
from ffmerge_core.tasks.metrics import METRICS, metric
from ffmerge_core.tasks.own_data import read_texts
from ffmerge_core.tasks.task import given
from pages._ui.state.shared import run_store, workspace_store
from pages._ui.state.subject import Opened
from tests.models.test_register_family import HELIUM, helium
from tests.models.tiny import gpt2
from tests.tasks.texts import bytes_tokenizer
from tests.ui.conftest import home  # noqa: F401
from tests.ui.pages_support import DEMO, go, id_of, metrics, open_app, press, sentences

GROUP = ("decoder.1", "decoder.2")
SURPRISE = fm.Metric(
    "surprise",
    "Surprise",
    "How much the riddles surprise the model.",
    higher_is_better=False,
    digits=1,
    alike="guesses that agree",
    loss="loss",
)


@dataclass(frozen=True, eq=False)
class Riddles(LanguageModeling):
    """A task of another kind: its windows are riddles."""

    kind = "riddles"
    metric = "surprise"
    examples = "riddles"


def read_riddles(model: fm.LoadedModel, path: str, fidelity: bool, report: object) -> Riddles:
    own = read_texts(path)
    return Riddles(own.name, model.tokenizer, own.texts, 16)


RIDDLES = fm.TaskKind(
    "riddles",
    "Riddles",
    "Guesses riddles.",
    metric="surprise",
    examples="riddles",
    data="a file of riddles",
    format="A text file with a riddle between blank lines.",
    read=read_riddles,
)
OWN = fm.Family(
    **{**vars(HELIUM), "name": "own Helium", "label": "Own", "kind": "riddles"}  # type: ignore[arg-type]
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with METRICS.registered(), TASKS.registered(), FAMILIES.registered():
        fm.register_metric(SURPRISE)
        fm.register_task(RIDDLES)
        fm.register_family(OWN)
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "riddles.txt"
    path.write_text("\n\n".join(f"what is {n} and {n}? {2 * n}" for n in range(20)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    helium().save_pretrained(tmp_path / "own")  # type: ignore[operator]
    bytes_tokenizer().save_pretrained(tmp_path / "own")
    return tmp_path / "own"


def ffmerge(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], prog_name="ffmerge")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_model_of_the_family_is_opened_on_the_kind_s_data_saved_and_opened_again(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    model = fm.load(folder, task=data)
    assert isinstance(model.task, Riddles)
    assert model.family is OWN
    merged = fm.apply(model, fm.MergePlan((GROUP,), method="vanilla"))
    again = fm.load(fm.save(merged, tmp_path / "saved").folder)
    assert isinstance(again.task, Riddles)
    assert again.n_parameters == merged.n_parameters
    assert fm.evaluate(again).value == fm.evaluate(merged).value
    with pytest.raises(DataError, match=r"own Helium does not take\. Give a file of riddles"):
        fm.load(folder, task="digits")
    with pytest.raises(DataError, match=r"a file of sentence pairs, .*, a file of riddles"):
        fm.load(folder, task=tmp_path / "absent")


def test_errors_that_list_families_list_it(folder: Path) -> None:  # registered by the folder
    from torch import nn

    with pytest.raises(UnsupportedModelError, match=r"Known families: .*, Own\. Declare"):
        fm.load(nn.Linear(2, 2))


def test_the_command_line_knows_them(folder: Path, data: Path) -> None:
    facts = json.loads(ffmerge("info", folder, "--data", data, "--json"))
    assert (facts["family"], facts["data"]["kind"], facts["data"]["metric"]) == (
        "own Helium", "riddles", "surprise",
    )  # fmt: skip
    asked = (folder, "--data", data)
    told = ffmerge("merge", *asked, "--group", ",".join(GROUP), "--method", "vanilla")
    assert "Validation surprise, " in told
    assert "Validation guesses that agree" in told
    assert "Surprise" in ffmerge("search", *asked, "--remove", 1, "--method", "vanilla")
    frame = to_frame(RunStore(data.parent).list(str(folder)))
    assert frame["validation metric"].tolist() == ["surprise"]


def test_every_page_shows_them(folder: Path, data: Path) -> None:
    tab = open_app()
    tab.text_input(key="folder").set_value(str(folder))
    tab.radio(key="measured_on").set_value("own").run()
    assert RIDDLES.format in sentences(tab)
    assert "**Riddles**: own Helium." in sentences(tab)
    tab.text_input(key="folder-path").set_value(str(data))
    press(tab, "Open model")
    assert "Validation surprise" in metrics(tab)
    assert not any(button.label == "Use the built-in digits" for button in tab.button)

    workspace = workspace_store().find(id_of(tab))
    assert workspace.opened == Opened(str(folder), str(data))
    workspace.set_groups((GROUP,), fm.load(folder).sublayers)
    workspace.choose(method="vanilla")
    press(go(tab, "merge"), "Merge")
    (run,) = run_store().list(str(folder))
    assert run.result is not None
    table = tab.table[0].value
    n = run.result["original"]["validation"]["n"]
    assert f"Validation surprise, {n} riddles" in table.index
    assert "Validation guesses that agree" in table.index
    _says_where_the_loss_rose(tab)
    assert "There is nothing to try, because riddles cannot be shown here." in sentences(tab)

    go(tab, "compare")
    assert "Surprise" in tab.dataframe[0].value.columns
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert spec["layout"]["yaxis"]["title"]["text"] == "surprise, lower is better"


def _says_where_the_loss_rose(tab: AppTest) -> None:
    (shown,) = (each.value for each in tab.table if each.value.index.name == "Example")
    assert list(shown.columns) == ["Original", "Merged"]
    rises = [float(after) - float(before) for before, after in shown.to_numpy()]
    assert rises == sorted(rises, reverse=True)
    assert rises[-1] > 0


class Bare:
    """A user's task that does not say what its data came as."""

    kind, data, metric, revision, examples = "bare", "mine", "surprise", "0", "things"

    def size(self, split: str) -> int:
        return {"train": 5, "validation": 3, "test": 2}[split]


def test_a_task_need_not_say_what_its_data_came_as(data: Path) -> None:
    bare: Any = Bare()
    assert given(bare) == ({"train": 5, "validation": 3, "test": 2}, "things")
    own = read_texts(data)
    task = Riddles(own.name, bytes_tokenizer(), own.texts, 16)
    assert given(task) == ({"train": 16, "validation": 2, "test": 2}, "documents")
    from ffmerge_core.tasks.fidelity import Fidelity

    assert given(Fidelity(task, gpt2())) == given(task)
    assert given(Fidelity(bare, gpt2())) == given(bare)


def test_a_metric_that_nobody_registered_says_how_it_is_registered(data: Path) -> None:
    with pytest.raises(DataError, match=r"no metric called 'taste'.*fm\.register_metric\(fm\.Met"):
        metric("taste")


def test_a_run_of_such_a_metric_is_a_sentence_on_the_pages_and_no_crash() -> None:
    score = {"split": "validation", "metric": "taste", "n": 3, "value": 0.9, "loss": 0.3,
             "interval": [0.8, 1.0], "loss_interval": [0.2, 0.4]}  # fmt: skip
    sizes = {"n_parameters": 600_000, "weight_bytes": 2_400_000}
    result = {
        "original": {"validation": score, **sizes},
        "merged": {"validation": score, **sizes},
        "difference": {"validation": score | {"agreement": 0.9}},
    }
    recipe = Recipe(DEMO, MergePlan((("encoder.1", "encoder.2"),), method="vanilla"))
    run = run_store().start(recipe.to_dict(), DEMO, "mine", {})
    run_store().finish(run.id, result, {"merge": 1.0}, None)
    tab = open_app("compare")
    assert not tab.error
    assert not tab.exception
    (said,) = [info.value for info in tab.info if "taste" in info.value]
    assert "a metric that is not registered" in said


def test_the_records_are_read_without_torch() -> None:
    modules = "tasks.metrics", "tasks.kinds", "models.families"
    code = f"import sys, {', '.join(f'ffmerge_core.{name}' for name in modules)}\n"
    code += "print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_each_record_stands_in_its_order_and_says_what_it_is() -> None:
    assert list(METRICS)[-1] == "surprise"
    assert next(iter(TASKS)) == "image-classification"
    assert list(TASKS)[-1] == "riddles"
    for record in (*METRICS.values(), *TASKS.values(), *FAMILIES.values()):
        assert record.label
        assert record.help.endswith(".")
    for kind in TASKS.values():
        assert kind.metric in METRICS
    for family in FAMILIES.values():
        assert family.kind in TASKS


def test_a_stored_recipe_of_the_kind_is_carried_out_again(folder: Path, data: Path) -> None:
    plan = MergePlan((GROUP,), method="vanilla")
    first = fm.run(Recipe(str(folder), plan, data=str(data)))
    again = fm.run(Recipe.from_dict(json.loads(json.dumps(first.recipe.to_dict()))))
    assert again.after.value == first.after.value
