"""Loopback ports."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST = 15_000
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 50

API_VERSIONS_REQUEST = bytes.fromhex("0000000a0012000000000001ffff")
"""Kafka's ApiVersions, version 0: size, key 18, version, correlation id, no client id. Every broker
answers it."""


def free_port() -> int:
    """A port nobody listens on, outside the range the kernel takes client ports from.

    Binding port 0 would give one inside it. Then, while the server is down for a restart, any
    outgoing connection may be given the port; a client that retries on loopback can even connect to
    itself and hold it.
    """
    highest = int(EPHEMERAL_RANGE.read_text().split()[0]) if EPHEMERAL_RANGE.exists() else 32_768
    for _ in range(TRIES):
        port = LOWEST + secrets.randbelow(max(highest - LOWEST, 1))
        if _can_bind(port):
            return port
    with socket.socket() as any_port:
        any_port.bind((LOOPBACK, 0))
        return int(any_port.getsockname()[1])


def speaks_kafka(port: int) -> bool:
    """Whether a broker answers a request on this port; a listening socket alone proves nothing."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(API_VERSIONS_REQUEST)
            return len(connection.recv(8)) > 0
    except OSError:
        return False


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
