"""Health and metrics over HTTP: on a port of the worker's own, from the loop that does the work."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from typing import Any
from urllib.error import HTTPError

import pytest

from consumer.health import Health
from consumer.observation import Observation
from consumer.projection import Outcome
from runtime.health import pages
from runtime.http import serving
from schemas.errors import Refused


def _ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


async def ask(port: int, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(_ask, f"http://127.0.0.1:{port}{path}")


async def test_each_page_says_what_it_is_for() -> None:
    health, observation = Health(), Observation()
    observation.batch(Outcome(), 7, 0.1)
    async with serving(pages(health, observation.registry), "127.0.0.1", 0) as port:
        assert await ask(port, "/health/live") == (200, '{"live":true}')
        assert (await ask(port, "/elsewhere"))[0] == 404
        status, text = await ask(port, "/metrics")
        assert status == 200
        assert "projector_batch_size_events_sum 7.0" in text


async def test_ready_is_503_until_every_check_is_fine_and_names_what_is_not() -> None:
    health = Health()
    async with serving(pages(health, Observation().registry), "127.0.0.1", 0) as port:
        status, text = await ask(port, "/health/ready")
        assert status == 503
        assert json.loads(text)["checks"]["kafka"] == "not yet asked"
        health.fine("assigned", "kafka", "postgresql", "schema")
        expected: dict[str, Any] = dict.fromkeys(("assigned", "kafka", "postgresql", "schema", "moving"), "ok")
        status, text = await ask(port, "/health/ready")
        assert (status, json.loads(text)) == (200, {"ready": True, "checks": expected})
        health.wrong("postgresql", "PostgreSQL: SQLSTATE 57P01")
        status, text = await ask(port, "/health/ready")
        assert (status, json.loads(text)["checks"]["postgresql"]) == (503, "PostgreSQL: SQLSTATE 57P01")


async def test_a_port_that_is_taken_is_refused_by_name() -> None:
    app = pages(Health(), Observation().registry)
    async with serving(app, "127.0.0.1", 0) as port:
        with pytest.raises(Refused, match=f"PROJECTOR_METRICS_PORT: can't listen on 127.0.0.1:{port}"):
            async with serving(app, "127.0.0.1", port):
                pass
    async with serving(app, "127.0.0.1", port):
        pass  # it's free again


BLOCKED = """
import asyncio, time
from runtime.pulse import pulse

async def main():
    async with pulse({limit}):
        {work}

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("work", "code"),
    [("time.sleep(20)", 1), ("await asyncio.sleep(1.5)", 0), ("time.sleep(0.2)", 0)],
    ids=["blocked", "idle", "busy"],
)
def test_a_loop_that_stands_still_ends_its_process_and_shows_where(work: str, code: int) -> None:
    script = BLOCKED.format(limit=0.5, work=work)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == code, done.stderr
    assert ("the event loop stands still" in done.stderr) == (code == 1)
    assert ('File "<string>", line 7 in main' in done.stderr) == (code == 1)
