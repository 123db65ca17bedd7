"""What a worker tells about its work: Prometheus metrics, and the same counts for whoever shares its process.

No identifiers and no payloads in labels; event types we don't know share one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Metric

from consumer.checkpoints import Place
from consumer.projection import Outcome
from schemas.errors import Unavailable

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000)


class Observation:
    """Counts what becomes of records, batch by batch."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts: Counter[str] = Counter()
        self.batches = 0
        self.away_at: float | None = None  # when a batch last failed for want of PostgreSQL (time.monotonic)
        self._events = Metric("projector_events", "Records by what became of them", ["outcome"], registry=self.registry)
        self._seconds = Histogram(
            "projector_batch_duration_seconds",
            "From records fetched to batch committed",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._size = Histogram(
            "projector_batch_size_events", "Records in a batch", buckets=_SIZES, registry=self.registry
        )
        self._retries = Metric(
            "projector_retries",
            "Batches that had to be run again, by cause",
            ["reason"],
            registry=self.registry,
        )
        self._restarts = Metric(
            "projector_sessions",
            "Consumer sessions begun, by why the last one ended",
            ["reason"],
            registry=self.registry,
        )
        self._rebalances = Metric("projector_rebalances", "Assignments received", registry=self.registry)
        self._fenced = Metric(
            "projector_fenced",
            "Commits refused by PostgreSQL: another worker owned the partition by then",
            registry=self.registry,
        )
        self._discarded = Metric(
            "projector_discarded_fetches",
            "Fetches thrown away: their assignment had ended",
            registry=self.registry,
        )
        self._partitions = Gauge("projector_partitions", "Partitions held", registry=self.registry)
        self._lag = Gauge(
            "projector_lag_records",
            "Records not yet applied, of partitions held",
            ["topic", "partition"],
            registry=self.registry,
        )
        self._parked = Gauge(
            "projector_parked_over_limit_events",
            "Events parked for longer than PROJECTOR_PARKED_LIMIT, in the whole database",
            registry=self.registry,
        )
        self._parked_age = Gauge(
            "projector_parked_oldest_seconds",
            "Age of the oldest parked event, in the whole database",
            registry=self.registry,
        )

    def batch(self, outcome: Outcome, records: int, seconds: float) -> None:
        self.counts.update(outcome.counts)
        self.batches += 1
        for name, count in outcome.counts.items():
            self._events.labels(name).inc(count)
        self._size.observe(records)
        self._seconds.observe(seconds)

    def retry(self, error: BaseException) -> None:
        self._retries.labels(type(error).__name__).inc()
        self.counts["retries"] += 1
        if isinstance(error, Unavailable):
            self.away_at = time.monotonic()

    def session(self, reason: str) -> None:
        self._restarts.labels(reason).inc()

    def rebalance(self, partitions: int) -> None:
        self._rebalances.inc()
        self._partitions.set(partitions)
        self._lag.clear()

    def fenced(self) -> None:
        self._fenced.inc()
        self.counts["fenced"] += 1

    def discarded(self) -> None:
        self._discarded.inc()

    def lag(self, records: Mapping[Place, int]) -> None:
        for place, count in records.items():
            self._lag.labels(place.topic, place.partition).set(count)

    def parked(self, over_limit: int, oldest_seconds: float) -> None:
        self._parked.set(over_limit)
        self._parked_age.set(oldest_seconds)
