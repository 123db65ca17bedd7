"""`projector simulate`: a seeded stream of order events into Kafka."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from cli.letters import Brokers
from producer.publish import publish
from producer.simulation import SimulationPlan
from producer.simulation import simulate as stream
from runtime.kafka import ensure_topics
from runtime.settings import Settings, load


def simulate(
    orders: Annotated[int, typer.Option(min=1, help="How many orders; each has about five events.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 42,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of events delivered again.")] = 0.1,
    shuffle: Annotated[float, typer.Option(min=0, max=1, help="Share of events that arrive late.")] = 0.05,
    poison: Annotated[float, typer.Option(min=0, help="Broken events: a number, or below 1 a share.")] = 0,
    tombstones: Annotated[int, typer.Option(min=0, help="Orders that are erased.")] = 0,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Records per second; as fast as can be if left out.")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Of the topic, if it has to be created.")] = 12,
    kafka_bootstrap_servers: Brokers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Produce a stream of orders, with duplicates, late events and broken ones as asked."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers)
    plan = SimulationPlan(
        orders=orders,
        seed=seed,
        duplicates=duplicates,
        shuffle=shuffle,
        poison=poison,
        tombstones=tombstones,
        topic=settings.topics[0],
    )
    sent = asyncio.run(_simulate(settings, plan, partitions, rate))
    result = {"topic": settings.topics[0], "records": sent, "orders": orders, "seed": seed}
    typer.echo(orjson.dumps(result) if as_json else f"{sent} records of {orders} orders to {settings.topics[0]}")


async def _simulate(settings: Settings, plan: SimulationPlan, partitions: int, rate: float | None) -> int:
    await ensure_topics(settings, settings.topics[:1], partitions)
    return await publish(settings, settings.topics[0], stream(plan), rate=rate)
