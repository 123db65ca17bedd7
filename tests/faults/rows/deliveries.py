"""Events that come again, in the wrong order, late, or never."""

from __future__ import annotations

from producer.simulation import Delivery
from testkit.deadline import eventually
from tests.faults.evidence import seen
from tests.faults.fault import fault
from tests.faults.records import other, told
from tests.faults.scene import Scene
from tests.support.events import placed
from tests.support.streams import stream

HOLES = 0.1  # of the orders in which one event is held back
ORDERS = 400
RACES = 1_000
LOST = 100  # of these races at least have to be lost by one of the two, to know that they were any
ROUND = 7


@fault(19, "two producers send the same", tier="short", shown_by=("sent again",), mixed=2)
async def sent_again(scene: Scene) -> None:
    """A fifth of what was sent comes again, in another order, each record in whatever partition."""
    await scene.works(500)
    sent = scene.load.recent
    for one in scene.random.sample(sent, len(sent) // 5):
        await scene.send([one.delivery], scene.random.randrange(scene.partitions))
        scene.evidence["sent again"] += one.delivery.meant.kind == "event"


@fault(
    20,
    "the same id with another body, another id for the same version",
    shown_by=("conflicts", "same id again"),
    mixed=1,
)
async def forged(scene: Scene) -> None:
    """What came first stays; of what came later the same id has no effect, and another id is a conflict."""
    await scene.works(500)
    firsts = [one for one in scene.load.recent if _says(one.delivery, "order.placed")]
    for one in scene.random.sample(firsts, min(100, len(firsts))):
        data = placed(customer={"id": "c-forged", "name": "Mallory"})
        await scene.send([other(one.delivery, data=data)], one.place.partition)
        another = f"forged-{scene.random.getrandbits(64):x}"
        await scene.send([other(one.delivery, data=data, id=another)], one.place.partition)
        scene.evidence["same id again"] += 1


def _says(delivery: Delivery, type_: str) -> bool:
    event = delivery.meant.event
    return event is not None and event["type"] == type_


@fault(21, "versions shuffled, holes filled late", tier="short", seeds=10, rate=0, shown_by=("parked", "filled"))
async def late_fillers(scene: Scene) -> None:
    """Each event up to fifty places from its own; in a tenth of the orders one comes after all the rest."""
    rest, held = _with_holes(scene, _shuffled(scene, ORDERS))
    await scene.send(rest)
    await _caught_up(scene)
    await scene.send(held)
    scene.evidence["filled"] += len(held)


@fault(
    22,
    "holes that are never filled",
    rate=0,
    settings={"PROJECTOR_PARKED_LIMIT": 1},
    shown_by=("parked", "reported as parked for too long"),
)
async def holes_for_ever(scene: Scene) -> None:
    """What waits behind them is reported; all other orders are right."""
    rest, _ = _with_holes(scene, _shuffled(scene, ORDERS))
    await scene.send(rest)
    await _caught_up(scene)
    await eventually(lambda: scene.gauges.total("projector_parked_over_limit_events") > 0, 60)
    scene.evidence["reported as parked for too long"] += 1


@fault(
    23,
    "a hole and what fills it at the same moment",
    tier="short",
    partitions=2,
    rate=0,
    settings={
        "PROJECTOR_LANES": 1,
        "PROJECTOR_BATCH_SIZE": 20,
        "PROJECTOR_FAILPOINTS": "before_db_commit=sleep(0.03):*",  # between what a batch decided and what others see
    },
    shown_by=("races", "parked"),
)
async def lost_wake_up(scene: Scene) -> None:
    """A thousand times one worker decides to park version 3 while another applies version 2."""
    orders = [f"race-{scene.seed}-{number}" for number in range(RACES)]
    await scene.send([told("placed", 1, order=order) for order in orders], partition=0)
    await _caught_up(scene)
    for at in range(0, RACES, ROUND):  # in step: of two that don't wait for each other one is soon ahead for good
        racing = orders[at : at + ROUND]
        await scene.send([told("payment_captured", 3, order=order) for order in racing], partition=0)
        await scene.send([told("confirmed", 2, order=order) for order in racing], partition=1)
        await _caught_up(scene)
    lost = seen(scene.fleet.members)["races"]
    assert lost >= LOST, f"only {lost} races were lost"


def _shuffled(scene: Scene, orders: int) -> list[Delivery]:
    deliveries = stream(orders, scene.seed, topic=scene.topic, duplicates=0, shuffle=0).deliveries
    places = [at + scene.random.randint(1, 50) for at in range(len(deliveries))]
    return [deliveries[at] for at in sorted(range(len(deliveries)), key=places.__getitem__)]


def _with_holes(scene: Scene, deliveries: list[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """All but one event of some orders, and those."""
    orders = sorted({str(one.meant.order_id) for one in deliveries})
    chosen = set(scene.random.sample(orders, int(len(orders) * HOLES)))
    held = {order: one for one in deliveries if (order := str(one.meant.order_id)) in chosen and _version(one) == 2}
    return [one for one in deliveries if one not in held.values()], list(held.values())


def _version(delivery: Delivery) -> int:
    assert delivery.meant.event is not None
    return int(delivery.meant.event["sequence"])


async def _caught_up(scene: Scene) -> None:
    await scene.load.acknowledged()
    await scene.fleet.caught_up(scene.load.log.ends)
