"""What a worker tells about its work: Prometheus metrics, and the same counts for whoever shares its process.

No identifiers and no payloads in labels; event types we don't know share one.
"""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as Metric

from consumer.projection import Outcome

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000)


class Observation:
    """Counts what becomes of records, batch by batch."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts: Counter[str] = Counter()
        self.batches = 0
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

    def session(self, reason: str) -> None:
        self._restarts.labels(reason).inc()
