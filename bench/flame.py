"""`python -m bench.flame FILE.svg`: a flame graph of a worker behind a backlog, and the share of each of its steps.

Needs py-spy (a sampling profiler; not among our requirements): `--py-spy` says where it is. It looks at the worker from
outside, 200 times a second, without stopping it; what C code takes counts for the Python line that called it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.race import progress
from bench.stage import SQL, connected, environment, fresh_database, members, stage
from bench.stream import plan, put
from runtime.embedded.processes import last_words
from schemas.errors import Unavailable

_RATE = 200  # looks a second
_TO_START = 60.0
_TITLE = re.compile(r"(<text id=\"title\"[^>]*>)[^<]*(</text>)")
# What a batch goes through: functions, of which a look counts for the one that is deepest in the stack.
_STEPS = {
    "fetch: Kafka's client parses": ("_unpack_records", "fetched_records", "getmany"),
    "decode": ("decode_all",),
    "judge and fold": ("judge",),
    "derive the read models' changes": ("derive",),
    "orders: write": ("write (consumer/order_store.py", "add (consumer/order_store.py"),
    "look: orders, what is known": ("look (consumer/batch_store.py", "_among"),
    "ledger: append": ("append (consumer/ledger.py",),
    "read models: write": ("write (consumer/read_model_store.py",),
    "the driver: encode, send, receive": ("_do_execute", "_Protocol"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flame", description=__doc__)
    parser.add_argument("file", type=Path, help="the picture")
    parser.add_argument("--orders", type=int, default=60_000)
    parser.add_argument("--seconds", type=int, default=10, help="how long to look (10); the backlog has to last")
    parser.add_argument("--py-spy", default=shutil.which("py-spy"), help="the profiler's program")
    options = parser.parse_args()
    if not options.py_spy:
        parser.error("py-spy is not on PATH: --py-spy says where it is")
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    async with stage() as on:
        load = await put(on, "flame", plan(options.orders, 400))
        log = on.home / "flame.log"
        with tempfile.TemporaryDirectory() as name:
            stacks = Path(name) / "stacks"
            for form, file in (("raw", stacks), ("flamegraph", options.file)):
                async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
                    with members([(("-m", "cli", "worker"), environment(on.at(url, load.topic)))], log) as [worker]:
                        look = await connection.prepare(SQL["progress"])
                        deadline = time.monotonic() + _TO_START
                        while (await progress(look, load.topic))[0] == 0:
                            if time.monotonic() > deadline:
                                raise Unavailable(f"the worker doesn't start:\n{last_words(log)}")
                            await asyncio.sleep(0.02)
                        await asyncio.to_thread(_look, options, worker.pid, form, file)
                        if form == "flamegraph":  # its title is the command line, with this machine's paths
                            file.write_text(
                                _TITLE.sub(r"\1a worker behind a backlog\2", file.read_text("utf-8")), "utf-8"
                            )
                        if (await progress(look, load.topic))[1] >= load.events:
                            raise Unavailable("the backlog was gone before the profile ended: more --orders")
            sys.stdout.write(_shares(stacks.read_text("utf-8").splitlines()))
    return 0


def _look(options: argparse.Namespace, pid: int, form: str, file: Path) -> None:
    command = [options.py_spy, "record", "--nonblocking", "--rate", str(_RATE), "--duration", str(options.seconds)]
    command += ["--format", form, "--output", str(file), "--pid", str(pid)]
    subprocess.run(command, check=True, timeout=options.seconds + 60, capture_output=True)


def _shares(stacks: list[str]) -> str:
    """A table: step, percent of all looks at which the process did anything."""
    found: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        found[_step(stack.split(";"))] += int(count)
    total = found.total()
    rows = [f"| {step} | {100 * count / total:.0f} |" for step, count in found.most_common()]
    return "\n".join(["| step | % of the worker's CPU |", "|---|---:|", *rows]) + "\n"


def _step(frames: list[str]) -> str:
    for frame in reversed(frames):
        for step, functions in _STEPS.items():
            if any(function in frame for function in functions):
                return step
    return "the rest: event loop, lanes, packing, freeing memory"


if __name__ == "__main__":
    raise SystemExit(main())
