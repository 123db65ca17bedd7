"""What a relay tells about its work: Prometheus metrics, and what it checks of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from producer.outbox import OutboxRow
from runtime.health import Checks


class RelayObservation:
    """Metrics and checks of one relay. A standby is as ready as the leader: it could lead."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.checks = Checks({"postgresql": "not yet asked", "publishing": None})
        self.sent = 0
        self.leading = False
        self.beat_at = time.monotonic()
        self._leader = Gauge(
            "projector_relay_leader", "1 while this relay is the one that sends", registry=self.registry
        )
        self._published = Counter("projector_outbox_published", "Events published", registry=self.registry)
        self._failures = Counter(
            "projector_relay_failures", "Times that the relay had to begin anew", registry=self.registry
        )
        self._pending = Gauge(
            "projector_outbox_pending_rows",
            "Outbox rows not yet published, counted up to 100,000",
            registry=self.registry,
        )
        self._oldest = Gauge(
            "projector_outbox_oldest_age_seconds",
            "Age of the first outbox row not yet published",
            registry=self.registry,
        )
        self._held = Gauge(
            "projector_outbox_held_up_seconds",
            "Since when rows can't be published for a transaction that is still open somewhere on the server",
            registry=self.registry,
        )

        self._orders = Gauge(
            "projector_outbox_held_orders", "Orders whose next event Kafka refuses for itself", registry=self.registry
        )

    def leads(self, leading: bool) -> None:
        self.leading = leading
        self._leader.set(leading)

    def beat(self) -> None:
        """PostgreSQL has answered."""
        self.beat_at = time.monotonic()
        self.checks.fine("postgresql")

    def published(self, rows: Sequence[OutboxRow]) -> None:
        self.sent += len(rows)
        self._published.inc(len(rows))
        self.checks.fine("publishing")

    def failed(self, why: str) -> None:
        """It has to begin anew: Kafka or PostgreSQL is away, or another relay leads."""
        self._failures.inc()
        self.checks.wrong("publishing", why)

    def lags(self, pending: int, oldest: float, held: float, orders: int) -> None:
        """What waits: rows, seconds of the first of them and of what holds it up, orders that Kafka refuses."""
        self._orders.set(orders)
        self._pending.set(pending)
        self._oldest.set(oldest)
        self._held.set(held)
        if not pending:
            self.checks.fine("publishing")
