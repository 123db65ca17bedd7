"""The peers of the benchmark: what they are given, and that a wrong table is seen."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner

from bench.peers import frame
from bench.peers.events import CLOUDEVENTS, FLAT, UNPLACED, encoded, partition, status
from bench.peers.race import Row, differences, expected
from bench.peers.report import peers_table
from bench.peers.roster import PEERS
from bench.stage import PARTITIONS
from bench.stream import Load, plan
from producer.simulation import Delivery, simulate
from schemas.errors import Unavailable

LOAD = Load("t", plan(300, 40), 1_400)
STREAM = list(islice(simulate(LOAD.plan), LOAD.events))


def histories() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for delivery in STREAM:
        assert delivery.meant.event is not None
        found.setdefault(delivery.meant.event["subject"], []).append(delivery.meant.event)
    return found


def rows() -> dict[str, Row]:
    return {order_id: expected(history) for order_id, history in histories().items()}


def told(delivery: Delivery) -> dict[str, Any]:
    assert delivery.value is not None
    fields: dict[str, Any] = orjson.loads(delivery.value)
    return fields


def test_a_flat_record_has_the_table_columns_and_the_last_of_an_order_is_its_row() -> None:
    newest = {told(one)["order_id"]: told(one) for one in encoded(LOAD, FLAT)}
    meant = rows()
    assert newest.keys() == meant.keys()
    for order_id, fields in newest.items():
        version, of, _, event_type, event_id, data = meant[order_id]
        assert [fields[name] for name in ("version", "status", "event_type", "event_id", "data")] == [
            version, of, event_type, event_id, data,
        ]  # fmt: skip


def test_a_cloudevent_is_the_one_that_live_reads_with_one_header_more() -> None:
    for ours, theirs in zip(STREAM, encoded(LOAD, CLOUDEVENTS), strict=True):
        assert (theirs.key, theirs.value, theirs.headers[:-1]) == (ours.key, ours.value, ours.headers)
        assert theirs.headers[-1][0] == "ce_orderstatus"


def test_the_rows_are_those_of_the_reference_model() -> None:
    settled = LOAD.settled()
    assert {order_id: len(history) for order_id, history in settled.applied.items()} == {
        order_id: row[0] for order_id, row in rows().items()
    }


def test_an_order_that_was_not_placed_has_a_status_of_its_own() -> None:
    assert status([{"type": "order.gift_wrapped"}]) == UNPLACED


def test_a_key_is_where_kafka_puts_it() -> None:
    places = list(range(PARTITIONS))
    for delivery in STREAM:
        assert delivery.key is not None
        assert partition(delivery.key) == DefaultPartitioner()(delivery.key, places, places)


def test_a_right_table_has_no_differences() -> None:
    assert differences(rows(), rows()) == []


@pytest.mark.parametrize("place", range(6))
def test_every_column_counts(place: int) -> None:
    meant, found = rows(), rows()
    order_id = next(iter(found))
    row: list[Any] = list(found[order_id])
    row[place] = row[2] + timedelta(seconds=1) if place == 2 else "something else"
    found[order_id] = tuple(row)  # wrong on purpose
    assert len(differences(meant, found)) == 1


def test_a_missing_row_and_one_too_many_are_seen() -> None:
    found = rows()
    found["o-strange"] = found.pop(next(iter(found)))
    assert len(differences(rows(), found)) == 2


def test_every_peer_is_pinned_and_its_version_is_the_pinned_one() -> None:
    for peer in PEERS:
        pins = "".join(file.read_text("utf-8") for file in peer.pins).lower()
        for name in peer.version.split(", "):
            number = name.split()[-1].lower()
            assert number in pins, f"{peer.name}: {name}"
        assert "://" not in pins or not any(file.suffix == ".txt" for file in peer.pins)


def test_the_table_has_a_line_for_each_peer_that_ran_and_its_ratio() -> None:
    figures = dict.fromkeys(("worker_cpu_us", "postgres_cpu_us", "kafka_cpu_us"), 1.0)
    shown = peers_table({"live": [{"events_per_s": 30.0}], "peer-plain": [{"events_per_s": 20.0, **figures}]})
    assert shown.count("\n| plain |") == 1
    assert "| 20 | 1.50 |" in shown
    assert peers_table({"live": [{"events_per_s": 30.0}]}) == ""


def test_a_preparation_is_done_once_and_again_when_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(frame.CACHE_VARIABLE, str(tmp_path / "cache"))
    pins = tmp_path / "pins"
    pins.write_text("a==1")
    calls: list[Path] = []

    def prepare(home: Path) -> None:
        assert list(home.iterdir()) == []
        (home / "half").touch()
        calls.append(home)
        if len(calls) == 1:
            raise Unavailable("cut off")

    peer = frame.Peer("x", "", "", "", "", FLAT, (pins,), prepare, lambda home, _: [str(home)])
    with pytest.raises(Unavailable):
        frame.prepared(peer)
    assert frame.prepared(peer) == frame.prepared(peer) == calls[-1]
    assert len(calls) == 2
    pins.write_text("a==2")
    assert frame.prepared(peer) != calls[0]
