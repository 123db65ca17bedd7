"""Records that are broken, odd, or huge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from producer.flaws import FLAWS, GOOD
from producer.simulation import Delivery
from tests.faults.fault import fault
from tests.faults.records import broken, erasing, telling, told
from tests.faults.scene import Scene
from tests.support.events import Rec, Row, named, placed, record, row
from tests.unit.test_wire_poison import POISON

BATCH = 8
MEBIBYTE = 2**20
HUGE = 10 * MEBIBYTE
MEMORY = 400 * MEBIBYTE  # that a worker may hold while such records come


@fault(
    24,
    "broken records in every place of a batch",
    tier="short",
    workers=0,
    partitions=1,
    rate=0,
    settings={"PROJECTOR_BATCH_SIZE": BATCH, "PROJECTOR_LANES": 1},
    shown_by=("broken",),
)
async def poison(scene: Scene) -> None:
    """Of each eight records one is broken: each flaw in each of the places. A letter for each, with its very bytes."""
    for place in range(BATCH):
        for number, bad in enumerate(_flawed(f"broken-{scene.seed}-{place}")):
            good = [told(order=f"good-{scene.seed}-{place}-{number}-{n}") for n in range(BATCH - 1)]
            await scene.send([*good[:place], bad, *good[place:]])
            scene.evidence["broken"] += 1
    scene.expected = 1


def _flawed(name: str) -> Iterator[Delivery]:
    for number, (bad, instead) in enumerate(FLAWS):
        attributes = named(order=f"{name}-{number}", **({bad: instead} if isinstance(bad, str) else {}))
        data = GOOD.replace(bad, instead) if isinstance(bad, bytes) else GOOD
        yield broken(record(data=data, attributes=attributes))
    for number, data in enumerate(POISON.values()):
        yield broken(record(data=data, order=f"{name}-poison-{number}"))


@fault(25, "odd records", rate=0, shown_by=("odd", "broken", "erased"), mixed=1)
async def odd_records(scene: Scene) -> None:
    """Unknown types, newer schemas, foreign keys and strange texts are applied; what lacks an attribute is not; a
    tombstone erases. All of it comes twice."""
    names = (f"odd-{scene.random.getrandbits(40):x}-{number}" for number in count())
    odd = [*_unusual(names)]
    bad = [broken(_without(name, next(names))) for name in ("id", "source", "type", "time", "sequence", "subject")]
    bad += [broken(record(data=b"{}", order=next(names))), broken(record("structured", b"[]", order=next(names)))]
    doomed = [next(names) for _ in range(20)]
    erased = [*(told(order=order) for order in doomed), *map(erasing, doomed), erasing(next(names))]
    later = [told("confirmed", 2, order=order) for order in doomed]
    await scene.send([*odd, *bad, *erased, *later, *odd])
    scene.evidence.update({"odd": len(odd), "broken": len(bad), "erased": len(doomed)})


def _unusual(names: Iterator[str]) -> Iterator[Delivery]:
    for encoding in ("binary", "structured", "outbox"):
        yield told("gift_wrapped", 1, order=next(names), encoding=encoding)
        yield told("placed", 1, order=next(names), encoding=encoding, schemaversion=99)
        yield told("placed", 1, order=next(names), encoding=encoding, traceparent="no trace")
        for text in (
            "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
            "\uffff",
            "\x7f",
            "NaN",
            "'; --",
        ):
            yield told(data=placed(note=text, shipping_address={"city": text}), order=next(names), encoding=encoding)
    for key in (None, b"", b"\xff\xfe", b"elsewhere"):
        yield telling(row(order=next(names)), key=key)
    yield told(order="{" + next(names) + "}", id="{01234567-89ab-7def-8123-456789abcdef}")
    yield told(order="urn:uuid:" + next(names), id="urn:uuid:01234567-89ab-7def-8123-456789abcdef")


def _without(attribute: str, order: str) -> Rec:
    whole = named(order=order)
    return record(attributes={name: value for name, value in whole.items() if name != attribute})


@asynccontextmanager
async def _room_for_huge_records(scene: Scene) -> AsyncIterator[None]:
    raised = {"max.message.bytes": str(2 * HUGE)}
    async with scene.stage.admin() as admin:
        [answer] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, scene.topic, raised)])
        assert [code for code, *_ in answer.resources] == [0], answer
    yield


@fault(26, "records from 1 byte to 10 MiB", around=_room_for_huge_records, shown_by=("huge", "large", "tiny"), rate=100)
async def huge_records(scene: Scene) -> None:
    """Up to 1 MiB they are applied, above they are letters, all bytes kept; memory stays within its bounds."""
    orders = (f"size-{scene.seed}-{number}" for number in count())
    for _ in range(3):
        for size in (MEBIBYTE + 1, 2 * MEBIBYTE, 4 * MEBIBYTE, HUGE):
            await scene.send([broken(record(data=_padded(size), order=next(orders)))])
            scene.evidence["huge"] += 1
        for size in (MEBIBYTE - 1, MEBIBYTE):
            await scene.send([telling(_large(next(orders), size))])
            scene.evidence["large"] += 1
        await scene.send([broken(record(data=b"x", order=next(orders)))])
        scene.evidence["tiny"] += 1
    await scene.load.finish()
    await scene.fleet.caught_up(scene.load.log.ends)
    await scene.gauges.look()
    most = max(size.memory for size in scene.gauges.sizes)
    assert most < MEMORY, f"a worker held {most / MEBIBYTE:.0f} MiB"


def _padded(size: int) -> bytes:
    """A valid order's data in so many bytes."""
    start = (
        b'{"customer":{"id":"c-1","name":"Ada"},"currency":"EUR","lines":[{"sku":"pen","quantity":1,"unit_price":"1"}],'
    )
    return start + b'"note":"' + b"x" * (size - len(start) - 10) + b'"}'


def _large(order: str, size: int) -> Row:
    data: dict[str, Any] = placed(note="")
    missing = size - len(record(data=data).value or b"")
    return row(data={**data, "note": "x" * missing}, order=order)
