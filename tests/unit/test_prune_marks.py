"""How far an archive has come, told by marks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from consumer.prune import Mark, reached
from runtime.kafka import Ends

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
MARKS = [Mark(LATE, {ONE: 20, TWO: 8}), Mark(EARLY, {ONE: 10, TWO: 0})]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({ONE: Ends(0, 20), TWO: Ends(0, 8)}, LATE),
        ({ONE: Ends(0, 30), TWO: Ends(0, 9)}, LATE),
        ({ONE: Ends(0, 20), TWO: Ends(0, 7)}, EARLY),
        ({ONE: Ends(0, 19), TWO: Ends(0, 8)}, EARLY),
        ({ONE: Ends(0, 10)}, EARLY),
        ({ONE: Ends(0, 9), TWO: Ends(0, 8)}, None),
        ({TWO: Ends(0, 8)}, None),
        ({}, None),
    ],
)
def test_the_newest_mark_that_it_has_come_to_everywhere(
    held: dict[TopicPartition, Ends], expected: datetime | None
) -> None:
    assert reached(MARKS, held) == expected


def test_where_nothing_is_marked_nothing_is_archived() -> None:
    assert reached([], {ONE: Ends(0, 20)}) is None
