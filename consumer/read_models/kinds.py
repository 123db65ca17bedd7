"""The three kinds of read model, and the types their columns have.

| kind         | what its author writes                          | how the engine writes it                          |
|--------------|-------------------------------------------------|---------------------------------------------------|
| Document     | `row(order)`: its row, or None for no row       | upsert, delete                                    |
| Contribution | `contributions(order)`: its share in each sum   | share after − share before, added to stored sums  |
| View         | SQL over the ledger and the orders              | not at all                                        |

Any kind may have a file `<name>.sql` beside the module of its class: the body of the view that readers query. A
document and a contribution need none; the engine makes an obvious one.
"""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from schemas.errors import Refused
from schemas.order import OrderState


class Type(Enum):
    """A column's type: what a row function returns for it."""

    TEXT = "text"  # str
    COUNT = "count"  # int, fits 64 bits
    QUANTITY = "quantity"  # int, any size
    MONEY = "money"  # int, in units (schemas.money)
    TIMESTAMP = "timestamp"  # aware datetime
    DAY = "day"  # date


@dataclass(frozen=True)
class Column:
    name: str
    type: Type


def columns(**types: Type) -> tuple[Column, ...]:
    """Columns in the order given: `columns(sku=Type.TEXT, units=Type.QUANTITY)`."""
    return tuple(Column(name, kind) for name, kind in types.items())


class ReadModel(ABC):
    """What every kind has: a name (its relation in schema read_model) and a version, raised when its code changes."""

    name: str
    version: int

    def view_sql(self) -> str | None:
        """The author's SELECT for the view that readers query: `<name>.sql` beside the module that defines the class,
        or beside that of a class it derives from (so in this directory, at last). None: the engine's own."""
        for directory in _places(type(self)):
            path = directory.joinpath(f"{self.name}.sql")
            if path.is_file():
                return path.read_text("utf-8")
        return None

    @property
    def layout(self) -> str:
        """All of the shape that isn't code, as text: part of the fingerprint."""
        return ""

    @property
    def fingerprint(self) -> str:
        """Changes when the version, the columns or the view's SQL do: what `projector rebuild` compares."""
        parts = (type(self).__name__, str(self.version), self.layout, self.view_sql() or "")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class View(ReadModel):
    """A read model that needs no rows of its own: its `.sql` file says it all. Beside a module of yours it is found by
    a subclass that stands there."""

    name: str
    version: int

    def view_sql(self) -> str:
        """Its SELECT. Raises Refused, naming the places looked at, if there is none."""
        found = super().view_sql()
        if not found:
            places = ", ".join(map(str, _places(type(self))))
            raise Refused(f"the view {self.name} has no SQL: there is no {self.name}.sql in {places}")
        return found


class Stored(ReadModel):
    """A read model with a table: `keys` identify a row, `values` are the rest.

    `depends_on` names the fields of OrderState that its function reads. Where a batch leaves all of them as they
    were, the function isn't called; forgetting one is a bug that shows as a stale row. What never changes once an
    order is placed (customer, currency, `placed_at`) need not be named.
    """

    keys: tuple[Column, ...]
    values: tuple[Column, ...]
    depends_on: tuple[str, ...]

    @property
    def layout(self) -> str:
        return ",".join(f"{column.name}:{column.type.value}" for column in (*self.keys, *self.values))


class Document(Stored):
    """One row per order at most. The key column is `order_id`."""

    @abstractmethod
    def row(self, order: OrderState) -> Mapping[str, Any] | None:
        """The order's row by column name, without `order_id`; None: it has none. Not called for an unplaced order."""


class Contribution(Stored):
    """Sums over orders. A row's every value is a number that orders add up to."""

    @abstractmethod
    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        """(key, share in each value) pairs; a key may come more than once. Not called for an unplaced order."""


def _places(kind: type) -> list[Traversable]:
    """The directories of the modules that define a class and those that it derives from, the nearest first."""
    modules = [sys.modules.get(owner.__module__) for owner in kind.__mro__ if issubclass(owner, ReadModel)]
    places: list[Traversable] = []
    for module in modules:
        file, package = getattr(module, "__file__", None), getattr(module, "__package__", None)
        if file and Path(file).is_file():  # a test file, say, which need not be in a package
            places.append(Path(file).parent)
        elif package:  # in an archive
            places.append(files(package))
    return list(dict.fromkeys(places))
