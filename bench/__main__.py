"""`python -m bench`: parts in turn, round after round; see `--help`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable

from bench.latency import latency
from bench.limit import Rows, limit
from bench.live import live
from bench.machine import described
from bench.naive import naive
from bench.options import common, positive, run, say, shown
from bench.peers.events import Topics
from bench.peers.frame import Peer
from bench.peers.race import Rows as PeerRows
from bench.peers.race import race as peer_race
from bench.peers.roster import PEERS
from bench.rebuild import rebuild
from bench.report import Report
from bench.stage import Stage, stage, tried
from bench.stream import Load, plan, put
from bench.tables import Figures
from bench.truth import Truth

PARTS = ("naive", "live", "limit", "live-2", "skew", "rebuild", "rebuild-2", "latency")
PEER_PARTS = tuple(peer.part for peer in PEERS)  # only when they are asked for: other people's software is installed
ORDER = (*PARTS[:2], *PEER_PARTS, *PARTS[2:])  # peers right behind *live*, which they are held against

_HOT = 0.5  # of the orders of *skew*

Part = Callable[[int], Awaitable[Figures]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    common(parser, runs=3)
    parser.add_argument("--only", action="append", choices=ORDER, help="this part alone; may be repeated")
    parser.add_argument("--peers", action="store_true", help="other people's consumers too (bench/peers)")
    parser.add_argument("--naive-events", type=positive, default=5_000, help="events of the naive part (5,000)")
    parser.add_argument("--rate", type=positive, default=1_000, help="events per second of the latency part (1,000)")
    parser.add_argument("--latency-seconds", type=positive, default=30, help="how long, after 5 s of warm-up (30)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a PostgreSQL setting to try")
    return parser.parse_args()


async def _bench(options: argparse.Namespace) -> None:
    async with stage(settings=tried(options.set)) as on:
        stream = plan(options.orders, options.window)
        wanted = {*(options.only or PARTS), *(PEER_PARTS if options.peers else ())}
        say(f"producing {options.orders:,} orders")
        small = await put(on, "bench-naive", stream, options.naive_events)
        load = small if wanted == {"latency"} else await put(on, "bench-live", stream)
        hot = plan(options.orders, options.window, _HOT)
        skewed = await put(on, "bench-skew", hot) if "skew" in wanted else load
        found = Report(
            await described(on),
            {
                "orders": f"{options.orders:,}",
                "events": f"{load.events:,}",
                "orders under way at once": options.window,
                **tried(options.set),
            },
        )
        parts = {**_parts(on, options, small, load, skewed), **_peers(on, load)}
        await live(on, small, Truth())  # warms the broker, the page cache and Python's compiled files
        for number in range(1, options.runs + 1):
            for name in ORDER:
                if name in wanted:
                    began = time.monotonic()
                    figures = await parts[name](number)
                    found.add(name, figures)
                    figure = figures.get("events_per_s") or figures.get("p50_ms") or 0.0
                    say(f"round {number}: {name} {figure:,.1f} ({time.monotonic() - began:.0f} s in all)")
    shown(options, found, "bench")


def _parts(on: Stage, options: argparse.Namespace, small: Load, load: Load, skewed: Load) -> dict[str, Part]:
    truth, rows = Truth(), Rows()

    async def limited(_: int) -> Figures:
        if not rows.there:  # asked for alone: somebody has to make the rows
            await live(on, load, truth, rows)
        return await limit(on, load, truth, rows)

    return {
        "naive": lambda _: naive(on, small, truth),
        "live": lambda _: live(on, load, truth, rows),
        "limit": limited,
        "live-2": lambda _: live(on, load, truth, rows, processes=2),
        "skew": lambda _: live(on, skewed, truth, processes=2),
        "rebuild": lambda _: rebuild(on, load, truth),
        "rebuild-2": lambda _: rebuild(on, load, truth, processes=2),
        "latency": lambda number: latency(
            on, f"bench-latency-{number}", options.rate, options.latency_seconds, options.window
        ),
    }


def _peers(on: Stage, load: Load) -> dict[str, Part]:
    topics, rows = Topics(on, load), PeerRows(load)

    def part(peer: Peer) -> Part:
        return lambda _: peer_race(on, topics, rows, peer)

    return {peer.part: part(peer) for peer in PEERS}


if __name__ == "__main__":
    raise SystemExit(run(_options(), _bench))
