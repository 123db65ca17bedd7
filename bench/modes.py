"""`python -m bench.modes`: what each mode of the write side costs a command, and what a reader waits in it.

Per mode a fresh database and topic, with a relay and a worker as processes at their defaults. First eight clients at
once, as fast as they can, each taking orders from placement to delivery: commands a second. Then one client with a
command every 50 ms, which is nothing: how long a command takes, how long until its event is in Kafka (a consumer of the
benchmark's has it), and how long until `read_model.order_summary` shows it (asked again and again).

Proved: the read models show every order as its commands left it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import quantiles
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaConsumer

from bench.machine import described
from bench.options import common, positive, run, say, shown
from bench.report import Report
from bench.stage import PARTITIONS, SQL, Stage, connected, environment, fresh_database, members, stage
from bench.tables import Figures, Parts, columns, spread, table, two, whole
from bench.truth import WrongResult
from cli.write_side import commanding
from producer.answers import Accepted
from producer.handler import CommandHandler
from producer.order import Command, Kind
from runtime import postgres
from runtime.kafka import ensure_topics
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Unavailable

MODES = ("synchronous", "local-first", "eventual")

_CLIENTS = 8
_EVERY = 0.05  # seconds between two commands of the single client
_LOOK = 0.001
_PATIENCE = 60.0
_STORY: tuple[Kind, ...] = ("place", "confirm", "pay", "ship", "deliver")
_FIGURES = (
    ("commands/s, 8 clients", "commands_per_s", whole),
    ("a command then, p50, ms", "busy_p50_ms", two), ("p99", "busy_p99_ms", two),
    ("a single command, p50, ms", "command_p50_ms", two), ("p99", "command_p99_ms", two),
    ("commit until in Kafka, p50, ms", "kafka_p50_ms", two), ("p99", "kafka_p99_ms", two),
    ("commit until shown, p50, ms", "shown_p50_ms", two), ("p99", "shown_p99_ms", two),
)  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.modes", description=__doc__)
    common(parser, runs=3)
    parser.add_argument("--commands", type=positive, default=4_000, help="of the eight clients (4,000)")
    parser.add_argument("--single", type=positive, default=300, help="commands of the single client (300)")
    return parser.parse_args()


async def _bench(options: argparse.Namespace) -> None:
    async with stage() as on:
        found = Report(await described(on), {"commands": f"{options.commands:,}", "and one by one": options.single})
        for number in range(1, options.runs + 1):
            for mode in MODES:
                figures = await _measured(on, mode, options.commands, options.single)
                found.add(mode, figures)
                say(f"round {number}: {mode} {figures['commands_per_s']:,.0f} commands/s")
    shown(options, found, "modes", _table)


async def _measured(on: Stage, mode: str, commands: int, single: int) -> Figures:
    topic = f"bench-modes-{secrets.token_hex(4)}"
    async with fresh_database(on) as url:
        settings = on.at(url, topic).model_copy(update={"consistency": mode})
        await ensure_topics(settings, [topic], PARTITIONS)
        environ = environment(settings)
        programs = [(("-m", "cli", "relay"), environ), (("-m", "cli", "worker"), environ)]
        log = on.home / "modes.log"
        with members(programs, log):
            async with (
                connected(settings) as connection,
                postgres.pool(settings, "bench-modes", _CLIENTS + 2) as pool,
                commanding(settings, pool) as handler,
            ):
                await _story(handler, "warm")
                await _equal(connection)
                figures = await _busy(handler, commands)
                await _equal(connection)
                async with _arrivals(settings) as arrivals:
                    await _single(handler, connection, arrivals, "warm-single", 5 * len(_STORY))
                    figures |= await _single(handler, connection, arrivals, "single", single)
                await _equal(connection)
    return figures


async def _busy(handler: CommandHandler, commands: int) -> dict[str, float]:
    took: list[float] = []
    orders = iter(range(commands // len(_STORY)))

    async def client() -> None:
        for order in orders:
            for command in _commands(f"busy-{order}"):
                began = time.monotonic()
                await _done(handler, command)
                took.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return {"commands_per_s": len(took) / (time.monotonic() - began), **_percentiles("busy", took)}


async def _single(
    handler: CommandHandler,
    connection: Connection,
    arrivals: dict[tuple[str, int], float],
    name: str,
    commands: int,
) -> dict[str, float]:
    took, in_kafka, seen = [], [], []
    for order in range(commands // len(_STORY)):
        for version, command in enumerate(_commands(f"{name}-{order}"), 1):
            began = time.monotonic()
            await _done(handler, command)
            committed = time.monotonic()
            took.append(committed - began)
            while (await connection.fetchval(SQL["shown_version"], command.order_id) or 0) < version:  # noqa: ASYNC110  others do it
                await asyncio.sleep(_LOOK)
            seen.append(time.monotonic() - committed)
            while (command.order_id, version) not in arrivals:  # noqa: ASYNC110  both are looks at what others do
                await asyncio.sleep(_LOOK)
            in_kafka.append(max(0.0, arrivals[command.order_id, version] - committed))
            await asyncio.sleep(max(0.0, began + _EVERY - time.monotonic()))
    return {**_percentiles("command", took), **_percentiles("kafka", in_kafka), **_percentiles("shown", seen)}


@asynccontextmanager
async def _arrivals(settings: Settings) -> AsyncIterator[dict[tuple[str, int], float]]:
    """When each event has come out of Kafka, by order and version."""
    consumer = AIOKafkaConsumer(
        *settings.topics, **settings.kafka_connection(), group_id=None, auto_offset_reset="latest"
    )
    await consumer.start()
    await consumer.seek_to_end()
    for one in consumer.assignment():  # it looks only now where that is
        await consumer.position(one)
    found: dict[tuple[str, int], float] = {}

    async def note() -> None:
        async for record in consumer:
            headers = dict(record.headers)
            found[headers["ce_subject"].decode(), int(headers["ce_sequence"])] = time.monotonic()

    noting = asyncio.ensure_future(note())
    try:
        yield found
    finally:
        noting.cancel()
        await consumer.stop()


async def _equal(connection: Connection) -> None:
    """Wait until all is shown. Raises WrongResult if it never is."""
    deadline = time.monotonic() + _PATIENCE
    while await connection.fetchval(SQL["not_shown"]):
        if time.monotonic() > deadline:
            raise WrongResult("the read models don't show the orders as their commands left them")
        await asyncio.sleep(0.05)


async def _story(handler: CommandHandler, order: str) -> None:
    for command in _commands(order):
        await _done(handler, command)


async def _done(handler: CommandHandler, command: Command) -> None:
    answer = await handler.handle(command)
    if not isinstance(answer, Accepted):
        raise Unavailable(f"{command.kind} was answered {answer}")


def _commands(order: str) -> list[Command]:
    number = crc32(order.encode())
    customer = f"c-{number % 500}"
    line = {"sku": f"sku-{number % 200}", "title": "A thing", "quantity": 2, "unit_price": "10.00"}
    data: dict[str, Any] = {
        "place": {"customer": {"id": customer, "name": "Somebody"}, "currency": "EUR", "lines": [line]},
        "pay": {"payment_id": f"p-{order}", "amount": "20.00"},
        "ship": {"carrier": "post", "tracking_number": f"t-{order}"},
    }
    return [Command(kind, order, data.get(kind)) for kind in _STORY]


def _percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100)
    return {f"{name}_p50_ms": cuts[49] * 1000, f"{name}_p99_ms": cuts[98] * 1000}


def _table(parts: Parts) -> str:
    """A column per mode."""
    found = {mode: columns(parts[mode]) for mode in MODES if mode in parts}
    rows = [(words, *(spread(of[name], text) for of in found.values())) for words, name, text in _FIGURES]
    return table(("", *found), rows)


if __name__ == "__main__":
    raise SystemExit(run(_options(), _bench))
