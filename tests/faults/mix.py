"""Faults one after the other, by chance, on a fleet that lives through them all."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections import Counter
from collections.abc import Iterator
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
_USUAL = frozenset({0})  # codes with which a worker may end at any time
_LAST_WORDS = 1_000  # characters of the log of one that ended otherwise


def allowed(fault: Fault) -> frozenset[int]:
    """The codes with which workers may end while it is played: only some faults kill."""
    killed = {-signal.SIGKILL} if "killed" in fault.shown_by else set()
    return _USUAL | fault.exits | killed


@dataclass
class Mix:
    """`played` has a run for each fault so far. `ended` is what showed of workers that are gone, `wrong` what was wrong
    with those that went when no fault was played."""

    on: Scene
    played: list[Played] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    began: float = 0
    _known: set[tuple[str, str]] = field(default_factory=set)  # events among the first `_counted` records
    _counted: int = 0

    async def run(self, seconds: float) -> None:
        """Fault after fault: each kind once, then by chance."""
        self.began = time.monotonic()
        for fault in self.chosen():
            if time.monotonic() >= self.began + seconds:
                break
            next_one = time.monotonic() + EVERY
            self.on.load.expect_running()
            await self._one(fault)
            await asyncio.sleep(max(next_one - time.monotonic(), 0))

    def chosen(self) -> Iterator[Fault]:
        """All kinds, shuffled, so that a long run leaves none out; and then more, by their weights, for ever."""
        yield from self.on.random.sample(MIX, len(MIX))
        while True:
            yield from self.on.random.choices(MIX, [fault.mixed for fault in MIX])

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
        await self.restore(fault.workers)
        self.unasked("between two faults")
        self._copies()
        before, first, began = self._evidence(), self._counted, time.monotonic()
        self._say(f"{fault.number:>2} {fault.name}")
        recovery = await self._broken(fault)
        await self.restore(fault.workers)
        await on.gauges.look()
        evidence = self._evidence()
        evidence.subtract(before)
        evidence["redelivered"] += (copies := self._copies())
        self._say(f"   {time.monotonic() - began:.1f} s, {recovery:.1f} of them to catch up")
        wrong = [f"{fault.name}: nothing shows: {name}" for name in fault.shown_by if evidence[name] < 1]
        if recovery > fault.limit:
            wrong.append(f"{fault.name}: lag 0 took {recovery:.1f} s from healing, {fault.limit:g} s are allowed")
        wrong += self._forget(fault.name, allowed(fault))
        self.played.append(Played(fault, on.seed, evidence, self._counted - first, copies, recovery, [], wrong))

    async def _broken(self, fault: Fault) -> float:
        """Play it; how many seconds from its end to lag 0, as in a run of its own."""
        on = self.on
        on.fleet.losses = {*allowed(fault)}
        await asyncio.wait_for(fault.breaks(on), PATIENCE)
        if on.healed_at is None:
            on.healed()
        assert on.healed_at is not None
        await on.replace()
        return await self._caught_up() - on.healed_at

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

    def unasked(self, when: str) -> None:
        """No fault is played now: who is gone should have been told to go."""
        self.wrong += self._forget(when, _USUAL)
        self.on.fleet.losses = {*_USUAL}

    def _forget(self, when: str, codes: frozenset[int]) -> list[str]:
        """Forget workers that are gone, with their logs, and of older records what only sending them again would need.
        Returns which ended with none of these codes, and their last words."""
        gone = [member for member in self.on.fleet.members if member.code is not None]
        self.ended += seen(gone)
        wrong = [
            f"{when}: a worker ended with {member.code}: {member.said()[-_LAST_WORDS:]}"
            for member in gone
            if member.code not in codes
        ]
        for member in gone:
            member.close()
        self.on.fleet.members[:] = [member for member in self.on.fleet.members if member not in gone]
        self.on.load.slim_down()
        gc.freeze()  # what is kept by now stays; to look through it all takes seconds, in which no proxy works
        return wrong

    def _is_special(self, member: Member) -> bool:
        """Whether it was started with settings of its own, beside its port."""
        port = {"PROJECTOR_METRICS_PORT": 0}
        return {**member.settings, **port} != {**self.on.fleet.settings, **port}

    def _say(self, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"{minutes:3}:{seconds:02}  {len(self.on.load.sent):>9,} sent  {what}", flush=True)
