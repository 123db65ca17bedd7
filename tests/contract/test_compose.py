"""compose.yaml and the Dockerfile name settings and commands that exist, and `up --wait` can end."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry

from cli.main import app
from consumer.health import Health
from runtime.health import pages
from runtime.http import serving
from runtime.settings import Settings, load

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"topics", "migrate"}
LASTING = set(SERVICES) - ONE_SHOT
OURS = [name for name, service in SERVICES.items() if "build" in service]


def environment(service: str) -> dict[str, str]:
    """What the service's processes see, with compose's defaults filled in."""
    return {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
        for name, value in SERVICES[service]["environment"].items()
    }


def test_the_whole_system_is_there() -> None:
    assert set(SERVICES) == {"kafka", "postgres", "valkey", "topics", "migrate", "worker", "relay", "sagas", "api"}
    assert set(OURS) == {"migrate", "worker", "relay", "sagas", "api"}
    assert SERVICES["worker"]["deploy"]["replicas"] == SERVICES["relay"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("service", sorted(LASTING))
def test_what_stays_up_has_a_healthcheck(service: str) -> None:
    kind, *command = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"  # no shell: our image needs none
    assert command


@pytest.mark.parametrize("service", sorted(ONE_SHOT))
def test_something_waits_for_each_one_shot(service: str) -> None:
    """Else `docker compose up --wait` takes its end for a failure."""
    waiting = [other for other in LASTING if service in SERVICES[other].get("depends_on", {})]
    assert waiting
    for other in waiting:
        assert SERVICES[other]["depends_on"][service]["condition"] == "service_completed_successfully"
    assert SERVICES[service]["restart"] == "no"


def test_nothing_starts_before_what_it_needs_is_healthy() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == wanted


@pytest.mark.parametrize("service", OURS)
def test_our_settings_exist_and_are_accepted(service: str) -> None:
    given = environment(service)
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert set(given) <= known
    settings = load(given)
    assert settings.kafka_bootstrap_servers == "kafka:19092"
    assert settings.allow_plaintext


@pytest.mark.parametrize("service", OURS)
def test_our_commands_exist(service: str) -> None:
    described = SERVICES[service]
    assert described["command"][0] in command_names()


async def test_the_health_check_asks_a_page_that_the_worker_serves() -> None:
    settings = load(environment("worker"))
    assert settings.metrics_port is not None
    *python, code = SERVICES["worker"]["healthcheck"]["test"]
    assert python == ["CMD", "python", "-c"]
    health = Health()
    async with serving(pages(health, CollectorRegistry()), "127.0.0.1", 0) as port:
        asked = code.replace(f":{settings.metrics_port}/", f":{port}/")
        assert asked != code
        assert await _exit_code(asked) != 0
        health.fine("assigned", "kafka", "postgresql", "schema")
        assert await _exit_code(asked) == 0


async def _exit_code(code: str) -> int | None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


def test_the_topic_is_the_workers() -> None:
    command = SERVICES["topics"]["command"]
    assert command[command.index("--topic") + 1] in load(environment("worker")).topics
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert SERVICES["topics"]["image"] == SERVICES["kafka"]["image"]


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_a_worker_is_given_time_to_stop() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > load(environment("worker")).stop_timeout


def test_the_image_runs_the_command_as_nobody_and_hears_sigterm() -> None:
    final = (ROOT / "Dockerfile").read_text("utf-8").split("\nFROM ")[-1]
    assert 'ENTRYPOINT ["projector"]' in final
    assert "STOPSIGNAL SIGTERM" in final
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)


def test_the_image_gets_every_package_of_the_distribution() -> None:
    packages = re.search(r"^packages = \[(.+)\]$", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert packages is not None
    for package in re.findall(r'"(\w+)"', packages[1]):
        assert f"COPY {package}/ {package}/" in (ROOT / "Dockerfile").read_text("utf-8")
        assert f"!{package}/**" in (ROOT / ".dockerignore").read_text("utf-8")


def command_names() -> set[str]:
    command = typer.main.get_command(app)
    return set(getattr(command, "commands"))  # noqa: B009 - typer's own group type is not public
