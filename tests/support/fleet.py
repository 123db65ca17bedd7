"""Workers for tests: as real processes, which may be killed and stopped, or inside the test's own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from consumer.checkpoints import Place
from consumer.observation import Observation
from consumer.worker import Worker
from runtime import postgres
from runtime.embedded.processes import Launch, spawn
from runtime.settings import Settings, load
from schemas.connection import Connection
from testkit.deadline import eventually
from tests.support.streams import Ends

ROOT = Path(__file__).parents[2]
_PATIENCE = 180  # seconds for a command to end
_TELLS = 3  # seconds for a worker to say where it stands
_TOLD = '"event":"tasks"'
_OURS = ("PROJECTOR_", "KAFKA_", "DATABASE_URL", "REDIS_URL")


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment without settings of ours, and these instead: `DATABASE_URL=…, PROJECTOR_LANES=1`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**inherited, **{name: str(value) for name, value in settings.items()}}


class Ended(NamedTuple):
    """What a command that ran to its end left behind."""

    code: int
    out: str
    err: str


async def projector(*arguments: str, **settings: Any) -> Ended:
    """Run `projector` with these arguments and settings to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        cwd=ROOT,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


class Member:
    """A `projector worker` that a test started. Its children, if it has any, share its process group.

    On Linux the kernel kills it, frozen or not, when the test's process ends, however that does.
    """

    def __init__(self, command: Sequence[str], settings: Mapping[str, Any]) -> None:
        with tempfile.NamedTemporaryFile("wb", prefix="projector-member-", delete=False) as log:
            self._log = Path(log.name)
        process = spawn(Launch([sys.executable, *command], self._log, ROOT, environment=environment(**settings))).child
        assert process is not None  # it is not detached
        self._process = process
        self.pid = process.pid
        self.settings = settings

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """What it has logged so far."""
        return self._log.read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, timeout: float = 30) -> int:
        """Its exit code, as soon as it ends."""
        await eventually(lambda: self.code is not None, timeout)
        assert self.code is not None
        return self.code

    def close(self) -> None:
        """End it, and its children, however it stands."""
        for number in (signal.SIGCONT, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
        self._process.wait()
        self._log.unlink()


class Fleet:
    """Workers of one group on one database."""

    def __init__(self, connection: Connection, settings: Mapping[str, Any]) -> None:
        self.connection = connection
        self.members: list[Member] = []
        self.settings = dict(settings)
        self.program: tuple[str, ...] = ("-m", "cli")
        self.losses = {0, -signal.SIGKILL}  # codes with which a member may end while others work on
        self.url = str(settings["DATABASE_URL"])  # workers may be given another way to it later

    def start(self, *arguments: str, **settings: Any) -> Member:
        """One more member, with settings of its own if need be."""
        self.members.append(Member((*self.program, "worker", *arguments), {**self.settings, **settings}))
        return self.members[-1]

    async def reconnect(self) -> None:
        """After the database was away."""
        self.connection.terminate()
        self.connection = await asyncpg.connect(self.url)

    async def owners(self) -> dict[Place, str]:
        """Who took each partition last."""
        rows = await self.connection.fetch("SELECT topic, partition, owner FROM projector.checkpoints")
        return {Place(row["topic"], row["partition"]): row["owner"] for row in rows}

    async def shared_by(self, *members: Member, owners: int | None = None, timeout: float = 30) -> None:
        """Wait until each of these owns partitions (or so many of them do), and nobody else does."""
        expected = {str(member.pid) for member in members}

        async def shared() -> bool:
            self._expect_running(*members)
            found = {owner.rpartition("-")[2] for owner in (await self.owners()).values()}
            return found <= expected and len(found) == (owners or len(members))

        await eventually(shared, timeout)

    async def caught_up(self, ends: Ends, timeout: float = 60) -> None:
        """Wait until the checkpoints stand where the logs end, with those members running that should."""

        async def there() -> bool:
            self._expect_running(*(member for member in self.members if member.code not in self.losses))
            found = await stands(self.connection, ends)
            assert found == ends, {place: (found[place], end) for place, end in ends.items() if found[place] != end}
            return True

        await eventually(there, timeout)

    async def stop(self, timeout: float = 20) -> list[int]:
        """SIGTERM to all that run; every member's exit code."""
        for member in self.members:
            if member.code is None:
                member.signal(signal.SIGTERM)
        return [await member.ended(timeout) for member in self.members]

    def _expect_running(self, *members: Member) -> None:
        for member in members:
            if member.code is not None:
                raise RuntimeError(f"a member ended with {member.code}:\n{member.said()[-4000:]}")


@asynccontextmanager
async def fleet(bootstrap: str, database_url: str, topic: str, **settings: Any) -> AsyncIterator[Fleet]:
    """A fleet without members; those started are gone when the context ends, whatever became of the test."""
    all_settings = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "DATABASE_URL": database_url,
        "PROJECTOR_TOPICS": topic,
        "PROJECTOR_GROUP_ID": f"group-{topic}",
        "PROJECTOR_SESSION_TIMEOUT": 6,
        **settings,
    }
    made = Fleet(await asyncpg.connect(database_url), all_settings)
    try:
        yield made
    except BaseException:
        await _ask_where(made.members)
        for member in made.members:  # for pytest to show
            print(f"--- worker {member.pid}, exit code {member.code}:\n{member.said()[-16000:]}")
        raise
    finally:
        for member in made.members:
            member.close()
        await made.connection.close()


