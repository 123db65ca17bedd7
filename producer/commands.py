"""Commands from outside: JSON in, a command with validated data out. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from producer.order import EVENT_OF, Command, Kind
from schemas import attributes, payload
from schemas.errors import ProjectorError, UnreadableEvent
from schemas.events import DATA_OF
from schemas.upcasts import CURRENT
from schemas.wire import MAX_BYTES


class InvalidCommand(ProjectorError):
    """It is no command. `why` says where and what, without the value: it may be personal."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def read(kind: Kind, order_id: str, body: bytes) -> Command:
    """A command from the JSON of its data, which are those of the event that it becomes (CONTRACT 1): unknown fields
    are left out, and money may be a number, which is read exactly. Raises InvalidCommand."""
    event_type = EVENT_OF[kind]
    if len(body) > MAX_BYTES:
        raise InvalidCommand(f"more than {MAX_BYTES} bytes")
    try:
        attributes.key("order id", order_id)
        if DATA_OF[event_type] is None:
            return Command(kind, order_id)
        data, _ = payload.read(event_type, CURRENT, body)
    except UnreadableEvent as error:
        raise InvalidCommand(error.why) from None
    return Command(kind, order_id, data)


def of_object(kind: Kind, order_id: str, data: Any = None) -> Command:
    """The same from Python objects: dicts, lists, texts and integers; money as text. Raises InvalidCommand."""
    try:
        body = orjson.dumps(data)
    except TypeError as error:
        raise InvalidCommand(f"not JSON: {error}") from None
    return read(kind, order_id, body)
