"""*plain*: aiokafka and asyncpg, put together in an afternoon by an engineer who knows both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers.events import CLOUDEVENTS
from bench.peers.frame import HOME, Peer, Where, python, virtual_environment

_HERE = HOME / "plain"
_PINS = _HERE / "requirements.txt"


def _command(home: Path, where: Where) -> Sequence[str]:
    return [str(python(home)), str(_HERE / "consumer.py")]


PEER = Peer(
    name="plain",
    version="aiokafka 0.14.0, asyncpg 0.32.0",
    keeps="one row per order; an older version never replaces a newer one; at least once",
    lacks="read models, history, gaps between versions, broken records apart, rebuilds",
    follows="aiokafka's documentation, 'Manual vs automatic committing': commit after the batch is in the database",
    encoding=CLOUDEVENTS,
    pins=(_PINS,),
    prepare=virtual_environment(_PINS),
    command=_command,
)
