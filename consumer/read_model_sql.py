"""The SQL of a stored read model, made from its columns: templates in `read_models.sql`, filled here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from consumer.read_models.kinds import Column, Contribution, ReadModel, Stored, Type
from runtime.sql import HOME, Queries, quoted, renumbered
from schemas import money

_TEMPLATES = Queries("consumer", "read_models.sql")


class _Storage(NamedTuple):
    column: str  # its type in a table
    text: Callable[[Any], str]  # as PostgreSQL reads it


_STORAGE = {
    Type.TEXT: _Storage("text", str),
    Type.COUNT: _Storage("bigint", lambda count: str(int(count))),  # a bool counts too
    Type.QUANTITY: _Storage("numeric", lambda quantity: str(int(quantity))),
    Type.MONEY: _Storage("numeric", money.text),
    Type.TIMESTAMP: _Storage("timestamptz", datetime.isoformat),
    Type.DAY: _Storage("date", date.isoformat),
}


class TableSql:
    """One stored read model's statements, on its table in `schema`. `table` and `view` are quoted, schema and all."""

    def __init__(self, model: Stored, schema: str = HOME) -> None:
        self._model, self._schema = model, schema
        self.names = [column.name for column in (*model.keys, *model.values)]
        self.stage = f"{model.name}$stage"  # where a rebuild puts the shares that it then adds up
        self._all = (*model.keys, *model.values)
        self.adds = isinstance(model, Contribution)  # rows are added to what is there, in a shard
        self.table = f"{quoted(schema)}.{quoted(model.name)}"
        self.view = f"read_model.{quoted(model.name)}"
        kind = "contribution" if self.adds else "document"
        self.create_table = self._fill(f"{kind}_table")
        # What readers see of it: its author's SELECT, or the engine's own.
        self.reading = model.view_sql() or self._fill(f"{kind}_reading").rstrip(";")
        self.create_view = view_sql(model.name, self.reading)
        self.remove = self._fill("document_remove") if kind == "document" else ""
        # What is asked about a single row, its values as texts.
        self.stands = self._fill("document_stands") if kind == "document" else ""
        self.sums_of = self._fill("contribution_sums_of") if kind == "contribution" else ""
        self.create_stage, self.merge, self.drop_stage = (
            (self._fill(f"contribution_{what}") for what in ("stage", "merge", "unstage"))
            if kind == "contribution"
            else ("", "", "")
        )

    def columns(self, rows: Sequence[Sequence[Any]]) -> list[list[str | None]]:
        """Rows (keys, then values) as texts, column by column; of none, none."""
        found: list[list[str | None]] = []
        if not rows:
            return found
        for column, values in zip(self._all, zip(*rows, strict=True), strict=True):
            text = _STORAGE[column.type].text
            found.append([None if value is None else text(value) for value in values])
        return found

    def writing(self, first: int) -> tuple[list[str], int]:
        """The statements that write a batch, with parameters from $`first` on, and the number of the first one after.

        Of a contribution: the shard, then its columns. Of a document: its columns, then an array of the keys of rows
        that go. Columns are packed (runtime.packing), with $1 and $2; null for one without rows.
        """
        after = first + len(self._all)
        if self.adds:
            return [self._fill("contribution_add", first + 1, shard=f"${first}")], after + 1
        return [self._fill("document_put", first), self._fill("document_remove", key=f"${after}")], after + 1

    def key_texts(self, key: Sequence[Any]) -> list[str]:
        """A row's key as `sums_of` takes it."""
        return [_STORAGE[column.type].text(value) for column, value in zip(self._model.keys, key, strict=True)]

    def _fill(self, template: str, first: int = 1, shard: str = "", key: str = "$1") -> str:
        model = self._model
        names = [quoted(column.name) for column in self._all]
        keys = [quoted(column.name) for column in model.keys]
        values = [quoted(column.name) for column in model.values]
        return _TEMPLATES[template].format(
            table=self.table,
            stage=f"{quoted(self._schema)}.{quoted(self.stage)}",
            view=self.view,
            constraint=quoted(f"{model.name}_pkey"),
            columns=", ".join(_definition(column, column in model.keys) for column in self._all),
            names=", ".join(names),
            keys=", ".join(keys),
            sorted_keys=", ".join(
                f'{quoted(column.name)} COLLATE "C"' if column.type is Type.TEXT else quoted(column.name)
                for column in model.keys
            ),
            arrays=", ".join(
                f"(string_to_array(${place}, $1, $2))[2:]::{_STORAGE[column.type].column}[]"
                for place, column in enumerate(self._all, first)
            ),
            shard=shard,
            gone=key,
            parameters=", ".join(f"${n}::text::{_STORAGE[one.type].column}" for n, one in enumerate(self._all, 1)),
            key_parameters=", ".join(f"${n}::text::{_STORAGE[one.type].column}" for n, one in enumerate(model.keys, 1)),
            # As the models' own integers: of money the ten-thousandths.
            integers=", ".join(
                f"trunc(coalesce(sum({quoted(one.name)}), 0){' * 10000' if one.type is Type.MONEY else ''})::text"
                for one in model.values
            ),
            replacements=", ".join(f"{name} = excluded.{name}" for name in values),
            sums=", ".join(f"{name} = t.{name} + excluded.{name}" for name in values),
            totals=", ".join(
                f"sum({quoted(column.name)})::{_STORAGE[column.type].column} AS {quoted(column.name)}"
                for column in model.values
            ),
            not_all_zero=" OR ".join(f"sum({name}) <> 0" for name in values),
        )


