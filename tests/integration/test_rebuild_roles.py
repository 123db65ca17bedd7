"""Rebuilds where everybody has the rights of schemas/roles.sql and no others: a rebuild's login may, and only it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from consumer.prune import prune
from consumer.rebuild.leftovers import cancel, drop_old
from consumer.rebuild.one_order import rebuild_order
from consumer.rebuild.rollback import rollback
from consumer.reference import settle
from consumer.verification.run import Plan, verify
from schemas.errors import Refused
from tests.integration import test_roles as roles
from tests.support.engine import engine, placed
from tests.support.makes import VARIANTS
from tests.support.rebuilding import POINTS, Beside, Shop, Steps, journal, leftovers, rebuild
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed, of_version, retry, run_as_older
from tests.support.streams import differences

server = roles.shop


@pytest_asyncio.fixture
async def worker(server: roles.Shop) -> AsyncIterator[Shop]:
    """A worker with a worker's rights, on a database that is empty again."""
    async with server.session() as administrator:
        await administrator.execute(
            "TRUNCATE projector.ledger, projector.orders, projector.parked_events, projector.dead_letters, "
            "projector.checkpoints, projector.customer_summary, projector.product_sales_daily, "
            "projector.fulfilment_queue, projector.rebuilds, projector.pruned_orders"
        )
    async with engine(server.url_as("worker")) as made:
        yield Shop(made)


async def wrong(server: roles.Shop, worker: Shop) -> list[str]:
    """What isn't as it should be: rows, owners, what is left over. Whoever may read and write can."""
    async with server.session() as administrator:
        found = await differences(administrator, settle(worker.meant))
    async with engine(server.url) as owner:
        found += await leftovers(owner)
    return found + await strangers(server)


async def strangers(server: roles.Shop) -> list[str]:
    """What has another owner than it should have. Whoever may read can."""
    async with server.session("api") as api:
        for view in ("order_summary", "customer_summary", "product_sales_daily", "fulfilment_queue", "order_timeline"):
            await api.fetch(f"SELECT * FROM read_model.{view} LIMIT 1")
    async with server.session() as administrator:
        return await roles.strangers_things(administrator)


async def test_its_login_rebuilds_while_a_worker_writes_and_goes_back_and_drops(
    server: roles.Shop, worker: Shop
) -> None:
    url = server.url_as("rebuild")
    beside = Beside(worker, 41, orders=120)
    await beside.more(150)
    done = await rebuild(url, at=Steps(dict.fromkeys(POINTS, beside.more)), processes=1, source=journal(100))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await wrong(server, worker) == []
    await beside.more()
    assert (await rollback(settings_of(url))).state == "swapped"
    await beside.rest()
    assert await wrong(server, worker) == []
    assert {*await drop_old(settings_of(url))} >= {"orders", "customer_summary"}
    async with server.session() as administrator:
        assert await administrator.fetchval("SELECT to_regnamespace('projector_before') IS NULL")


async def test_its_login_prunes_and_nobody_else(server: roles.Shop, worker: Shop) -> None:
    await worker.tell(placed("a"), confirmed("a", 2))
    for other in ("worker", "operator", "api"):
        with pytest.raises(Refused):
            await prune(settings_of(server.url_as(other)), timedelta(days=1), None)
    assert (await prune(settings_of(server.url_as("rebuild")), timedelta(days=1), None)).events == 2
    worker.fed.send(placed("a"))
    assert (await worker.fed.run()).counts["duplicate"] == 1
    await worker.erase("a")
    assert await wrong(server, worker) == []


async def test_who_may_read_everything_verifies(server: roles.Shop, worker: Shop) -> None:
    await worker.tell(placed("a"), confirmed("a", 2))
    for other in ("worker", "operator", "api"):
        with pytest.raises(Refused, match="permission denied"):
            await verify(settings_of(server.url_as(other)), Plan(source="journal"))
    assert (await verify(settings_of(server.url_as("rebuild")), Plan(source="journal"))).differences == 0
    await rebuild(server.url_as("rebuild"))
    assert (await verify(settings_of(server.url_as("rebuild")), Plan(source="journal"))).differences == 0


async def test_an_operator_retries_while_it_runs(server: roles.Shop, worker: Shop) -> None:
    worker.fed.send(placed("lost"), confirmed("lost", 2))
    await run_as_older(worker.fed, of_version(1))
    async with engine(server.url_as("operator")) as operator:
        await rebuild(server.url_as("rebuild"), at={"rebuild_indexed": partial(retry, operator)})
    async with server.session() as administrator:
        assert await administrator.fetchval("SELECT version FROM projector.orders WHERE order_id = 'lost'") == 2
        shown = "SELECT unit_count FROM read_model.order_summary WHERE order_id = 'lost'"
        assert await administrator.fetchval(shown) == 2


async def test_its_login_mends_one_order_and_cancels(server: roles.Shop, worker: Shop) -> None:
    settings = settings_of(server.url_as("rebuild"))
    await worker.tell(placed("a"), confirmed("a", 2))
    async with server.session("worker") as session:
        await session.execute("UPDATE projector.orders SET status = 'odd'")
    assert (await rebuild_order(settings, "a")).columns[0] == "status"
    assert (await rebuild(server.url_as("rebuild"), swap=False)).state == "kept"
    assert await cancel(settings) == "dropped"
    assert await wrong(server, worker) == []


async def test_what_it_makes_in_another_make_has_the_rights_of_the_old_one(server: roles.Shop, worker: Shop) -> None:
    await worker.tell(placed("a"), confirmed("a", 2))
    url = server.url_as("rebuild")
    for variant in VARIANTS[1], VARIANTS[5]:  # their views can't just be replaced
        assert (await rebuild(url, variant.model.name, models=variant.models)).state == "swapped"
        assert await strangers(server) == []
        assert (await rebuild(url, variant.model.name)).state == "swapped"
    assert await wrong(server, worker) == []


@pytest.mark.parametrize("login", ["worker", "operator", "api", "relay", "nobody"])
@pytest.mark.parametrize("what", [rebuild, None], ids=["rebuild", "rollback"])
async def test_others_can_neither_rebuild_nor_go_back(server: roles.Shop, worker: Shop, login: str, what: Any) -> None:
    await worker.tell(placed("a"))
    await rebuild(server.url_as("rebuild"))
    url = server.url_as(login)
    with pytest.raises(Refused, match=r"permission denied|InsufficientPrivilege"):
        await (rebuild(url) if what else rollback(settings_of(url)))
    assert await wrong(server, worker) == []


async def test_what_a_rebuild_leaves_nobody_else_reads(server: roles.Shop, worker: Shop) -> None:
    await worker.tell(placed("a"))
    await rebuild(server.url_as("rebuild"))
    await rebuild(server.url_as("rebuild"), swap=False)
    for login in ("worker", "operator", "api", "relay", "nobody"):
        async with server.session(login) as session:
            for schema in ("projector_before", "projector_shadow"):
                denied = (
                    f"SELECT has_schema_privilege('{schema}', 'USAGE') OR has_schema_privilege('{schema}', 'CREATE')"
                )
                assert not await session.fetchval(denied), (login, schema)
    await cancel(settings_of(server.url_as("rebuild")))
