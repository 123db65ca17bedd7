"""At the end of a session a step that fails keeps none of the others from being taken."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from testkit import kit as module
from testkit.kit import Kit
from testkit.services import Service


class Admin:
    """Stands for a client of a broker."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.closed = False

    async def close(self) -> None:
        self.closed = True
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was dropped, or tried to: on the servers `gone` and `broken` it fails."""
    told: list[str] = []

    async def drop(server: str, name: str) -> None:
        told.append(name)
        if server == "gone":
            raise ConnectionRefusedError
        if server == "broken":
            raise KeyError(name)

    monkeypatch.setattr(module, "drop_database", drop)
    return told


def kit(*admins: Admin, **templates: str) -> tuple[Kit, threading.Thread]:
    """One in use: with clients, and with a template on each of some servers."""
    made = Kit({}, lambda line: None)
    made._admins = cast(Any, {str(number): admin for number, admin in enumerate(admins)})
    made._templates = {(server, ()): name for server, name in templates.items()}
    return made, made.loop._thread


def test_everything_is_taken_back(dropped: list[str]) -> None:
    admin = Admin()
    made, thread = kit(admin, here="one", gone="two")
    made.close()
    assert (sorted(dropped), admin.closed, thread.is_alive()) == (["one", "two"], True, False)
    made.close()
    assert len(dropped) == 2


def test_a_database_that_cannot_be_dropped_keeps_nothing_from_ending(dropped: list[str]) -> None:
    admin = Admin()
    made, thread = kit(admin, broken="one", here="two")
    with pytest.raises(KeyError, match="one"):
        made.close()
    assert (sorted(dropped), admin.closed, thread.is_alive()) == (["one", "two"], True, False)


def test_a_client_that_cannot_be_closed_keeps_nothing_from_ending(dropped: list[str]) -> None:
    admins = Admin(OSError("no answer")), Admin(OSError("no answer"))
    made, thread = kit(*admins)
    with pytest.raises(OSError, match="no answer"):
        made.close()
    assert ([admin.closed for admin in admins], thread.is_alive()) == ([True, True], False)


@pytest.mark.parametrize("failing", ["PostgreSQL", "Kafka"])
def test_a_service_that_does_not_end_keeps_nothing_from_ending(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def stop(self: Service) -> None:
        told.append(self.title)
        if self.title == failing:
            raise OSError(failing)

    monkeypatch.setattr(Service, "stop", stop)
    with pytest.raises(OSError, match=failing):
        Kit({}, lambda line: None).stop()
    assert sorted(told) == ["Kafka", "PostgreSQL"]
