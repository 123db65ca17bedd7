"""`projector archive`: the log, byte for byte, into files that outlive Kafka's retention."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.letters import Brokers, Json, counted
from consumer import archive_layout, log_slice
from runtime import logs
from runtime.failpoints import Failpoints
from runtime.kafka import observer
from runtime.settings import Settings, load

if TYPE_CHECKING:  # an optional dependency: the other commands do without
    from consumer.archive_parquet import Limits
    from consumer.archiver import Progress

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


def _topics(given: list[str] | None) -> list[str] | None:
    if bad := [name for name in given or () if not _TOPIC.fullmatch(name) or name in (".", "..")]:
        raise typer.BadParameter(f"{bad[0]!r} is no name of a topic")
    return given


def archive(
    to: Annotated[str, typer.Option("--to", help="A folder, or a URL: s3://bucket/prefix, gs://…, file:///…")],
    topic: Annotated[list[str] | None, typer.Option(help="Instead of PROJECTOR_TOPICS.", callback=_topics)] = None,
    partition: Annotated[list[int] | None, typer.Option(min=0, help="Only these partitions.")] = None,
    records_per_file: Annotated[int, typer.Option(min=1, help="Most records in a file.")] = 100_000,
    min_records: Annotated[int, typer.Option(min=1, help="Leave fewer than these for the next time.")] = 1,
    accept_gap: Annotated[bool, typer.Option("--accept-gap", help="Go on without what Kafka has deleted.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Look at every file, and fill what is missing.")] = False,
    kafka_bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Copy what the log has by now into Parquet files, from where the last time ended; then end."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, topics=tuple(topic) if topic else None)
    logs.configure(settings.log_level, settings.log_format)
    archive_layout.needed()
    from consumer.archive_parquet import Limits  # noqa: PLC0415  see above

    more = {"least": min_records, "accept_gap": accept_gap, "check": check}
    done = asyncio.run(_archive(settings, to, partition or [], Limits(records_per_file), more))
    if as_json:
        typer.echo(orjson.dumps(_as_json(to, done)))
    else:
        _tell(done)
    problems = [one for one in done if one.problem]
    for one in problems:
        typer.echo(f"projector: {one.topic}/{one.partition}: {one.problem}", err=True)
    raise typer.Exit(1 if problems else 0)


async def _archive(
    settings: Settings, to: str, partitions: list[int], limits: Limits, more: dict[str, Any]
) -> list[Progress]:
    from consumer.archive_place import Place  # noqa: PLC0415  see above
    from consumer.archiver import Archiver  # noqa: PLC0415  see above

    place = await asyncio.to_thread(Place.at, to, allow_plaintext=settings.allow_plaintext)
    async with observer(settings) as consumer:
        spans = await log_slice.bounded(consumer, settings.topics, partitions=partitions)
        archiver = Archiver(consumer, place, limits, failpoints=Failpoints(settings.failpoints), **more)
        return [await archiver.copy(one, log) for one, log in sorted(spans.items())]


def _as_json(to: str, done: list[Progress]) -> dict[str, Any]:
    partitions = [
        {
            "topic": one.topic,
            "partition": one.partition,
            "files": one.files,
            "records": one.records,
            "bytes": one.bytes,
            "first": one.first,
            "next": one.next,
            "left": one.left,
            "accepted": [{"from": lost.first, "to": lost.end} for lost in one.accepted],
            "lost": {"from": one.lost.first, "to": one.lost.end} if one.lost else None,
            "problem": one.problem,
        }
        for one in done
    ]
    return {"to": to.partition("?")[0], **_total(done), "partitions": partitions}


def _total(done: list[Progress]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in done) for name in ("files", "records", "bytes")}


def _tell(done: list[Progress]) -> None:
    for one in done:
        name = f"{one.topic}/{one.partition}"
        for lost in one.accepted:
            typer.echo(f"{name}: offsets {lost.first} to {lost.end - 1} are lost, and accepted so")
        if one.files and one.next is not None:
            written = f"{counted(one.records, 'record')}, {counted(one.files, 'file')}"
            typer.echo(f"{name}: offsets {one.first} to {one.next - 1}, {written}")
        if one.left:
            typer.echo(f"{name}: {counted(one.left, 'record')} left for the next time")
    total = _total(done)
    typer.echo(f"{counted(total['records'], 'record')} in {counted(total['files'], 'file')}, {total['bytes']:,} bytes")
