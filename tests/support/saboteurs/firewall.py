"""Packets dropped or refused on a loopback port, by Linux's own filter: what a proxy can't do, since it takes part.

Needs root and `nft`. Each context has a table of its own in the kernel and removes it, whatever happens.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from uuid import uuid4

Verdict = Literal["drop", "reject with tcp reset"]
Packets = Literal["to", "from", "both"]

NO_NFT = "there is no nft (package nftables)"

_NFT = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def why_no_firewall() -> str | None:
    """Why packets can't be filtered here; None when they can."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "packets are filtered by root on Linux"
    if _NFT is None:
        return NO_NFT
    try:
        _nft("list tables")
    except subprocess.CalledProcessError as error:
        return f"nft: {error.stderr.strip()}"
    return None


class Firewall:
    """A port behind a filter."""

    def __init__(self, table: str) -> None:
        self._table = table

    def stopped(self) -> int:
        """How many packets it has stopped."""
        return sum(map(int, re.findall(r"counter packets (\d+)", _nft(f"list table inet {self._table}"))))


@contextmanager
def firewall(port: int, verdict: Verdict = "drop", packets: Packets = "both") -> Iterator[Firewall]:
    """Stop packets that go to this port, or come from it, for as long as the context lasts."""
    table = f"projector_test_{uuid4().hex[:12]}"
    ends = {"to": ("dport",), "from": ("sport",), "both": ("dport", "sport")}[packets]
    rules = [f"add rule inet {table} input tcp {end} {port} counter {verdict}" for end in ends]
    chain = f"add chain inet {table} input {{ type filter hook input priority 0; }}"
    try:
        _nft("\n".join([f"add table inet {table}", chain, *rules]))
        yield Firewall(table)
    finally:
        _nft(f"add table inet {table}\ndelete table inet {table}")  # added first: then deleting can't fail


def _nft(commands: str) -> str:
    assert _NFT is not None
    done = subprocess.run([_NFT, "-f", "-"], input=commands, capture_output=True, text=True, check=True)
    return done.stdout
