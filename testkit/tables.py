"""The stored read models in plain dicts: deltas added up and upserted, as the engine's statements do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consumer.read_model_store import Delta, ReadModelStore
from consumer.read_models import ReadModel
from consumer.read_models.kinds import Stored
from schemas.events import Decoded
from testkit.books import Books
from testkit.rows import Row, document_row, sum_rows


class Tables:
    """What batches of events leave in the tables of some read models, without a database."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        self.books = Books()
        self.sums: dict[str, dict[tuple[Any, ...], list[int]]] = {}
        self.documents: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._store = ReadModelStore(models)

    def take(self, *events: Decoded) -> Delta:
        """Apply a batch; what it changes. Raises as testkit.rows does for what PostgreSQL would refuse to write, be it
        that the next batch takes it away again."""
        delta = self._store.derive(self.books.take(events).changes.values())
        for part in delta.contributions:
            sum_rows(part.model, part.sums)
            sums = self.sums.setdefault(part.model.name, {})
            for key, shares in part.sums.items():
                sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(shares)), shares, strict=True)]
        for document in delta.documents:
            for order_id, *values in document.rows:
                document_row(document.model, order_id, values)
            rows = self.documents.setdefault(document.model.name, {})
            rows.update({row[0]: row[1:] for row in document.rows})
            for order_id in document.removed:
                del rows[order_id]
        return delta

    def rows(self, model: Stored) -> list[Row]:
        """A read model's rows as readers see them."""
        documents = self.documents.get(model.name, {})
        return [
            *(document_row(model, order_id, values) for order_id, values in documents.items()),
            *sum_rows(model, self.sums.get(model.name, {})),
        ]


def changes_any(delta: Delta) -> bool:
    """Whether a batch changes any row."""
    return any(any(map(any, part.sums.values())) for part in delta.contributions) or any(
        part.rows or part.removed for part in delta.documents
    )
