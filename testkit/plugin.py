"""The pytest plugin: fixtures on real services, started when the first test asks, once a session, ended with it.

Every run of pytest in an environment that has this package imports this module, so it imports nothing but pytest; the
rest comes with the first test that uses a fixture from here. No fixture belongs to an event loop: what has to run
beside the tests runs in a thread of the kit's own (testkit.loop), so tests may have any loop, or none.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:  # for their price, see above
    from aiokafka.admin import AIOKafkaAdminClient

    from consumer.read_models import ReadModel
    from runtime.embedded.apache_kafka import ApacheKafka
    from testkit.kit import Kit
    from testkit.running import RunningWorker

KIT = pytest.StashKey["Kit"]()
MARK = "apache_kafka: needs a real Apache Kafka, not only a broker that speaks its protocol (order-projector's testkit)"


class MakeTopic(Protocol):
    """Creates a fresh topic and returns its name."""

    def __call__(self, partitions: int = 12) -> Awaitable[str]: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARK)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Says which services the selected tests will run on, if they use any."""
    if session.config.option.collectonly:
        return
    users = [item for item in session.items if "_projector_kit" in getattr(item, "fixturenames", ())]
    if not users:
        return
    used = {name for item in users for name in getattr(item, "fixturenames", ())}
    try:
        kit = _kit(session.config)
    except ImportError:  # those that use it will say so, each for itself; the rest runs
        return
    kit.announce(postgres="_projector_postgres" in used, kafka="_projector_kafka" in used)
    session.config.pluginmanager.register(_Marked(kit))


def pytest_unconfigure(config: pytest.Config) -> None:
    if KIT in config.stash:
        config.stash[KIT].stop()


class _Marked:
    """What the mark `apache_kafka` does to tests that use the shared broker."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        shared = "_projector_kafka" in getattr(item, "fixturenames", ())
        if shared and item.get_closest_marker("apache_kafka") and not getattr(item.config.option, "setupplan", False):
            self._kit.require_apache_kafka()


def _kit(config: pytest.Config) -> Kit:
    """Raises ImportError where the kit can't be had, above all beside other packages of the names of ours."""
    if KIT not in config.stash:
        from testkit.namesakes import expect_none  # noqa: PLC0415  who uses no fixture from here doesn't pay for the rest

        expect_none()
        from testkit.kit import Kit  # noqa: PLC0415  as above; and only once that is known to be ours

        config.stash[KIT] = Kit(os.environ, lambda line: _say(config, line))
    return config.stash[KIT]


def _say(config: pytest.Config, line: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():  # else a line from a fixture is never seen
            reporter.ensure_newline()
            reporter.write_line(line)


@pytest.fixture(scope="session")
def _projector_kit(pytestconfig: pytest.Config) -> Iterator[Kit]:
    """Whatever needs more of this package than the plugin depends on this."""
    kit = _kit(pytestconfig)
    yield kit
    kit.close()


@pytest.fixture(scope="session")
def _projector_postgres(_projector_kit: Kit) -> str:
    return _projector_kit.postgres()


@pytest.fixture(scope="session")
def _projector_kafka(_projector_kit: Kit) -> str:
    return _projector_kit.kafka()


@pytest.fixture(scope="session")
def postgres_url(_projector_postgres: str) -> str:
    """A PostgreSQL server, as a user who may create databases: TEST_DATABASE_URL or DATABASE_URL, else a container,
    else an embedded one."""
    return _projector_postgres


@pytest.fixture(scope="session")
def kafka_bootstrap(_projector_kafka: str) -> str:
    """A Kafka broker, shared by all tests: KAFKA_BOOTSTRAP_SERVERS, else a container, else an embedded one. Make topics
    and groups of your own, and don't break it."""
    return _projector_kafka


@pytest.fixture(scope="session")
def read_models(_projector_kit: Kit) -> Sequence[ReadModel]:
    """The read models that databases and workers of the tests have: the built-in ones. Override it to add yours."""
    from consumer.read_models import READ_MODELS  # noqa: PLC0415  as in _kit

    return READ_MODELS


@pytest.fixture
def database_url(_projector_kit: Kit, postgres_url: str, read_models: Sequence[ReadModel]) -> Iterator[str]:
    """A fresh database with the current schema and the `read_models`. It is dropped after the test."""
    with _projector_kit.database(postgres_url, read_models) as url:
        yield url


@pytest.fixture
def empty_database_url(_projector_kit: Kit, postgres_url: str) -> Iterator[str]:
    """A fresh database with nothing in it. It is dropped after the test."""
    with _projector_kit.empty_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def kafka_admin(_projector_kit: Kit, kafka_bootstrap: str) -> AIOKafkaAdminClient:
    """An admin client of the broker, to be awaited in any loop."""
    return _projector_kit.admin(kafka_bootstrap)


@pytest.fixture
def make_topic(_projector_kit: Kit, kafka_admin: AIOKafkaAdminClient) -> Iterator[MakeTopic]:
    """Makes fresh topics: `await make_topic(partitions=3)`. They are deleted after the test."""
    made: list[str] = []

    async def make(partitions: int = 12) -> str:
        made.append(await _projector_kit.make_topic(kafka_admin, partitions))
        return made[-1]

    yield make
    if made:
        _projector_kit.loop.run(_delete(kafka_admin, made))


@pytest.fixture
def topic(_projector_kit: Kit, kafka_admin: AIOKafkaAdminClient) -> Iterator[str]:
    """A fresh topic of 12 partitions. It is deleted after the test."""
    name = _projector_kit.loop.run(_projector_kit.make_topic(kafka_admin, 12))
    yield name
    _projector_kit.loop.run(_delete(kafka_admin, [name]))


@pytest.fixture
def worker_settings() -> Mapping[str, Any]:
    """Settings of `projector_worker` that are not the kit's own, by field: override it with `{"batch_size": 5}`."""
    return {}


@pytest.fixture
def projector_worker(
    request: pytest.FixtureRequest,
    _projector_kit: Kit,
    kafka_bootstrap: str,
    database_url: str,
    topic: str,
    read_models: Sequence[ReadModel],
    worker_settings: Mapping[str, Any],
) -> Iterator[RunningWorker]:
    """A worker that applies `topic` to `database_url`: `await projector_worker.deliver(events)`."""
    from testkit.running import running, worker_of  # noqa: PLC0415  as in _kit

    places = {"kafka_bootstrap_servers": kafka_bootstrap, "database_url": database_url, "topics": (topic,)}
    worker = worker_of(_projector_kit.loop, read_models, {**places, **worker_settings})
    worker.note = lambda text: request.node.add_report_section("call", "delivered", text)
    with running(worker):
        yield worker


@pytest.fixture
def breakable_kafka(_projector_kit: Kit) -> Iterator[ApacheKafka]:
    """An Apache Kafka of the test's own, to kill and restart. Needs Java 17; skips without."""
    with _projector_kit.breakable_kafka() as broker:
        yield broker


async def _delete(admin: AIOKafkaAdminClient, topics: list[str]) -> None:
    await admin.delete_topics(topics)
