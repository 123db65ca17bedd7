"""A proxy that speaks Kafka: it puts itself in the brokers' place, and tampers with chosen requests and answers.

Of the protocol it knows what it needs. Request: size (4 bytes), API key (2), API version (2), correlation id (4), …
Answer: size (4), correlation id (4), …
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from tests.support.saboteurs.line import Filter, Severed
from tests.support.saboteurs.proxy import Proxy


class Api(IntEnum):
    """The requests that the saboteurs know by name."""

    PRODUCE = 0
    FETCH = 1
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12


class Request(NamedTuple):
    """What has been asked on a connection."""

    api: int
    version: int
    correlation: bytes


Answer = Callable[[Request, bytes], bytes | None]
"""From the request and the answer to it (behind the correlation id) to another answer; None leaves it as it is."""


@dataclass
class Rule:
    """What becomes of the requests of one kind, `left` times more."""

    api: Api
    left: float = float("inf")
    happened: int = 0
    answer: Answer | None = None  # else the request is not passed on
    severs: bool = False  # … and the connection is cut, else nothing is ever answered

    def fits(self, request: Request) -> bool:
        return request.api == self.api and self.left > 0

    def apply(self) -> None:
        self.left -= 1
        self.happened += 1


class KafkaProxy(Proxy):
    """Stands before one broker. Clients stay behind it: its own address takes the broker's place in what they are told.

    The rules hold for all connections; a rule is taken off by `rules.remove`.
    """

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, lambda: _Conversation(self))
        self.rules: list[Rule] = []
        self.broker = _as_told(bootstrap)
        self.itself = _as_told(self.address)

    def answer(self, api: Api, answer: Answer, times: float = float("inf")) -> Rule:
        """Change the answers to these requests, as many times as `answer` gives one."""
        return self._add(Rule(api, times, answer=answer))

    def swallow(self, api: Api, times: float = float("inf")) -> Rule:
        """Pass these requests on to nobody, and answer nothing."""
        return self._add(Rule(api, times))

    def sever(self, api: Api, times: float = float("inf")) -> Rule:
        """Cut the connection on which such a request comes, before the broker has it."""
        return self._add(Rule(api, times, severs=True))

    def corrupt(self, text: bytes, times: float = 1) -> Rule:
        """Flip a bit of this text where fetched records hold it."""

        def flipped(_: Request, body: bytes) -> bytes | None:
            at = body.find(text)
            return None if at < 0 else body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]

        return self.answer(Api.FETCH, flipped, times)

    def _add(self, rule: Rule) -> Rule:
        self.rules.append(rule)
        return rule


def no_topics(code: int) -> Answer:
    """OffsetFetch, version 2 or 3, answered with an error for the group and not a word about any topic."""

    def answer(request: Request, _: bytes) -> bytes:
        assert request.version in (2, 3), request
        throttle = struct.pack(">i", 0) if request.version == 3 else b""
        return throttle + struct.pack(">ih", 0, code)

    return answer


def failed_commit(code: int) -> Answer:
    """OffsetCommit, up to version 3, answered with this error for every partition."""

    def answer(request: Request, body: bytes) -> bytes:
        assert request.version <= 3, request
        at = 4 if request.version == 3 else 0
        (topics,), at = struct.unpack_from(">i", body, at), at + 4
        changed = bytearray(body)
        for _ in range(topics):
            (name,) = struct.unpack_from(">h", body, at)
            (partitions,) = struct.unpack_from(">i", body, at + 2 + name)
            at += 2 + name + 4
            for _ in range(partitions):
                struct.pack_into(">h", changed, at + 4, code)
                at += 6
        return bytes(changed)

    return answer


def rebalancing(request: Request, _: bytes) -> bytes:
    """Heartbeat, version 0 or 1, answered with REBALANCE_IN_PROGRESS: the member is to join anew."""
    assert request.version in (0, 1), request
    throttle = struct.pack(">i", 0) if request.version == 1 else b""
    return throttle + struct.pack(">h", 27)


class _Conversation(Filter):
    """One connection, frame by frame."""

    def __init__(self, proxy: KafkaProxy) -> None:
        self._proxy = proxy
        self._asked = b""
        self._answered = b""
        self._open: dict[bytes, Request] = {}

    def to_server(self, data: bytes) -> bytes:
        frames, self._asked = _frames(self._asked + data)
        return b"".join(passed for frame in frames for passed in self._asks(frame))

    def to_client(self, data: bytes) -> bytes:
        frames, self._answered = _frames(self._answered + data)
        return b"".join(map(self._answers, frames))

    def _asks(self, frame: bytes) -> Iterator[bytes]:
        request = Request(*struct.unpack_from(">hh4s", frame, 4))
        for rule in self._proxy.rules:
            if rule.answer is None and rule.fits(request):
                rule.apply()
                if rule.severs:
                    raise Severed(abruptly=True)
                return
        self._open[request.correlation] = request
        yield frame

    def _answers(self, frame: bytes) -> bytes:
        correlation, body = frame[4:8], frame[8:]
        request = self._open.pop(correlation, None)
        if request is not None:
            body = self._changed(request, body)
        return struct.pack(">i", len(body) + 4) + correlation + body

    def _changed(self, request: Request, body: bytes) -> bytes:
        if request.api in (Api.METADATA, Api.FIND_COORDINATOR):
            return body.replace(self._proxy.broker, self._proxy.itself)
        for rule in self._proxy.rules:
            if rule.answer is not None and rule.fits(request):
                changed = rule.answer(request, body)
                if changed is not None:
                    rule.apply()
                    return changed
        return body


def _frames(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the beginning, with their sizes, and what is left."""
    frames, at = [], 0
    while len(data) - at >= 4:
        end = at + 4 + int(struct.unpack_from(">i", data, at)[0])
        if end > len(data):
            break
        frames.append(data[at:end])
        at = end
    return frames, data[at:]


def _as_told(address: str) -> bytes:
    """A broker's address as the answers hold it that aiokafka asks for: a string with its length, and a port."""
    host, _, port = address.rpartition(":")
    return struct.pack(">h", len(host)) + host.encode() + struct.pack(">i", int(port))
