"""More than the HTTP service can do: it says so at once, goes on with what it took, and is as it was afterwards."""

from __future__ import annotations

import asyncio
import statistics

import asyncpg
import psutil

from testkit.deadline import eventually
from tests.support.commands import place
from tests.support.crowd import Crowd
from tests.support.hostile import request
from tests.support.http_service import TOKEN, HttpService, http_service

# One process lets 500 requests in at once; how many it answers in a second, the test asks the machine.
CLIENTS, TIMES, SECONDS = 900, 2.5, 6.0
WAITING = 500
MEGABYTE = 1024 * 1024


def read(target: str, *, keep: bool = False) -> bytes:
    """A request, after which the connection is kept, or ends."""
    asked = request(b"GET", target.encode(), token=TOKEN.encode())
    return asked.replace(b"Connection: close\r\n", b"") if keep else asked


async def latency(service: HttpService, target: str) -> float:
    """Of one request after the other, in seconds: the median."""
    alone = Crowd()
    for _ in range(30):
        assert await alone.one(service.port, read(target)) == "200"
    return statistics.median(alone.seconds)


async def capacity(service: HttpService, target: str) -> float:
    """Reads a second that it answers when fewer ask than it lets in, each again as soon as it has its answer."""
    few = Crowd()
    await few.rush(service.port, read(target, keep=True), clients=64, rate=1e6, seconds=1.0)
    assert {*few.answers} == {"200"}, few.answers
    return float(few.answers["200"])


async def connections(database_url: str) -> list[str]:
    """What the service's connections to PostgreSQL are at."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT state FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'projector-api%'"
        )
    finally:
        await connection.close()
    return [row["state"] for row in rows]


async def placed(service: HttpService) -> str:
    answer = await service.client.post("/orders", json=place())
    return str(answer.headers["Location"])


async def test_those_who_wait_hold_nothing_that_others_need(database_url: str) -> None:
    async with http_service(database_url) as service:
        order = await placed(service)
        crowd = Crowd()
        waiting = [
            asyncio.ensure_future(crowd.one(service.port, read(f"{order}?min_version=2&wait_ms=10000")))
            for _ in range(WAITING)
        ]

        async def all_wait() -> bool:
            return f"projector_api_waiting_requests {WAITING}.0\n" in (await service.client.get("/metrics")).text

        await eventually(all_wait, 8)
        assert await latency(service, order) < 0.5
        states = await connections(database_url)
        assert len(states) <= 16 + 1 + 1  # the pool, the one that listens, the one that freshness may just be opening
        assert states.count("active") + states.count("idle in transaction") <= 2
        assert not crowd.answers  # they wait still
        assert (await service.client.post(f"{order}/confirm")).status_code == 202
        await asyncio.gather(*waiting)
        assert crowd.answers == {"200": WAITING}


async def test_it_sheds_what_is_too_much_and_recovers(database_url: str) -> None:
    async with http_service(database_url) as service:
        order = await placed(service)
        process = psutil.Process(service.member.pid)
        usual = await latency(service, order)
        rate = TIMES * await capacity(service, order)
        used = []
        for _ in range(2):
            crowd, health = Crowd(), Crowd()
            rush = asyncio.ensure_future(
                crowd.rush(service.port, read(order, keep=True), clients=CLIENTS, rate=rate, seconds=SECONDS)
            )
            while not rush.done():
                assert await health.one(service.port, request(b"GET", b"/health/live")) == "200"
                await asyncio.wait([rush], timeout=0.25)
            await rush
            used.append(process.memory_info().rss / MEGABYTE)
            assert set(crowd.answers) <= {"200", "503"}, crowd.answers
            assert min(crowd.answers["200"], crowd.answers["503"]) > 50, crowd.answers  # it was too much indeed
            assert not crowd.impatient, crowd.impatient[:3]
            assert crowd.p(99) < 10, crowd.p(99)
            assert max(health.seconds) < 5, health.seconds

        async def as_usual() -> bool:
            return await latency(service, order) < 3 * usual + 0.02

        await eventually(as_usual, 20)
        assert used[1] < used[0] + 40, used
        assert used[1] < 400, used
        said = service.member.said()
        assert "Traceback" not in said
        assert said.count("request_unavailable") < 100  # once a second, however many it is so for
