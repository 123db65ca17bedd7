"""Standing still: records wait, and the checkpoint is where it was."""

from __future__ import annotations

from consumer.checkpoints import Place
from consumer.progress import Progress, Stand

A, B = Place("t", 0), Place("t", 1)


def test_a_partition_that_is_caught_up_never_stands_still() -> None:
    progress = Progress()
    for now in range(100):
        progress.look(now, {A: Stand(7, 7)})
    assert progress.stalled(100, limit=1) == {}


def test_it_stands_still_from_the_look_that_first_saw_it_there() -> None:
    progress = Progress()
    for now in (10, 15, 20):
        progress.look(now, {A: Stand(7, 9), B: Stand(now, 99)})
    assert progress.stalled(20, limit=10) == {A: 10}
    assert progress.stalled(20, limit=11) == {}


def test_a_step_begins_the_count_anew() -> None:
    progress = Progress()
    progress.look(0, {A: Stand(7, 9)})
    progress.look(30, {A: Stand(8, 9)})
    assert progress.stalled(35, limit=10) == {}
    assert progress.stalled(40, limit=10) == {A: 10}


def test_records_that_come_after_a_long_rest_have_their_time() -> None:
    progress = Progress()
    progress.look(0, {A: Stand(7, 7)})
    progress.look(100, {A: Stand(7, 8)})
    assert progress.stalled(105, limit=10) == {}


def test_what_is_excused_begins_the_count_anew() -> None:
    progress = Progress()
    progress.look(0, {A: Stand(7, 9)})
    progress.excuse(50)
    progress.look(55, {A: Stand(7, 9)})
    assert progress.stalled(55, limit=10) == {}
    assert progress.stalled(60, limit=10) == {A: 10}


def test_a_partition_that_went_away_and_came_back_has_its_time_again() -> None:
    progress = Progress()
    progress.look(0, {A: Stand(7, 9)})
    progress.look(5, {B: Stand(1, 1)})
    progress.look(20, {A: Stand(7, 9)})
    assert progress.stalled(20, limit=10) == {}
