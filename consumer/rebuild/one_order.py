"""One order folded anew from the journal, in one transaction, while all others go on.

Its state and documents are replaced. A sum doesn't say what an order has given to it, and where a stored state is wrong
nobody knows whether the sums hold the wrong share or the right one; so every sum that the order has to do with is
added up anew from all orders' states, in one snapshot, and what it is off by is added to it. What others add meanwhile
is added all the same.

The snapshot is another session's. The one that writes has none that is older than its statement: sums that others write
all the while would make PostgreSQL refuse an older one's correction, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from consumer import exact_json, journal, order_store
from consumer.install import NOBODYS_SHARD, check_schema, stay
from consumer.read_model_sql import TableSql
from consumer.read_model_store import ProjectionFailed, ReadModelStore, add_shares
from consumer.read_models import READ_MODELS, ReadModel
from consumer.read_models.kinds import Contribution, Document, Stored
from consumer.rebuild import shadow
from consumer.rebuild.bulk import folded
from consumer.rebuild.shadow import SQL
from runtime import postgres
from runtime.attempts import until_done
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Refused
from schemas.order import OrderState

_AT_ONCE = 5_000  # states read at a time
_TRIES = 20  # in which another writer was first
_LOCK_TIMEOUT = "1s"  # of the session that reads

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Mended:
    """What was wrong with an order: columns of its state, documents, and how many sums."""

    order_id: str
    version: int
    columns: tuple[str, ...]
    documents: tuple[str, ...]
    sums: Mapping[str, int]

    @property
    def changed(self) -> bool:
        return bool(self.columns or self.documents or any(self.sums.values()))


async def rebuild_order(settings: Settings, order_id: str, models: Sequence[ReadModel] = READ_MODELS) -> Mended:
    """Fold one order anew. Raises Refused if there is no such order, or the journal lacks some of its events."""
    failpoints = Failpoints(settings.failpoints)
    async with shadow.session(settings) as connection, shadow.session(settings) as reader:
        await check_schema(connection)
        return await until_done(partial(_once, connection, reader, order_id, models, failpoints), tries=_TRIES)


async def _once(
    connection: Connection,
    reader: Connection,
    order_id: str,
    models: Sequence[ReadModel],
    failpoints: Failpoints,
    *,
    careful: bool,
) -> Mended:
    """`careful` says nothing here: every attempt locks the order."""
    stored = [model for model in models if isinstance(model, Stored)]
    with postgres.translated():
        async with connection.transaction():
            # Two that found the same sum off would both correct it.
            await connection.execute(SQL["mend_lock"])
            # No swap from here on; and only then the snapshot, or a table that was swapped in would seem empty.
            await stay(connection, models)
            await connection.execute(SQL["order_lock"], order_id)
            found = await order_store.read(connection, [order_id])
            before = found.get(order_id) or OrderState(order_id)
            after = before if before.erased else await _folded(connection, order_id, before.version)
            documents = await _put_documents(connection, stored, after)
            sums = await _put_sums(connection, reader, stored, before, after)
            columns = tuple(name for name, value in vars(after).items() if _differ(name, vars(before)[name], value))
            # For a document alone too: a batch that is to remove it may have read what it removes already.
            if columns or (found and documents):
                await order_store.write(connection, [after], found.revisions)
            await failpoints.reach("rebuild_order")
            return Mended(order_id, after.version, columns, documents, sums)


async def _folded(connection: Connection, order_id: str, version: int) -> OrderState:
    events = (await journal.after(connection, {order_id: 0})).get(order_id, [])
    state = OrderState(order_id)
    for event in events:
        state = folded(state, event)
    if not events and not version:
        raise Refused(f"there is no order {order_id}")
    if state.version < version:
        raise Refused(
            f"the journal has {state.version} events of order {order_id}, which stands at version {version}: "
            "rebuild it from the log"
        )
    return state


async def _put_documents(connection: Connection, models: Sequence[Stored], state: OrderState) -> tuple[str, ...]:
    """Write the order's documents where they are not as they should be; which were not."""
    wrong = []
    for model in models:
        if not isinstance(model, Document):
            continue
        sql = TableSql(model)
        row = model.row(state) if state.placed_at is not None else None
        if row is None:
            if postgres.affected(await connection.execute(sql.remove, [state.order_id])):
                wrong.append(model.name)
            continue
        wanted = [(state.order_id, *(row[name] for name in sql.names[1:]))]
        if not await connection.fetchval(sql.stands, *(text for [text] in sql.columns(wanted))):
            await ReadModelStore([model]).put(connection, {model.name: wanted}, {}, NOBODYS_SHARD)
            wrong.append(model.name)
    return tuple(wrong)


