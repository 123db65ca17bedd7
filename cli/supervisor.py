"""Several members on one machine: started, watched, started again with growing pauses, stopped together.

A member follows its supervisor through a pipe, by which it is told to stop. However the supervisor ends, SIGKILL
included, its members see the pipe's end and stop as if told to, so none is left behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from cli.restarts import Restarts

_log = structlog.get_logger("projector.fleet")

FOLLOW = "--follow-stdin"
_STOP = b"."


async def supervise(stop: asyncio.Event, members: Sequence[Mapping[str, str]]) -> int:
    """Run a member in each of these environments until told to stop; the worst of their exit codes."""
    codes = await asyncio.gather(*(_keep(stop, number, environ) for number, environ in enumerate(members)))
    return max(codes)


async def _keep(stop: asyncio.Event, number: int, environment: Mapping[str, str]) -> int:
    """Keep one member running; give up, and end the others, when it ends again and again."""
    loop, restarts = asyncio.get_running_loop(), Restarts()
    while True:
        began = loop.time()
        code = await _run(stop, environment)
        if stop.is_set():
            return 0 if code in (0, -signal.SIGTERM) else abs(code)
        pause = restarts.after(code, loop.time() - began)
        _log.error("member_ended", member=number, exit_code=code, failures=restarts.failures)
        if pause is None:
            stop.set()
            return abs(code) or 1
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
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
        # Not by a signal: systemd's default has sent one to every process of the unit already, and a second one would
        # end the member at once.
        assert child.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            child.stdin.write(_STOP)
            child.stdin.close()
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
        if await reader.read(len(_STOP)) != _STOP:
            _log.warning("supervisor_gone", pid=os.getpid())
        stop.set()
    finally:
        transport.close()
