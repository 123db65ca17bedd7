"""The frame itself: it finds nothing wrong with a fleet that nothing befell, and everything that was made wrong."""

from __future__ import annotations

import pytest

from tests.faults import checks
from tests.faults.fault import Fault
from tests.faults.load import shop
from tests.faults.play import play
from tests.faults.scene import Scene, scene
from tests.faults.stage import Stage

pytestmark = pytest.mark.apache_kafka

# What the frame has to say of it, when this is made wrong.
TAMPERING = {
    "order_summary": "UPDATE projector.orders SET total = total + 1 WHERE order_id = $1",
    "half done": "DELETE FROM projector.ledger WHERE order_id = $1 AND version = 1",
    "no letter for": "UPDATE projector.dead_letters SET value = $1::text::bytea WHERE reason = 'unreadable'",
    "checkpoint": "UPDATE projector.checkpoints SET next_offset = next_offset - 1 WHERE $1::text IS NOT NULL",
}


async def _nothing(on: Scene) -> None:
    """The control: what holds then is no merit of a fault."""


@pytest.fixture
def stage(kafka_bootstrap: str, postgres_url: str) -> Stage:
    return Stage(kafka_bootstrap, postgres_url)


async def test_without_a_fault_nothing_is_wrong_and_no_evidence_is_found(stage: Stage, base_seed: int) -> None:
    control = Fault(0, "nothing at all", _nothing, least=500)
    played = await play(control, stage, base_seed)
    assert (played.differences, played.wrong) == ([], [])
    assert played.evidence["killed"] == played.evidence["fenced"] == played.evidence["assignments"] == 0
    assert played.events >= 500


async def test_a_fault_that_did_not_happen_and_a_slow_recovery_are_wrong(stage: Stage, base_seed: int) -> None:
    idle = Fault(0, "nothing at all", _nothing, least=500, shown_by=("killed",), limit=0)
    played = await play(idle, stage, base_seed)
    assert [one.partition(" took")[0] for one in played.wrong] == ["nothing shows: killed", "lag 0"]


async def test_what_is_made_wrong_is_found(stage: Stage, base_seed: int) -> None:
    async with scene(stage, base_seed, partitions=2) as on:
        on.expected = 1
        await on.replace()
        on.load.start(shop(base_seed, on.topic), rate=2_000, least=1_000)
        await on.works()
        await on.load.finish()
        log = on.load.log
        await on.fleet.caught_up(log.ends)
        assert await on.fleet.stop() == [0]
        settled = log.stream.settled()
        assert await checks.everything(on, log, settled) == []
        order = max(settled.applied)
        for said, statement in TAMPERING.items():
            transaction = on.connection.transaction()
            await transaction.start()
            await on.connection.execute(statement, order)
            assert said in " ".join(await checks.everything(on, log, settled)), statement
            await transaction.rollback()
        assert await checks.everything(on, log, settled) == []