def together(tables: Sequence[TableSql]) -> str:
    """What writes a batch to all of them at once: the statements of `writing`, one after the other, from $3 on."""
    return _TEMPLATES["together"].format(parts=", ".join(_parts(tables, 3, 0)))


def batch(first: Sequence[tuple[str, int]], tables: Sequence[TableSql]) -> str:
    """The same with other statements before it, whose rows are counted: each takes so many parameters from $3 on, which
    follow one another here."""
    after, parts = 3, []
    for number, (statement, parameters) in enumerate(first):
        parts.append(_part("counted_part", number, renumbered(statement, after - 3)))
        after += parameters
    return _TEMPLATES["batch"].format(parts=", ".join(parts + _parts(tables, after, len(first))))


def _parts(tables: Sequence[TableSql], first: int, number: int) -> list[str]:
    statements: list[str] = []
    for table in tables:
        theirs, first = table.writing(first)
        statements += theirs
    return [_part("part", place, statement) for place, statement in enumerate(statements, number)]


def _part(template: str, number: int, statement: str) -> str:
    return _TEMPLATES[template].rstrip(";").format(name=f"part_{number}", statement=statement.rstrip(";"))


def view_sql(name: str, body: str) -> str:
    """The view of a read model, from its SELECT."""
    return _TEMPLATES["view"].format(view=f"read_model.{quoted(name)}", body=body)


def reading_of(body: str, models: Sequence[ReadModel], schema: str) -> str:
    """A view's SELECT, reading the tables of another schema, where they have the same names."""
    names = ["orders", "ledger", "processed_events", *(model.name for model in models if isinstance(model, Stored))]
    tables = "|".join(re.escape(name) for name in names)
    return re.sub(rf'\b{HOME}\."?({tables})"?(?![\w"])', rf'{quoted(schema)}."\1"', body)


def _definition(column: Column, is_key: bool) -> str:
    collation = ' COLLATE "C"' if is_key and column.type is Type.TEXT else ""
    null = " NOT NULL" if is_key or column.type in (Type.COUNT, Type.QUANTITY, Type.MONEY) else ""
    return f"{quoted(column.name)} {_STORAGE[column.type].column}{collation}{null}"
