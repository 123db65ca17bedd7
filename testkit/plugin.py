"""Services for tests: started when the first test asks, once a session, ended with it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Protocol

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient

from runtime.embedded.apache_kafka import ApacheKafka, apache_kafka_available
from testkit.databases import (
    TEMPLATE_STEPS,
    create_database,
    drop_database,
    fresh_name,
    with_database,
)
from testkit.services import (
    TANSU,
    NoServiceError,
    Service,
    kafka_service,
    postgres_service,
    tansu_is_not_enough,
)
from testkit.topics import create_topic

POSTGRES = pytest.StashKey[Service]()
KAFKA = pytest.StashKey[Service]()


class MakeTopic(Protocol):
    """Creates a fresh topic and returns its name."""

    def __call__(self, partitions: int = 12) -> Awaitable[str]: ...


def pytest_configure(config: pytest.Config) -> None:
    def report(line: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():  # else a line from a fixture is never seen
                reporter.ensure_newline()
                reporter.write_line(line)

    try:
        config.stash[POSTGRES] = postgres_service(os.environ, report)
        config.stash[KAFKA] = kafka_service(os.environ, report)
    except NoServiceError as impossible:
        raise pytest.UsageError(str(impossible)) from impossible


def pytest_collection_finish(session: pytest.Session) -> None:
    """Says which services the selected tests will run on; asks for none that nobody uses."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    marked = any(item.get_closest_marker("apache_kafka") for item in session.items)
    try:
        if "postgres_url" in wanted:
            session.config.stash[POSTGRES].choose()
        if "kafka_bootstrap" in wanted or marked:
            _fail_on_tansu_in_ci(session.config)
    except NoServiceError as impossible:
        pytest.exit(str(impossible), returncode=pytest.ExitCode.USAGE_ERROR)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("apache_kafka") is None:
        return
    kafka = item.config.stash[KAFKA]
    if "kafka_bootstrap" in getattr(item, "fixturenames", ()):
        kafka.start()  # what was chosen may not start, and then it may be Tansu after all
    if kafka.choose() == TANSU:
        why = "; ".join(kafka.passed_over) or "Tansu was asked for"
        pytest.skip(f"needs a real Apache Kafka ({why})")


def pytest_unconfigure(config: pytest.Config) -> None:
    for key in (KAFKA, POSTGRES):
        if key in config.stash:
            config.stash[key].stop()


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """A PostgreSQL server, as a user who may create databases."""
    return pytestconfig.stash[POSTGRES].start()


@pytest.fixture(scope="session")
def kafka_bootstrap(pytestconfig: pytest.Config) -> str:
    """A Kafka broker, shared by all tests: make topics and groups of your own, and don't break
    it."""
    address = pytestconfig.stash[KAFKA].start()
    _fail_on_tansu_in_ci(pytestconfig)
    return address


@pytest_asyncio.fixture(scope="session")
async def template_database(postgres_url: str) -> AsyncIterator[str]:
    """The name of the database the others are cloned from."""
    name = fresh_name("template")
    url = await create_database(postgres_url, name)
    try:
        for step in TEMPLATE_STEPS:
            await step(url)
        yield name
    finally:
        await drop_database(postgres_url, name)


@pytest_asyncio.fixture
async def database_url(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """A fresh database with the current schema."""
    name = fresh_name("db")
    await create_database(postgres_url, name, template=template_database)
    try:
        yield with_database(postgres_url, name)
    finally:
        await drop_database(postgres_url, name)


@pytest_asyncio.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """A fresh database with nothing in it, for tests of the migrations."""
    name = fresh_name("empty")
    try:
        yield await create_database(postgres_url, name)
    finally:
        await drop_database(postgres_url, name)


@pytest_asyncio.fixture(scope="session")
async def kafka_admin(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client of the shared broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@pytest_asyncio.fixture
async def make_topic(kafka_admin: AIOKafkaAdminClient) -> AsyncIterator[MakeTopic]:
    """Makes fresh topics: `await make_topic(partitions=3)`. They're deleted after the test."""
    made: list[str] = []

    async def make(partitions: int = 12) -> str:
        made.append(await create_topic(kafka_admin, partitions))
        return made[-1]

    yield make
    if made:
        await kafka_admin.delete_topics(made)


@pytest_asyncio.fixture
async def topic(make_topic: MakeTopic) -> str:
    """A fresh topic of 12 partitions."""
    return await make_topic()


@pytest.fixture
def breakable_kafka() -> Iterator[ApacheKafka]:
    """An Apache Kafka of the test's own, to kill and restart."""
    reason = apache_kafka_available()
    if reason is not None:
        (pytest.fail if tansu_is_not_enough(os.environ) else pytest.skip)(f"needs Apache Kafka under the JVM: {reason}")
    with ApacheKafka() as broker:
        yield broker


def _fail_on_tansu_in_ci(config: pytest.Config) -> None:
    kafka = config.stash[KAFKA]
    if kafka.choose() == TANSU and tansu_is_not_enough(os.environ):
        reason = f"CI needs a real Apache Kafka, but {'; '.join(kafka.passed_over)}"
        pytest.exit(reason, returncode=pytest.ExitCode.USAGE_ERROR)
