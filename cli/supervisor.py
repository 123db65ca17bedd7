"""Several members on one machine: started, watched, started again with growing pauses, stopped together.

A member follows its supervisor through a pipe: however the supervisor ends, SIGKILL included, its members see the
pipe's end and stop as if told to, so none is left behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

_log = structlog.get_logger("projector.fleet")

FOLLOW = "--follow-stdin"

_RESTARTS = 5  # of one member, in a row; then the whole fleet ends, for its own supervisor to see
_HEALTHY = 60.0  # seconds after which a member's earlier ends are forgotten
_PAUSE = 0.5  # seconds before the first restart; twice as long before each that follows
_HOPELESS = 2  # an exit code: a person has to act, and a restart wouldn't help


async def supervise(stop: asyncio.Event, members: Sequence[Mapping[str, str]]) -> int:
    """Run a member in each of these environments until told to stop; the worst of their exit codes."""
    codes = await asyncio.gather(*(_keep(stop, number, environ) for number, environ in enumerate(members)))
    return max(codes)


async def _keep(stop: asyncio.Event, number: int, environment: Mapping[str, str]) -> int:
    """Keep one member running; give up, and end the others, when it ends again and again."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        code = await _run(stop, environment)
        if stop.is_set():
            return 0 if code in (0, -signal.SIGTERM) else abs(code)
        failures = 1 if loop.time() - began > _HEALTHY else failures + 1
        _log.error("member_ended", member=number, exit_code=code, failures=failures)
        if failures > _RESTARTS or code == _HOPELESS:
            stop.set()
            return abs(code) or 1
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _PAUSE * 2 ** (failures - 1))
        if stop.is_set():
            return 0


async def _run(stop: asyncio.Event, environment: Mapping[str, str]) -> int:
    """One life of a member; its exit code."""
    # A session of its own: Ctrl-C in a terminal reaches this process alone, which then asks each member once.
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "worker", FOLLOW),
        stdin=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    stopping = asyncio.ensure_future(stop.wait())
    ending = asyncio.ensure_future(child.wait())
    await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        child.send_signal(signal.SIGTERM)
    stopping.cancel()
    return await ending


@asynccontextmanager
async def while_parent_lives(stop: asyncio.Event, *, follow: bool) -> AsyncIterator[None]:
    """With `follow`: set `stop` when standard input ends, as it does with the process that holds its other end."""
    if not follow:
        yield
        return
    watching = asyncio.ensure_future(_end_of_stdin(stop))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _end_of_stdin(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while await reader.read(1024):
            pass  # nobody writes; what ends is what counts
        _log.warning("supervisor_gone", pid=os.getpid())
        stop.set()
    finally:
        transport.close()
