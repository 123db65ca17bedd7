"""`projector demo`: the main job from end to end, and the proof that it was done right."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli import demo_page, demo_shop, proof_report
from cli.demo_shop import DemoShop
from consumer import freshness, proof, reference
from consumer.install import install
from consumer.observation import Observation
from consumer.worker import Worker
from producer.publish import publish
from producer.simulation import Delivery, SimulationPlan, simulate
from runtime import logs, postgres, service
from runtime.embedded import apache_kafka
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.tansu import TansuBroker
from runtime.kafka import delete_topics, ensure_topics, observer
from runtime.settings import Settings, load
from runtime.sql import Queries, quoted
from schemas.connection import Pool

_SQL = Queries("cli", "demo.sql")

_PARTITIONS = 12
_LOOK_EVERY = 0.5  # seconds between looks at the lag
_PATIENCE = 300.0  # seconds after which a stream that isn't through is reported as stuck


def demo(
    broker: Annotated[
        Literal["tansu", "apache"],
        typer.Option(help="The embedded broker; apache: a real Kafka under the JVM."),
    ] = "tansu",
    orders: Annotated[int, typer.Option(min=1, help="How many orders.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same stream.")] = 42,
    shop_orders: Annotated[
        int, typer.Option(min=1, help="How many more are placed by commands, through outbox and relay.")
    ] = 1_000,
    leave: Annotated[bool, typer.Option("--exit", help="End after the proof, even on a terminal.")] = False,
) -> None:
    """Place a stream of orders, project it, and prove the read models against an independent recomputation.

    Uses KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL where they are set, else starts embedded services.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    with ExitStack() as services:
        given = _services(services, broker, console)
        settings = load(**given, group_id=f"projector-demo-{secrets.token_hex(4)}", topics=_topic())
        logs.configure("warning", settings.log_format)
        plan = SimulationPlan(
            orders=orders,
            seed=seed,
            duplicates=0.10,
            shuffle=0.05,
            poison=100,
            tombstones=1,
            topic=settings.topics[0],
        )
        stay = sys.stdout.isatty() and not leave
        code = service.run(lambda stop: _demo(stop, settings, plan, shop_orders, console, stay=stay))
    raise typer.Exit(code)


def _topic() -> str:
    """A topic of its own: in a Kafka that is somebody's, nothing of theirs is read."""
    return f"orders.events.demo-{secrets.token_hex(4)}"


def _services(services: ExitStack, broker: Literal["tansu", "apache"], console: Console) -> dict[str, Any]:
    """Where PostgreSQL and Kafka are; those that nobody configured are started, and stopped with the stack."""
    found: dict[str, Any] = {}
    began = time.monotonic()
    if not os.environ.get("DATABASE_URL"):
        found["database_url"] = services.enter_context(EmbeddedPostgres()).url()
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        kafka = TansuBroker() if broker == "tansu" else apache_kafka.ApacheKafka()
        services.callback(kafka.stop)
        found["kafka_bootstrap_servers"] = kafka.start()
    names = {"database_url": "PostgreSQL", "kafka_bootstrap_servers": f"Kafka ({broker})"}
    started = " and ".join(names[name] for name in found) or "nothing"
    console.print(f"Started {started} in {time.monotonic() - began:.1f} s.")
    return found


async def _demo(
    stop: asyncio.Event, settings: Settings, plan: SimulationPlan, shop_orders: int, console: Console, *, stay: bool
) -> int:
    async with _empty_database(settings, console) as database:
        settings = settings.model_copy(update={"database_url": database.database_url})
        async with (
            postgres.pool(settings, "projector-demo", settings.lanes + 3) as pool,
            postgres.pool(settings, "projector-demo-shop", demo_shop.CONNECTIONS) as tills,
        ):
            await ensure_topics(settings, settings.topics, _PARTITIONS)
            observation = Observation()
            worker_stop = asyncio.Event()
            worker = asyncio.ensure_future(Worker(settings, pool, f"demo-{os.getpid()}", observation).run(worker_stop))
            try:
                async with demo_page.page(settings) as address:
                    proof_report.watch(console, address)
                    async with demo_shop.shop(settings, tills, shop_orders, plan.seed) as shop:
                        settled = await _through(settings, pool, plan, shop, observation, worker, stop, console)
                        if settled is None:
                            return 1
                        code = await _prove(pool, settled, shop, console)
                    proof_report.next_steps(console, settings, address, stays=stay)
                    if stay:
                        await stop.wait()
                return code
            finally:
                worker_stop.set()
                await asyncio.wait([worker], timeout=settings.stop_timeout)
                await delete_topics(settings, settings.topics)  # the broker may be somebody's


