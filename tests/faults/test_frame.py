"""The frame itself: it finds nothing wrong with a fleet that nothing befell, and everything that was made wrong."""

from __future__ import annotations

import pytest

from consumer.checkpoints import Place
from tests.faults import checks
from tests.faults.fault import Fault
from tests.faults.gauges import Offsets
from tests.faults.load import shop
from tests.faults.matrix import FAULTS
from tests.faults.play import play
from tests.faults.records import other, told
from tests.faults.scene import Scene, scene
from tests.faults.stage import Stage
from tests.support.streams import Ends

pytestmark = pytest.mark.apache_kafka

_MORE = "headers || jsonb_build_object('more', $1::text)"
_SUMS = "projector.customer_summary"

# What the frame has to say of it, when this is made wrong; $1 is an order's id.
TAMPERING = {
    "order_summary": "UPDATE projector.orders SET total = total + 1 WHERE order_id = $1",
    "half done": "DELETE FROM projector.ledger WHERE order_id = $1 AND version = 1",
    "no letter for Place": "UPDATE projector.dead_letters SET value = $1::text::bytea WHERE reason = 'unreadable'",
    "a letter too many: Place": f"UPDATE projector.dead_letters SET headers = {_MORE} WHERE reason = 'unreadable'",
    "a letter too many: version_conflict": "UPDATE projector.dead_letters SET event_id = $1 WHERE event_id = 'late'",
    "letter with other bytes": f"UPDATE projector.dead_letters SET headers = {_MORE} WHERE event_id = 'late'",
    "parked event with other bytes": "UPDATE projector.parked_events SET value = $1::text::bytea",
    "order_timeline": "UPDATE projector.ledger SET data = jsonb_build_object($1::text, 1) WHERE order_id = $1",
    "customer_summary": f"UPDATE {_SUMS} SET revenue = revenue + 1 WHERE $1::text IS NOT NULL",
    "checkpoint": "UPDATE projector.checkpoints SET next_offset = next_offset - 1 WHERE $1::text IS NOT NULL",
}


# All that has to show of a fault beside which a shop is at work. Where the fault sends all there is (rate 0), what it
# sent shows: events that wait for their turn, and workers that race for an order. A shop has some of that, too.
SHOWING = {name for fault in FAULTS if fault.rate for name in fault.shown_by}


async def _nothing(on: Scene) -> None:
    """The control: what holds then is no merit of a fault."""


@pytest.fixture
def stage(kafka_bootstrap: str, postgres_url: str) -> Stage:
    return Stage(kafka_bootstrap, postgres_url)


async def test_without_a_fault_nothing_is_wrong_and_no_evidence_is_found(stage: Stage, base_seed: int) -> None:
    control = Fault(0, "nothing at all", _nothing, least=500)
    played = await play(control, stage, base_seed)
    assert (played.differences, played.wrong) == ([], [])
    assert {name: played.evidence[name] for name in SHOWING if played.evidence[name]} == {}
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
        first = told(order="twice")
        await on.send([first, other(first, id="late"), told("confirmed", 3, order="waits")], partition=0)
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


def test_offsets_that_go_back_and_that_kafka_knows_before_the_checkpoints_are_wrong() -> None:
    place, offsets = Place("t", 0), Offsets(told=_never, database=str)
    for kafka, stood in ((5, 7), (7, 7), (6, 8), (9, 8), (9, 7)):
        offsets.compare({place: kafka}, {place: stood})
    offsets.compare({}, {})  # of a service that knows nothing at the moment
    said = [line.partition(": ")[2] for line in offsets.wrong]
    assert said == [
        "what Kafka was told went back from 7 to 6",
        "Kafka was told 9, the checkpoint stood at 8",
        "Kafka was told 9, the checkpoint stood at 7",
        "the checkpoint went back from 8 to 7",
    ]
    assert offsets.looks == 6


async def _never() -> Ends:
    raise AssertionError("nobody looks")
