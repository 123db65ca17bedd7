"""A service is the first candidate that really starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest

from schemas.errors import Refused, Unavailable
from testkit.services import Candidate, NoServiceError, Service

FAILURES = [
    Unavailable("no answer"),
    Refused("needs another user"),
    OSError(30, "Read-only file system", "/home/.cache"),
    TimeoutError("too late"),
]


@contextmanager
def running() -> Iterator[str]:
    yield "there"


def failing(failure: Exception) -> Candidate:
    def run() -> AbstractContextManager[str]:
        raise failure

    return Candidate("first", lambda: None, run)


def service(*candidates: Candidate) -> tuple[Service, list[str]]:
    said: list[str] = []
    return Service("Kafka", list(candidates), said.append), said


SECOND = Candidate("second", lambda: None, running)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_one_that_does_not_start_is_passed_over_aloud(failure: Exception) -> None:
    found, said = service(failing(failure), SECOND)
    assert found.start() == "there"
    assert said == ["Kafka: first", f"Kafka: second (first: did not start: {failure})"]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_one_that_cannot_even_be_looked_at_is_passed_over(failure: Exception) -> None:
    def look() -> str | None:
        raise failure

    found, said = service(replace(SECOND, name="first", obstacle=look), SECOND)
    assert (found.start(), said) == ("there", [f"Kafka: second (first: {failure})"])


def test_where_none_starts_all_say_why() -> None:
    found, _ = service(failing(FAILURES[2]))
    with pytest.raises(NoServiceError, match=r"first: did not start: .*Read-only file system"):
        found.start()


def test_a_mistake_is_no_reason_to_go_on() -> None:
    found, _ = service(failing(KeyError("a bug")), SECOND)
    with pytest.raises(KeyError):
        found.start()
