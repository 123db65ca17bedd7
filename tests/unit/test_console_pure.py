"""The console's pure parts: the samples it keeps, the words it finds for them, what it serves."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.console import overview, retrying, words
from api.console.assets import Assets
from api.console.history import History, Stand
from api.problems import Problem
from consumer.freshness import PartitionStatus, Status
from consumer.letters import Behind, State
from consumer.redelivery import Fate, Retried

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def stand(partition: int, lag: int = 0, staleness: float = 0.0, offset: int = 0) -> Stand:
    return Stand(("t", partition), lag, staleness, offset)


# The history


def test_a_sample_has_the_sums_and_each_partition() -> None:
    history = History()
    history.add(100.0, [stand(1, 3, 2.5, 10), stand(0, 1, 7.0, 20)])
    found = history.columns()
    assert (found["places"], found["at"]) == (["t/0", "t/1"], [100.0])
    assert (found["lag"], found["staleness"], found["rate"]) == ([4], [7.0], [None])
    assert (found["lags"], found["stalenesses"]) == ([[1.0], [3.0]], [[7.0], [2.5]])


def test_what_is_applied_a_second_is_taken_over_the_last_seconds() -> None:
    history = History()
    for second in range(20):
        history.add(100.0 + second, [stand(0, offset=50 * second), stand(1, offset=10 * second)])
    assert history.columns()["rate"][1:] == [60.0] * 19
    assert history.rates() == {("t", 0): 50.0, ("t", 1): 10.0}


def test_looks_that_take_long_make_a_rate_too_unless_they_are_too_far_apart() -> None:
    history = History()
    for at, offset in ((100.0, 0), (109.0, 90), (118.0, 270), (140.0, 10_000)):
        history.add(at, [stand(0, offset=offset)])
    assert history.columns()["rate"] == [None, 10.0, 20.0, None]


def test_what_nobody_knew_is_a_gap_and_no_rate_is_taken_across_it() -> None:
    history = History()
    history.add(100.0, [stand(0, 5)])
    history.unknown(101.0)
    history.add(102.0, [stand(0, 1, offset=1000)])
    found = history.columns()
    assert found["lag"] == [5, None, 1]
    assert found["lags"] == [[5.0, None, 1.0]]
    assert found["rate"] == [None, None, None]
    assert [one.lag for one in history.minutes()] == [5]


def test_a_partition_that_is_new_had_no_past_and_makes_no_rate() -> None:
    history = History()
    history.add(100.0, [stand(0)])
    history.add(101.0, [stand(0), stand(1, 2, offset=1000)])
    assert history.columns()["lags"] == [[0.0, 0.0], [None, 2.0]]
    assert history.columns()["rate"] == [None, None]


def test_a_topic_that_was_made_anew_applies_nothing_below_nothing() -> None:
    history = History()
    history.add(100.0, [stand(0, offset=1000)])
    history.add(101.0, [stand(0, offset=10)])
    assert history.columns()["rate"][-1] == 0.0
    assert history.rates() == {("t", 0): 0.0}


def test_only_so_much_is_kept_of_time_and_of_partitions() -> None:
    history = History(length=3, most=2)
    for second in range(10):
        history.add(100.0 + second, [stand(partition, 1) for partition in range(5)])
    found = history.columns()
    assert found["at"] == [107.0, 108.0, 109.0]
    assert (found["lag"], len(found["lags"]), found["places"]) == ([5] * 3, 2, ["t/0", "t/1"])
    assert history.number(("t", 4)) is None


@given(st.lists(st.floats(0.01, 9.0), min_size=1, max_size=40), st.integers(0, 39))
def test_who_asks_again_gets_what_is_new_and_nothing_twice(gaps: list[float], split: int) -> None:
    history, at, times = History(), 1_700_000_000.0, []
    seen: list[float] = []
    for number, gap in enumerate(gaps):
        at += gap
        times.append(at)
        history.add(at, [stand(0)])
        if number >= split:
            seen += history.columns(seen[-1] if seen else 0.0)["at"]
    assert seen == (times if split < len(gaps) else [])


def test_minutes_tell_the_worst_of_each_the_newest_first() -> None:
    history = History()
    for second in range(120):
        history.add(600.0 + second, [stand(0, second, second / 10, 100 * second)])
    newest, oldest = history.minutes()
    assert (newest.at, newest.lag, newest.staleness, round(newest.rate)) == (660.0, 119, 11.9, 100)
    assert (oldest.at, oldest.lag) == (600.0, 59)


# Words


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "just now"), (0.9, "just now"), (2.4, "2 s ago"), (59.9, "59 s ago"), (60, "1 min ago"),
        (3599, "59 min ago"), (7200, "2 h ago"), (86_400, "1 day ago"), (200_000, "2 days ago"), (-0.5, "just now"),
        (-180, "in 3 min"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, told: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (0.04, "0 s"), (0.42, "0.4 s"), (5, "5 s"), (12.4, "12 s"), (59.7, "1 min"), (200, "3 min 20 s"),
        (7500, "2 h 5 min"), (3600, "1 h"), (273_600, "3 days 4 h"), (timedelta(seconds=3), "3 s"),
    ],
)  # fmt: skip
def test_how_long(seconds: float | timedelta, told: str) -> None:
    assert words.span(seconds) == told


def test_numbers_and_moments() -> None:
    assert [words.brief(one) for one in (0, 0.44, 12.9, 200, 28_538_000)] == [
        "0 s",
        "0.4 s",
        "12 s",
        "3 min",
        "330 days",
    ]
    assert [words.money(one) for one in ("121.4900", "0.0000", "5", "1.2345")] == ["121.49", "0.00", "5.00", "1.2345"]
    assert [words.number(one) for one in (0, 1234, 3.24, 1234.5, 2.0)] == ["0", "1,234", "3.2", "1,234", "2"]
    assert [words.counted(one, "letter") for one in (0, 1, 1000)] == ["0 letters", "1 letter", "1,000 letters"]
    assert words.moment(NOW.astimezone(tz=None)) == "1 Mar 2026, 12:00:00 UTC"
    assert words.clock(NOW.timestamp()) == "12:00"


# The first page


def partition(number: int, lag: int = 0, owner: str | None = "w-1") -> PartitionStatus:
    return PartitionStatus("t", number, 100, 100 + lag, lag, float(lag), None, NOW, NOW, owner)


def status(*partitions: PartitionStatus) -> Status:
    staleness = max(one.staleness for one in partitions)
    return Status(sum(one.lag for one in partitions), staleness, list(partitions), 0, 0, 0, 60.0, None, {})


@pytest.mark.parametrize(
    ("seen", "state", "title"),
    [
        (None, "unknown", "Nobody knows how fresh it is"),
        (status(partition(0)), "fresh", "Caught up"),
        (status(partition(0, 3)), "fresh", "Fresh"),
        (status(partition(0, 3), partition(1, 8)), "behind", "Behind by 8 s"),
    ],
)
def test_the_verdict(seen: Status | None, state: str, title: str) -> None:
    found = overview.verdict(seen, 5.0)
    assert (found.state, found.title) == (state, title)


def test_partitions_and_workers_say_what_they_do() -> None:
    history = History()
    looks = [(0, 0), (500, 0)]
    for second, (first, second_) in enumerate(looks):
        stands = [stand(0, 9, offset=first), stand(1, 4, offset=second_), stand(2), stand(3, 1)]
        history.add(100.0 + second, stands[:3])
    rows = overview.partitions(
        status(partition(3, 1), partition(0, 9), partition(1, 4, "w-2"), partition(2, 0, None)), history
    )
    assert [(row.of.partition, row.state) for row in rows] == [
        (0, "catching up"),
        (1, "waiting"),
        (2, "caught up"),
        (3, "waiting"),
    ]
    found = [(one.name, one.partitions, one.lag, one.rate) for one in overview.workers(rows)]
    assert found == [("w-1", 2, 10, 500.0), ("w-2", 1, 4, 0.0)]


def test_a_partition_counts_as_standing_still_after_a_while() -> None:
    history = History()
    for second in range(40):
        history.add(100.0 + second, [stand(0, 9, offset=5 if second >= 10 else second), stand(1, 9, offset=7)])
        rows = overview.partitions(status(partition(0, 9), partition(1, 9)), history)
        states = [row.state for row in rows]
        assert states[1] == ("standing still" if second >= 30 else "waiting")
    assert (states[0], history.still(("t", 0)), history.still(("t", 9))) == ("waiting", 29.0, 0.0)


def rebuild(**changed: Any) -> dict[str, Any]:
    began = {"started_at": NOW, "seen_at": NOW + timedelta(seconds=10), "ended_at": None}
    return {"id": 1, "state": "running", "phase": "bulk", "events": 250, "expected": 1000, **began, **changed}


@pytest.mark.parametrize(
    ("changed", "share", "rate", "left"),
    [
        ({}, 0.25, 25.0, 30.0),
        ({"expected": None}, None, 25.0, None),
        ({"expected": 100}, None, 25.0, None),
        ({"events": 0}, None, None, None),
        ({"state": "swapped"}, None, 25.0, None),
        ({"seen_at": None}, 0.25, None, None),
    ],
)
def test_how_far_a_rebuild_is(changed: dict[str, Any], share: Any, rate: Any, left: Any) -> None:
    found = overview.rebuild(rebuild(**changed))
    assert (found.share, found.rate, found.left) == (share, rate, left)


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ([], "Letter 7 is open no more: somebody else was faster."),
        ([Retried("o", (Fate(7, "applied"),), 1)], "Letter 7 was applied."),
        ([Retried("o", (Fate(7, "applied"),), 3)], "Letter 7 was applied, and 2 events that waited behind it."),
        (
            [Retried("o", (Fate(7, "parked"),), 0, Behind(2, 4))],
            "Letter 7 is parked until its turn comes. 2 events still parked.",
        ),
        (
            [Retried("o", (Fate(7, "refused", "invalid_history", "no"),))],
            "Letter 7 is still refused (invalid history): no",
        ),
        ([Retried("o", failed="locked", unreached=(7,))], "Letter 7 could not be retried: locked. It is as it was."),
    ],
)  # fmt: skip
def test_what_became_of_a_letter(done: list[Retried], told: str) -> None:
    assert retrying.said(7, done) == told


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (None, "There is no letter 7."),
        (State(None, None, None), "Letter 7 is still refused; its row says why."),
        (State("retried", "me", "applied"), "Letter 7 was applied."),
        (State("discarded", "me", "applied"), "Letter 7 was discarded."),
    ],
)
def test_how_a_letter_stands(state: State | None, told: str) -> None:
    assert retrying.stands(7, state) == told


# What is served


def test_every_file_is_served_under_its_content() -> None:
    assets = Assets()
    path = assets.path("console.css")
    _, digest, name = path.rsplit("/", 2)
    answer = assets.answer(digest, name)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    for wrong in (("0" * 12, name), (digest, "README.md"), (digest, "../app.py"), ("", "")):
        with pytest.raises(Problem):
            assets.answer(*wrong)


def test_what_others_made_is_what_the_table_says() -> None:
    static = files("api.console").joinpath("static")
    table = static.joinpath("README.md").read_text("utf-8")
    told = dict(re.findall(r"`(htmx\.org|uplot)` \| ([\d.]+) \|", table))
    assert f'version="{told["htmx.org"]}"' in static.joinpath("htmx.min.js").read_text("utf-8")
    assert f"(v{told['uplot']})" in static.joinpath("uPlot.iife.min.js").read_text("utf-8")
    assert all(static.joinpath(name).is_file() for name in re.findall(r"\(([\w-]+)\)", table))
