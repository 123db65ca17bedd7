"""What has to hold after every fault, beside that all rows are equal. Each check returns what is wrong, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

from aiokafka import TopicPartition

from consumer.checkpoints import Place
from consumer.reference import Settled
from schemas.connection import Connection
from tests.faults.load import Log
from tests.faults.scene import Scene
from tests.support.fleet import stands
from tests.support.streams import Ends, differences

_HALF_DONE = """
    SELECT coalesce(l.order_id, o.order_id) AS order_id, l.rows, l.last, o.version
    FROM (SELECT order_id, count(*) AS rows, max(version) AS last FROM projector.ledger GROUP BY order_id) AS l
    FULL JOIN (SELECT order_id, version FROM projector.orders WHERE version > 0 AND NOT erased) AS o USING (order_id)
    WHERE (l.rows, l.last) IS DISTINCT FROM (o.version, o.version)
"""
_LETTERS = "SELECT topic, partition, \"offset\", value FROM projector.dead_letters WHERE reason = 'unreadable'"
_WORKERS = "datname = current_database() AND application_name = 'projector-worker'"


async def everything(scene: Scene, log: Log, settled: Settled) -> list[str]:
    """All that is wrong with a fleet at rest."""
    ends = log.ends
    return [
        *await differences(scene.connection, settled),
        *await half_done(scene.connection),
        *await mangled_letters(scene.connection, log, settled),
        *await wrong_offsets(scene, ends),
    ]


async def half_done(connection: Connection) -> list[str]:
    """Orders whose ledger and state say different things: an event without its effect, or an effect without one."""
    return [f"half done: {dict(row)}" for row in await connection.fetch(_HALF_DONE)]


async def mangled_letters(connection: Connection, log: Log, settled: Settled) -> list[str]:
    """Broken records that don't have exactly one letter with their very bytes."""
    expected = Counter(
        (*one.place, one.offset, _digest(one.delivery.value))
        for one in log.sent
        if one.delivery.meant.kind == "broken" and one.delivery.meant.order_id not in settled.erased
    )
    rows = await connection.fetch(_LETTERS)
    found = Counter((row["topic"], row["partition"], row["offset"], _digest(row["value"])) for row in rows)
    wrong = [("no letter for", one) for one in expected - found] + [
        ("a letter too many:", one) for one in found - expected
    ]
    return [f"{what} {one[0]}/{one[1]} at {one[2]}" for what, one in wrong]


async def wrong_offsets(scene: Scene, ends: Ends) -> list[str]:
    """Kafka's committed offset ≤ the checkpoint = the end of the log, in each partition."""
    checkpoints = await stands(scene.connection, ends)
    kafka = await committed(scene, ends)
    wrong = []
    for place, end in ends.items():
        told, stands_at = kafka[place], checkpoints[place]
        if not told <= stands_at == end:
            wrong.append(f"{place}: committed {told}, checkpoint {stands_at}, end {end}")
    return wrong


async def committed(scene: Scene, places: Iterable[Place]) -> dict[Place, int]:
    """How far Kafka was told that the fleet is; -1 where it was told nothing."""
    group = str(scene.fleet.settings["PROJECTOR_GROUP_ID"])
    async with scene.stage.admin() as admin:
        found = await admin.list_consumer_group_offsets(group, partitions=[TopicPartition(*place) for place in places])
    return {Place(*partition): known.offset for partition, known in found.items()}


async def idle_in_transaction(connection: Connection) -> list[str]:
    """Workers' connections that hold a transaction and do nothing: at rest there is none."""
    rows = await connection.fetch(
        f"SELECT pid, query FROM pg_stat_activity WHERE {_WORKERS} AND state LIKE 'idle in transaction%'"
    )
    return [f"idle in transaction: {row['query'][:80]}" for row in rows]


async def connections(connection: Connection) -> int:
    """How many connections workers have to this database."""
    found: int = await connection.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {_WORKERS}")
    return found


def _digest(value: bytes | None) -> str:
    return sha256(value or b"").hexdigest()
