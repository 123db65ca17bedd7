"""*quix*: Quix Streams with its own PostgreSQL sink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers.events import FLAT
from bench.peers.frame import HOME, Peer, Where, python, virtual_environment

_HERE = HOME / "quix"
_PINS = _HERE / "requirements.txt"


def _command(home: Path, where: Where) -> Sequence[str]:
    return [str(python(home)), str(_HERE / "consumer.py")]


PEER = Peer(
    name="quix",
    version="Quix Streams 3.28.1, psycopg2 2.9.13",
    keeps="one row per order, the event that came last; at least once",
    lacks="order by version: an event that comes late or again replaces a newer one; read models, history, rebuilds",
    follows="'PostgreSQL Sink' (upsert_on_primary_key), 'Checkpointing' (commit_interval, commit_every)",
    encoding=FLAT,
    pins=(_PINS,),
    prepare=virtual_environment(_PINS),
    command=_command,
)
