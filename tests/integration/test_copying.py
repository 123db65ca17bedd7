"""Rows copied as text into a real PostgreSQL: every text that it can hold arrives as it was."""

from __future__ import annotations

import asyncio

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.copying import copy

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_NASTY = st.text(st.sampled_from("\\.Ntxn\t\n\r\v\f\b\x1e\x1f\x7f01a \"'ø山"), max_size=8)
_ROWS = st.lists(st.tuples(st.none() | _NASTY | _TEXT, st.none() | _NASTY | _TEXT), min_size=1, max_size=8)


def test_every_text_arrives_as_it_was(database_url: str) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url))
        runner.run(connection.execute("CREATE SCHEMA copied; CREATE TABLE copied.texts (n serial, one text, two text)"))

        async def there(rows: list[tuple[str | None, str | None]]) -> list[tuple[str | None, str | None]]:
            await connection.execute("TRUNCATE copied.texts")
            await copy(connection, "copied", "texts", ("one", "two"), [*zip(*rows, strict=True)])
            return [(row["one"], row["two"]) for row in await connection.fetch("TABLE copied.texts ORDER BY n")]

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(_ROWS)
        def copied(rows: list[tuple[str | None, str | None]]) -> None:
            assert runner.run(there(rows)) == rows

        try:
            copied()
            whole: list[tuple[str | None, str | None]] = [(chr(place), None) for place in range(1, 0x3000)]
            assert runner.run(there(whole)) == whole
        finally:
            runner.run(connection.close())
