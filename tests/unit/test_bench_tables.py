"""The benchmark's tables and streams: what is shown beside what, and which ids a stream has."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from bench.growth_table import growth_table, pairs, part_of
from bench.ids import Kind, named
from bench.report import Report, write
from bench.sender import PROBE_EVERY, mixed
from bench.spread import part_of as cell
from bench.spread import spread_table
from bench.stream import Load, plan, stream
from bench.tables import Figures
from producer.simulation import HOT_CUSTOMER, Delivery

COSTS: Figures = dict.fromkeys(("worker_cpu_us", "postgres_cpu_us", "kafka_cpu_us"), 1.0)
BATCHES: Figures = dict.fromkeys(
    ("batches", "events_per_batch", "ms_per_batch", "order_writes_per_event", "batches_run_again", "assignments"), 2.0
)


def run(events_per_s: float, **more: float) -> Figures:
    return {"events_per_s": events_per_s, **COSTS, **BATCHES, **more}


def grown(rows: int, events_per_s: float, latency_ms: float) -> Figures:
    latencies = dict.fromkeys((f"latency_{name}_ms" for name in ("p50", "p99", "p999")), latency_ms)
    return run(events_per_s, ledger_rows=rows, key_index_mib=39, **latencies)


def ids(deliveries: list[Delivery]) -> list[str]:
    return [dict(delivery.headers)["ce_id"].decode() for delivery in deliveries]


@pytest.mark.parametrize(("kind", "version"), [("uuid7", 7), ("random", 4)])
def test_a_stream_can_have_ids_of_one_kind_and_nothing_else_changes(kind: Kind, version: int) -> None:
    plain, told = list(stream(plan(300, 40))), list(stream(plan(300, 40), ids=kind))
    assert {UUID(one).version for one in ids(told)} == {version}
    assert len({*ids(told)}) == len(told)
    assert ids(told) == [one.meant.event["id"] for one in told if one.meant.event]
    assert list(named(plain, kind)) == told
    assert [(one.key, one.value) for one in told] == [(one.key, one.value) for one in plain]


def test_ordered_ids_are_in_the_order_of_the_stream() -> None:
    told = ids(list(stream(plan(300, 40), ids="uuid7")))
    assert told == sorted(told)


def test_probes_have_ids_of_the_kind_too() -> None:
    told = ids(mixed(100, 20, 3 * PROBE_EVERY, "random"))
    assert {UUID(one).version for one in told} == {4}


def test_what_a_load_means_has_its_own_ids() -> None:
    load = Load("t", plan(20, 5), 60, "uuid7")
    applied = {event["id"] for history in load.settled().applied.values() for event in history}
    assert applied == {*ids(list(stream(load.plan, load.events, load.ids)))}


def test_half_of_a_skewed_stream_is_of_one_customer() -> None:
    events = [one.meant.event for one in islice(stream(plan(400, 40, 0.5)), 2_000) if one.meant.event]
    placed = [event["data"]["customer"]["id"] for event in events if event["type"] == "order.placed"]
    assert placed.count(HOT_CUSTOMER) * 2 == len(placed) == 400


def test_skew_is_held_against_two_workers_on_the_even_stream() -> None:
    report = Report({}, {}, {"live-2": [run(20.0), run(30.0)], "skew": [run(10.0), run(30.0)]})
    assert "\n| skewed ÷ even | 0.75 (0.50 – 1) |" in report.markdown()
    assert orjson.loads(report.json())["ratios"]["skewed ÷ even"] == [0.5, 1.0]


def test_a_grown_ledger_is_held_against_an_empty_one_of_the_same_round() -> None:
    sizes = (0, 1_000_000)
    report = Report({}, {}, pairs=pairs(["uuid7"], sizes))
    for rows, events_per_s, latency_ms in ((0, 20.0, 5.0), (1_000_000, 10.0, 20.0)):
        report.add(part_of("uuid7", rows), grown(rows, events_per_s, latency_ms))
    line = "| uuid7 | 1,000,000 | 39 | 10 | 0.50 | 1.0 | 1.0 | 1.0 | 20 | 20 | 20 | 4 | 4 |"
    assert line in report.markdown(growth_table)
    assert orjson.loads(report.json())["ratios"]["growth-uuid7-1000000 ÷ empty, latency_p99_ms"] == [4.0]


def test_every_cell_of_a_spread_has_a_line() -> None:
    parts = {
        cell(partitions, workers): [run(10.0 * workers, partitions=partitions, workers=workers)]
        for partitions in (12, 48)
        for workers in (1, 2)
    }
    shown = spread_table(parts)
    assert "\n| 12 | 1 | 10 | 1 | 1.0 | 1.0 | 1.0 | 2 | 2 | 2 |\n" in shown
    assert "\n| 48 | 2 | 20 | 2 | 1.0 | 1.0 | 1.0 | 2 | 2 | 2 |\n" in shown


def test_tables_go_between_the_markers_of_their_name(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:begin -->a<!-- bench:end --> <!-- growth:begin -->b<!-- growth:end -->", "utf-8")
    write("new", "growth", page)
    assert page.read_text("utf-8") == (
        "<!-- bench:begin -->a<!-- bench:end --> <!-- growth:begin -->\n\nnew\n\n<!-- growth:end -->"
    )
