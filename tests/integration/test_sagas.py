"""Sagas driven from the outbox: each step has its effect once, wherever the process dies, and can be read later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from producer import saga_store
from producer.saga_observation import SagaObservation
from producer.saga_runner import SagaRunner
from runtime.failpoints import Failpoints
from testkit.deadline import eventually
from tests.support.write_side import Till, not_shown, settings_of, till


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url) as found:
        yield found


@asynccontextmanager
async def running(
    ours: Till, database_url: str, failpoints: str = "", *, payment_timeout: float = 3600.0
) -> AsyncIterator[SagaObservation]:
    """A runner at work, until the block ends."""
    told, stop = SagaObservation(), asyncio.Event()
    settings = settings_of(database_url, payment_timeout=payment_timeout, delivery_attempts=2)
    runner = SagaRunner(settings, "me", ours.handler, told, Failpoints(failpoints))
    task = asyncio.ensure_future(runner.run(stop))
    try:
        yield told
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def becomes(ours: Till, order_id: str, status: str, stage: str = "ended") -> None:
    """Wait until the order has this status, and its saga has come to this stage."""

    async def so_far() -> bool:
        state = await ours.order(order_id)
        async with ours.pool.acquire() as connection:
            standing = await saga_store.standing(connection, order_id)
        assert state is not None
        assert (state.status, standing and standing.stage) == (status, stage)
        return True

    await eventually(so_far, 30)


async def steps(ours: Till, order_id: str) -> list[tuple[str, str, list[str]]]:
    """(what it was for, the stage after it, what was asked for) of every step."""
    async with ours.pool.acquire() as connection:
        found = await saga_store.history(connection, order_id)
    return [(step.caused_by, step.after, [str(one["command"]) for one in step.commands]) for step in found]


async def test_a_payment_that_fails_is_compensated_from_end_to_end(ours: Till, database_url: str) -> None:
    async with running(ours, database_url):
        await ours.tell("o-1", "place", "confirm", "fail_payment")
        await becomes(ours, "o-1", "cancelled")
    assert [type_ for _, _, type_ in await ours.outbox()] == [
        "order.placed",
        "order.confirmed",
        "order.payment_failed",
        "order.cancelled",
    ]
    assert await steps(ours, "o-1") == [
        ("order.confirmed", "awaiting_payment", []),
        ("order.payment_failed", "compensating", ["cancel"]),
        ("order.cancelled", "ended", []),
    ]


async def test_what_a_saga_asks_for_belongs_to_the_trace_of_its_cause(ours: Till, database_url: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ours.tell("o-1", "place", "confirm")
    await ours.ask("fail_payment", "o-1", traceparent=trace)
    async with running(ours, database_url):
        await becomes(ours, "o-1", "cancelled")
    rows = await ours.fetch("SELECT traceparent FROM write_model.outbox ORDER BY position")
    assert [row["traceparent"] for row in rows] == [None, None, trace, trace]


async def test_a_delivery_that_fails_too_often_is_cancelled_and_refunded(ours: Till, database_url: str) -> None:
    async with running(ours, database_url):
        await ours.tell("o-1", "place", "confirm", "pay", "ship", "fail_delivery", "ship", "fail_delivery")
        await becomes(ours, "o-1", "refunded")
    assert [type_ for _, _, type_ in await ours.outbox()][-2:] == ["order.cancelled", "order.refunded"]


async def test_a_payment_that_does_not_come_in_time_cancels(ours: Till, database_url: str) -> None:
    async with running(ours, database_url, payment_timeout=0.3):
        await ours.tell("late", "place", "confirm")
        await ours.tell("paid", "place", "confirm", "pay")
        await becomes(ours, "late", "cancelled")
        await becomes(ours, "paid", "paid", "awaiting_shipment")
    assert (await steps(ours, "late"))[1] == ("payment_due", "compensating", ["cancel"])


async def test_what_happened_before_it_ran_is_caught_up_with(ours: Till, database_url: str) -> None:
    for n in range(30):
        await ours.tell(f"o-{n}", "place", "confirm", "fail_payment" if n % 3 == 0 else "pay")
    async with running(ours, database_url):
        for n in range(30):
            failed = n % 3 == 0
            await becomes(ours, f"o-{n}", "cancelled" if failed else "paid", "ended" if failed else "awaiting_shipment")


@pytest.mark.parametrize("point", ["saga_before_commit", "saga_after_commit"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_wherever_it_dies_each_step_has_its_effect_once(
    ours: Till, database_url: str, point: str, nth: int
) -> None:
    await ours.tell("o-1", "place", "confirm", "pay", "cancel")
    await ours.tell("o-2", "place", "confirm", "fail_payment")
    settings = settings_of(database_url)
    dying = SagaRunner(settings, "one", ours.handler, SagaObservation(), Failpoints(f"{point}=raise:{nth}"))
    stop = asyncio.Event()
    task = asyncio.ensure_future(dying.run(stop))
    ended = asyncio.ensure_future(both_ended(ours))
    await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    stop.set()
    await asyncio.wait([task], timeout=30)
    assert task.exception() is None or point in str(task.exception())
    async with running(ours, database_url):
        await both_ended(ours)
    versions: dict[str, list[int]] = {}
    for order, version, _ in await ours.outbox():
        versions.setdefault(order, []).append(version)
    assert versions == {"o-1": [1, 2, 3, 4, 5], "o-2": [1, 2, 3, 4]}
    assert len(await steps(ours, "o-1")) == len({str(step) for step in await steps(ours, "o-1")}) == 4


async def both_ended(ours: Till) -> None:
    await becomes(ours, "o-1", "refunded")
    await becomes(ours, "o-2", "cancelled")


async def test_a_command_that_the_order_forbids_by_now_is_history_and_no_failure(ours: Till, database_url: str) -> None:
    await ours.tell("o-1", "place", "confirm", "fail_payment", "cancel")  # the customer was faster
    async with running(ours, database_url) as told:
        await becomes(ours, "o-1", "cancelled")
        assert (
            told.registry.get_sample_value("projector_saga_commands_total", {"command": "cancel", "outcome": "refused"})
            == 1
        )
    assert [type_ for _, _, type_ in await ours.outbox()].count("order.cancelled") == 1


async def test_what_no_saga_can_take_stops_its_own_order_and_no_other(ours: Till, database_url: str) -> None:
    await ours.tell("pruned", "place", "confirm", "fail_payment")
    await ours.tell("odd", "place")
    await ours.tell("hole", "place", "confirm", "pay")
    async with ours.pool.acquire() as connection:
        await connection.execute("DELETE FROM write_model.outbox WHERE aggregateid = 'pruned' AND sequence = 1")
        await connection.execute(
            "UPDATE write_model.outbox SET payload = '[]' WHERE (aggregateid, sequence) IN (('odd', 1), ('hole', 3))"
        )
    await ours.tell("odd", "confirm", "fail_payment")
    await ours.tell("hole", "ship", "fail_delivery", "ship", "fail_delivery")
    await ours.tell("good", "place", "confirm", "fail_payment")
    async with running(ours, database_url):
        await becomes(ours, "good", "cancelled")
    left_alone = {"pruned": "payment_failed", "odd": "payment_failed", "hole": "delivery_failed"}
    for order, status in left_alone.items():
        state = await ours.order(order)
        assert state is not None
        assert state.status == status


async def test_local_first_sagas_change_the_read_models_at_once(database_url: str) -> None:
    async with till(database_url, local=True) as ours, running(ours, database_url):
        await ours.tell("o-1", "place", "confirm", "fail_payment")
        await becomes(ours, "o-1", "cancelled")
        assert await not_shown(ours.pool) == []
