"""The verb that serves the dashboard; tests/test_distribution.py serves the installed one."""

from ffmerge_core.cli.dashboard import script
from tests.cli.conftest import ROOT, Process


def test_in_a_checkout_it_is_the_one_at_the_top() -> None:
    assert script() == ROOT / "app.py"


def test_what_it_does_not_know_goes_to_streamlit(process: Process) -> None:
    done = process("app", "--port", 8600, "--server.nonsense", "1")
    assert done.returncode == 2
    assert "streamlit run" in done.stderr
    assert "--server.nonsense" in done.stderr