async def _ask_where(members: Sequence[Member]) -> None:
    """Have those that run say where their tasks stand, in their logs: a worker that hangs tells nothing else."""
    asked = [member for member in members if member.code is None and "worker_started" in member.said()]
    for member in asked:
        member.signal(signal.SIGUSR1)
    with suppress(AssertionError):  # a frozen one doesn't answer
        await eventually(lambda: all(member.code is not None or _TOLD in member.said() for member in asked), _TELLS)


async def stands(connection: Connection, ends: Ends) -> Ends:
    """Where the checkpoints of these partitions stand."""
    rows = await connection.fetch("SELECT topic, partition, next_offset FROM projector.checkpoints")
    found = {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return {place: found.get(place, 0) for place in ends}


def settings_for(bootstrap: str, database_url: str, *topics: str, **more: Any) -> Settings:
    """Settings that don't depend on this process's environment."""
    given = {"group_id": f"group-{topics[0]}", "session_timeout": 6.0, **more}
    return load({}, kafka_bootstrap_servers=bootstrap, database_url=database_url, topics=topics, **given)


class Running:
    """A worker inside the test's process."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool[asyncpg.Record], owner: str) -> None:
        self.settings = settings
        self.pool = pool
        self.observation = Observation()
        self._looked_at = False
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(Worker(settings, pool, owner, self.observation).run(self._stop))

    async def stop(self) -> None:
        """Ask it to stop and wait for it; raises what it failed with, unless `failure` has told."""
        self._stop.set()
        await asyncio.wait([self._task], timeout=20)
        if not self._task.done():
            self._task.cancel()
            raise AssertionError("the worker didn't stop")
        if not self._looked_at:
            self._task.result()

    async def failure(self, timeout: float = 20) -> BaseException:
        """What it fails with."""
        await eventually(self._task.done, timeout)
        self._looked_at = True
        found = self._task.exception()
        assert found is not None
        return found

    async def caught_up(self, ends: Ends, timeout: float = 30) -> None:
        """Wait until the checkpoints stand where the logs end."""

        async def there() -> bool:
            if self._task.done():
                self._task.result()
            async with self.pool.acquire() as connection:
                found = await stands(connection, ends)
            assert found == ends, found
            return True

        await eventually(there, timeout)


@asynccontextmanager
async def working(settings: Settings, owner: str = "test") -> AsyncIterator[Running]:
    """A worker for as long as the context lasts."""
    async with postgres.pool(settings, "test-worker", settings.lanes + 2) as pool:
        running = Running(settings, pool, owner)
        try:
            yield running
        finally:
            await running.stop()
