"""What a command is answered, and that answer kept under the command's idempotency key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import orjson

from producer.order import Command


@dataclass(frozen=True)
class Key:
    """An idempotency key, and whose it is."""

    scope: str
    key: str


@dataclass(frozen=True)
class Accepted:
    """The command is done: the order has this version. `repeated`: it was done before, under the same key."""

    order_id: str
    version: int
    repeated: bool = False


@dataclass(frozen=True)
class Refused:
    """The command is not done, and nothing has changed. `version` is the order's."""

    order_id: str
    version: int
    reason: str
    why: str
    repeated: bool = False


@dataclass(frozen=True)
class VersionConflict:
    """The order has another version than the one the command was meant for."""

    order_id: str
    version: int


@dataclass(frozen=True)
class KeyReused:
    """The key was used for another command."""


@dataclass(frozen=True)
class KeyInProgress:
    """A command with this key is under way."""


Answer = Accepted | Refused | VersionConflict | KeyReused | KeyInProgress

Kept = Accepted | Refused | VersionConflict

_NAMES: dict[type[Kept], str] = {Accepted: "accepted", Refused: "refused", VersionConflict: "version_conflict"}
_KINDS: dict[str, Any] = {name: kind for kind, name in _NAMES.items()}


def dump(answer: Kept, event_id: str) -> str:
    """The answer as JSON, with the id that the command's event was to have."""
    fields = {name: value for name, value in vars(answer).items() if name != "repeated"}
    return orjson.dumps({"answer": _NAMES[type(answer)], "event_id": event_id, **fields}).decode()


def load(text: str, event_id: str) -> Kept:
    """The answer that `dump` wrote. What this very command was answered, in a COMMIT that nobody heard of, is no
    repetition."""
    told = orjson.loads(text)
    kind, its = _KINDS[told.pop("answer")], told.pop("event_id")
    answer: Kept = kind(**told) if kind is VersionConflict else kind(**told, repeated=its != event_id)
    return answer


def fingerprint(command: Command, expected_version: int | None) -> str:
    """Of what was asked for. Data as they were validated: fields that we don't know make no difference."""
    data = json.dumps(command.data, sort_keys=True)
    asked = "\x1f".join((command.kind, command.order_id, str(expected_version), data))
    return hashlib.sha256(asked.encode()).hexdigest()
