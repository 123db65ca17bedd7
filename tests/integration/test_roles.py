"""The roles of schemas/roles.sql: each can do its work, and nothing that isn't its work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from consumer.install import install
from consumer.read_models import READ_MODELS
from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from producer.saga_observation import SagaObservation
from producer.saga_runner import SagaRunner
from schemas.connection import Connection
from testkit.databases import apply_migrations, create_database, drop_database, fresh_name
from testkit.deadline import eventually
from tests.integration.test_console import OURS, SCRIPT, browsing, page, plain
from tests.integration.test_relay import relaying
from tests.support.denied import DENIED
from tests.support.engine import TOPIC, engine, placed
from tests.support.fleet import ROOT, fleet, projector
from tests.support.redelivery import confirmed, of_version, run_as_older
from tests.support.streams import demo_stream, differences, publish
from tests.support.write_side import settings_of, till

ROLES = (ROOT / "schemas" / "roles.sql").read_text("utf-8")
GROUPS = tuple(f"projector_{kind}" for kind in ("owner", "worker", "operator", "api", "rebuild", "relay", "shop"))
PASSWORD = "r0le-s3cret"


class Shop(NamedTuple):
    """A database with roles, and a login in each of them."""

    url: str
    prefix: str

    def url_as(self, login: str) -> str:
        url = urlsplit(self.url)
        place = url.netloc.rpartition("@")[2]
        return url._replace(netloc=f"{self.prefix}_{login}:{PASSWORD}@{place}").geturl()

    @asynccontextmanager
    async def session(self, login: str = "") -> AsyncIterator[Connection]:
        """As one of the logins; as the administrator if none is named."""
        connection = await asyncpg.connect(self.url_as(login) if login else self.url)
        try:
            yield connection
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="module")
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    """Set up as docs/security.md says, then gone without a trace: roles are the whole server's."""
    name = fresh_name("roles")
    found = Shop(await create_database(postgres_url, name), f"test_{uuid4().hex[:8]}")
    await apply_migrations(found.url)
    async with Shop(postgres_url, "").session() as server:
        groups_were_there = await server.fetchval("SELECT to_regrole('projector_owner') IS NOT NULL")
        try:
            async with found.session() as administrator:
                await administrator.execute(ROLES)
                await administrator.execute(logins_of_the_docs(found.prefix, name))
                for other in ("rebuild", "relay", "shop"):
                    login = f"CREATE ROLE {found.prefix}_{other} LOGIN PASSWORD '{PASSWORD}' IN ROLE projector_{other}"
                    await administrator.execute(login)
                await administrator.execute(f"CREATE ROLE {found.prefix}_nobody LOGIN PASSWORD '{PASSWORD}'")
            yield found
        finally:
            await drop_database(postgres_url, name)
            logins = await server.fetch("SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)", found.prefix)
            for role in [login["rolname"] for login in logins] + ([] if groups_were_there else [*reversed(GROUPS)]):
                with suppress(asyncpg.DependentObjectsStillExistError):  # another database has the group too
                    await server.execute(f"DROP ROLE IF EXISTS {role}")


def logins_of_the_docs(prefix: str, database: str) -> str:
    """The statements that docs/security.md tells an administrator to run."""
    block: str
    [block] = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "security.md").read_text("utf-8"), re.DOTALL)
    return block.replace("shop_", f"{prefix}_").replace("DATABASE shop", f"DATABASE {database}").replace("…", PASSWORD)


# What each can do


async def test_a_worker_does_all_its_work_and_an_operator_sees_it(shop: Shop, kafka_bootstrap: str, topic: str) -> None:
    stream = demo_stream(60, 3, topic=topic)
    ends = await publish(kafka_bootstrap, topic, stream)
    async with fleet(kafka_bootstrap, shop.url_as("worker"), topic) as members:
        members.start()
        await members.caught_up(ends)
        assert await members.stop() == [0]
    async with shop.session() as administrator:
        assert await differences(administrator, stream.settled()) == []
    where = {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "PROJECTOR_TOPICS": topic}
    for command in (("status",), ("dead-letters", "list"), ("dead-letters", "show", "1")):
        told = await projector(*command, **where, DATABASE_URL=shop.url_as("operator"))
        assert told.code == 0, told.err


