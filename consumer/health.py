"""What a worker checks of itself: that it is in its group, Kafka and PostgreSQL answer, the schema is current, and its
partitions move."""

from __future__ import annotations

from runtime.health import Checks

_UNASKED = "not yet asked"


class Health(Checks):
    """A worker's checks; but for the last, all start as not yet known."""

    def __init__(self) -> None:
        super().__init__(
            {
                "assigned": "not yet a member of the group",
                "kafka": _UNASKED,
                "postgresql": _UNASKED,
                "schema": _UNASKED,
                "moving": None,
            }
        )
