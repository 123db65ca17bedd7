"""What the sagas' runner tells about its work: Prometheus metrics, and what it checks of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from runtime.health import Checks


class SagaObservation:
    """Metrics and checks of one runner. A standby is as ready as the leader: it could lead."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.checks = Checks({"postgresql": "not yet asked"})
        self._leader = Gauge("projector_saga_leader", "1 while this one runs the sagas", registry=self.registry)
        self._failures = Counter("projector_saga_failures", "Times that it had to begin anew", registry=self.registry)
        self._commands = Counter(
            "projector_saga_commands", "What sagas asked for", ["command", "outcome"], registry=self.registry
        )

    def leads(self, leading: bool) -> None:
        self._leader.set(leading)

    def beat(self) -> None:
        """PostgreSQL has answered."""
        self.checks.fine("postgresql")

    def failed(self, why: str) -> None:
        """It has to begin anew: PostgreSQL is away, or another one leads."""
        self._failures.inc()
        self.checks.wrong("postgresql", why)

    def commanded(self, told: Iterable[Mapping[str, object]]) -> None:
        """Commands that a step has carried out, each with what became of it."""
        for one in told:
            outcome = "refused" if "refused" in one else "accepted"
            self._commands.labels(str(one["command"]), outcome).inc()
