"""Parts of some work, told as one."""

from __future__ import annotations

from collections.abc import Mapping

from ffmerge_core.progress import Report, part


def told_by(parts: list[tuple[float, float, str]]) -> list[tuple[int, int, str]]:
    """What is heard of parts that each report a half and their end."""
    heard: list[tuple[int, int, str]] = []

    def listen(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        heard.append((step, total, message))

    whole: Report = listen
    for start, end, said in parts:
        told = part(whole, start, end, said)
        told(1, 2, "Reading")
        told(5, 2, "Read")
    return heard


def test_parts_follow_each_other_in_thousandths_of_the_whole() -> None:
    assert told_by([(0, 0.1, ""), (0.1, 1, "Scoring: ")]) == [
        (50, 1000, "Reading"),
        (100, 1000, "Read"),
        (550, 1000, "Scoring: reading"),
        (1000, 1000, "Scoring: read"),
    ]


def test_a_part_of_a_part_is_a_share_of_it_and_a_total_of_nothing_is_its_end() -> None:
    heard: list[int] = []
    inner = part(part(lambda step, *_: heard.append(step), 0.5, 1), 0.5, 1)
    inner(0, 0, "")
    inner(1, 1, "")
    assert heard == [750, 1000]
