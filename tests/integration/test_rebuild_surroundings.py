"""What a database's owner has given to tables and views: it is there after a swap too, or the swap is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from consumer.read_models import READ_MODELS
from consumer.rebuild.rollback import rollback
from schemas.errors import Refused
from testkit.databases import fresh_name
from tests.support.engine import placed
from tests.support.makes import VARIANTS
from tests.support.rebuilding import Shop, leftovers, rebuild, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed

QUEUE = next(variant for variant in VARIANTS if variant.name == "document, column removed")  # customer_name


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.tell(placed("a"), confirmed("a", 2), placed("b", customer="c-2"))
        yield made


@pytest_asyncio.fixture
async def analyst(ours: Shop) -> AsyncIterator[str]:
    """A role that is nobody's but this test's."""
    name = fresh_name("analyst")
    await execute(ours, f"CREATE ROLE {name}")
    yield name
    await execute(ours, f"DROP OWNED BY {name}; DROP ROLE {name}")


async def execute(ours: Shop, *statements: str) -> None:
    async with ours.fed.pool.acquire() as connection:
        for statement in statements:
            await connection.execute(statement)


# Kept


_GIVEN = """
    SELECT c.oid::regclass::text AS name, pg_get_userbyid(c.relowner) AS owner, c.relacl::text[] AS rights,
           c.reloptions AS options,
           (SELECT array_agg(indexdef ORDER BY indexdef) FROM pg_indexes
            WHERE (schemaname, tablename) = (n.nspname, relname)) AS indexes,
           (SELECT array_agg((conname, contype, pg_get_constraintdef(k.oid))::text ORDER BY conname)
            FROM pg_constraint AS k WHERE k.conrelid = c.oid) AS constraints,
           (SELECT array_agg((attname, attacl, attoptions, attstattarget, format_type(atttypid, atttypmod),
                              attcollation, attnotnull, attstorage)::text ORDER BY attnum)
            FROM pg_attribute AS a WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
           obj_description(c.oid) AS comment,
           CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END AS body
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('projector', 'read_model', 'public')
      AND c.relkind IN ('r', 'v')
    ORDER BY 1
"""


async def given(ours: Shop) -> set[str]:
    """A line for each thing that can be given."""
    return {f"{row['name']}: {what} {value}" for row in await ours.fed.fetch(_GIVEN) for what, value in row.items()}


KEPT = {
    "rights": [
        "GRANT SELECT ON projector.orders, projector.customer_summary TO {role}",
        "GRANT SELECT, UPDATE ON projector.fulfilment_queue TO {role} WITH GRANT OPTION",
        "GRANT SELECT ON projector.product_sales_daily TO PUBLIC",
        "GRANT SELECT ON read_model.order_summary, read_model.customer_summary TO {role}",
        "GRANT SELECT (order_id, status), UPDATE (carrier) ON projector.orders TO {role}",
        "GRANT SELECT (units) ON projector.product_sales_daily TO {role} WITH GRANT OPTION",
    ],
    "indexes and constraints": [
        "CREATE INDEX email ON projector.orders (customer_email) WHERE customer_email IS NOT NULL",
        "CREATE UNIQUE INDEX ours ON projector.orders (lower(order_id), version DESC) INCLUDE (status)",
        'CREATE INDEX "Our own" ON projector.customer_summary USING hash (customer_id)',
        "CREATE INDEX since ON projector.fulfilment_queue (ready_since) WITH (fillfactor = 50)",
        "ALTER TABLE projector.customer_summary ADD CONSTRAINT other UNIQUE (currency, customer_id, shard)",
        "ALTER TABLE projector.customer_summary ADD CONSTRAINT sound CHECK (orders >= 0)",
    ],
    "parameters": [
        "ALTER TABLE projector.orders SET (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 60)",
        "ALTER TABLE projector.customer_summary SET (autovacuum_vacuum_scale_factor = 0.01)",
        "ALTER TABLE projector.orders ALTER COLUMN status SET STATISTICS 500",
        "COMMENT ON TABLE projector.orders IS 'ours'",
        "ALTER VIEW read_model.order_summary SET (security_invoker = true)",
    ],
    "views": [
        "CREATE VIEW public.sums AS "
        "SELECT customer_id, sum(revenue) AS revenue FROM read_model.customer_summary GROUP BY 1",
        "CREATE VIEW public.invoked WITH (security_invoker = true) AS SELECT o.order_id, c.orders "
        "FROM projector.orders AS o JOIN projector.customer_summary AS c USING (customer_id, currency)",
        "CREATE VIEW public.barred WITH (security_barrier) AS SELECT order_id FROM projector.fulfilment_queue "
        "WHERE total > 0 WITH LOCAL CHECK OPTION",
        "CREATE VIEW public.ours AS SELECT order_id FROM projector.orders",
        "CREATE VIEW public.theirs AS SELECT count(*) FROM ours JOIN projector.orders USING (order_id)",
        "GRANT SELECT ON public.sums, public.barred TO {role}",
    ],
}


@pytest.mark.parametrize("what", KEPT)
async def test_what_was_given_is_there_after_a_swap_and_after_the_way_back(
    ours: Shop, database_url: str, analyst: str, what: str
) -> None:
    await execute(ours, *(statement.replace("{role}", analyst) for statement in KEPT[what]))
    before = await given(ours)
    assert (await rebuild(database_url)).state == "swapped"
    assert await given(ours) ^ before == set()
    assert (await rollback(settings_of(database_url))).state == "swapped"
    assert await given(ours) ^ before == set()
    assert await ours.differences() == []


async def test_views_of_views_and_their_readers_see_the_new_tables(ours: Shop, database_url: str, analyst: str) -> None:
    await execute(
        ours,
        "CREATE VIEW public.ours AS SELECT o.order_id, o.status, c.orders FROM read_model.order_summary AS o "
        "JOIN read_model.customer_summary AS c USING (customer_id, currency) JOIN projector.orders USING (order_id)",
        f"GRANT SELECT ON public.ours TO {analyst}",
    )
    for names in ((), ("customer_summary",), ("order_summary",)):
        await rebuild(database_url, *names)
        await ours.tell(placed(f"next-{len(ours.meant)}"))
        found = await ours.fed.value("SELECT count(*) FROM public.ours")
        assert found == await ours.fed.value("SELECT count(*) FROM projector.orders")
    theirs = "SELECT oid FROM pg_class WHERE relnamespace = $1::regnamespace"
    views = f"SELECT count(*) FROM pg_depend WHERE refobjid IN ({theirs}) AND classid = 'pg_rewrite'::regclass"
    assert await ours.fed.value(views, "projector_before") == 0
    async with ours.fed.pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {analyst}")
        assert await connection.fetchval("SELECT count(*) FROM public.ours") > 0


async def test_statements_that_were_prepared_before_go_on_after_it(ours: Shop, database_url: str) -> None:
    async with ours.fed.pool.acquire() as connection:
        statements = [
            await connection.prepare(f"SELECT * FROM read_model.{model.name} ORDER BY 1, 2") for model in READ_MODELS
        ]
        before = [await statement.fetch() for statement in statements]
        await rebuild(database_url)
        for statement, rows in zip(statements, before, strict=True):
            assert [_without_when(row) for row in await statement.fetch()] == [_without_when(row) for row in rows]


def _without_when(row: asyncpg.Record) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "projected_at"}


# Refused, by name

_OBSTACLES = {
    "CREATE MATERIALIZED VIEW public.kept AS TABLE projector.orders": "the materialized view public.kept",
    'CREATE TABLE public.keyed (o text COLLATE "C" REFERENCES projector.orders)': "a foreign key of public.keyed",
    "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'": "",
    "CREATE TRIGGER ours AFTER INSERT ON projector.customer_summary EXECUTE FUNCTION tell()": (
        "the trigger customer_summary.ours"
    ),
    "CREATE PUBLICATION ours FOR TABLE projector.fulfilment_queue": "the publication of projector.fulfilment_queue",
    "ALTER TABLE projector.orders ENABLE ROW LEVEL SECURITY": "row security of projector.orders",
    "CREATE FUNCTION counted() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM projector.orders; END": "counted",
    "CREATE RULE also AS ON INSERT TO projector.orders DO ALSO NOTIFY also": "also",
    "CREATE TABLE public.heir () INHERITS (projector.product_sales_daily)": "public.heir",
    "CREATE POLICY open ON projector.orders USING (true)": "open",
}


async def test_what_a_swap_would_leave_behind_is_refused_by_name(ours: Shop, database_url: str) -> None:
    await execute(ours, *_OBSTACLES)
    with pytest.raises(Refused, match="a swap would leave behind") as refused:
        await rebuild(database_url)
    assert [name for name in _OBSTACLES.values() if name not in str(refused.value)] == []
    assert await leftovers(ours.fed) == []
    assert await ours.fed.value("SELECT count(*) FROM projector.rebuilds") == 0


async def test_an_obstacle_on_a_table_that_stays_is_none(ours: Shop, database_url: str) -> None:
    await execute(ours, "CREATE PUBLICATION ours FOR TABLE projector.orders, projector.fulfilment_queue")
    assert (await rebuild(database_url, "customer_summary")).state == "swapped"


async def test_an_obstacle_that_comes_while_it_runs_is_met_before_anything_is_swapped(
    ours: Shop, database_url: str
) -> None:
    """The way back would meet it too; so it has to be seen again, or be lost."""
    assert (await rebuild(database_url)).state == "swapped"
    await execute(ours, "CREATE PUBLICATION ours FOR TABLE projector.orders")
    with pytest.raises(Refused, match=r"the publication of projector\.orders"):
        await rollback(settings_of(database_url))
    assert await leftovers(ours.fed) == []


async def test_a_view_of_another_owner_is_refused_by_name_before_any_work(
    ours: Shop, database_url: str, analyst: str
) -> None:
    await execute(ours, f"CREATE ROLE {analyst}_owner")
    try:
        await execute(
            ours,
            *(f"ALTER TABLE projector.{name} OWNER TO {analyst}_owner" for name in await _tables(ours)),
            f"GRANT USAGE, CREATE ON SCHEMA projector, read_model TO {analyst}_owner",
            f"GRANT CREATE ON DATABASE {await ours.fed.value('SELECT current_database()')} TO {analyst}_owner",
            *(f"ALTER VIEW read_model.{model.name} OWNER TO {analyst}_owner" for model in READ_MODELS),
            "CREATE VIEW public.ours AS SELECT order_id FROM projector.orders",
            f"ALTER VIEW public.ours OWNER TO {analyst}",
        )
        with pytest.raises(Refused, match=r"view public\.ours"):
            await rebuild(database_url)
    finally:
        await execute(ours, f"DROP OWNED BY {analyst}_owner CASCADE; DROP ROLE {analyst}_owner")


async def _tables(ours: Shop) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relnamespace = 'projector'::regnamespace AND relkind = 'r'"
    return [row["relname"] for row in await ours.fed.fetch(query)]


# Where columns change


async def test_a_view_that_reads_a_column_which_goes_is_refused_by_name_before_any_work(
    ours: Shop, database_url: str
) -> None:
    await execute(ours, "CREATE VIEW public.ours AS SELECT customer_name FROM read_model.fulfilment_queue")
    with pytest.raises(Refused, match=r"public\.ours"):
        await rebuild(database_url, models=QUEUE.models, changed=True)
    assert await ours.fed.value("SELECT count(*) FROM projector.rebuilds") == 0


async def test_an_index_on_a_column_which_goes_goes_too_or_is_refused_by_name(ours: Shop, database_url: str) -> None:
    await execute(ours, "CREATE INDEX ours ON projector.fulfilment_queue (customer_name)")
    try:
        assert (await rebuild(database_url, models=QUEUE.models, changed=True)).state == "swapped"
    except Refused as refused:
        assert "ours" in str(refused)  # noqa: PT017  either will do


async def test_a_view_that_runs_with_its_readers_rights_does_so_in_another_make(ours: Shop, database_url: str) -> None:
    await execute(ours, "ALTER VIEW read_model.fulfilment_queue SET (security_invoker = true)")
    assert (await rebuild(database_url, models=QUEUE.models, changed=True)).state == "swapped"
    options = "SELECT reloptions FROM pg_class WHERE oid = 'read_model.fulfilment_queue'::regclass"
    assert await ours.fed.value(options) == ["security_invoker=true"]
