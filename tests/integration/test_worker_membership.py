"""What a member makes of what the client hands it: a client in the test's hands, a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, LeaderNotAvailableError, NoOffsetForPartitionError, OffsetOutOfRangeError

from consumer.checkpoints import Place
from consumer.membership import Membership
from schemas.connection import Pool
from schemas.errors import OutOfPlace, Refused, Unavailable
from tests.support.events import Rec

Fetched = dict[TopicPartition, list[Rec]]


class Client:
    """As much of a consumer as a member uses. `answers` are what its next fetches give, fail with, or call first."""

    def __init__(self) -> None:
        self.first = 0  # where every log begins
        self.leaderless: set[int] = set()  # partitions of which nobody says that
        self.positions: dict[int, int] = {}
        self.sought: list[tuple[int, int]] = []
        self.asked: list[tuple[int, ...]] = []
        self.answers: list[Fetched | Exception | Callable[[], Any]] = []

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        if self.leaderless.intersection(one.partition for one in partitions):
            raise LeaderNotAvailableError
        return dict.fromkeys(partitions, self.first)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition.partition, offset))
        self.positions[partition.partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition.partition]

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> Fetched:
        self.asked.append(tuple(one.partition for one in partitions))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return await answer() if callable(answer) else answer


def fetched(*offsets: int, partition: int = 0) -> Fetched:
    return {TopicPartition("t", partition): [Rec("t", partition, offset) for offset in offsets]}


def partitions(*numbers: int) -> list[TopicPartition]:
    return [TopicPartition("t", number) for number in numbers]


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as made:
        yield made


@pytest_asyncio.fixture
async def member(pool: Pool) -> AsyncIterator[tuple[Membership, Client]]:
    """A member that holds partition 0 from offset 0."""
    client = Client()
    membership = Membership(client, pool, "me")
    await membership.on_partitions_assigned(partitions(0))
    client.sought.clear()
    yield membership, client


async def offsets(membership: Membership, full: Collection[Place] = ()) -> list[int]:
    _, found = await membership.fetch(full, 100, 0.01)
    return [record.offset for records in found.values() for record in records]


async def test_it_begins_where_the_log_does_or_the_checkpoint_stands(pool: Pool) -> None:
    await pool.execute("INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ('t', 1, 42)")
    client = Client()
    client.first = 7
    membership = Membership(client, pool, "me")
    await membership.on_partitions_assigned(partitions(0, 1))
    assert sorted(client.sought) == [(0, 7), (1, 42)]
    assert [(place.partition, hold.next_offset) for place, hold in sorted(membership.holds.items())] == [
        (0, 7),
        (1, 42),
    ]


async def test_a_partition_without_a_leader_keeps_nobody_from_the_others(pool: Pool) -> None:
    await pool.execute("INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ('t', 1, 42)")
    client = Client()
    client.first, client.leaderless = 7, {1}
    membership = Membership(client, pool, "me")
    await membership.on_partitions_assigned(partitions(0, 1))
    assert membership.failed is None
    assert sorted(client.sought) == [(0, 7), (1, 42)]


async def test_where_a_new_partition_begins_has_to_be_known(pool: Pool) -> None:
    client = Client()
    client.leaderless = {1}
    membership = Membership(client, pool, "me")
    await membership.on_partitions_assigned(partitions(0, 1))
    assert isinstance(membership.failed, Unavailable)
    assert "t/1 begins" in str(membership.failed)
    assert await pool.fetchval("SELECT count(*) FROM projector.checkpoints") == 0


async def test_taking_a_partition_opens_a_new_epoch_in_the_database(pool: Pool) -> None:
    for owner in ("one", "two"):
        await Membership(Client(), pool, owner).on_partitions_assigned(partitions(0))
    row = await pool.fetchrow("SELECT epoch, owner FROM projector.checkpoints")
    assert row is not None
    assert (row["epoch"], row["owner"]) == (2, "two")


async def test_a_gap_is_fetched_once_more_and_then_believed(member: tuple[Membership, Client]) -> None:
    membership, client = member
    client.answers = [fetched(3, 4), fetched(3, 4)]
    assert await offsets(membership) == []
    assert client.sought == [(0, 0)]
    assert await offsets(membership) == [3, 4]
    assert client.sought == [(0, 0)]


async def test_records_that_were_missing_the_first_time_are_not_skipped(member: tuple[Membership, Client]) -> None:
    membership, client = member
    client.answers = [fetched(3, 4), fetched(0, 1, 2, 3, 4)]
    assert await offsets(membership) == []
    assert await offsets(membership) == [0, 1, 2, 3, 4]


async def test_offsets_without_records_are_passed_over_when_the_client_says_so_twice(
    member: tuple[Membership, Client], pool: Pool
) -> None:
    membership, client = member

    async def read_past() -> Fetched:
        client.positions[0] = 4
        return {}

    client.answers = [read_past, read_past]
    assert await offsets(membership) == []
    assert await pool.fetchval("SELECT next_offset FROM projector.checkpoints") == 0
    assert await offsets(membership) == []
    assert await pool.fetchval("SELECT next_offset FROM projector.checkpoints") == 4
    assert [hold.next_offset for hold in membership.holds.values()] == [4]


async def test_offsets_without_records_are_passed_over_though_more_of_them_come_all_the_time(
    member: tuple[Membership, Client], pool: Pool
) -> None:
    """A producer that takes back all it sends: the client stands further on at each look."""
    membership, client = member

    def further(position: int) -> Callable[[], Any]:
        async def read_past() -> Fetched:
            client.positions[0] = position
            return {}

        return read_past

    client.answers = [further(4), further(9), further(12), further(15)]
    for expected in (0, 4, 4, 12):
        assert await offsets(membership) == []
        assert await pool.fetchval("SELECT next_offset FROM projector.checkpoints") == expected


async def test_a_zombie_passes_nothing_over(member: tuple[Membership, Client], pool: Pool) -> None:
    membership, client = member
    await Membership(Client(), pool, "another").on_partitions_assigned(partitions(0))

    async def read_past() -> Fetched:
        client.positions[0] = 4
        return {}

    client.answers = [read_past, read_past]
    assert await offsets(membership) == []
    with pytest.raises(OutOfPlace):
        await offsets(membership)
    assert await pool.fetchval("SELECT next_offset FROM projector.checkpoints") == 0


async def test_what_is_behind_the_checkpoint_is_left_out(member: tuple[Membership, Client]) -> None:
    membership, client = member
    [(place, hold)] = membership.holds.items()
    membership.moved(membership.epoch, {place: hold.__class__(2, hold.epoch, hold.shard)})
    client.answers = [fetched(0, 1, 2, 3), fetched(0, 1)]
    assert await offsets(membership) == [2, 3]
    assert await offsets(membership) == []


async def test_what_was_fetched_under_another_epoch_is_thrown_away_and_fetched_again(
    member: tuple[Membership, Client],
) -> None:
    membership, client = member

    async def rebalanced() -> Fetched:
        await membership.on_partitions_revoked(partitions(0))
        await membership.on_partitions_assigned(partitions(0))
        client.sought.clear()  # the client hands out its records after the assignment's own seek
        return fetched(0, 1)

    client.answers = [rebalanced]
    assert await offsets(membership) == []
    assert client.sought == [(0, 0)]


async def test_checkpoints_of_an_earlier_epoch_are_forgotten(member: tuple[Membership, Client]) -> None:
    membership, _ = member
    epoch, holds = membership.epoch, dict(membership.holds)
    await membership.on_partitions_revoked(partitions(0))
    await membership.on_partitions_assigned(partitions(0))
    membership.moved(epoch, holds)
    assert [hold.epoch for hold in membership.holds.values()] == [2]


async def test_nothing_is_fetched_while_a_rebalance_is_under_way(member: tuple[Membership, Client]) -> None:
    membership, client = member
    await membership.on_partitions_revoked(partitions(0))
    assert await offsets(membership) == []
    assert client.asked == []


async def test_a_full_partition_is_left_out_and_a_member_without_any_still_polls(pool: Pool) -> None:
    client = Client()
    membership = Membership(client, pool, "me")
    await membership.on_partitions_assigned(partitions(0, 1, 2))
    await offsets(membership, [Place("t", 1)])
    await offsets(membership, [Place("t", number) for number in range(3)])
    assert client.asked == [(0, 2)]  # asked without any, the client gives records of all
    client.asked.clear()
    await membership.on_partitions_assigned([])
    await offsets(membership)
    assert client.asked == [()]


async def test_what_follows_is_told_by_what_was_handed_out(member: tuple[Membership, Client]) -> None:
    membership, client = member
    client.answers = [fetched(0, 1), fetched(1, 2), fetched(0), fetched(6), fetched(3, 4)]
    assert [await offsets(membership) for _ in range(5)] == [[0, 1], [2], [], [], [3, 4]]
    assert client.sought == [(0, 3)]


async def test_nothing_is_passed_over_while_records_are_on_their_way(member: tuple[Membership, Client]) -> None:
    membership, client = member
    client.answers = [fetched(0, 1)]
    assert await offsets(membership) == [0, 1]
    client.positions[0] = 9
    assert await offsets(membership) == []
    assert await offsets(membership) == []
    assert [hold.next_offset for hold in membership.holds.values()] == [0]
    assert client.sought == []


async def test_a_fetch_before_the_position_is_right_is_nothing(member: tuple[Membership, Client]) -> None:
    membership, client = member
    client.answers = [NoOffsetForPartitionError(), fetched(0)]
    assert await offsets(membership) == []
    assert await offsets(membership) == [0]


@pytest.mark.parametrize(("said", "meant"), [(OffsetOutOfRangeError(), Refused), (KafkaError(), Unavailable)])
async def test_what_kafka_says_is_told_apart(
    member: tuple[Membership, Client], said: Exception, meant: type[Exception]
) -> None:
    membership, client = member
    client.answers = [said]
    with pytest.raises(meant):
        await offsets(membership)


async def test_what_goes_wrong_in_an_assignment_is_raised_where_somebody_hears_it(pool: Pool) -> None:
    await pool.execute("INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ('t', 0, 5)")
    client = Client()
    client.first = 9
    membership = Membership(client, pool, "me")
    await membership.on_partitions_assigned(partitions(0))
    with pytest.raises(Refused, match="t/0: the checkpoint stands at 5, but Kafka's log begins at 9"):
        await offsets(membership)
    assert await pool.fetchval("SELECT next_offset FROM projector.checkpoints") == 5


async def test_a_rebalance_waits_for_the_batch_in_hand_but_not_for_ever(pool: Pool) -> None:
    membership = Membership(Client(), pool, "me", drain=0.05)
    await membership.on_partitions_assigned(partitions(0))
    with membership.working():
        await membership.on_partitions_revoked(partitions(0))
        assert membership.holds == {}
    await membership.on_partitions_assigned(partitions(0))
    assert set(membership.holds) == {Place("t", 0)}
