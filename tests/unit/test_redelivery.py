"""An order's letters tried one by one, and one of them that can't be reached."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.redelivery import Fate, Redelivery, Retried
from schemas.errors import Unavailable


class Halting(Redelivery):
    """Gets no further than letter 1."""

    def __init__(self) -> None:
        pass

    async def _order(self, order_id: str | None, ids: Sequence[int]) -> Retried:
        if ids[0] > 1:
            raise Unavailable("a lock")
        return Retried(order_id, (Fate(ids[0], "applied"),), applied=3)


async def test_what_was_done_before_it_is_told_and_the_rest_counts_as_unreached() -> None:
    done = await Halting()._one_by_one("a", [1, 2, 3])
    assert (done.letters, done.applied) == ((Fate(1, "applied"),), 3)
    assert (done.failed, done.unreached, done.clean) == ("a lock", (2, 3), False)
