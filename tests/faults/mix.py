"""Faults one after the other, by chance, on a fleet that lives through them all."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from testkit.deadline import eventually
from tests.faults.evidence import seen
from tests.faults.fault import Fault
from tests.faults.matrix import FAULTS
from tests.faults.play import Played
from tests.faults.scene import Scene
from tests.support.fleet import Member, stands

MIX = [fault for fault in FAULTS if fault.mixed]
EVERY = 10.0  # seconds from a fault's beginning to the next one's, unless it lasts longer
PATIENCE = 180.0  # seconds that a fault may take, and then again its recovery


@dataclass
class Mix:
    """`played` has a run for each fault so far. `ended` is what showed of workers that are gone."""

    on: Scene
    played: list[Played] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    began: float = 0
    _known: set[tuple[str, str]] = field(default_factory=set)  # events among the first `_counted` records
    _counted: int = 0

    async def run(self, seconds: float) -> None:
        """Fault after fault."""
        self.began = time.monotonic()
        while time.monotonic() < self.began + seconds:
            next_one = time.monotonic() + EVERY
            [fault] = self.on.random.choices(MIX, [fault.mixed for fault in MIX])
            self.on.load.expect_running()
            await self._one(fault)
            self._forget()
            await asyncio.sleep(max(next_one - time.monotonic(), 0))

    async def restore(self, workers: int) -> None:
        """So many workers, each with its partitions; those that a fault started for itself go first."""
        on = self.on
        on.expected = workers
        await on.replace()
        await eventually(lambda: all("worker_started" in member.said() for member in on.running), PATIENCE)
        leaving = sorted(on.running, key=self._is_special)[workers:]
        for member in leaving:
            member.signal(signal.SIGTERM)
        for member in leaving:
            assert await member.ended() == 0, member.said()[-4000:]
        await on.shared()

    async def _one(self, fault: Fault) -> None:
        on = self.on
        on.breaking()
        on.fleet.losses |= fault.exits
        await self.restore(fault.workers)
        self._copies()
        before, first, began = self._evidence(), self._counted, time.monotonic()
        self._say(f"{fault.number:>2} {fault.name}")
        await asyncio.wait_for(fault.breaks(on), PATIENCE)
        if on.healed_at is None:
            on.healed()
        assert on.healed_at is not None
        await self.restore(fault.workers)
        recovery = await self._caught_up() - on.healed_at
        await on.gauges.look()
        evidence = self._evidence()
        evidence.subtract(before)
        evidence["redelivered"] += (copies := self._copies())
        self._say(f"   {time.monotonic() - began:.1f} s, the last {recovery:.1f} of them to catch up")
        wrong = [f"{fault.name}: nothing shows: {name}" for name in fault.shown_by if evidence[name] < 1]
        self.played.append(Played(fault, on.seed, evidence, self._counted - first, copies, recovery, [], wrong))

    async def _caught_up(self) -> float:
        """When all that has been sent by now is applied."""
        await self.on.load.acknowledged()
        ends = self.on.load.log.ends

        async def there() -> bool:
            found = await stands(self.on.connection, ends)
            return all(found[place] >= end for place, end in ends.items())

        await eventually(there, PATIENCE)
        return time.monotonic()

    def _evidence(self) -> Counter[str]:
        return self.on.evidence + self.ended + seen(self.on.fleet.members) + self.on.gauges.counts()

    def _copies(self) -> int:
        """How many of the records sent since the last call say an event that came before."""
        copies, sent = 0, self.on.load.sent
        for at in range(self._counted, len(sent)):
            if event := sent[at].delivery.meant.event:
                who = (event["source"], event["id"])
                copies += who in self._known
                self._known.add(who)
        self._counted = len(sent)
        return copies

    def _forget(self) -> None:
        """Workers that are gone, with their logs; and of older records, what only sending them again would need."""
        gone = [member for member in self.on.fleet.members if member.code is not None]
        self.ended += seen(gone)
        for member in gone:
            member.close()
        self.on.fleet.members[:] = [member for member in self.on.fleet.members if member not in gone]
        self.on.load.slim_down()
        gc.freeze()  # what is kept by now stays; to look through it all takes seconds, in which no proxy works

    def _is_special(self, member: Member) -> bool:
        """Whether it was started with settings of its own, beside its port."""
        port = {"PROJECTOR_METRICS_PORT": 0}
        return {**member.settings, **port} != {**self.on.fleet.settings, **port}

    def _say(self, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"{minutes:3}:{seconds:02}  {len(self.on.load.sent):>9,} sent  {what}", flush=True)
