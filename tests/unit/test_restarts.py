"""When a member of a machine's fleet is started again."""

from __future__ import annotations

import pytest

from cli.restarts import Restarts

KILLED, STUCK, HOPELESS, UNREACHABLE = -9, 1, 2, 3


def pauses(*ends: tuple[int, float]) -> list[float | None]:
    restarts = Restarts()
    return [restarts.after(code, lasted) for code, lasted in ends]


def test_the_pause_doubles_and_the_sixth_end_in_a_row_is_the_last() -> None:
    assert pauses(*[(KILLED, 1)] * 6) == [0.5, 1, 2, 4, 8, None]


def test_a_member_that_has_run_for_a_minute_begins_anew() -> None:
    assert pauses(*[(STUCK, 1)] * 3, (STUCK, 61), (STUCK, 1)) == [0.5, 1, 2, 0.5, 1]


@pytest.mark.parametrize("lasted", [1, 1_000])
def test_a_member_that_needs_a_person_is_not_started_again(lasted: float) -> None:
    assert pauses((HOPELESS, lasted)) == [None]


def test_a_member_that_never_found_its_services_is_given_up() -> None:
    assert pauses(*[(UNREACHABLE, 1)] * 6) == [0.5, 1, 2, 4, 8, None]


def test_a_member_that_worked_and_finds_a_service_away_waits_for_as_long_as_it_takes() -> None:
    assert pauses((KILLED, 1), *[(UNREACHABLE, 5)] * 7) == [0.5, 0.5, 1, 2, 4, 8, 8, 8]
    assert pauses((KILLED, 1), *[(UNREACHABLE, 5)] * 2_000)[-1] == 8


def test_having_waited_for_a_service_is_no_failure() -> None:
    assert pauses(*[(KILLED, 1)] * 5, *[(UNREACHABLE, 5)] * 9, (KILLED, 1))[-1] is None
    assert pauses((KILLED, 1), *[(UNREACHABLE, 5)] * 9, *[(KILLED, 1)] * 4) == [
        *(0.5, 0.5, 1, 2, 4, 8, 8, 8, 8, 8),
        *(1, 2, 4, 8),
    ]
