"""`projector api` as a process, beside a relay and a worker: what is written is read, by every way of reading."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from testkit.deadline import eventually
from tests.support.commands import place
from tests.support.fleet import Fleet, Member, fleet, projector

KEYS = {"PROJECTOR_API_TOKENS": "a-token-of-some-length", "PROJECTOR_API_SECRET": "s" * 32}


@asynccontextmanager
async def serving(shop: Fleet, *options: str, **settings: str) -> AsyncIterator[tuple[httpx2.AsyncClient, Member]]:
    """A service of its own on a free port."""
    member = Member((*shop.program, "api", "--port", "0", *options), {**shop.settings, **settings})
    try:
        found = await eventually(lambda: re.search(r'"port":(\d+)', member.said()), 30)
        assert found is not None
        headers = {"Authorization": f"Bearer {KEYS['PROJECTOR_API_TOKENS']}"}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{found[1]}", headers=headers, timeout=20) as client:
            yield client, member
    finally:
        member.close()


async def test_without_tokens_it_does_not_start(database_url: str) -> None:
    ended = await projector("api", "--port", "0", DATABASE_URL=database_url)
    assert ended.code == 2
    assert "PROJECTOR_API_TOKENS" in ended.err


async def test_what_is_written_is_read(database_url: str, kafka_bootstrap: str, topic: str) -> None:
    async with fleet(kafka_bootstrap, database_url, topic) as shop, serving(shop, **KEYS) as (client, member):
        assert (await client.get("/orders", headers={"Authorization": "Bearer no"})).status_code == 401
        placed = await client.post("/orders", json=place())
        where, token = placed.headers["Location"], {"X-Write-Token": placed.headers["X-Write-Token"]}
        assert (await client.get(where)).status_code == 404
        assert (await client.get(where, headers=token)).json()["source"] == "write_model"
        shop.start()
        relay = Member((*shop.program, "relay"), shop.settings)
        try:
            found = await client.get(where, params={"min_version": 1, "wait_ms": 10_000})
            while found.status_code == 503:  # a fleet takes its time to gather
                found = await client.get(where, params={"min_version": 1, "wait_ms": 10_000})
            assert found.json()["source"] == "read_model"
            assert (await client.get(where, headers=token)).json()["source"] == "read_model"
            seen = []
            async with client.stream("GET", f"{where}/stream", headers={"Last-Event-ID": "0"}) as stream:
                assert (await client.post(f"{where}/confirm")).status_code == 202
                async for line in stream.aiter_lines():
                    if line.startswith("id: "):
                        seen.append(int(line.removeprefix("id: ")))
                    if seen and seen[-1] == 2:
                        break
            assert seen in ([1, 2], [2])

            async def caught_up() -> bool:
                fresh = (await client.get("/freshness")).json()
                return bool(fresh.get("objective_met") and fresh["lag"] == 0 and fresh["staleness_ms"] == 0)

            await eventually(caught_up, 30)
            document = (await client.get("/openapi.json")).json()
            assert document["openapi"].startswith("3.1")
            assert "/orders/{order_id}" in document["paths"]
        finally:
            relay.close()
        member.signal(signal.SIGTERM)
        assert await member.ended(20) == 0
        assert await shop.stop() == [0]
