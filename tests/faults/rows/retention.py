"""Kafka deletes what was not applied yet. Nobody can bring it back: the fleet has to say so, and skip nothing."""

from __future__ import annotations

import asyncio
import signal

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from testkit.deadline import eventually
from tests.faults.fault import fault
from tests.faults.scene import SESSION, Scene
from tests.support.fleet import stands
from tests.support.saboteurs.signals import frozen
from tests.support.streams import Ends

REFUSED = {"exits": frozenset({2}), "shown_by": ("records deleted", "stopped for a person")}
_ADVANCE = "UPDATE projector.checkpoints SET next_offset = $3 WHERE topic = $1 AND partition = $2 AND next_offset < $3"


@fault(18, "retention overtakes a stopped fleet", **REFUSED)
async def retention_overtakes(scene: Scene) -> None:
    for member in scene.running:
        member.signal(signal.SIGTERM)
        assert await member.ended() == 0
    firsts = {place: end + 50 for place, end in (await stands(scene.connection, scene.load.log.ends)).items()}
    await eventually(lambda: all(scene.load.log.ends[place] > first for place, first in firsts.items()), 30)
    await _delete(scene, firsts)
    scene.start()
    await _refused(scene, "retention took events")
    await _put_right(scene, firsts)


@fault(18, "retention overtakes a fleet that is behind", **REFUSED)
async def retention_overtakes_slow(scene: Scene) -> None:
    with frozen(*(member.pid for member in scene.running)):
        await asyncio.sleep(SESSION / 2)
        firsts = {place: end - 1 for place, end in scene.load.log.ends.items()}
        await _delete(scene, firsts)
    await _refused(scene, "retention")
    await _put_right(scene, firsts)


async def _delete(scene: Scene, firsts: Ends) -> None:
    """As retention does: nothing before these offsets is left."""
    records = {TopicPartition(*place): RecordsToDelete(before_offset=first) for place, first in firsts.items()}
    async with scene.stage.admin() as admin:
        await admin.delete_records(records)


async def _refused(scene: Scene, words: str) -> None:
    """All workers end with code 2 and the reason."""
    for member in scene.running:
        assert await member.ended(60) == 2
        assert words in member.said()
        scene.evidence["stopped for a person"] += 1


async def _put_right(scene: Scene, firsts: Ends) -> None:
    """As docs/operations.md says. What was deleted before it was applied has never been, for the oracle too."""
    checkpoints = await stands(scene.connection, firsts)
    sent = scene.load.sent
    kept = [one for one in sent if not checkpoints[one.place] <= one.offset < firsts[one.place]]
    scene.evidence["records deleted"] += len(sent) - len(kept)
    sent[:] = kept
    for place, first in firsts.items():
        await scene.connection.execute(_ADVANCE, *place, first)
