"""A read model whose code was changed: made anew in its new make, and nobody writes in the old one afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio

from consumer import install, proof, reference
from consumer.checkpoints import Place
from consumer.install import makes
from consumer.read_models import ReadModel
from schemas.errors import OutOfPlace, Refused
from schemas.wire import decode
from tests.support.engine import TOPIC, Engine, attributes, engine, placed
from tests.support.makes import BEFORE, VARIANTS, CustomerSummary, Variant, instead
from tests.support.rebuilding import POINTS, Beside, Shop, Steps, leftovers, rebuild, shop
from tests.support.redelivery import confirmed, of_version, retry, run_as_older
from tests.support.streams import demo_stream


@pytest.fixture(scope="session")
def read_models() -> Sequence[ReadModel]:
    """What stands in the database: the release before."""
    return BEFORE


@pytest_asyncio.fixture
async def older(database_url: str) -> AsyncIterator[Shop]:
    """The release before, at work; c-1 has an order that was cancelled, c-2 has none."""
    async with shop(database_url, BEFORE) as made:
        await made.tell(placed("a"), placed("b"), placed("c", customer="c-2"))
        await made.tell(attributes("a", 2, "order.cancelled", {"reason": "no"}))
        yield made


@pytest_asyncio.fixture
async def newer(database_url: str) -> AsyncIterator[Engine]:
    """The release of today."""
    async with engine(database_url) as made:
        yield made


async def stands(fed: Engine) -> dict[str, tuple[str, int]]:
    """Make and generation of all that stands in the database."""
    rows = await fed.fetch("SELECT name, fingerprint, generation FROM projector.read_models")
    return {row["name"]: (row["fingerprint"], row["generation"]) for row in rows}


async def test_what_has_changed_is_made_anew_and_what_was_wrong_is_named(older: Shop, database_url: str) -> None:
    wrong = [one for one in await older.differences() if "revenue" in one]
    assert len(wrong) == 1
    before = await stands(older.fed)
    done = await rebuild(database_url, changed=True)
    assert (done.state, done.names) == ("swapped", ["customer_summary"])
    found = done.comparison
    assert (found.counts, found.unexpected) == ({"customer_summary": 1}, {})
    [difference] = found.first["customer_summary"]
    assert difference.key == ("c-1", "EUR")
    assert [(column, int(live), int(rebuilt)) for column, live, rebuilt in difference.columns()] == [
        ("revenue", 50, 25)
    ]
    assert await older.differences() == []
    assert await stands(older.fed) == {**before, "customer_summary": (makes()["customer_summary"], 2)}
    assert (await rebuild(database_url, changed=True)).state == "unchanged"


async def test_who_makes_it_as_before_can_write_nothing_more(older: Shop, newer: Engine, database_url: str) -> None:
    starts = {Place(TOPIC, 0): 0}
    older.fed.send(placed("late"), confirmed("b", 2))
    await older.fed.take()
    async with newer.pool.acquire() as connection:
        with pytest.raises(Refused, match="customer_summary stand in another make"):
            await install.take(connection, starts, "too early")
    await rebuild(database_url, changed=True)
    with pytest.raises(OutOfPlace):
        await older.fed.apply(older.fed.next_batch())
    async with older.fed.pool.acquire() as connection:
        with pytest.raises(Refused, match="customer_summary stand in another make"):
            await install.take(connection, starts, "old", BEFORE)
        await install.take(connection, starts, "new")
    with pytest.raises(Refused, match="customer_summary stand in another make"):
        await older.write(placed("beside"))
    newer.logs = older.fed.logs
    await newer.run()
    told = [*older.meant[:-1], reference.Event(placed("late")), reference.Event(confirmed("b", 2))]
    assert await newer.differences(told) == []


async def test_a_letter_is_not_retried_in_the_old_make(older: Shop, newer: Engine, database_url: str) -> None:
    older.fed.send(placed("lost"))
    await run_as_older(older.fed, of_version(1))
    await rebuild(database_url, changed=True)
    with pytest.raises(Refused, match="customer_summary stand in another make"):
        await retry(older.fed, models=BEFORE)
    await retry(newer)
    assert await newer.differences([*older.meant, reference.Event(placed("lost"))]) == []


async def test_what_the_old_make_writes_meanwhile_is_there_in_the_new_one(older: Shop, database_url: str) -> None:
    beside = Beside(older, 31)
    await beside.more(100)
    done = await rebuild(database_url, at=Steps(dict.fromkeys(POINTS, beside.more)), changed=True)
    assert (done.state, done.comparison.unexpected) == ("swapped", {})
    assert await older.differences() == []
    assert await leftovers(older.fed) == []


async def test_by_name_or_whole_a_change_is_expected_too(older: Shop, database_url: str) -> None:
    for names in ((), ("customer_summary",)):
        done = await rebuild(database_url, *names)
        assert (done.state, done.comparison.unexpected) == ("swapped", {})
        assert await older.differences() == []
        epoch = await older.fed.value("SELECT epoch FROM projector.checkpoints")
    assert await older.fed.value("SELECT owner FROM projector.checkpoints") == "rebuild"
    assert (await rebuild(database_url)).state == "swapped"
    assert await older.fed.value("SELECT epoch FROM projector.checkpoints") == epoch


async def test_damage_beside_what_has_changed_still_stops(older: Shop, database_url: str) -> None:
    await older.fed.pool.execute("UPDATE projector.orders SET carrier = 'nobody' WHERE order_id = 'a'")
    await older.fed.pool.execute("UPDATE projector.product_sales_daily SET units = units + 1")
    done = await rebuild(database_url)
    assert (done.state, done.comparison.unexpected) == ("differs", {"orders": 1, "product_sales_daily": 1})


async def test_where_the_fold_has_changed_all_is_made_anew_and_workers_of_before_are_kept_out(
    older: Shop, newer: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await newer.pool.execute("UPDATE projector.orders SET status = 'as before' WHERE order_id = 'b'")
    await older.fed.take()
    older.fed.send(placed("late"))
    monkeypatch.setattr(install, "STATES_MAKE", "fold 2")
    done = await rebuild(database_url, changed=True)
    assert (done.state, done.comparison.unexpected) == ("swapped", {})
    assert {"orders", *done.names} == {"orders", "customer_summary", "product_sales_daily", "fulfilment_queue"}
    assert await older.differences() == []
    assert (await stands(newer))["orders"] == ("fold 2", 2)
    with pytest.raises(OutOfPlace):
        await older.fed.apply(older.fed.next_batch())
    monkeypatch.undo()
    with pytest.raises(Refused, match="the read models orders stand in another make"):
        await newer.processor.process([decode(older.fed.logs[0][-1])], {})


# Other columns


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_other_columns_are_shown_to_those_who_might_read_the_old_ones(
    older: Shop, database_url: str, variant: Variant
) -> None:
    await older.give(demo_stream(20, 32, topic=TOPIC).deliveries)
    name, models = variant.model.name, instead(CustomerSummary(), variant.model)
    await older.fed.pool.execute(f"GRANT SELECT ON read_model.{name} TO pg_monitor")
    done = await rebuild(database_url, models=models, changed=True)
    assert (done.state, done.names, done.comparison.unexpected) == ("swapped", [name], {})
    assert await _shown(older, variant) == []
    assert await older.fed.value("SELECT has_table_privilege('pg_monitor', $1, 'SELECT')", f"read_model.{name}")
    assert (await stands(older.fed))[name] == (variant.model.fingerprint, 2)
    async with shop(database_url, models) as newest:
        newest.fed.logs, newest.meant = older.fed.logs, older.meant
        await newest.give(demo_stream(20, 33, topic=TOPIC).deliveries)
        assert await _shown(newest, variant) == []


async def _shown(at: Shop, variant: Variant) -> list[reference.Difference]:
    """What readers see that isn't what the variant makes of the right rows."""
    name = variant.model.name
    right = reference.read_models(reference.settle(at.meant).applied)[name]
    rows = proof.as_read(await at.fed.fetch(f"SELECT * FROM read_model.{name}"))
    expected: list[Mapping[str, Any]] = [variant.of(row) for row in right]
    assert not rows or rows[0].keys() == expected[0].keys()
    return reference.compare([dict(row) for row in expected], rows, reference.KEYS[name])
