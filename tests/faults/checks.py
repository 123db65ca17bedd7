"""What has to hold after every fault, beside that all rows are equal. Each check returns what is wrong, in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from operator import itemgetter
from typing import Any

import asyncpg
from aiokafka import TopicPartition

from consumer import headers
from consumer.checkpoints import Place
from consumer.reference import Settled
from producer.simulation import Delivery
from schemas.connection import Connection
from tests.faults.load import Log
from tests.faults.scene import Scene
from tests.support.fleet import stands
from tests.support.streams import Ends, differences

Event = dict[str, Any]  # its attributes
Who = tuple[str, str]  # an event's source and id

_HALF_DONE = """
    SELECT coalesce(l.order_id, o.order_id) AS order_id, l.rows, l.last, o.version
    FROM (SELECT order_id, count(*) AS rows, max(version) AS last FROM projector.ledger GROUP BY order_id) AS l
    FULL JOIN (SELECT order_id, version FROM projector.orders WHERE version > 0 AND NOT erased) AS o USING (order_id)
    WHERE (l.rows, l.last) IS DISTINCT FROM (o.version, o.version)
"""
_LETTERS = """
    SELECT reason, event_source, event_id, topic, partition, "offset", key, value, headers
    FROM projector.dead_letters WHERE resolution IS DISTINCT FROM 'retried'
"""
_PARKED = "SELECT event_source, event_id, key, value, headers FROM projector.parked_events"
_WORKERS = "datname = current_database() AND application_name = 'projector-worker'"


async def everything(scene: Scene, log: Log, settled: Settled) -> list[str]:
    """All that is wrong with a fleet at rest."""
    ends = log.ends
    return [
        *await differences(scene.connection, settled),
        *await half_done(scene.connection),
        *await mangled_letters(scene.connection, log, settled),
        *await mangled_events(scene.connection, log, settled),
        *await wrong_offsets(scene, ends),
    ]


async def half_done(connection: Connection) -> list[str]:
    """Orders whose ledger and state say different things: an event without its effect, or an effect without one."""
    return [f"half done: {dict(row)}" for row in await connection.fetch(_HALF_DONE)]


async def mangled_letters(connection: Connection, log: Log, settled: Settled) -> list[str]:
    """Broken records that don't have exactly one letter with their very bytes."""
    expected = Counter(
        f"{one.place} at {one.offset}, {_sent(one.delivery)}"
        for one in log.sent
        if one.delivery.meant.kind == "broken" and one.delivery.meant.order_id not in settled.erased
    )
    rows = [row for row in await connection.fetch(_LETTERS) if row["reason"] == "unreadable"]
    found = Counter(f"{Place(row['topic'], row['partition'])} at {row['offset']}, {_kept(row)}" for row in rows)
    return _differ("letter", expected, found)


async def mangled_events(connection: Connection, log: Log, settled: Settled) -> list[str]:
    """Events that should have a letter, or wait, and don't do so once, for that reason and with their very bytes."""
    bytes_of = _bytes_by_event(log)
    letters = [row for row in await connection.fetch(_LETTERS) if row["reason"] != "unreadable"]
    dead = [(reason, event) for reason, event in settled.dead if event and reason != "unreadable"]
    return [
        *_differ("letter", Counter(_named(event, why) for why, event in dead), Counter(map(_row_named, letters))),
        *_spoilt("letter", bytes_of, [event for _, event in dead], letters),
        *_spoilt("parked event", bytes_of, settled.parked, await connection.fetch(_PARKED)),
    ]


def _bytes_by_event(log: Log) -> dict[Who, list[tuple[Event, str]]]:
    """What was sent for each identity: what it meant, and a digest of it."""
    found: dict[Who, list[tuple[Event, str]]] = defaultdict(list)
    for one in log.sent:
        meant = one.delivery.meant.event
        if meant and one.delivery.value is not None:  # of an older event a long run keeps only what it meant
            found[meant["source"], meant["id"]].append((meant, _sent(one.delivery)))
    return found


def _spoilt(
    what: str, bytes_of: Mapping[Who, list[tuple[Event, str]]], events: Iterable[Event], rows: Iterable[asyncpg.Record]
) -> list[str]:
    """Rows that keep other bytes than any record that said this event: of several under one id the first counts."""
    wrong, meant = [], {(event["source"], event["id"]): event for event in events}
    for row in rows:
        who = row["event_source"], row["event_id"]
        allowed = [sent for event, sent in bytes_of.get(who, []) if event == meant.get(who)]
        if allowed and _kept(row) not in allowed:
            wrong.append(f"{what} with other bytes than were sent: {who}")
    return wrong


def _differ(what: str, expected: Counter[str], found: Counter[str]) -> list[str]:
    return [f"no {what} for {one}" for one in expected - found] + [
        f"a {what} too many: {one}" for one in found - expected
    ]


def _named(event: Event, reason: str) -> str:
    return f"{reason}: {event['id']} of {event['source']}"


def _row_named(row: asyncpg.Record) -> str:
    return f"{row['reason']}: {row['event_id']} of {row['event_source']}"


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


def _sent(delivery: Delivery) -> str:
    return _digest(delivery.key, delivery.value, delivery.headers)


def _kept(row: asyncpg.Record) -> str:
    return _digest(row["key"], row["value"], headers.from_json(row["headers"]))


def _digest(key: bytes | None, value: bytes | None, head: Iterable[tuple[str, bytes | None]]) -> str:
    """Of a whole record. Headers of one name keep their order; between names the JSON that keeps them has none."""
    ordered = sorted(head, key=itemgetter(0))
    return sha256(repr((key, value, ordered)).encode()).hexdigest()[:16]
