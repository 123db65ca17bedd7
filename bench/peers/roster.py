"""All peers, in the order in which they run."""

from __future__ import annotations

from bench.peers import debezium, faststream, pekko, plain, quix
from bench.peers.frame import Peer

PEERS: tuple[Peer, ...] = (plain.PEER, faststream.PEER, quix.PEER, pekko.PEER, debezium.PEER)
