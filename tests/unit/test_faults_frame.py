"""What the fault suite measures and reports, on made-up runs; and that its matrix is whole."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.checkpoints import Place
from testkit.deadline import eventually
from tests.faults.fault import Fault, fault
from tests.faults.gauges import Size, parsed
from tests.faults.load import Load, Log, Sent, shop
from tests.faults.matrix import FAULTS
from tests.faults.mix import MIX, Mix, allowed
from tests.faults.play import Played
from tests.faults.reader import PROBES, Look, Reader, untrue, waits, with_probes
from tests.faults.scene import Scene
from tests.faults.sizes import MEBIBYTE, held
from tests.faults.table import lines, table
from tests.support.saboteurs.needs import lacking

P0, P1 = Place("t", 0), Place("t", 1)


def test_every_row_of_the_matrix_has_a_fault_and_each_says_what_shows_it() -> None:
    assert {each.number for each in FAULTS} == {*range(1, 41), *range(46, 51)}
    assert len({each.id for each in FAULTS}) == len(FAULTS) >= 35
    assert [each.id for each in FAULTS if not each.shown_by] == []


@pytest.mark.parametrize("row", [1, 2, 3, 11, 13, 21])
def test_rows_that_depend_on_chance_are_played_ten_times(row: int) -> None:
    assert max(each.seeds for each in FAULTS if each.number == row) == 10


def test_the_short_tier_has_what_must_never_break() -> None:
    short = {each.number for each in FAULTS if each.tier == "short"}
    assert short >= {1, 2, 3, 7, 9, 11, 19, 21, 23, 24, 29, 32}


def log(*records: tuple[Place, int, float]) -> Log:
    deliveries = shop(1, "t")
    sent = [Sent(offset, place, next(deliveries), at) for place, offset, at in records]
    return Log(sent, {})


def looks(*seen: tuple[float, Sequence[int]]) -> list[Look]:
    return [Look(at, tuple(offsets), ()) for at, offsets in seen]


def test_an_event_is_waited_for_until_the_first_look_at_which_its_checkpoint_has_passed_it() -> None:
    sent = log((P0, 0, 10.0), (P0, 1, 11.0), (P1, 0, 11.5))
    assert waits(sent, looks((10.5, [0, 0]), (12.0, [1, 0]), (13.0, [2, 0]), (15.0, [2, 1]))) == [2.0, 2.0, 3.5]


def test_a_reader_has_seen_what_its_last_look_shows() -> None:
    reader = Reader(cast(Any, None), "t", looks((1.0, [3, 3]), (2.0, [2, 1])))
    assert reader.has_seen({P0: 2, P1: 1})
    assert not reader.has_seen({P0: 2, P1: 2})


class SlowProducer:
    """Takes longer for each record than there is between two."""

    def __init__(self) -> None:
        self.offset = 0

    async def send(self, topic: str, **record: Any) -> asyncio.Future[Any]:
        late = time.perf_counter() + 0.002
        while time.perf_counter() < late:
            pass
        done = asyncio.get_running_loop().create_future()
        done.set_result(SimpleNamespace(topic=topic, partition=0, offset=self.offset))
        self.offset += 1
        return done


async def test_who_waits_for_an_event_waits_from_when_it_was_due_however_late_it_was_sent() -> None:
    load = Load(SlowProducer(), "t")
    load.start(shop(1, "t"), rate=1_000, least=0)
    await eventually(lambda: len(load.sent) >= 50)
    achieved = await load.finish()
    assert achieved < 0.95 * 1_000
    due = [one.at - load.sent[0].at for one in load.sent]
    assert due == pytest.approx([nth / 1_000 for nth in range(len(due))])


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        ({}, "Skipped"),
        ({"CI": "true"}, "Failed"),
        ({"FAULTS": "full"}, "Failed"),
        ({"FAULTS": "full", "CI": "1", "FAULTS_MAY_SKIP": "1"}, "Skipped"),
    ],
)
def test_what_is_lacking_is_skipped_only_where_somebody_reads_it(
    environment: dict[str, str], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "FAULTS", "FAULTS_MAY_SKIP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BaseException, match="no nft") as caught:
        lacking("no nft")
    assert caught.type.__name__ == outcome


def test_a_reader_who_sees_another_version_than_the_checkpoints_imply_is_told() -> None:
    stream = with_probes(shop(1, "t"))
    probes = [one for one, _ in zip(stream, range(20 * 13), strict=False) if one.meant.order_id in PROBES]
    sent = Log([Sent(offset, P0, one, 0.0) for offset, one in enumerate(probes)], {})
    after_one = (1, *[0] * 11)
    assert untrue(sent, [Look(0, (1,), after_one), Look(1, (13,), (2, *[1] * 11))]) == []
    [told] = untrue(sent, [Look(0, (2,), after_one)])
    assert told.startswith("probe-1: a reader saw version 0")


def test_metrics_are_added_up_over_their_labels_and_kept_by_them() -> None:
    text = '# HELP x\nprojector_events_total{outcome="applied"} 3.0\nprojector_events_total{outcome="parked"} 2.0\n'
    assert parsed(text) == {
        "projector_events_total": 5,
        'projector_events_total{outcome="applied"}': 3,
        'projector_events_total{outcome="parked"}': 2,
    }


def size(at: float, pid: int, memory: int, descriptors: int = 20) -> Size:
    return Size(at, pid, memory * MEBIBYTE, descriptors, 5)


def test_a_worker_that_holds_more_than_before_the_first_fault_is_a_leak() -> None:
    before = [size(at, 1, 100) for at in range(5)]
    memory, descriptors, connections = held([*before, size(9, 1, 150)], (0, 5), (9, 9))
    assert (memory.before, memory.after, memory.most) == (100, 150, 150)
    assert not memory.grown
    memory, descriptors, connections = held([*before, size(9, 1, 200, 27)], (0, 5), (9, 9))
    assert (memory.grown, descriptors.grown, connections.grown) == (True, True, False)
    assert "that is a leak" in str(memory)


def test_what_a_fault_made_a_worker_hold_for_a_while_is_none() -> None:
    [memory, *_] = held([size(1, 1, 100), size(5, 1, 900), size(9, 2, 100)], (0, 2), (8, 9))
    assert (memory.after, memory.most, memory.grown) == (100, 900, False)


@fault(7, "a fault", shown_by=("killed",))
async def example(scene: Scene) -> None:
    """Never played."""


def test_in_the_soak_only_a_fault_that_kills_explains_a_killed_worker() -> None:
    assert allowed(example) == {0, -signal.SIGKILL}
    assert allowed(Fault(6, "another", example.breaks, exits=frozenset({130}), shown_by=("ended",))) == {0, 130}


def test_the_soak_plays_each_kind_once_before_any_for_the_second_time() -> None:
    chosen = Mix(cast(Any, SimpleNamespace(random=Random(7)))).chosen()
    first = [next(chosen) for _ in MIX]
    assert {each.id for each in first} == {each.id for each in MIX}
    assert first != MIX
    assert next(chosen) in MIX


def played(each: Fault, recovery: float, **evidence: int) -> Played:
    return Played(each, 1, Counter(evidence), 100, 10, recovery, [], [])


def test_the_table_has_a_line_per_fault_with_its_slowest_run() -> None:
    [line] = lines([played(example, 1.5, killed=2, again=3), played(example, 0.4, killed=1)])
    assert list(line.values()) == [" 7 a fault", 2, "3 killed", 200, 20, 6, 1.5, 0]
    head, row = table([played(example, 1.5, killed=2)])
    assert head.split()[:3] == ["fault", "runs", "times"]
    assert len(head) == len(row)


def test_a_fault_is_named_by_its_row_and_what_it_does() -> None:
    assert example.id == "07-example"
