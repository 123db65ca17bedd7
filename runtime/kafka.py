"""Kafka: clients made from the settings, and what is worked round in them, once.

aiokafka's defaults lose data (auto-commit of what was fetched, a jump to the end where it finds no offset); every
consumer here has both off and takes its position from PostgreSQL.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from runtime import kafka_access
from runtime.kafka_tasks import stopped
from runtime.settings import Settings
from schemas.errors import Refused, Unavailable

_LOOK = 5.0  # seconds to wait for a fetch of each partition
_HEARTBEAT_MS = 1_000
_METADATA_AGE_MS = 60_000  # after which a topic that got more partitions is seen to have them
_FORBIDDEN = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)
_UNFIT = {
    InvalidSessionTimeoutError: "PROJECTOR_SESSION_TIMEOUT is not within the broker's group.min.session.timeout.ms "
    "and group.max.session.timeout.ms",
    InconsistentGroupProtocolError: "PROJECTOR_GROUP_ID is the group of other consumers, which are none of this fleet",
}


@contextmanager
def translated() -> Iterator[None]:
    """Kafka's errors inside the block leave it as Unavailable; a missing right as Refused."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        cause = error.__cause__ or error  # aiokafka's group coordinator wraps what it failed with
        if isinstance(cause, _FORBIDDEN):
            raise Refused(f"Kafka: {cause}: the user lacks a right; docs/security.md has those it needs") from None
        if type(cause) in _UNFIT:
            raise Refused(f"Kafka: {_UNFIT[type(cause)]}") from None
        raise Unavailable(f"Kafka: {type(error).__name__}") from error


def group_member(settings: Settings) -> AIOKafkaConsumer:
    """A consumer for one member of the fleet; not started, not subscribed."""
    session_ms = int(settings.session_timeout * 1000)
    return AIOKafkaConsumer(
        **settings.kafka_connection(),
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id,
        client_id="projector-worker",
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        # One assignor: aiokafka sends a JoinGroup per assignor.
        partition_assignment_strategy=(StickyPartitionAssignor,),
        session_timeout_ms=session_ms,
        # A member hears of a rebalance by its heartbeat; until it does, partitions are nobody's.
        heartbeat_interval_ms=max(min(session_ms // 4, _HEARTBEAT_MS), 100),
        # A rebalance waits for the batch in hand: as long as a statement may take, and then some.
        rebalance_timeout_ms=int(settings.statement_timeout * 1000) + session_ms,
        max_poll_interval_ms=int(settings.max_poll_interval * 1000),
        metadata_max_age_ms=_METADATA_AGE_MS,
        fetch_max_wait_ms=250,
    )


@asynccontextmanager
async def observer(settings: Settings, fetched: int = 1024 * 1024) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer outside every group, for looking: it commits nothing and is assigned by hand. `fetched`:
    bytes that it asks for at once of each partition.

    Raises Refused if a person has to change something before Kafka lets us in.
    """
    await kafka_access.check(settings, settings.topics)
    consumer = AIOKafkaConsumer(
        **settings.kafka_connection(),
        client_id="projector-observer",
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=fetched,
    )
    try:
        with translated():
            await consumer.start()
        yield consumer
    finally:
        await stopped(consumer)


@asynccontextmanager
async def producer(
    settings: Settings, *, linger_ms: int = 5, batch_bytes: int = 16 * 1024
) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer that keeps the order within a partition, and answers for what it has sent. Raises Refused.

    `linger_ms`: how long it waits for more before it sends; `batch_bytes`: how much goes to a partition at once.
    """
    await kafka_access.check(settings)
    made = await _started(settings, linger_ms, batch_bytes)
    try:
        yield made
    finally:
        await stopped(made)


async def _started(settings: Settings, linger_ms: int, batch_bytes: int) -> AIOKafkaProducer:
    for idempotent in (True, False):
        made = AIOKafkaProducer(
            **settings.kafka_connection(),
            client_id="projector-producer",
            enable_idempotence=idempotent,
            acks="all",
            linger_ms=linger_ms,
            max_batch_size=batch_bytes,
            max_request_size=4 * 1024 * 1024,
        )
        try:
            with translated():
                await made.start()
        except BaseException as error:
            await stopped(made)
            # The embedded broker knows no idempotent producer; what is sent twice or too late there, the consumer
            # puts right.
            if idempotent and isinstance(error, Unavailable) and "UnknownError" in str(error):
                continue
            raise
        return made
    raise AssertionError("the second one ends by returning or raising")


async def ensure_topics(settings: Settings, topics: Iterable[str], partitions: int, replication: int = 1) -> list[str]:
    """Create the topics that don't exist; those created."""
    made = []
    await kafka_access.check(settings)
    admin = AIOKafkaAdminClient(**settings.kafka_connection(), client_id="projector-admin")
    with translated():
        await admin.start()
        try:
            existing = set(await admin.list_topics())
            for topic in topics:
                if topic not in existing:
                    # aiokafka reports a topic's error in the answer, it doesn't raise it.
                    answer = await admin.create_topics([NewTopic(topic, partitions, replication)])
                    error = for_code(answer.topic_errors[0][1])
                    if error is NoError:
                        made.append(topic)
                    elif error is not TopicAlreadyExistsError:
                        raise error(topic)
        finally:
            await admin.close()
    return made


async def delete_topics(settings: Settings, topics: Iterable[str]) -> None:
    """Delete topics, and what is in them."""
    admin = AIOKafkaAdminClient(**settings.kafka_connection(), client_id="projector-admin")
    with translated():
        await admin.start()
        try:
            await admin.delete_topics(list(topics))
        finally:
            await admin.close()


class Ends(NamedTuple):
    """The ends of a partition's log: the first offset that it still holds, and the next one to be written."""

    first: int
    end: int


async def partitions_of(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Every partition of the topics. Raises Unavailable for a topic that isn't there."""
    found = []
    with translated():
        await consumer._client.force_metadata_update()
    for topic in topics:
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise Unavailable(f"Kafka: there is no topic {topic}")
        found += [TopicPartition(topic, partition) for partition in sorted(partitions)]
    return found


async def log_ends(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> Mapping[TopicPartition, Ends]:
    """The ends of these partitions' logs. Assigns them to the consumer, which has to be an observer.

    The end is what a fetch says: the embedded broker answers ListOffsets with the last batch's first offset. What an
    open transaction has sent lies beyond it.
    """
    with translated():
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for one in partitions:
            consumer.seek(one, end[one])
        deadline = time.monotonic() + _LOOK
        while any(consumer.last_stable_offset(one) is None for one in partitions) and time.monotonic() < deadline:
            await consumer.getmany(*partitions, timeout_ms=50)
    return {one: Ends(first[one], max(end[one], consumer.last_stable_offset(one) or 0)) for one in partitions}
