"""Live and shadow held against each other, table by table, in one snapshot.

Orders that were written since the shadow had them are left out, by the notes of the same snapshot. Sums can't leave
orders out; so what those orders explain, by their shares on either side, is taken off the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, localcontext
from typing import Any

from consumer import order_store
from consumer.install import STATES
from consumer.read_model_store import add_shares
from consumer.read_models.kinds import Contribution, Stored, Type
from consumer.rebuild.plan import TIMELINE, Plan
from consumer.rebuild.shadow import SHADOW, SQL
from runtime.sql import HOME, quoted
from schemas import money
from schemas.connection import Connection
from schemas.order import OrderState

SHOWN = 20  # differences of a table that are kept

_NOT_COMPARED = {"orders": {"revision", "projected_at"}, "ledger": {"processed_at"}}  # when, not what
_PREFETCH = 1_000
_EXACT = Context(prec=1_000_000, traps=[Inexact])  # more digits than sums can have


@dataclass(frozen=True)
class Difference:
    """A row that isn't the same on both sides: columns by name, None for a side that lacks the row."""

    key: tuple[Any, ...]
    live: Mapping[str, Any] | None
    rebuilt: Mapping[str, Any] | None

    def columns(self) -> Iterator[tuple[str, Any, Any]]:
        """(column, live, rebuilt) where they differ; ('row', …) where one side has none."""
        if self.live is None or self.rebuilt is None:
            yield "row", "there" if self.live else "missing", "there" if self.rebuilt else "missing"
            return
        for name, value in self.live.items():
            if self.rebuilt[name] != value:
                yield name, value, self.rebuilt[name]


@dataclass
class Comparison:
    """What differs, by read model (the states under `orders`): how many rows, and the first of them."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[Difference]] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()  # read models in another make: theirs may differ

    def add(self, name: str, difference: Difference, count: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + count
        kept = self.first.setdefault(name, [])
        if len(kept) < SHOWN:
            kept.append(difference)

    @property
    def unexpected(self) -> dict[str, int]:
        """Rows that differ though they should not. Where the states were made by other code, anything may."""
        return {} if STATES in self.expected else {n: c for n, c in self.counts.items() if n not in self.expected}


async def compare(connection: Connection, plan: Plan, models: Sequence[Stored]) -> Comparison:
    """Both sides, in a transaction of its own. Where nothing is live yet, there is nothing to be equal to."""
    found = Comparison(expected=plan.changed)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        if not await connection.fetchval(SQL["orders_any"]):
            return found
        await _rows(connection, found, STATES, ["order_id"], STATES, meant="version > 0 OR erased")
        if plan.ledger:
            await _rows(connection, found, TIMELINE, ["order_id", "version"], "ledger", "histories_differ")
        touched = [row["order_id"] for row in await connection.fetch(SQL["touched_read"])]
        live = await order_store.read(connection, touched)
        shadow = await order_store.read(connection, touched, schema=SHADOW)
        for model in models:
            if isinstance(model, Contribution):
                await _sums(connection, found, model, _explained(model, live, shadow))
            else:
                await _rows(connection, found, model.name, ["order_id"], model.name)
    return found


async def _rows(
    connection: Connection,
    found: Comparison,
    name: str,
    keys: Sequence[str],
    table: str,
    query: str = "rows_differ",
    meant: str = "true",
) -> None:
    shared = [row["attname"] for row in await connection.fetch(SQL["columns_shared"], SHADOW, table)]
    columns = [column for column in shared if column not in _NOT_COMPARED.get(table, ())]
    text = SQL[query].format(
        keys=", ".join(map(quoted, keys)),
        sorted_keys=", ".join(f'{quoted(key)} COLLATE "C"' if key == "order_id" else quoted(key) for key in keys),
        columns=", ".join(map(quoted, columns)),
        live=f"{quoted(HOME)}.{quoted(table)}",
        shadow=f"{quoted(SHADOW)}.{quoted(table)}",
        meant=meant,
    )
    rows = await connection.fetch(text, SHOWN)
    for place, row in enumerate(rows):
        key = tuple(row[name] for name in keys)
        rest = row["differing"] - len(rows) if place == len(rows) - 1 else 0
        found.add(name, Difference(key, _parsed(row["live"]), _parsed(row["rebuilt"])), 1 + rest)


async def _sums(
    connection: Connection, found: Comparison, model: Contribution, explained: dict[tuple[Any, ...], list[Decimal]]
) -> None:
    shared = {row["attname"] for row in await connection.fetch(SQL["columns_shared"], SHADOW, model.name)}
    keys = [column.name for column in model.keys]
    values = [column.name for column in model.values if column.name in shared]
    if not shared.issuperset(keys) or not values:
        return  # another shape altogether: nothing can be held against anything
    query = SQL["sums_differ"].format(
        keys=", ".join(map(quoted, keys)),
        sums=", ".join(f"sum({quoted(name)}) AS {quoted(name)}" for name in values),
        not_all_zero=" OR ".join(f"sum({quoted(name)}) <> 0" for name in values),
        live=f"{quoted(HOME)}.{quoted(model.name)}",
        shadow=f"{quoted(SHADOW)}.{quoted(model.name)}",
    )
    places = [place for place, column in enumerate(model.values) if column.name in shared]
    zero = [Decimal(0)] * len(model.values)
    async for row in connection.cursor(query, prefetch=_PREFETCH):
        key = tuple(row[name] for name in keys)
        live, rebuilt = _parsed(row["live"]), _parsed(row["rebuilt"])
        differs = [_off(live, rebuilt, name) for name in values]
        due = explained.pop(key, zero)
        if differs != [due[place] for place in places]:
            found.add(model.name, Difference(key, live, rebuilt))
    for key, due in explained.items():  # a difference that should be there, and isn't
        if any(due[place] for place in places):
            found.add(
                model.name, Difference(key, {"sums": "as rebuilt"}, {"sums": "different, while orders are written"})
            )


def _explained(
    model: Contribution, live: Mapping[str, OrderState], shadow: Mapping[str, OrderState]
) -> dict[tuple[Any, ...], list[Decimal]]:
    """What touched orders add live beyond what they add in the shadow, in the columns' own numbers."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for states, sign in ((live, 1), (shadow, -1)):
        for state in states.values():
            if state.placed_at is not None:
                add_shares(sums, model, state, sign)
    return {
        key: [
            Decimal(money.text(share)) if column.type is Type.MONEY else Decimal(share)
            for column, share in zip(model.values, shares, strict=True)
        ]
        for key, shares in sums.items()
    }


def _off(live: Mapping[str, Any] | None, rebuilt: Mapping[str, Any] | None, name: str) -> Decimal:
    """How much more is live, to the last of thousands of digits."""
    with localcontext(_EXACT):
        return (Decimal(live[name]) if live else Decimal(0)) - (Decimal(rebuilt[name]) if rebuilt else Decimal(0))


def _parsed(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text, parse_float=Decimal)
