"""*limit*: the very rows that *live* leaves behind, by COPY from binary files into the same tables.

The files lie beside the server and are read by it; the database is fresh, with all its indexes; one connection, one
transaction, timed from BEGIN to the answer to COMMIT. Nothing is decoded, compared, folded or updated: what the
tables and indexes themselves cost.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.race import cpu
from bench.stage import SQL, Stage, connected, fresh_database
from bench.stream import Load
from bench.truth import Truth
from consumer.read_model_sql import TableSql
from consumer.read_models import READ_MODELS
from consumer.read_models.kinds import Stored
from schemas.connection import Connection


class Rows:
    """The final rows of every stored table, as files."""

    def __init__(self) -> None:
        tables = [TableSql(model).table for model in READ_MODELS if isinstance(model, Stored)]
        # What is looked up and what is counted by hand come with them, so that the readers' views are whole.
        self._tables = ["projector.event_sources", "projector.ledger", "projector.orders", *tables]
        self._files: dict[str, Path] = {}

    @property
    def there(self) -> bool:
        return bool(self._files)

    async def dump(self, connection: Connection, directory: Path) -> None:
        """Write them, into a directory of the server's."""
        for number, table in enumerate(self._tables):
            file = directory / f"bench-{number}.copy"
            await connection.execute(SQL["dump"].format(table=table, file=file))
            self._files[table] = file

    async def load(self, connection: Connection) -> None:
        """Read them, in the order in which the worker writes its tables."""
        async with connection.transaction():
            for table, file in self._files.items():
                await connection.execute(SQL["load"].format(table=table, file=file))

    def size(self) -> int:
        """Bytes in all."""
        return sum(file.stat().st_size for file in self._files.values())


async def limit(on: Stage, load: Load, truth: Truth, rows: Rows) -> dict[str, float]:
    """As many events per second as their rows can be copied in."""
    async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
        before, began = cpu(on, ()), time.perf_counter()
        await rows.load(connection)
        seconds, after = time.perf_counter() - began, cpu(on, ())
        await truth.check(connection, load)
    return {
        "events_per_s": load.events / seconds,
        "seconds": seconds,
        "postgres_cpu_us": (after["postgres"] - before["postgres"]) * 1e6 / load.events,
        "copied_bytes_per_event": rows.size() / load.events,
    }
