"""What the kit says of rows in memory is what PostgreSQL says of them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import asyncpg
import pytest

from consumer.read_model_sql import TableSql
from consumer.read_model_store import ReadModelStore
from consumer.read_models.kinds import Column, Contribution, Type, columns
from schemas.order import OrderState
from testkit.rows import sum_rows

KEYS = {
    "a text": columns(a=Type.TEXT),
    "texts and a number": columns(a=Type.TEXT, b=Type.COUNT, c=Type.TEXT),
    "a text and times": columns(a=Type.TEXT, b=Type.TIMESTAMP, c=Type.DAY),
    "times and a text": columns(b=Type.DAY, c=Type.TIMESTAMP, a=Type.TEXT),
}
SMALL = {
    Type.TEXT: "EUR",
    Type.COUNT: 1,
    Type.TIMESTAMP: datetime(2026, 1, 1, tzinfo=UTC),
    Type.DAY: date(2026, 1, 1),
}
NOISE = "".join(Random(1).choices(string.printable[:94], k=3_000))  # compresses badly


class Sums(Contribution):
    name = "sums"
    version = 1
    values = columns(n=Type.COUNT)
    depends_on = ()

    def __init__(self, keys: tuple[Column, ...]) -> None:
        self.keys = keys

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield from ()


def row(keys: tuple[Column, ...], text: str, n: int = 1) -> tuple[Any, ...]:
    return (*(text if column.name == "a" else SMALL[column.type] for column in keys), n)


def refuses(keys: tuple[Column, ...], *values: Any) -> bool:
    try:
        sum_rows(Sums(keys), {values[:-1]: values[-1:]})
    except (TypeError, ValueError):
        return True
    return False


async def stored(database_url: str, keys: tuple[Column, ...], *values: Any) -> None:
    sql = TableSql(Sums(keys))
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(sql.create_table)
        await ReadModelStore([Sums(keys)]).put(connection, {"sums": [values]}, {}, 1)
    finally:
        await connection.close()


@pytest.mark.parametrize("kind", KEYS)
async def test_the_longest_key_that_passes_can_be_stored(database_url: str, kind: str) -> None:
    keys = KEYS[kind]
    longest = max(length for length in range(2_500, 2_800) if not refuses(keys, *row(keys, NOISE[:length])))
    await stored(database_url, keys, *row(keys, NOISE[:longest]))


@pytest.mark.parametrize("kind", KEYS)
async def test_one_that_is_hardly_longer_cannot(database_url: str, kind: str) -> None:
    keys = KEYS[kind]
    assert refuses(keys, *row(keys, NOISE[:2_700]))
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await stored(database_url, keys, *row(keys, NOISE[:2_700]))


@pytest.mark.parametrize(("text", "n"), [(None, 1), ("a\x00b", 1), ("\ud800", 1), ("a", 2**63)])
async def test_what_is_refused_cannot_be_stored(database_url: str, text: Any, n: Any) -> None:
    keys = KEYS["a text"]
    assert refuses(keys, *row(keys, text, n))
    with pytest.raises((asyncpg.DataError, asyncpg.PostgresError, ValueError)):
        await stored(database_url, keys, *row(keys, text, n))