async def test_the_console_shows_each_login_what_it_may_see_and_says_what_not(shop: Shop) -> None:
    no_right = "Not to be seen: This service's login has no right to read this"
    for login, unseen in (("api", 2), ("operator", 0)):
        async with till(shop.url_as(login)) as ours, browsing(ours, shop.url_as(login)) as (client, _):
            text = plain(await page(client, "/"))
            assert (text.count(no_right), "There was none in this database." in text) == (unseen, True), login
            told = await client.post("/console/letters/1/retry", headers={**OURS, **SCRIPT})
            assert ("permission denied for table dead_letters" in told.text) is bool(unseen)


async def test_an_operator_retries_and_discards_what_a_worker_has_buried(shop: Shop) -> None:
    async with engine(shop.url_as("worker")) as fed:
        fed.send(placed("retried"), confirmed("retried", 2), placed("discarded"))
        await run_as_older(fed, of_version(1))
        ours = f"FROM projector.dead_letters WHERE topic = '{TOPIC}' ORDER BY id"
        [_, lost] = [str(one["id"]) for one in await fed.fetch(f"SELECT id {ours}")]
        for command in (("retry", "--order", "retried"), ("discard", lost, "--why", "a test")):
            done = await projector("dead-letters", *command, "--execute", DATABASE_URL=shop.url_as("operator"))
            assert done.code == 0, done.err
        assert await fed.value("SELECT version FROM projector.orders WHERE order_id = 'retried'") == 2
        resolutions = [one["resolution"] for one in await fed.fetch(f"SELECT resolution {ours}")]
        assert resolutions == ["retried", "discarded"]


async def test_the_owner_migrates_again_and_what_it_adds_is_for_the_others_at_once(shop: Shop) -> None:
    again = await projector("migrate", DATABASE_URL=shop.url_as("migrator"))
    assert (again.code, again.out) == (0, "already current\n"), again.err
    async with shop.session("migrator") as owner:
        done = await install(owner, (*READ_MODELS, OrdersByCountry()))
        assert done.read_models == ["orders_by_country"]
    async with shop.session("worker") as worker:
        await worker.execute("DELETE FROM projector.orders_by_country")
        await worker.execute("INSERT INTO projector.orders_by_country VALUES ('NL', 'EUR', 1, 25, 3)")
        await worker.execute("UPDATE projector.orders_by_country SET orders = orders + 1")
    async with shop.session("api") as api:
        assert await api.fetchval("SELECT orders FROM read_model.orders_by_country") == 2
    async with shop.session() as administrator:
        assert await strangers_things(administrator) == []


async def test_the_api_reads_every_read_model_and_how_fresh_they_are(shop: Shop) -> None:
    async with shop.session("api") as api:
        for model in READ_MODELS:
            await api.fetch(f"SELECT * FROM read_model.{model.name} LIMIT 1")
        await api.fetch("SELECT topic, partition, next_offset, last_event_at, updated_at FROM projector.checkpoints")
        assert await api.fetchval("SHOW default_transaction_read_only") == "on"
        assert await api.fetchval("SHOW statement_timeout") == "5s"


