"""What lanes get to work on: a membership in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, NamedTuple

import pytest

from consumer import feed as module
from consumer.checkpoints import Place
from consumer.feed import Batch, Feed

A, B, C = (Place("t", number) for number in range(3))
LONG = 60.0


class Member:
    """As much of a membership as a feed uses. `log` is what its fetches give, one after the other."""

    def __init__(self, *log: dict[Place, list[Any]]) -> None:
        self.holds = dict.fromkeys((A, B, C))
        self.epoch = 1
        self.assigned = True
        self.log = list(log)
        self.left_out: list[set[Place]] = []
        self.stop = asyncio.Event()

    async def fetch(self, full: Collection[Place], most: int, wait: float) -> tuple[int, dict[Place, list[Any]]]:
        self.left_out.append(set(full))
        if len(self.log) == 1:
            self.stop.set()
        return self.epoch, self.log.pop(0)


def records(place: Place, *offsets: int, size: int = 1) -> list[Any]:
    return [Record(place.partition, offset, size) for offset in offsets]


class Record(NamedTuple):
    """As much of a Kafka record as a feed looks at."""

    partition: int
    offset: int
    serialized_value_size: int


async def fed(member: Member, lanes: int = 2, batch_size: int = 1_000) -> Feed:
    made = Feed(member, lanes, batch_size)  # type: ignore[arg-type]  # what it uses of one
    await made.fill(member.stop)
    return made


def shown(batch: Batch) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in batch.records]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL", 0.0)
    monkeypatch.setattr(module, "_PATIENCE", (LONG, LONG))


async def test_few_records_go_to_one_lane_in_one_piece() -> None:
    feed = await fed(Member({A: records(A, 0, 1)}, {B: records(B, 7), A: records(A, 2)}))
    assert shown(await feed.take()) == [(0, 0), (0, 1), (0, 2), (1, 7)]


async def test_few_records_wait_for_the_lane_at_work() -> None:
    member = Member({A: records(A, 0)})
    feed = await fed(member)
    with feed.in_hand(await feed.take()):
        member.log = [{B: records(B, 0)}]
        member.stop.clear()
        await feed.fill(member.stop)
        assert shown(await feed.take()) == []
        feed._patience = 0.0
        assert shown(await feed.take()) == [(1, 0)]


@pytest.mark.parametrize(("took", "patience"), [(0.001, 0.02), (0.4, 0.1), (40, 0.25)])
async def test_the_longer_a_batch_takes_the_longer_others_wait_within_bounds(
    took: float, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", (0.02, 0.25))
    feed = await fed(Member({A: records(A, 0)}))
    batch = await feed.take()
    clock = iter([100.0, 100.0 + took])
    monkeypatch.setattr("consumer.feed.time.monotonic", lambda: next(clock))
    with feed.in_hand(batch):
        pass
    monkeypatch.undo()
    assert feed._patience == pytest.approx(patience)


async def test_many_records_are_shared_out_among_the_lanes() -> None:
    """A batch's share is many: 3 of 6."""
    feed = await fed(Member({A: records(A, 0, 1), B: records(B, 0, 1), C: records(C, 0, 1)}), batch_size=6)
    with feed.in_hand(first := await feed.take()):
        assert first.places == {A, B}
        assert shown(await feed.take()) == []  # two are fewer than many again


async def test_a_partition_is_in_one_lanes_hand_at_a_time_and_in_the_order_of_its_log() -> None:
    member = Member({A: records(A, 0, 1)})
    feed = await fed(member)
    with feed.in_hand(first := await feed.take()):
        member.log = [{A: records(A, 2, 3)}]
        member.stop.clear()
        await feed.fill(member.stop)
        assert shown(await feed.take()) == []
    assert shown(first) + shown(await feed.take()) == [(0, 0), (0, 1), (0, 2), (0, 3)]


async def test_a_lane_that_waits_is_told_when_another_is_done() -> None:
    member = Member({A: records(A, 0)})
    feed = await fed(member)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_POLL", LONG)
        with feed.in_hand(await feed.take()):
            member.log = [{A: records(A, 1)}]
            member.stop.clear()
            await feed.fill(member.stop)
            waiting = asyncio.ensure_future(feed.take())
            assert await asyncio.wait({waiting}, timeout=0.01) == (set(), {waiting})
        assert shown(await waiting) == [(0, 1)]


async def test_a_transaction_has_no_more_than_it_may_and_the_rest_goes_behind_the_others() -> None:
    feed = await fed(Member({A: records(A, *range(5)), B: records(B, 0)}), batch_size=3)
    for expected in ([(0, 0), (0, 1), (0, 2)], [(1, 0), (0, 3), (0, 4)]):
        batch = await feed.take()
        assert shown(batch) == expected
        with feed.in_hand(batch):
            pass


@pytest.mark.parametrize(("count", "size"), [(4, 1), (1, 5 * 2**20)])
async def test_a_partition_of_which_enough_waits_is_asked_for_no_more(count: int, size: int) -> None:
    """Enough is what all lanes could take, shared out (3 × 4 among 3 partitions), or some MiB."""
    member = Member({A: records(A, *range(count), size=size)}, {B: records(B, 0)}, {})
    await fed(member, lanes=3, batch_size=4)
    assert member.left_out == [set(), {A}, {A}]


async def test_nothing_is_fetched_while_enough_waits_of_every_partition() -> None:
    member = Member({place: records(place, *range(9)) for place in (A, B, C)})
    feed = Feed(member, 1, 9)  # type: ignore[arg-type]  # what it uses of one
    filling = asyncio.ensure_future(feed.fill(asyncio.Event()))
    member.log.append({})  # so that the first fetch isn't the last
    assert await asyncio.wait({filling}, timeout=0.01) == (set(), {filling})
    assert len(member.left_out) == 1
    filling.cancel()


async def test_what_another_epoch_fetched_is_gone_and_its_batches_give_nothing_back() -> None:
    member = Member({A: records(A, 0), B: records(B, 0)})
    feed = await fed(member, batch_size=1)
    with feed.in_hand(await feed.take()):
        member.epoch = 2
        assert shown(await feed.take()) == []  # B's was fetched in the epoch before
        member.log = [{A: records(A, 0)}]
        member.stop.clear()
        await feed.fill(member.stop)
        new = await feed.take()
        assert (new.epoch, shown(new)) == (2, [(0, 0)])
    member.log = [{A: records(A, 1)}]
    member.stop.clear()
    await feed.fill(member.stop)
    assert shown(await feed.take()) == []  # the new epoch's lane still has A


async def test_what_another_epoch_filled_is_fetched_anew() -> None:
    member = Member({place: records(place, *range(9)) for place in (A, B, C)})
    feed = await fed(member, lanes=1, batch_size=9)
    member.epoch = 2
    member.log = [{A: records(A, 0)}]
    member.stop.clear()
    await asyncio.wait_for(feed.fill(member.stop), 1)
    assert shown(await feed.take()) == [(0, 0)]


async def test_nothing_is_begun_while_a_rebalance_is_under_way() -> None:
    member = Member({A: records(A, 0)})
    feed = await fed(member)
    member.assigned = False
    assert shown(await feed.take()) == []
    member.assigned = True
    assert shown(await feed.take()) == [(0, 0)]
