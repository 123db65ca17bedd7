"""What a batch changes in the stored read models: worked out in memory, written in bulk.

`derive` is arithmetic on states and calls the read models' own code; `write` is one statement, however many orders the
batch changed and however many read models there are.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any

from consumer.read_model_sql import TableSql, together
from consumer.read_models import Contribution, Document, ReadModel
from consumer.read_models.kinds import Stored
from consumer.verdicts import Change
from runtime.packing import pack
from runtime.sql import HOME
from schemas.connection import Connection
from schemas.order import OrderState

Rows = Sequence[tuple[Any, ...]]


class ProjectionFailed(Exception):
    """A read model's own code raised. Says where, not what: the exception's text may hold personal data."""

    def __init__(self, model: str, error: Exception) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
        super().__init__(f"read model {model}: {type(error).__name__} at {place} in {frame.name}")


@dataclass
class _DocumentDelta:
    model: Document
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass
class _ContributionDelta:
    model: Contribution
    sums: dict[tuple[Any, ...], list[int]] = field(default_factory=dict)


class ReadModelStore:
    """The stored ones among the given read models, with their tables in `schema`."""

    def __init__(self, models: Sequence[ReadModel], schema: str = HOME) -> None:
        stored = [model for model in models if isinstance(model, Stored)]
        self._documents = [model for model in stored if isinstance(model, Document)]
        self._contributions = [model for model in stored if isinstance(model, Contribution)]
        self._tables = {model.name: TableSql(model, schema) for model in (*self._contributions, *self._documents)}
        self.tables = [*self._tables.values()]
        self._sql = together(self.tables) if stored else ""
        # Placement and erasure always matter: before the one and after the other an order has no share and no row.
        self._watched = {model.name: attrgetter("placed_at", *model.depends_on) for model in stored}

    def derive(self, changes: Iterable[Change]) -> Delta:
        """The difference that these changes make. Raises ProjectionFailed, naming the read model."""
        delta = Delta(
            [_DocumentDelta(model) for model in self._documents],
            [_ContributionDelta(model) for model in self._contributions],
        )
        moved = [(change.before, change.after) for change in changes if change.before is not change.after]
        for contribution in delta.contributions:
            self._add_shares(contribution, moved)
        for document in delta.documents:
            self._add_rows(document, moved)
        return delta

    async def write(self, connection: Connection, delta: Delta, shard: int) -> None:
        """Write it, in the caller's transaction. `shard` is where the sums of this writer are kept."""
        await self._put(connection, self.writing(delta, shard))

    def writing(self, delta: Delta, shard: int) -> Writing:
        """What `write` is going to write, as texts."""
        sums = {
            one.model.name: [(*key, *shares) for key, shares in one.sums.items() if any(shares)]
            for one in delta.contributions
        }
        rows = {one.model.name: one.rows for one in delta.documents}
        removed = {one.model.name: sorted(one.removed) for one in delta.documents}
        return self._writing(sums | rows, removed, shard)

    def _writing(self, rows: Mapping[str, Rows], removed: Mapping[str, list[str]], shard: int) -> Writing:
        return Writing(
            {name: self._tables[name].columns(there) for name, there in rows.items() if there}, removed, shard
        )

    def parameters(self, writing: Writing, packed: Iterable[str]) -> list[Any]:
        """Of the statements that write it all, from `writing.texts` packed."""
        texts = iter(packed)
        by_model = {name: [*islice(texts, len(theirs))] for name, theirs in writing.columns.items()}
        found: list[Any] = []
        for name, table in self._tables.items():
            there: list[str | None] = [*by_model.get(name, [None] * len(table.names))]
            found += [writing.shard, *there] if table.adds else [*there, writing.removed.get(name, [])]
        return found

    async def put(
        self, connection: Connection, rows: Mapping[str, Rows], removed: Mapping[str, list[str]], shard: int
    ) -> None:
        """Add these rows (keys, then values) to the sums of a read model or write them to a document, by its name, and
        remove a document's rows by order id."""
        await self._put(connection, self._writing(rows, removed, shard))

    async def _put(self, connection: Connection, writing: Writing) -> None:
        if writing.columns or any(writing.removed.values()):
            packed = pack(writing.texts)
            parameters = self.parameters(writing, packed.columns)
            await connection.execute(self._sql, packed.separator, packed.null, *parameters)

    def _add_shares(self, delta: _ContributionDelta, moved: list[tuple[OrderState, OrderState]]) -> None:
        model = delta.model
        watched = self._watched[model.name]
        try:
            for before, after in moved:
                if watched(before) != watched(after):
                    if after.placed_at is not None:
                        add_shares(delta.sums, model, after, 1)
                    if before.placed_at is not None:
                        add_shares(delta.sums, model, before, -1)
        except Exception as error:
            raise ProjectionFailed(model.name, error) from None

    def _add_rows(self, delta: _DocumentDelta, moved: list[tuple[OrderState, OrderState]]) -> None:
        model = delta.model
        watched = self._watched[model.name]
        names = [column.name for column in model.values]
        try:
            for before, after in moved:
                if watched(before) == watched(after):
                    continue
                old = model.row(before) if before.placed_at is not None else None
                new = model.row(after) if after.placed_at is not None else None
                if new is not None and new != old:
                    delta.rows.append((after.order_id, *[new[name] for name in names]))
                elif new is None and old is not None:
                    delta.removed.append(after.order_id)
        except Exception as error:
            raise ProjectionFailed(model.name, error) from None


@dataclass
class Delta:
    """What a batch changes in the stored read models."""

    documents: list[_DocumentDelta]
    contributions: list[_ContributionDelta]


@dataclass(frozen=True)
class Writing:
    """A difference as texts: columns of rows by read model, a document's order ids to be removed, the sums' shard."""

    columns: Mapping[str, list[list[str | None]]]
    removed: Mapping[str, list[str]]
    shard: int

    @property
    def texts(self) -> list[list[str | None]]:
        """All columns, one read model after the other."""
        return [column for theirs in self.columns.values() for column in theirs]


def add_shares(sums: dict[tuple[Any, ...], list[int]], model: Contribution, order: OrderState, sign: int) -> None:
    """Add an order's shares to sums, or (with sign -1) take them back."""
    for key, shares in model.contributions(order):
        there = sums.get(key)
        if there is None:
            sums[key] = [sign * share for share in shares]
        else:
            for place, share in enumerate(shares):
                there[place] += sign * share
