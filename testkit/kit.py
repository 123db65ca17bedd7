"""What the fixtures of one test session share. Nothing is looked for, started or imported until a test needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from consumer.read_models import ReadModel
from runtime.embedded.apache_kafka import ApacheKafka, apache_kafka_available
from testkit.databases import apply_migrations, create_database, drop_database, fresh_name
from testkit.loop import LoopThread
from testkit.services import TANSU, NoServiceError, Service, kafka_service, postgres_service, tansu_is_not_enough
from testkit.topics import create_topic

Make = tuple[tuple[str, str], ...]  # the names and fingerprints of a set of read models
Template = tuple[str, Make]  # the server that it is on, and what is in it


class Kit:
    """Services, a loop beside the tests, and the databases that others are cloned from."""

    def __init__(self, environment: Mapping[str, str], report: Callable[[str], None]) -> None:
        try:
            self._postgres = postgres_service(environment, report)
            self._kafka = kafka_service(environment, report)
        except NoServiceError as impossible:
            raise pytest.UsageError(str(impossible)) from impossible
        self._skips = not tansu_is_not_enough(environment)
        self._loop: LoopThread | None = None
        self._admins: dict[str, AIOKafkaAdminClient] = {}  # by the address of the broker
        self._templates: dict[Template, str] = {}  # the names of those that are finished

    @property
    def loop(self) -> LoopThread:
        """Where the kit's own clients live."""
        if self._loop is None:
            self._loop = LoopThread()
        return self._loop

    def announce(self, *, postgres: bool, kafka: bool) -> None:
        """Say which services the tests will run on. If there is none, the tests that need it will say so."""
        for service in [self._postgres] * postgres + [self._kafka] * kafka:
            with suppress(NoServiceError):
                service.choose()

    def postgres(self) -> str:
        """The URL of the server; started if it isn't yet."""
        return _address(self._postgres)

    def kafka(self) -> str:
        """The broker's bootstrap address; started if it isn't yet."""
        return _address(self._kafka)

    def require_apache_kafka(self) -> None:
        """Skip the test on a broker that isn't Kafka; in CI, where nobody reads what was skipped, fail it."""
        self.kafka()  # what was chosen may not have started, so that it is Tansu after all
        if self._kafka.choose() == TANSU:
            self._lacking(f"a real Apache Kafka ({'; '.join(self._kafka.passed_over) or 'Tansu was asked for'})")

    @contextmanager
    def breakable_kafka(self) -> Iterator[ApacheKafka]:
        """An Apache Kafka of the caller's own."""
        if reason := apache_kafka_available():
            self._lacking(f"Apache Kafka under the JVM: {reason}")
        with ApacheKafka() as broker:
            yield broker

    @contextmanager
    def database(self, server: str, models: Sequence[ReadModel]) -> Iterator[str]:
        """The URL of a fresh database with these read models."""
        template = self._template(server, models)
        with self._fresh(server, "db", template) as url:
            yield url

    @contextmanager
    def empty_database(self, server: str) -> Iterator[str]:
        """The URL of a fresh database with nothing in it."""
        with self._fresh(server, "empty") as url:
            yield url

    def admin(self, bootstrap: str) -> AIOKafkaAdminClient:
        """An admin client of a broker, good in any loop."""
        if bootstrap not in self._admins:
            self._admins[bootstrap] = self.loop.run(_started_admin(bootstrap))
        return self.loop.shared(self._admins[bootstrap])

    async def make_topic(self, admin: AIOKafkaAdminClient, partitions: int) -> str:
        """A fresh topic."""
        return await create_topic(admin, partitions)

    def close(self) -> None:
        """Take back what was made on the services. What fails is raised when the rest is done."""
        if self._loop is None:
            return
        loop, admins, templates = self._loop, self._admins, self._templates
        self._loop, self._admins, self._templates = None, {}, {}
        with ExitStack() as steps:
            steps.callback(loop.close)
            for admin in admins.values():
                steps.callback(_closed, loop, admin)
            for (server, _), name in templates.items():
                steps.callback(_dropped, loop, server, name)

    def stop(self) -> None:
        """End the services that were started here. What fails is raised when the rest is done."""
        with ExitStack() as steps:
            steps.callback(self._postgres.stop)
            steps.callback(self._kafka.stop)

    @contextmanager
    def _fresh(self, server: str, purpose: str, template: str | None = None) -> Iterator[str]:
        name = fresh_name(purpose)
        url = self.loop.run(create_database(server, name, template=template))
        try:
            yield url
        finally:
            self.loop.run(drop_database(server, name))

    def _template(self, server: str, models: Sequence[ReadModel]) -> str:
        """The name of a database with these read models, made the first time. One that can't be finished is dropped: a
        clone of it would fail in other ways, in tests that are not to blame."""
        wanted = server, tuple((model.name, model.fingerprint) for model in models)
        if wanted not in self._templates:
            name = fresh_name("template")
            url = self.loop.run(create_database(server, name))
            try:
                self.loop.run(apply_migrations(url, models))
            except BaseException:
                self.loop.run(drop_database(server, name))
                raise
            self._templates[wanted] = name
        return self._templates[wanted]

    def _lacking(self, what: str) -> None:
        if self._skips:
            pytest.skip(f"needs {what}")
        pytest.fail(f"needs {what}. In CI that is no reason to skip, but PROJECTOR_TEST_BROKER=tansu is", pytrace=False)


def _address(service: Service) -> str:
    try:
        return service.start()
    except NoServiceError as impossible:
        pytest.fail(str(impossible), pytrace=False)


def _closed(loop: LoopThread, admin: AIOKafkaAdminClient) -> None:
    loop.run(admin.close())


def _dropped(loop: LoopThread, server: str, name: str) -> None:
    """A server that is gone, because it was a fixture's own, has taken its databases along."""
    with suppress(OSError):
        loop.run(drop_database(server, name))


async def _started_admin(bootstrap: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    return admin
