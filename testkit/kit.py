"""What the fixtures of one test session share. Nothing is looked for, started or imported until a test needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from consumer.read_models import ReadModel
from runtime.embedded.apache_kafka import ApacheKafka, apache_kafka_available
from testkit.databases import apply_migrations, create_database, drop_database, fresh_name, with_database
from testkit.loop import LoopThread
from testkit.services import TANSU, NoServiceError, Service, kafka_service, postgres_service, tansu_is_not_enough
from testkit.topics import create_topic

Make = tuple[tuple[str, str], ...]  # the names and fingerprints of a set of read models


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
        self._admin: AIOKafkaAdminClient | None = None
        self._templates: dict[Make, str] = {}

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
    def database(self, models: Sequence[ReadModel]) -> Iterator[str]:
        """The URL of a fresh database with these read models."""
        server, name = self.postgres(), fresh_name("db")
        url = self.loop.run(create_database(server, name, template=self._template(models)))
        try:
            yield url
        finally:
            self.loop.run(drop_database(server, name))

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """The URL of a fresh database with nothing in it."""
        server, name = self.postgres(), fresh_name("empty")
        url = self.loop.run(create_database(server, name))
        try:
            yield url
        finally:
            self.loop.run(drop_database(server, name))

    def admin(self) -> AIOKafkaAdminClient:
        """An admin client of the shared broker, good in any loop."""
        if self._admin is None:
            self._admin = self.loop.run(_started_admin(self.kafka()))
        return self.loop.shared(self._admin)

    async def make_topic(self, partitions: int) -> str:
        """A fresh topic."""
        return await create_topic(self.admin(), partitions)

    def close(self) -> None:
        """Take back what was made on the services."""
        if self._loop is None:
            return
        for name in self._templates.values():
            self._loop.run(drop_database(self.postgres(), name))
        if self._admin is not None:
            self._loop.run(self._admin.close())
        self._loop.close()
        self._templates, self._admin, self._loop = {}, None, None

    def stop(self) -> None:
        """End the services that were started here."""
        self._kafka.stop()
        self._postgres.stop()

    def _template(self, models: Sequence[ReadModel]) -> str:
        make = tuple((model.name, model.fingerprint) for model in models)
        if make not in self._templates:
            server, name = self.postgres(), fresh_name("template")
            self.loop.run(create_database(server, name))
            self._templates[make] = name
            self.loop.run(apply_migrations(with_database(server, name), models))
        return self._templates[make]

    def _lacking(self, what: str) -> None:
        if self._skips:
            pytest.skip(f"needs {what}")
        pytest.fail(f"needs {what}. In CI that is no reason to skip, but PROJECTOR_TEST_BROKER=tansu is", pytrace=False)


def _address(service: Service) -> str:
    try:
        return service.start()
    except NoServiceError as impossible:
        pytest.fail(str(impossible), pytrace=False)


async def _started_admin(bootstrap: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    return admin
