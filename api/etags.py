"""Entity tags of orders (RFC 9110, 8.8.3): strong, of the read models' generation and the order's version.

After a rebuild the same version may be another body, so the generation is part of it; the write model has none, and its
bodies get none of the read models' tags. Compared for `If-None-Match` weakly and for `If-Match` strongly, as 13.1 says.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TAG = re.compile(r'\s*(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_OURS = re.compile(r"(?P<generation>[0-9]{1,18})\.(?P<version>[0-9]{1,18})")


class OrderTag(NamedTuple):
    """Which body it is."""

    generation: int
    version: int

    def __str__(self) -> str:
        return f'"{self.generation}.{self.version}"'


class Listed(NamedTuple):
    """One of the tags in a condition."""

    text: str
    weak: bool


def parsed(header: str) -> list[Listed] | None:
    """The tags of `If-Match` or `If-None-Match`; None for `*`. Garbage is no tag: it then matches nothing."""
    if header.strip() == "*":
        return None
    found, at = [], 0
    while at < len(header):
        one = _TAG.match(header, at)
        if one is None:
            return []
        found.append(Listed(one["tag"], one["weak"] is not None))
        at = one.end()
    return found


def unchanged(header: str, tag: OrderTag) -> bool:
    """Whether the client has this body already."""
    listed = parsed(header)
    return listed is None or any(f'"{one.text}"' == str(tag) for one in listed)


def expected_versions(header: str) -> set[int] | None:
    """The versions that `If-Match` allows; None: any, as long as the order is there.

    A command changes the write model, which has no generation: of a tag the version counts.
    """
    listed = parsed(header)
    if listed is None:
        return None
    ours = [_OURS.fullmatch(one.text) for one in listed if not one.weak]
    return {int(one["version"]) for one in ours if one is not None}
