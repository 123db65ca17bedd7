"""`projector replay`: a slice of the log through the live path once more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from aiokafka import TopicPartition

from cli.letters import DRY_RUN, Brokers, Database, Execute, Json, counted
from consumer import log_slice
from consumer.install import check
from consumer.log_slice import Bound
from consumer.read_models import READ_MODELS
from consumer.replay import Replay
from runtime import postgres
from runtime.kafka import Ends, observer
from runtime.settings import Settings, load

_BOUND = "An offset, or a time with an offset from UTC (2026-03-01T12:00:00Z), that of Kafka's record."


def _bound(text: str | None) -> Bound | None:
    if text is None:
        return None
    if text.isdecimal() and text.isascii():
        return int(text)
    return moment_of(text, "neither an offset nor a time")


def moment_of(text: str, otherwise: str = "no time") -> datetime:
    """A time with its offset from UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(otherwise) from None
    if found.tzinfo is None:
        raise typer.BadParameter("a time needs its offset from UTC: 2026-03-01T12:00:00Z")
    return found


def replay(
    first: Annotated[str | None, typer.Option("--from", help=f"Where to begin, included. {_BOUND}")] = None,
    end: Annotated[str | None, typer.Option("--to", help=f"Where to end, excluded. {_BOUND}")] = None,
    partition: Annotated[list[int] | None, typer.Option(min=0, help="Only these partitions.")] = None,
    order: Annotated[str | None, typer.Option(help="Only records of this order.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The whole log.")] = False,
    execute: Execute = False,
    kafka_bootstrap_servers: Brokers = None,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Feed records of the log through the live path again: what is known is a duplicate, what is missing is applied."""
    if not (first or end or partition or order or every):
        raise typer.BadParameter("say which records: --from, --to, --partition, --order or --all")
    bounds = (_bound(first), _bound(end))
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    done, spans = asyncio.run(_replay(settings, bounds, partition or [], order, execute=execute))
    if as_json:
        typer.echo(orjson.dumps(_as_json(done, spans, execute=execute)))
    else:
        _tell(done, spans, execute=execute)


async def _replay(
    settings: Settings,
    bounds: tuple[Bound | None, Bound | None],
    partitions: list[int],
    order_id: str | None,
    *,
    execute: bool,
) -> tuple[Replay, Mapping[TopicPartition, Ends]]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(postgres.pool(settings, "projector-replay", 1))
        with postgres.translated():
            async with pool.acquire() as connection:
                await check(connection)
        consumer = await stack.enter_async_context(observer(settings))
        first, end = bounds
        spans = await log_slice.bounded(consumer, settings.topics, partitions=partitions, first=first, end=end)
        done = Replay(pool, READ_MODELS, execute=execute, order_id=order_id, on_retry=_again)
        async for batch in log_slice.records(consumer, spans, settings.batch_size):
            await done.take(batch)
        return done, spans


def _again(error: BaseException, attempt: int) -> None:
    typer.echo(f"projector: {error}; again", err=True)


def _as_json(done: Replay, spans: Mapping[TopicPartition, Ends], *, execute: bool) -> dict[str, Any]:
    read = [
        {"topic": one.topic, "partition": one.partition, "from": span.first, "to": span.end}
        for one, span in sorted(spans.items())
    ]
    return {"executed": execute, "read": read, "records": done.read, "outcomes": dict(done.counts)}


def _tell(done: Replay, spans: Mapping[TopicPartition, Ends], *, execute: bool) -> None:
    for one, span in sorted(spans.items()):
        if span.first < span.end:
            typer.echo(f"{one.topic}/{one.partition}: offsets {span.first} to {span.end - 1}")
    typer.echo(f"{counted(done.read, 'record')} read")
    for name, count in sorted(done.counts.items()):
        if count:
            typer.echo(f"  {name}: {count:,}{'' if execute else ' (would be)'}")
    if not execute:
        typer.echo(DRY_RUN)
