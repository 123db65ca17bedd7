"""The services in containers, for machines with a Docker engine.

Docker's libraries are imported where they're used: it takes most of a second, and unit tests need
none of it.
"""

from __future__ import annotations

import gc
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from runtime.embedded.apache_kafka import PROPERTIES
from runtime.embedded.postgres import INITDB_OPTIONS, THROWAWAY_SETTINGS
from schemas.errors import Unavailable

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.3.1"
ANSWER_SECONDS = 3
REGISTRY_SECONDS = 15
START_SECONDS = 60

BROKER_PORT = 9092
START_SCRIPT = "/tmp/start.sh"
STARTED = "Kafka Server started"


def why_no_container(image: str) -> str | None:
    """Why this image can't be run: its Python client isn't installed, no engine answers, or it can
    neither find nor fetch the image."""
    if not (find_spec("testcontainers") and find_spec("docker")):
        return "needs `pip install 'order-projector[testing]'`"
    with warnings.catch_warnings():
        # Docker's client leaves its socket to the collector when nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        reason = _ask_engine(image)
        gc.collect()
    return reason


@contextmanager
def postgres_container() -> Iterator[str]:
    """PostgreSQL with the locale and the settings of the embedded one; yields a superuser's URL."""
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415  slow to import, seldom needed

    settings = {**THROWAWAY_SETTINGS, "max_connections": "200", "timezone": "UTC"}
    ours = ("--username", "--auth")  # these the image gives itself
    initdb = [option for option in INITDB_OPTIONS if not option.startswith(ours)]
    command = ["postgres", *(word for pair in settings.items() for word in ("-c", "=".join(pair)))]
    container = PostgresContainer(POSTGRES_IMAGE, driver=None)
    container.with_env("POSTGRES_INITDB_ARGS", " ".join(initdb)).with_command(command)
    with _started(container):
        yield container.get_connection_url()


@contextmanager
def kafka_container() -> Iterator[str]:
    """Apache Kafka with the properties of the embedded one; yields its bootstrap address.

    The address to advertise is known only when the container runs, so the container waits for its
    start script. (testcontainers' own KafkaContainer starts Confluent's image, in ways that
    Apache's doesn't have.)"""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415  slow to import, seldom needed
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415  slow to import, seldom needed

    wait = f"until [ -f {START_SCRIPT} ]; do sleep 0.1; done; . {START_SCRIPT}"
    container = DockerContainer(KAFKA_IMAGE).with_exposed_ports(BROKER_PORT)
    container.with_envs(**_kafka_environment()).with_command(["sh", "-c", wait])
    with _started(container):
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(BROKER_PORT)}"
        advertise = f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{address}"
        script = shlex.quote(f"{advertise}; exec /etc/kafka/docker/run")
        unfinished = f"{START_SCRIPT}.new"
        write = f"echo {script} > {unfinished} && mv {unfinished} {START_SCRIPT}"
        container.exec(["sh", "-c", write])
        started = LogMessageWaitStrategy(STARTED).with_startup_timeout(START_SECONDS)
        started.wait_until_ready(container)
        yield address


@contextmanager
def _started(container: DockerContainer) -> Iterator[None]:
    """A running container; removed in the end, also when it doesn't start."""
    from docker.errors import DockerException  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import, seldom needed
    from requests.exceptions import RequestException  # noqa: PLC0415  slow to import, seldom needed

    try:
        try:
            container.start()
        except (DockerException, RequestException, RuntimeError, TimeoutError) as failure:
            raise Unavailable(f"{container.image}: {failure}") from failure
        yield
    finally:
        if container._container is not None:
            container.stop()


def _ask_engine(image: str) -> str | None:
    import docker  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import, seldom needed
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415  slow to import, seldom needed
    from requests.exceptions import RequestException  # noqa: PLC0415  slow to import, seldom needed

    try:
        engine = docker.from_env(timeout=ANSWER_SECONDS)
    except (DockerException, RequestException):
        return "no Docker engine answers"
    engine.api.timeout = REGISTRY_SECONDS
    try:
        engine.images.get(image)
    except ImageNotFound:
        try:
            engine.images.get_registry_data(image)
        except (DockerException, RequestException) as failure:
            return f"the Docker engine has no such image and can't fetch it ({failure})"
    except (DockerException, RequestException) as failure:
        return f"the Docker engine is broken ({failure})"
    finally:
        engine.close()
    return None


def _kafka_environment() -> dict[str, str]:
    """The image reads `a.b` from KAFKA_A_B, and forgets all its defaults as soon as one is
    given."""
    properties = {
        **PROPERTIES,
        "listeners": f"PLAINTEXT://:{BROKER_PORT},CONTROLLER://:9093",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": "1@localhost:9093",
        "log.dirs": "/tmp/kraft-combined-logs",
    }
    named = {f"KAFKA_{key.upper().replace('.', '_')}": properties[key] for key in properties}
    return {**named, "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}
