"""The peers under the JVM: what they are told, and that records fit the schema they are told to expect."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import orjson
import pytest

from bench.peers import debezium, pekko
from bench.peers.events import encoded
from bench.peers.frame import Where
from bench.peers.race import expected
from bench.stream import Load, plan
from producer.simulation import simulate

LOAD = Load("t", plan(50, 10), 200)
TYPES = {"int32": int, "string": str}


def properties(text: str) -> dict[str, str]:
    """A Java properties file, as far as ours go: comments, and lines that go on behind a backslash."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Where:
    monkeypatch.setattr(debezium, "java_command", lambda: "/usr/bin/java")
    monkeypatch.setattr(pekko, "java_command", lambda: "/usr/bin/java")
    return Where("localhost:9", "postgresql://me:s%24cret@127.0.0.1:5432/shop", "t-connect", "g-1", tmp_path)


def test_debezium_is_told_where_everything_is(where: Where) -> None:
    command = debezium.PEER.command(Path("/cache"), where)
    worker, connector = (properties(Path(name).read_text("utf-8")) for name in command[-2:])
    assert worker["bootstrap.servers"] == "localhost:9"
    assert worker["plugin.path"] == "/cache/plugins"
    assert connector["connection.url"].startswith("jdbc:postgresql://127.0.0.1:5432/shop?")
    assert (connector["connection.username"], connector["connection.password"]) == ("me", "s$cret")
    assert (connector["topics"], connector["name"]) == ("t-connect", "g-1")
    assert int(connector["batch.size"]) <= int(connector["consumer.override.max.poll.records"])


def test_debeziums_records_are_of_the_schema_it_is_told(where: Where) -> None:
    connector = properties(Path(debezium.PEER.command(Path("/cache"), where)[-1]).read_text("utf-8"))
    schema = {
        one["field"]: TYPES[one["type"]] for one in orjson.loads(connector["value.converter.schema.content"])["fields"]
    }
    for delivery in encoded(LOAD, debezium.PEER.encoding):
        assert delivery.value is not None
        assert {name: type(value) for name, value in orjson.loads(delivery.value).items()} == schema


def test_debeziums_times_are_the_events_own_in_utc() -> None:
    for ours, theirs in zip(islice(simulate(LOAD.plan), 200), encoded(LOAD, debezium.PEER.encoding), strict=True):
        assert ours.meant.event is not None
        assert theirs.value is not None
        text = orjson.loads(theirs.value)["occurred_at"]
        assert text.endswith("Z")
        assert abs(datetime.fromisoformat(text) - expected([ours.meant.event])[2]) < timedelta(milliseconds=1)


def test_pekko_runs_what_maven_has_made(where: Where) -> None:
    command = pekko.PEER.command(Path("/cache"), where)
    assert command[-1] == "bench.Orders"
    assert "/cache/target/orders.jar:/cache/target/lib/*" in command
