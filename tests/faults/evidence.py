"""What shows from outside that a fault happened: exit codes, and what workers logged."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from tests.support.fleet import Member

_LOGGED = {
    "batch_again": "again",
    "batch_discarded": "discarded batches",
    "session_ended": "sessions ended",
    "partitions_taken": "assignments",
    "kafka_commit_failed": "commits failed",
    "failpoint_reached": "failpoints reached",
}
_AGAIN = {"PostgreSQL:": "again for PostgreSQL", "another writer": "races"}  # by how the reason begins


def logged(member: Member) -> Iterator[dict[str, Any]]:
    """What a worker logged, line by line."""
    for line in member.said().splitlines():
        if line.startswith("{") and line.endswith("}"):
            with suppress(json.JSONDecodeError):  # half a line, where there was no room for more
                yield json.loads(line)


def stands_at(member: Member, point: str) -> bool:
    """Whether it has said that this failpoint acts."""
    return any(line.get("event") == "failpoint_reached" and line.get("point") == point for line in logged(member))


def seen(members: Iterable[Member]) -> Counter[str]:
    """How often what happened to these workers. A batch run again counts once more by its cause, if it is one that
    faults are known by: a copy sent to another partition makes workers race, too, and is no fault."""
    found: Counter[str] = Counter()
    for member in members:
        found["killed"] += member.code == -signal.SIGKILL
        for line in logged(member):
            found[_LOGGED.get(line.get("event", ""), "")] += 1
            found[_cause(line)] += 1
    del found[""]
    return found


def _cause(line: dict[str, Any]) -> str:
    if line.get("event") != "batch_again":
        return ""
    return next((cause for start, cause in _AGAIN.items() if str(line.get("reason")).startswith(start)), "")
