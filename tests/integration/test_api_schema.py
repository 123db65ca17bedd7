"""The HTTP service against its own OpenAPI document, by schemathesis: good and bad requests of each kind, alone and in
chains, on a real database. No answer is a 5xx, and none is another than the document says: status, headers, content
type, schema.

`API_SEED=n` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from tests.support.commands import DATA, place
from tests.support.fleet import ROOT
from tests.support.http_service import TOKEN, HttpService, http_service

SEED = int(os.environ.get("API_SEED") or secrets.randbelow(2**32))
EXAMPLES = 15  # of each call at random; besides, the schemas' edges are tried one by one
PATIENCE = 240  # seconds

# What requests that are good by themselves may be answered with: the order may stand otherwise, or a key be taken. A
# version that the order hasn't yet is 503, and right.
CONFIG = f"""
hooks = "tests/support/schema_hooks.py"
generation.allow-x00 = false  # no text holds it, not even in members that nobody knows: the schema can't say so
[headers]
Authorization = "Bearer {TOKEN}"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "404", "409", "412", "503"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "404", "405", "408", "409", "412", "413", "414", "422", "431"]
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx"]
[[operations]]
include-operation-id = "order"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""
STATES = ((), ("confirm",), ("confirm", "pay"), ("confirm", "pay", "ship"), ("cancel",), ("lines", "address"))
KINDS = {"lines": "add_line", "address": "change_address"}


async def test_no_answer_is_other_than_the_document_says(database_url: str, tmp_path: Path) -> None:
    print(f"API_SEED={SEED}")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    async with http_service(database_url) as service:
        orders = [await order(service, *history) for history in STATES for _ in range(5)]
        before = await commands(database_url)
        code, said = await schemathesis(
            orders,
            f"--config-file={config}",
            "run",
            f"http://127.0.0.1:{service.port}/openapi.json",
            "--exclude-operation-id=stream",  # it has no end
            f"--max-examples={EXAMPLES}",
            f"--seed={SEED}",
            "--no-color",
            "--continue-on-failure",
        )
        assert code == 0, said
        logged = service.member.said()
    assert "Traceback" not in logged
    assert "request_failed" not in logged
    after = await commands(database_url)
    assert after["placed"] > before["placed"] + 5  # it did ask for more than refusals
    assert after["changed"] > before["changed"] + 5


async def commands(database_url: str) -> asyncpg.Record:
    """How many commands were carried out: orders placed, and changes of them."""
    connection = await asyncpg.connect(database_url)
    try:
        found = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE sequence = 1) AS placed, count(*) FILTER (WHERE sequence > 1) AS changed"
            " FROM write_model.outbox"
        )
    finally:
        await connection.close()
    assert found is not None
    return found


async def order(service: HttpService, *history: str) -> str:
    """An order to which this has happened."""
    placed = (await service.client.post("/orders", json=place())).json()["order_id"]
    for step in history:
        answer = await service.client.post(f"/orders/{placed}/{step}", json=DATA[KINDS.get(step, step)] or {})
        assert answer.status_code == 202, answer.text
    return str(placed)


async def schemathesis(orders: Sequence[str], *arguments: str) -> tuple[int, str]:
    """Its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), *arguments),
        cwd=ROOT,
        env={**os.environ, "ORDERS": ",".join(orders)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode()
