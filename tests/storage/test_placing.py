"""Errors name the folder that somebody asked for."""

from pathlib import Path

import pytest

from ffmerge_core.errors import Cancelled, PlanError, SourceError, StorageError
from ffmerge_core.storage.placing import called, placed


@pytest.mark.parametrize("kind", [SourceError, StorageError, PlanError])
def test_an_error_of_a_folder_is_told_of_what_it_is_called(kind: type[Exception]) -> None:
    folder = Path("/tmp/.secret")
    with (
        pytest.raises(kind, match=r"^The copy/config\.json is damaged\.$"),
        called(folder, "The copy"),
    ):
        raise kind(f"{folder / 'config.json'} is damaged.")
    with pytest.raises(Cancelled, match=r"^Cancelled\.$"), called(folder, "The copy"):
        raise Cancelled("Cancelled.")


@pytest.mark.parametrize("kind", [SourceError, RuntimeError])
def test_no_draft_is_named(kind: type[Exception], tmp_path: Path) -> None:
    target = tmp_path / "target"
    expected = SourceError if kind is SourceError else StorageError
    with (
        pytest.raises(expected, match=f"{target}/x is odd") as refused,
        placed(target, "mark", overwrite=False) as draft,
    ):
        raise kind(f"{draft}/x is odd")
    assert ".tmp" not in str(refused.value)
    assert not list(tmp_path.iterdir())
