"""docs/kinds.md and docs/families.md are what the records say."""

from pathlib import Path

from ffmerge_core.models.families import FAMILIES, known_classes
from ffmerge_core.plan import Merge, Reduce, Repair
from ffmerge_core.reporting import families_page
from ffmerge_core.reporting.kinds_page import page

DOCS = Path(__file__).parents[2] / "docs" / "kinds.md"


def test_the_page_is_as_it_is_printed() -> None:
    assert DOCS.read_text("utf-8") == page()


def test_the_page_of_families_is_as_it_is_printed_and_names_every_class() -> None:
    said = families_page.page()
    assert (DOCS.parent / "families.md").read_text("utf-8") == said
    for root in ("transformers", "timm"):
        assert all(f"`{name}`" in said for name in known_classes(root))
    assert all(family.source in said for family in FAMILIES.values())


def test_a_record_is_a_row_without_another_edit(halve: Merge, hush: Reduce, double: Repair) -> None:
    rows = page().splitlines()
    for record in (halve, hush, double):
        (row,) = [row for row in rows if row.startswith(f"| `{record.name}` |")]
        assert record.help in row
    assert "anchor" in next(row for row in rows if row.startswith("| `halve` |"))
