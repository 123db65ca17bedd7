"""Reads from a replica that is behind: tokens and minimums hold there too, and everything else says how old it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest_asyncio

from api.app import Pools, service
from consumer.install import install
from tests.support.commands import place
from tests.support.saboteurs.standby import Pair, pair
from tests.support.write_side import settings_of, till


@pytest_asyncio.fixture(scope="module")
async def both() -> AsyncIterator[Pair]:
    with pair() as servers:
        connection = await asyncpg.connect(servers.primary.url())
        await install(connection)
        await connection.close()
        yield servers


async def test_a_replica_that_is_behind_shows_nobody_less_than_they_ask_for(both: Pair) -> None:
    url = both.primary.url()
    async with (
        asyncpg.create_pool(both.standby.url(), min_size=1, max_size=2) as replica,
        till(url, local=True) as ours,
    ):
        made = service(settings_of(url), Pools(ours.pool, replica), ours.handler, b"s" * 32, dev=True)
        stop = asyncio.Event()
        waiting = asyncio.ensure_future(made.waiting.run(stop))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=made.app), base_url="http://test") as client:
            order = (await client.post("/orders", json=place())).json()["order_id"]
            where = f"/orders/{order}"
            first = await client.get(where, params={"min_version": 1, "wait_ms": 10_000})
            assert (first.json()["version"], first.json()["source"]) == (1, "read_model")
            await replica.execute("SELECT pg_wal_replay_pause()")
            written = await client.post(f"{where}/confirm")
            token = {"X-Write-Token": written.headers["X-Write-Token"]}
            assert (await client.get(where)).json()["version"] == 1
            found = (await client.get(where, headers=token)).json()
            assert (found["version"], found["source"]) == (2, "write_model")
            assert (await client.get(where, params={"min_version": 2, "wait_ms": 50})).status_code == 503
            late = asyncio.ensure_future(client.get(where, params={"min_version": 2, "wait_ms": 10_000}))
            await replica.execute("SELECT pg_wal_replay_resume()")
            assert (await late).json()["version"] == 2
            again = (await client.get(where, headers={"X-Write-Token": found_token(await late)})).json()
            assert (again["version"], again["source"]) == (2, "read_model")
        stop.set()
        await waiting


def found_token(answer: httpx2.Response) -> str:
    """What a reader was given to see no older."""
    return answer.headers["X-Write-Token"]
