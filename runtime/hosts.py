"""Which hosts an address leads to, and whether that is this machine."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

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


def far_brokers(servers: str) -> list[str]:
    """Those of a comma-separated list `host:port` that are not this machine."""
    hosts = [re.sub(r":[0-9]+$", "", server.strip()) for server in servers.split(",")]
    return [host for host in hosts if not is_loopback(host)]


def open_postgres(url: str) -> str | None:
    """The host that a PostgreSQL URL leads to unencrypted, if it is another machine."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if query.get("sslmode", [""])[-1] in ("require", "verify-ca", "verify-full"):
        return None
    return next((host for host in hosts_of(parts.netloc, query) if not is_loopback(host)), None)


def open_redis(url: str) -> str | None:
    """The same of a Redis URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return host if parts.scheme == "redis" and not is_loopback(host) else None
