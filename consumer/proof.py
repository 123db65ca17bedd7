"""The read models held against an independent recomputation: row for row, column for column.

The expected side comes from `consumer.reference`, which shares no code with the engine, fed with what the producer
meant. Both sides are read whole: this is for demos and tests, which know what was meant. `projector verify`
(consumer.verification) knows only what was sent, and takes it range by range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from consumer import exact_json, reference
from runtime.sql import Queries
from schemas.connection import Connection

_SQL = Queries("consumer", "proof.sql")


@dataclass(frozen=True)
class Check:
    """One thing held against the recomputation: how many rows it has, and where the two differ."""

    name: str
    expected: int
    found: int
    differences: list[str]


async def prove(connection: Connection, settled: reference.Settled) -> list[Check]:
    """Everything that the stream should have left behind, against what it did."""
    expected = reference.read_models(settled.applied)
    checks = [await _read_model(connection, name, expected[name], key) for name, key in reference.KEYS.items()]
    applied = [(event["source"], event["id"]) for events in settled.applied.values() for event in events]
    parked = [(event["source"], event["id"]) for event in settled.parked]
    letters = [reason for reason, _ in settled.dead]
    return [
        *checks,
        await _multiset(connection, "processed_events", applied),
        await _multiset(connection, "parked_events", parked),
        await _multiset(connection, "dead_letters", [(reason,) for reason in letters]),
    ]


async def rows(connection: Connection, name: str) -> list[dict[str, Any]]:
    """A read model as readers see it, JSON parsed exactly."""
    return as_read(await connection.fetch(_SQL[name]))


def as_read(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Rows as the driver has them, with their JSON parsed exactly."""
    found = [dict(record) for record in records]
    for row in found:
        for column in ("lines", "shipping_address", "data"):
            if isinstance(row.get(column), str):
                row[column] = exact_json.parsed(row[column])
    return found


async def _read_model(
    connection: Connection, name: str, expected: Sequence[dict[str, Any]], key: Sequence[str]
) -> Check:
    actual = await rows(connection, name)
    differences = reference.compare(expected, actual, key)
    return Check(name, len(expected), len(actual), [str(one) for one in differences])


async def _multiset(connection: Connection, name: str, expected: Sequence[tuple[str, ...]]) -> Check:
    actual = [tuple(row) for row in await connection.fetch(_SQL[name])]
    missing, extra = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
    differences = [f"missing: {one}" for one in list(missing)[:20]] + [f"extra: {one}" for one in list(extra)[:20]]
    return Check(name, len(expected), len(actual), differences)
