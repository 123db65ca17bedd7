"""Which hosts an address leads to, and whether that is this machine."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import unquote

_LOOPBACK = {"localhost", ""}


def plaintext(name: str, host: str, remedy: str) -> str:
    return (
        f"{name}: unencrypted to {host!r}, which is not this machine. "
        f"Set {remedy}, or PROJECTOR_ALLOW_PLAINTEXT=true if the network is safe"
    )


def hosts_of(netloc: str, query: Mapping[str, list[str]]) -> list[str]:
    """All servers that a PostgreSQL URL leads to: one, several with commas (for a failover), in either place; with
    none in it, where the driver looks next."""
    listed = [netloc.rpartition("@")[2], *query.get("host", [])]
    hosts = [unquote(re.sub(r":[0-9]*$", "", host)) for some in listed for host in some.split(",")]
    if any(hosts):
        return hosts
    named = query.get("service", [os.environ.get("PGSERVICE", "")])
    return [f"service {named[-1]}"] if any(named) else os.environ.get("PGHOST", "").split(",")


def is_loopback(host: str) -> bool:
    if host in _LOOPBACK or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