async def _put_sums(
    connection: Connection, reader: Connection, models: Sequence[Stored], before: OrderState, after: OrderState
) -> dict[str, int]:
    """Correct every sum that the order has to do with, before or after; how many were wrong, by read model.

    The order is locked since before the reader's snapshot, so that one has its state too.
    """
    contributions = [model for model in models if isinstance(model, Contribution)]
    due: dict[str, dict[Key, list[int]]] = {}
    for model in contributions:
        keys = {key for state in (before, after) for key in _keys(model, state, stands=state is after)}
        due[model.name] = {key: [0] * len(model.values) for key in keys}
    if not any(due.values()):
        return dict.fromkeys(due, 0)
    wrong: dict[str, list[Key]] = {model.name: [] for model in contributions}
    async with reader.transaction(isolation="repeatable_read", readonly=True):
        # PostgreSQL can't see that one session's lock waits for the other: where somebody who waits for `connection`
        # makes the reader wait, only giving up lets both go on.
        await reader.execute(SQL["lock_timeout"], _LOCK_TIMEOUT)
        async for state in _states(reader, after):
            for model in contributions:
                _add_wanted(due[model.name], model, state)
        for model in contributions:
            for key, sums in due[model.name].items():
                off = await _off(reader, model, key, sums)
                if any(off):
                    wrong[model.name].append((*key, *off))
    await ReadModelStore(contributions).put(connection, wrong, {}, NOBODYS_SHARD)
    return {name: len(rows) for name, rows in wrong.items()}


async def _states(connection: Connection, mended: OrderState) -> Any:
    """The states of all placed orders in this snapshot, that one as it is to be."""
    if mended.placed_at is not None:
        yield mended
    async for row in connection.cursor(SQL["states"], mended.order_id, prefetch=_AT_ONCE):
        yield order_store.from_row(row)[0]


def _differ(name: str, before: Any, after: Any) -> bool:
    """JSON is compared by what it says: PostgreSQL prints it in its own way."""
    if name in ("lines", "shipping_address") and before is not None and after is not None:
        return bool(exact_json.parsed(before) != exact_json.parsed(after))
    return bool(before != after)


def _keys(model: Contribution, state: OrderState, *, stands: bool) -> set[Key]:
    """The sums that an order has to do with. A damaged state may be nothing that a read model can take: then nobody
    knows of more than those of the right one."""
    if state.placed_at is None:
        return set()
    try:
        return {key for key, _ in model.contributions(state)}
    except Exception as error:
        if stands:
            raise Refused(f"order {state.order_id}: {ProjectionFailed(model.name, error)}") from None
        return set()


def _add_wanted(sums: dict[Key, list[int]], model: Contribution, state: OrderState) -> None:
    shares: dict[Key, list[int]] = {}
    try:
        add_shares(shares, model, state, 1)
    except Exception as error:
        raise Refused(f"order {state.order_id}: {ProjectionFailed(model.name, error)}: rebuild it first") from None
    for key in shares.keys() & sums.keys():
        sums[key] = [sum(pair) for pair in zip(sums[key], shares[key], strict=True)]


async def _off(connection: Connection, model: Contribution, key: Key, sums: Sequence[int]) -> list[int]:
    """By how much each of a row's stored sums has to grow."""
    sql = TableSql(model)
    row = await connection.fetchrow(sql.sums_of, *sql.key_texts(key))
    assert row is not None
    return [due - int(stored) for due, stored in zip(sums, row, strict=True)]
