"""*live*: the real worker, in processes of its own, on a topic that holds the whole stream already."""

from __future__ import annotations

from bench.limit import Rows
from bench.metrics import batches
from bench.race import race
from bench.stage import SQL, Stage, connected, environment, fresh_database, members
from bench.stream import Load
from bench.truth import Truth
from runtime.embedded.ports import free_port
from schemas.connection import Connection

_SLOWEST = 1_000  # events/s below which a run is given up


async def live(on: Stage, load: Load, truth: Truth, rows: Rows | None = None, processes: int = 1) -> dict[str, float]:
    """Events per second and CPU per event; the result is proved, and goes into `rows` (for *limit*) if they are none.

    Raises WrongResult, or Unavailable for workers that end or take too long.
    """
    async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
        figures = await measured(on, url, connection, load, processes)
        await truth.check(connection, load)
        if rows is not None and not rows.there:
            await rows.dump(connection, on.cluster)
        return figures


async def measured(on: Stage, url: str, connection: Connection, load: Load, processes: int) -> dict[str, float]:
    """The same into this database, and nothing proved."""
    ports = [free_port() for _ in range(processes)]
    group = environment(on.at(url, load.topic))
    commands = [(("-m", "cli", "worker"), {**group, "PROJECTOR_METRICS_PORT": str(port)}) for port in ports]
    log = on.home / "live.log"
    with members(commands, log) as workers:
        limit = 60 + load.events / _SLOWEST
        result = await race(on, connection, load.topic, load.events, workers, log, limit)
        cut = await batches(ports)
    writes = await connection.fetchval(SQL["fold_work"])
    return {**result.figures(), **cut, "order_writes_per_event": writes / load.events}
