"""A unit of work run until it is done: how often, how carefully, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import attempts
from runtime.attempts import until_done
from schemas.errors import LostRace, TryAgain, Unavailable


class Work:
    """Fails with these, one after the other, then succeeds; remembers how carefully it was run."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = [*failures]
        self.runs: list[bool] = []

    async def __call__(self, *, careful: bool) -> str:
        self.runs.append(careful)
        if self._failures:
            raise self._failures.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_away", lambda state: 0.0)


async def test_what_succeeds_runs_once() -> None:
    work, told = Work(), []
    assert await until_done(work, lambda *what: told.append(what)) == "done"
    assert (work.runs, told) == ([False], [])


@pytest.mark.parametrize("careful", [False, True])
async def test_each_failure_is_told_with_its_number_and_a_lost_race_makes_careful(careful: bool) -> None:
    failures: list[Any] = [Unavailable("1"), LostRace("2"), Unavailable("3")]
    work, told = Work(*failures), []
    assert await until_done(work, lambda *what: told.append(what), careful=careful) == "done"
    assert work.runs == [careful, careful, True, True]
    assert told == [(failures[0], 1), (failures[1], 2), (failures[2], 3)]


async def test_a_race_lost_at_once_makes_careful() -> None:
    work = Work(LostRace("1"))
    assert await until_done(work) == "done"
    assert work.runs == [False, True]


@pytest.mark.parametrize("tries", [1, 2, 3])
async def test_tries_are_all_attempts_the_first_one_too(tries: int) -> None:
    failures = [Unavailable(str(number)) for number in range(5)]
    work, told = Work(*failures), []
    with pytest.raises(TryAgain) as raised:
        await until_done(work, lambda *what: told.append(what), tries=tries)
    assert raised.value is failures[tries - 1]
    assert (len(work.runs), len(told)) == (tries, tries - 1)


async def test_anything_else_is_raised_at_once() -> None:
    work = Work(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        await until_done(work)
    assert len(work.runs) == 1
