"""The cache beside real workers: what is read from it follows each commit, however the order was changed."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import httpx2

from producer.simulation import Delivery, Meaning
from testkit.deadline import eventually
from tests.acceptance.test_api import serving
from tests.support.commands import DATA, place
from tests.support.fleet import Fleet, Member, fleet, projector
from tests.support.streams import publish
from tests.support.valkey import Valkey, valkey

SOON = 15  # seconds: far less than copies are kept


class Shop(NamedTuple):
    """A service that reads through a cache, a relay and one worker; and an order that is cached at version 1."""

    client: httpx2.AsyncClient
    fleet: Fleet
    worker: Member
    cache: Valkey
    order: str

    async def read(self) -> Any:
        answer = await self.client.get(f"/orders/{self.order}")
        return answer.json() if answer.status_code == 200 else answer.status_code

    async def cached_at(self, version: int) -> None:
        """Wait until readers get this version from the cache."""

        async def there() -> bool:
            found = await self.read()
            return isinstance(found, dict) and (found["version"], found["source"]) == (version, "cache")

        await eventually(there, SOON)


@asynccontextmanager
async def shop(bootstrap: str, database_url: str, topic: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        cache = await stack.enter_async_context(valkey())
        workers = await stack.enter_async_context(fleet(bootstrap, database_url, topic, REDIS_URL=cache.url))
        client, _ = await stack.enter_async_context(serving(workers, "--dev"))
        relay = Member((*workers.program, "relay"), workers.settings)
        stack.callback(relay.close)
        worker = workers.start()
        order = (await client.post("/orders", json=place())).json()["order_id"]
        made = Shop(client, workers, worker, cache, order)
        await eventually(lambda: '"event":"cache_used"' in worker.said(), SOON)
        await made.cached_at(1)
        yield made


async def test_a_copy_follows_each_commit(database_url: str, kafka_bootstrap: str, topic: str) -> None:
    async with shop(kafka_bootstrap, database_url, topic) as ours:
        first = (await ours.client.get(f"/orders/{ours.order}")).headers
        assert int(first["Age"]) < SOON
        assert first["ETag"] == '"1.1"'
        for version, step in enumerate(("confirm", "pay", "ship"), 2):
            answer = await ours.client.post(f"/orders/{ours.order}/{step}", json=DATA[step])
            assert answer.status_code == 202, answer.text
            await ours.cached_at(version)
        found = await ours.read()
        assert found["order"]["status"] == "shipped"
        assert found["staleness_ms"] is not None


async def test_an_erased_order_is_in_no_copy(database_url: str, kafka_bootstrap: str, topic: str) -> None:
    async with shop(kafka_bootstrap, database_url, topic) as ours:
        await publish(kafka_bootstrap, topic, [Delivery(ours.order.encode(), None, [], Meaning("tombstone"))])
        await eventually(lambda: _is(ours, 404), SOON)


async def _is(ours: Shop, status: int) -> bool:
    return bool(await ours.read() == status)


async def test_what_an_operator_mends_is_mended_in_the_cache(
    database_url: str, kafka_bootstrap: str, topic: str
) -> None:
    """The order keeps its version, and the read models their generation."""
    async with shop(kafka_bootstrap, database_url, topic) as ours:
        await ours.fleet.connection.execute("UPDATE projector.orders SET customer_name = 'Nobody'")
        ours.cache.kill9()
        await ours.cache.start()

        async def wrong() -> bool:
            found = await ours.read()
            return bool(found["order"]["customer_name"] == "Nobody" and found["source"] == "cache")

        await eventually(wrong, SOON)
        ended = await projector("rebuild", "--order", ours.order, **ours.fleet.settings)
        assert ended.code in (0, 1), ended.err
        found = await ours.read()
        assert (found["order"]["customer_name"], found["source"], found["version"]) == ("Name of c-1", "cache", 1)


async def test_after_a_swap_copies_of_the_old_read_models_are_worth_nothing(
    database_url: str, kafka_bootstrap: str, topic: str
) -> None:
    async with shop(kafka_bootstrap, database_url, topic) as ours:
        ended = await projector("rebuild", "--source", "journal", **ours.fleet.settings)
        assert ended.code == 0, ended.err

        async def anew() -> bool:
            answer = await ours.client.get(f"/orders/{ours.order}")
            return bool(answer.headers["ETag"] == '"2.1"')

        await eventually(anew, SOON)


async def test_a_worker_that_dies_before_it_marks_leaves_a_copy_that_readers_with_a_version_never_get(
    database_url: str, kafka_bootstrap: str, topic: str
) -> None:
    async with shop(kafka_bootstrap, database_url, topic) as ours:
        ours.worker.signal(signal.SIGTERM)
        await ours.worker.ended()
        ours.fleet.losses = {0, -signal.SIGKILL}
        doomed = ours.fleet.start(PROJECTOR_FAILPOINTS="cache_after_commit=kill9")
        answer = await ours.client.post(f"/orders/{ours.order}/confirm")
        token = {"X-Write-Token": answer.headers["X-Write-Token"]}
        assert await doomed.ended(60) == -signal.SIGKILL
        old = await ours.read()
        assert (old["version"], old["source"]) == (1, "cache")  # for as long as it is kept
        found = (await ours.client.get(f"/orders/{ours.order}?min_version=2")).json()
        assert (found["version"], found["source"]) == (2, "read_model")
        assert (await ours.client.get(f"/orders/{ours.order}", headers=token)).json()["version"] == 2
        await ours.cached_at(2)  # whoever asked for it has renewed the copy for all