async def _through(
    settings: Settings,
    pool: Pool,
    plan: SimulationPlan,
    shop: DemoShop,
    observation: Observation,
    worker: asyncio.Future[None],
    stop: asyncio.Event,
    console: Console,
) -> reference.Settled | None:
    """Send the stream and wait until all of it is applied; what it meant. None: stopped, failed or stuck."""
    meant: list[Any] = []
    began = time.monotonic()
    stream = publish(settings, settings.topics[0], _remembered(simulate(plan), meant))
    sending = asyncio.ensure_future(asyncio.gather(stream, shop.run()))
    try:
        async with observer(settings) as consumer:
            with _Progress(console) as progress:
                while not stop.is_set() and time.monotonic() - began < _PATIENCE:
                    tasks: tuple[asyncio.Future[Any], ...] = (sending, worker)
                    await asyncio.wait(tasks, timeout=_LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
                    for task in tasks:
                        if task.done():
                            task.result()
                    async with pool.acquire() as connection:
                        lag = await freshness.lag(connection, consumer, settings.topics)
                        parked = await connection.fetchval(_SQL["parked"])
                    seconds = time.monotonic() - began
                    progress.show(observation, len(meant), lag, parked, seconds)
                    if sending.done() and lag == 0:
                        return reference.settle([*meant, *await shop.meant()])
                    if sending.done():
                        await asyncio.sleep(_LOOK_EVERY / 5)
    finally:
        sending.cancel()
    console.print("The stream did not get through.")
    return None


def _remembered(deliveries: Iterable[Delivery], meant: list[Any]) -> Iterator[Delivery]:
    """The deliveries, while noting what each one means: all that the recomputation is told."""
    for delivery in deliveries:
        meaning = delivery.meant
        if meaning.kind == "event":
            assert meaning.event is not None
            meant.append(reference.Event(meaning.event))
        elif meaning.kind == "tombstone":
            assert meaning.order_id is not None
            meant.append(reference.Tombstone(meaning.order_id))
        else:
            meant.append(reference.Broken(meaning.order_id))
        yield delivery


async def _prove(pool: Pool, settled: reference.Settled, shop: DemoShop, console: Console) -> int:
    async with pool.acquire() as connection:
        checks = await proof.prove(connection, settled)
        examples = [dict(row) for row in await connection.fetch(_SQL["examples"])]
    checks.append(proof.Check("write_model.orders", shop.orders, shop.orders, await shop.differences()))
    await shop.show(console)
    return proof_report.report(console, checks, examples)


@asynccontextmanager
async def _empty_database(settings: Settings, console: Console) -> AsyncIterator[Settings]:
    """A database with our schema and no orders: the configured one, or one made beside it for the occasion."""
    connection = await postgres.connect(settings, "projector-demo")
    name = None
    try:
        if await connection.fetchval(_SQL["has_schema"]) and await connection.fetchval(_SQL["has_orders"]):
            name = f"projector_demo_{secrets.token_hex(4)}"
            console.print(f"The database holds orders already; using a new one, {name}, and dropping it at the end.")
            await connection.execute(_SQL["create_database"].format(name=quoted(name)))
            settings = settings.model_copy(update={"database_url": postgres.sibling(settings, name)})
        own = await postgres.connect(settings, "projector-demo")
        try:
            await install(own)
        finally:
            await own.close()
        yield settings
    finally:
        if name is not None:
            await connection.execute(_SQL["drop_database"].format(name=quoted(name)))
        await connection.close()


class _Progress:
    """Live figures: a table that refreshes on a terminal, else a line every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._said = 0.0

    def __enter__(self) -> _Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, observation: Observation, sent: int, lag: int, parked: int, seconds: float) -> None:
        counts = observation.counts
        done = sum(counts[name] for name in ("applied", "duplicate", "unreadable", "erased", "tombstone"))
        figures = {
            "sent": f"{sent:,}",
            "applied": f"{counts['applied']:,}",
            "events/s": f"{done / seconds:,.0f}",
            "lag": f"{lag:,}",
            "duplicates": f"{counts['duplicate']:,}",
            "parked": f"{parked:,}",
            "dead letters": f"{counts['unreadable'] + counts['version_conflict'] + counts['invalid_history']:,}",
        }
        if self._live is not None:
            table = Table(*figures)
            table.add_row(*figures.values())
            self._live.update(table, refresh=True)
        elif seconds - self._said >= 2 or lag == 0:
            self._said = seconds
            self._console.print("  ".join(f"{name} {value}" for name, value in figures.items()))
