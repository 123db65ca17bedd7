"""The table of the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.peers.roster import PEERS
from bench.tables import Figures, columns, micro, ratios, spread, table, two, whole

_HEAD = ("peer", "version", "events/s", "live ÷ peer", "CPU: peer", "PostgreSQL", "Kafka", "keeps", "doesn't keep")
_WORDS = (0, 1, 7, 8)
_NOTE = (
    "CPU in microseconds per event. *live* keeps five read models, a ledger and timeline of every event, each event "
    "once and in the order of its versions, early events until their turn, broken ones apart, and its position in the "
    "same transaction."
)
_COSTS = ("worker_cpu_us", "postgres_cpu_us", "kafka_cpu_us")


def peers_table(parts: Mapping[str, Sequence[Figures]]) -> str:
    """One line per peer that ran; empty if none did. `live ÷ peer` is within a round, and empty without *live*."""
    rows = []
    for peer in PEERS:
        if peer.part in parts:
            found = columns(parts[peer.part])
            times = ratios(parts, "live", peer.part)
            speed = (spread(found["events_per_s"], whole), spread(times, two) if times else "")
            costs = [spread(found[name], micro) for name in _COSTS]
            rows.append((peer.name, peer.version, *speed, *costs, peer.keeps, peer.lacks))
    return table(_HEAD, rows, _WORDS) + f"\n\n{_NOTE}" if rows else ""
