"""Databases and topics are made on the services that a project names, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import asyncpg
import pytest

from consumer.read_models import READ_MODELS, ReadModel
from testkit import databases
from testkit.kit import Kit
from tests.integration.test_testkit_plugin import OPTIONAL, SUITE, Project

OVERRIDES = """
import pytest

@pytest.fixture(scope="session")
def postgres_url():
    return {postgres!r}

@pytest.fixture(scope="session")
def kafka_bootstrap():
    return {kafka!r}
"""

MARKED = """
import pytest

@pytest.mark.apache_kafka
async def test_of_a_broker_of_ones_own(topic): ...
"""

INI = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"


def test_whatever_builds_on_a_service_builds_on_the_one_that_a_conftest_names(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, kafka_bootstrap: str
) -> None:
    project = Project(tmp_path_factory.mktemp("project"), {"PATH": "/nowhere", "JAVA_HOME": "/nowhere", "CI": "true"})
    project.lacks(*OPTIONAL)  # so there is no service but these
    conftest = OVERRIDES.format(postgres=postgres_url, kafka=kafka_bootstrap)
    said = project.run(SUITE + MARKED, ini=INI, conftest=conftest)
    assert "6 passed" in said
    assert "PostgreSQL:" not in said
    assert "Kafka:" not in said


class Failing:
    """Migrations of which the first fails half-way."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def __call__(self, url: str, models: Sequence[ReadModel]) -> None:
        self.urls.append(url)
        if len(self.urls) == 1:
            await databases.apply_migrations(url, ())
            raise KeyError("half-way")
        await databases.apply_migrations(url, models)


@pytest.fixture
def kit(postgres_url: str) -> Iterator[Kit]:
    made = Kit({}, lambda line: None)
    yield made
    made.close()


async def relations(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found: int = await connection.fetchval("SELECT count(*) FROM pg_views WHERE schemaname = 'read_model'")
        return found
    finally:
        await connection.close()


async def test_a_template_that_was_not_finished_is_dropped_and_made_anew(
    kit: Kit, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = Failing()
    monkeypatch.setattr("testkit.kit.apply_migrations", migrations)
    with pytest.raises(KeyError, match="half-way"), kit.database(postgres_url, READ_MODELS):
        pass
    for _ in range(2):
        with kit.database(postgres_url, READ_MODELS) as url:
            assert await relations(url) == len(READ_MODELS)
    unfinished, finished = migrations.urls
    assert await relations(finished) == len(READ_MODELS)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await relations(unfinished)
