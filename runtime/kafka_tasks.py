"""aiokafka's own tasks: whether those that feed a consumer live, and their end, whatever the broker does.

`AIOKafkaConsumer.stop` ends when its broker lets it: while a JoinGroup waits for the other members, it waits too. If it
is cut off, or fails, the tasks behind it go on for ever with their connections open, and the group counts on a member
that isn't there. And `getmany` doesn't look whether the task that fetches is still there: it gives nothing, for ever.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from runtime.service import cancelled
from schemas.errors import Unavailable

_STOP = 1.5  # seconds for a client to say goodbye; one whose broker is gone may never end (and may raise)
_LEAVE = 1.0  # seconds to leave the group, if that wasn't enough
_CLOSE = 0.5  # seconds for connections that were aborted to be gone

_Task = asyncio.Task[object]


async def watched(consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
    """Returns when told to stop. Raises Unavailable if a task ends without which nothing comes any more."""
    needed = [consumer._fetcher._fetch_task, consumer._coordinator._coordination_task, consumer._client._sync_task]
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([*needed, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if ended := [task.get_coro().__name__ for task in needed if task.done()]:
        raise Unavailable(f"Kafka: the client's {' and '.join(ended)} ended")


async def stopped(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client within a time limit, and leave nothing of it running."""
    # In a task of its own: aiokafka's stop can raise CancelledError though nobody cancelled us.
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait([stopping], timeout=_STOP)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    if isinstance(client, AIOKafkaConsumer):
        await cancelled({stopping})
        await _torn_down(client)
    else:
        await _given_up(client)
        await cancelled({stopping})
        await _disconnected(client.client)


async def _given_up(producer: AIOKafkaProducer) -> None:
    """End what waits for answers that may never come: its sender, and whoever waits for what is not sent."""
    if (sender := producer._sender.sender_task) is not None:
        await cancelled({sender})
    producer._message_accumulator.fail_all(KafkaError("the producer was given up"))


async def _torn_down(consumer: AIOKafkaConsumer) -> None:
    await cancelled(_tasks(consumer))
    await _disconnected(consumer._client)
    coordinator = consumer._coordinator
    if getattr(coordinator, "member_id", "") and coordinator._group_instance_id is None:
        # On a connection of its own: the broker answers those before it one after the other, JoinGroup first.
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_LEAVE):
                await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))
        await _disconnected(consumer._client)


def _tasks(consumer: AIOKafkaConsumer) -> set[_Task]:
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_fetch_task")
    found = {getattr(part, name, None) for part in (consumer._coordinator, consumer._fetcher) for name in names}
    return {task for task in found if task is not None} | getattr(consumer._fetcher, "_pending_tasks", set())


async def _disconnected(client: AIOKafkaClient) -> None:
    for connection in client._conns.values():
        # To close it would wait until the broker has read everything; with TLS, for its goodbye: uvloop gives it 30 s.
        # One that is being closed has no writer any more.
        if transport := getattr(connection._protocol, "_transport", None):
            transport.abort()
    closing = asyncio.ensure_future(client.close())
    await asyncio.wait([closing], timeout=_CLOSE)
    await cancelled({closing})