async def test_a_rebuild_swaps_a_table_by_renaming_and_nobody_loses_a_right(shop: Shop) -> None:
    async with shop.session("rebuild") as rebuild, rebuild.transaction():
        await rebuild.execute("SET LOCAL ROLE projector_owner")
        await rebuild.execute("CREATE TABLE projector.shadow (LIKE projector.fulfilment_queue INCLUDING ALL)")
        await rebuild.execute("LOCK TABLE projector.fulfilment_queue IN ACCESS EXCLUSIVE MODE")
        await rebuild.execute("ALTER TABLE projector.fulfilment_queue RENAME TO gone")
        await rebuild.execute("ALTER TABLE projector.shadow RENAME TO fulfilment_queue")
        view = await rebuild.fetchval("SELECT pg_get_viewdef('read_model.fulfilment_queue'::regclass)")
        await rebuild.execute(
            f"CREATE OR REPLACE VIEW read_model.fulfilment_queue AS {view.replace('gone', 'fulfilment_queue')}"
        )
        await rebuild.execute("DROP TABLE projector.gone")
    async with shop.session("worker") as worker:
        await worker.execute("DELETE FROM projector.fulfilment_queue")
    async with shop.session("api") as api:
        assert await api.fetch("SELECT * FROM read_model.fulfilment_queue") == []


async def test_a_shop_takes_commands_and_runs_sagas_and_a_relay_publishes_them(
    shop: Shop, kafka_bootstrap: str, topic: str
) -> None:
    relays = settings_of(shop.url_as("relay"), kafka_bootstrap, topic)
    async with till(shop.url_as("shop")) as ours:
        told, stop = SagaObservation(), asyncio.Event()
        sagas = SagaRunner(settings_of(shop.url_as("shop")), "me", ours.handler, told)
        running = asyncio.ensure_future(sagas.run(stop))
        await ours.tell("r-1", "place", "confirm", "fail_payment")
        async with relaying(relays) as observed:
            await eventually(lambda: observed.sent == 4, 30)
        stop.set()
        await running


# What each can't


@pytest.mark.parametrize(("login", "statement"), DENIED)
async def test_what_is_not_its_work_is_denied(shop: Shop, login: str, statement: str) -> None:
    async with shop.session(login) as session:
        await session.execute("SET default_transaction_read_only = off")  # anybody may
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.execute(statement)


async def test_the_api_writes_nothing_by_mistake(shop: Shop) -> None:
    async with shop.session("api") as api:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await api.execute("CREATE TABLE read_model.mine ()")


# Running the script


async def test_the_script_may_be_run_again_and_takes_over_what_others_have_made(shop: Shop) -> None:
    async with shop.session() as administrator:
        await administrator.execute("CREATE TABLE projector.late (n integer GENERATED ALWAYS AS IDENTITY)")
        await administrator.execute("CREATE VIEW read_model.late AS SELECT n FROM projector.late")
        assert len(await strangers_things(administrator)) == 2
        await administrator.execute(ROLES)
        assert await strangers_things(administrator) == []
    async with shop.session("worker") as worker:
        await worker.execute("INSERT INTO projector.late DEFAULT VALUES")
    async with shop.session("api") as api:
        assert await api.fetchval("SELECT n FROM read_model.late") == 1


async def test_an_administrator_need_not_be_a_superuser(shop: Shop, postgres_url: str) -> None:
    """One that owns the database and may make roles: what a hosted PostgreSQL gives."""
    name, login = fresh_name("hosted"), f"{shop.prefix}_admin"
    async with Shop(postgres_url, "").session() as server:
        await server.execute(f"CREATE ROLE {login} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        # As if it had made them: on this server somebody else has.
        await server.execute(f"GRANT {', '.join(GROUPS)} TO {login} WITH ADMIN OPTION")
        await server.execute(f"CREATE DATABASE {name} OWNER {login}")
    try:
        hosted = Shop(shop.url.rpartition("/")[0] + f"/{name}", shop.prefix)
        async with hosted.session("admin") as administrator:
            await install(administrator)
            await administrator.execute(ROLES)
            await administrator.execute(ROLES)
            assert await strangers_things(administrator) == []
        async with hosted.session("worker") as worker:
            await worker.fetch("SELECT * FROM projector.orders")
    finally:
        await drop_database(postgres_url, name)


async def strangers_things(connection: Connection) -> list[str]:
    """What in our schemas doesn't belong to the owner."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text "
        "IN ('projector', 'read_model', 'write_model') AND relowner <> 'projector_owner'::regrole "
        "AND relkind IN ('r', 'p', 'v')"
    )
    return [row["relname"] for row in rows]
