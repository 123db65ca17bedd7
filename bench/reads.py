"""`python -m bench.reads`: reads of an order by id, beside a handler that does the same SELECT and no more.

Each a process, in turn, on the same orders: the bare handler (`bench.bare_api`), `projector api` without a cache and
with one. `wrk` asks for orders at random over 1, 8 and 64 connections, as fast as it gets answers; it has one thread,
and shares the machine with the server, PostgreSQL and Valkey. Before each there is a warm-up, which fills the cache.

Proved: every answer is a 200, and the service's says where it came from.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from bench.machine import described
from bench.options import common, positive, run, say, shown
from bench.report import Report
from bench.stage import Stage, environment, fresh_database, members, stage
from bench.tables import Figures, Parts, columns, spread, table, two, whole
from bench.truth import WrongResult
from cli.write_side import commanding
from producer.order import Command
from runtime import postgres
from runtime.embedded.valkey import EmbeddedValkey
from runtime.kafka import ensure_topics
from schemas.errors import Refused

KINDS = ("bare handler", "no cache", "cache")

_CONNECTIONS = (1, 8, 64)
_WARM_UP = 3  # seconds
_PATIENCE = 30.0
_TOPIC = "bench-reads"
_SCRIPT = """
request = function() return wrk.format("GET", "/orders/bench-" .. math.random(0, %d)) end
response = function(status) if status ~= 200 then wrk.thread:stop() end end
"""
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_CUT = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s)$", re.MULTILINE)
_FAILED = re.compile(r"Non-2xx|Socket errors")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.reads", description=__doc__)
    common(parser, runs=5)
    parser.add_argument("--ids", type=positive, default=2_000, help="orders to be asked for (2,000)")
    parser.add_argument("--seconds", type=positive, default=8, help="each (8)")
    return parser.parse_args()


async def _bench(options: argparse.Namespace) -> None:
    if shutil.which("wrk") is None:
        raise Refused("wrk isn't installed: apt-get install wrk")
    async with stage() as on, fresh_database(on) as url:
        await _orders(on, url, options.ids)
        valkey = EmbeddedValkey()
        redis = valkey.start(on.home)
        try:
            found = Report(await described(on), {"orders": f"{options.ids:,}", "seconds each": options.seconds})
            for number in range(1, options.runs + 1):
                for kind in KINDS:
                    with _serving(on, url, kind, redis) as port:
                        await _answers(port, kind)
                        figures = await _asked(on.home, port, options.ids, options.seconds)
                    found.add(kind, figures)
                    said = ", ".join(f"{figures[f'rate_{n}']:,.0f}" for n in _CONNECTIONS)
                    say(f"round {number}: {kind} {said} reads/s")
        finally:
            valkey.stop()
    shown(options, found, "reads", _table)


async def _orders(on: Stage, url: str, ids: int) -> None:
    """Orders that readers see."""
    settings = on.at(url, _TOPIC).model_copy(update={"consistency": "local-first"})
    await ensure_topics(settings, [_TOPIC], 3)
    numbers = iter(range(ids + 1))
    lines = [
        {"sku": f"sku-{n}", "title": f"Thing number {n}", "quantity": n, "unit_price": "10.00"} for n in range(1, 4)
    ]
    data = {"customer": {"id": "c-1", "name": "Somebody"}, "currency": "EUR", "lines": lines}
    async with postgres.pool(settings, "bench-reads", 8) as pool, commanding(settings, pool) as handler:

        async def client() -> None:
            for number in numbers:
                await handler.handle(Command("place", f"bench-{number}", data))

        await asyncio.gather(*(client() for _ in range(8)))


@contextmanager
def _serving(on: Stage, url: str, kind: str, redis: str) -> Iterator[int]:
    """The port of one of them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ: Mapping[str, str] = environment(on.at(url, _TOPIC))
    arguments: tuple[str, ...] = ("-m", "cli", "api", "--dev", "--port", str(port))
    if kind == "bare handler":
        arguments = ("-m", "bench.bare_api", str(port))
    elif kind == "cache":
        environ = {**environ, "REDIS_URL": redis}
    with members([(arguments, environ)], on.home / "reads.log"):
        yield port


async def _answers(port: int, kind: str) -> None:
    """Wait until it does, from where it should."""
    deadline = time.monotonic() + _PATIENCE
    wanted = {"no cache": "read_model", "cache": "cache"}.get(kind)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /orders/bench-0 HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            if head.startswith(b"HTTP/1.1 200") and (wanted is None or orjson.loads(body)["source"] == wanted):
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise WrongResult(f"{kind}: no answer from where it should come")
        await asyncio.sleep(0.1)


async def _asked(home: Path, port: int, ids: int, seconds: int) -> Figures:
    script = home / "reads.lua"
    script.write_text(_SCRIPT % ids, "utf-8")
    figures: dict[str, float] = {}
    for connections in _CONNECTIONS:
        await _wrk(script, port, connections, _WARM_UP)
        said = await _wrk(script, port, connections, seconds)
        rate = _RATE.search(said)
        if rate is None or _FAILED.search(said):
            raise WrongResult(said)
        figures[f"rate_{connections}"] = float(rate[1])
        for cut, number, unit in _CUT.findall(said):
            figures[f"p{cut}_{connections}_ms"] = float(number) * _UNITS[unit]
    return figures


async def _wrk(script: Path, port: int, connections: int, seconds: int) -> str:
    """What it says."""
    process = await asyncio.create_subprocess_exec(
        *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"),
        *("--script", str(script), f"http://127.0.0.1:{port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()


def _table(parts: Parts) -> str:
    """A line per number of connections and kind."""
    found = {kind: columns(parts[kind]) for kind in KINDS if kind in parts}
    rows = []
    for connections in _CONNECTIONS:
        for kind, of in found.items():
            rates, bare = of[f"rate_{connections}"], found[KINDS[0]][f"rate_{connections}"]
            ratio = [one / other for one, other in zip(rates, bare, strict=True)]
            rows.append(
                (
                    str(connections),
                    kind,
                    spread(rates, whole),
                    spread(ratio, two),
                    spread(of[f"p50_{connections}_ms"], two),
                    spread(of[f"p99_{connections}_ms"], two),
                )
            )
    return table(("connections", "", "reads/s", "÷ bare handler", "p50, ms", "p99, ms"), rows)


if __name__ == "__main__":
    raise SystemExit(run(_options(), _bench))
