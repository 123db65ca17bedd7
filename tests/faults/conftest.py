"""Which faults are played, from which seed, on which services; the table at the end, and that none was left out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

import pytest

from runtime.embedded.apache_kafka import ApacheKafka, apache_kafka_available
from runtime.embedded.postgres import EmbeddedPostgres
from tests.faults.fault import Fault
from tests.faults.matrix import FAULTS
from tests.faults.play import Played
from tests.faults.stage import Stage
from tests.faults.table import lines, table
from tests.support.saboteurs.needs import lacking, may_skip

SEED = int(os.environ.get("FAULT_SEED", "0")) or SystemRandom().randrange(1, 1_000_000)
PLAYED = pytest.StashKey[list[Played]]()
CHOSEN = pytest.StashKey[bool]()  # whether somebody chose among the faults
LEFT_OUT = pytest.StashKey[list[int]]()
FULL = os.environ.get("FAULTS") == "full"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A run per fault and seed: `FAULTS=full` for all, else the short tier with one seed each."""
    if "fault" not in metafunc.fixturenames:
        return
    runs = [
        (fault, SEED + n)
        for fault in FAULTS
        if FULL or fault.tier == "short"
        for n in range(fault.seeds if FULL else 1)
    ]
    metafunc.parametrize(("fault", "seed"), runs, ids=[f"{fault.id}-{seed - SEED}" for fault, seed in runs])


@pytest.fixture
def base_seed() -> int:
    """Of this session."""
    return SEED


@pytest.fixture
def played(pytestconfig: pytest.Config) -> list[Played]:
    """The runs of this session; the table is made of it."""
    return pytestconfig.stash.setdefault(PLAYED, [])


@pytest.fixture
def stage(request: pytest.FixtureRequest, fault: Fault, kafka_bootstrap: str, postgres_url: str) -> Stage:
    """The session's services, or ones to break where the fault needs them."""
    kafka: ApacheKafka | None = request.getfixturevalue("own_kafka") if "kafka" in fault.needs else None
    postgres: EmbeddedPostgres | None = request.getfixturevalue("own_postgres") if "postgres" in fault.needs else None
    bootstrap = kafka.start() if kafka else kafka_bootstrap  # started already, unless a failed run left it broken
    return Stage(bootstrap, postgres.start() if postgres else postgres_url, kafka, postgres)


@pytest.fixture(scope="session")
def own_kafka() -> Iterator[ApacheKafka]:
    """An Apache Kafka for the faults of this session to break."""
    reason = apache_kafka_available()
    if reason is not None:
        lacking(f"needs Apache Kafka under the JVM: {reason}")
    with ApacheKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A durable PostgreSQL for the faults of this session to break."""
    with EmbeddedPostgres() as server:
        yield server


def pytest_deselected(items: list[pytest.Item]) -> None:
    """By -k, -m, --deselect or the like."""
    for item in items[:1]:
        item.config.stash[CHOSEN] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A full run that left out a row of the matrix is no success, whatever it was that kept it."""
    session.config.stash[LEFT_OUT] = _left_out(session)
    if session.config.stash[LEFT_OUT] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _left_out(session: pytest.Session) -> list[int]:
    """Rows with a fault that was not played, though all were asked for."""
    config = session.config
    named = any("::" in argument for argument in config.args)
    asked = any("fault" in getattr(item, "fixturenames", ()) for item in session.items)
    if not FULL or may_skip() or not asked or named or config.option.collectonly or config.stash.get(CHOSEN, False):
        return []
    played = {one.fault.id for one in config.stash.get(PLAYED, [])}
    return sorted({fault.number for fault in FAULTS if fault.id not in played})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left_out := config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(f"rows of the matrix that were not played as a whole: {left_out}", red=True)
    played = config.stash.get(PLAYED, [])
    if not played:
        return
    terminalreporter.section(f"faults, from seed {SEED}")
    for line in table(played):
        terminalreporter.write_line(line)
    if file := os.environ.get("FAULTS_JSON"):
        Path(file).write_text(json.dumps({"seed": SEED, "faults": lines(played)}, indent=1) + "\n", "utf-8")
