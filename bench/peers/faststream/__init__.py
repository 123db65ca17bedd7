"""*faststream*: FastStream on its aiokafka broker, writing with asyncpg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers.events import FLAT
from bench.peers.frame import HOME, Peer, Where, python, virtual_environment

_HERE = HOME / "faststream"
_PINS = _HERE / "requirements.txt"


def _command(home: Path, where: Where) -> Sequence[str]:
    return [str(python(home)), str(_HERE / "consumer.py")]


PEER = Peer(
    name="faststream",
    version="FastStream 0.7.8, aiokafka 0.14.0, asyncpg 0.32.0",
    keeps="one row per order; an older version never replaces a newer one (by the handler's SQL); at least once",
    lacks="read models, history, gaps between versions, broken records apart, rebuilds",
    follows="'Batch Subscriber' (batch=True), 'Acknowledgement' (NACK_ON_ERROR), 'Annotation Serialization' (orjson)",
    encoding=FLAT,
    pins=(_PINS,),
    prepare=virtual_environment(_PINS),
    command=_command,
)
