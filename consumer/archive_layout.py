"""The archive's layout: how files are named, what each says of itself, and whether they follow on from one another.

    topics/<topic>/partition=<n>/<topic>+<n>+<start offset, at least ten digits>.parquet

That of Kafka Connect's S3 sink. A file is a segment of a partition's log: all that is committed from its start offset
to its next offset, which is where the following file starts. So offsets that hold no record (a transaction's markers,
what was taken back, what compaction removed) are no gap. Segments without a record are files too: a tail of markers
alone, and, marked as such, what was lost when a gap was accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

from aiokafka import TopicPartition

from runtime.kafka import Ends
from schemas.errors import Refused

FORMAT = "1"
_FILE = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)\+(?P<partition>[0-9]+)\+(?P<first>[0-9]{10,19})\.parquet", re.ASCII)
_KEY = "projector."  # before the names of a file's metadata


class Damaged(Refused):
    """A partition's files can't be used as they are; the others' may be."""


class Last(NamedTuple):
    """A segment's last record, by which the log is known again."""

    offset: int
    timestamp: int | None


class Segment(NamedTuple):
    """A file of the archive: what it holds of a partition's log. `end` is the next offset. `lost`: nothing, by then
    Kafka no longer had it, and somebody accepted that."""

    path: str
    of: TopicPartition
    first: int
    end: int
    records: int
    lost: bool = False
    last: Last | None = None


def needed() -> None:
    """Raises Refused if the archive's library isn't there: an optional dependency, of 170 MB."""
    if find_spec("pyarrow") is None:
        raise Refused("the archive needs pyarrow: pip install 'order-projector[archive]'")


def folder(topic: str, partition: int | None = None) -> str:
    """Where a topic's files are, or a partition's."""
    return f"topics/{topic}" if partition is None else f"topics/{topic}/partition={partition}"


def file_name(of: TopicPartition, first: int) -> str:
    return f"{of.topic}+{of.partition}+{first:010d}.parquet"


def place_of(path: str) -> tuple[TopicPartition, int] | None:
    """The partition and start offset of a file by its path; None for what is no segment, or lies elsewhere."""
    found = _FILE.fullmatch(PurePosixPath(path).name)
    if found is None:
        return None
    of, first = TopicPartition(found["topic"], int(found["partition"])), int(found["first"])
    right = f"{folder(of.topic, of.partition)}/{file_name(of, first)}"
    return (of, first) if f"/{path}".endswith(f"/{right}") else None


def to_metadata(segment: Segment) -> dict[str, str]:
    """What a file says of itself, in Parquet's key-value metadata."""
    said = {
        "format": FORMAT,
        "topic": segment.of.topic,
        "partition": str(segment.of.partition),
        "first_offset": str(segment.first),
        "next_offset": str(segment.end),
        "lost": "true" if segment.lost else "false",
    }
    if segment.last is not None:
        said["last_offset"] = str(segment.last.offset)
        if segment.last.timestamp is not None:
            said["last_timestamp"] = str(segment.last.timestamp)
    return {_KEY + name: value for name, value in said.items()}


def from_metadata(path: str, metadata: Mapping[bytes, bytes], records: int) -> Segment:
    """The segment that a file is. Raises Damaged if it is none of ours, or says something else than its name."""
    said = {name.decode(): value.decode() for name, value in metadata.items() if name.startswith(_KEY.encode())}
    if said.get(f"{_KEY}format") != FORMAT:
        raise Damaged(f"{path} is no file of this archive's format ({FORMAT}): move it away, or update this program")
    try:
        of = TopicPartition(said[f"{_KEY}topic"], int(said[f"{_KEY}partition"]))
        first, end = int(said[f"{_KEY}first_offset"]), int(said[f"{_KEY}next_offset"])
        last = _last(said)
    except (KeyError, ValueError):
        raise Damaged(f"{path}: its metadata can't be read") from None
    if place_of(path) != (of, first) or end <= first:
        raise Damaged(f"{path} holds {of.topic}/{of.partition} from offset {first} to {end - 1}: it was renamed")
    return Segment(path, of, first, end, records, said.get(f"{_KEY}lost") == "true", last)


def _last(said: Mapping[str, str]) -> Last | None:
    offset, timestamp = said.get(f"{_KEY}last_offset"), said.get(f"{_KEY}last_timestamp")
    return Last(int(offset), None if timestamp is None else int(timestamp)) if offset is not None else None


def next_hole(segments: Sequence[Segment], log: Ends) -> Ends | None:
    """What has to be written next, given segments in order: the first hole between them, else what the log has beyond
    them. Raises Damaged if two overlap."""
    for before, after in pairwise(segments):
        _expect_apart(before, after)
        if before.end < after.first:
            return Ends(before.end, after.first)
    end = segments[-1].end if segments else log.first
    return Ends(end, log.end) if end < log.end else None


def expect_whole(segments: Sequence[Segment]) -> None:
    """Raises Damaged if these, in order, overlap or leave something out."""
    for before, after in pairwise(segments):
        _expect_apart(before, after)
        if before.end < after.first:
            raise Damaged(
                f"the archive lacks offsets {before.end} to {after.first - 1}, behind {before.path}: "
                "projector archive --check fills what Kafka still holds"
            )


def _expect_apart(before: Segment, after: Segment) -> None:
    if before.end > after.first:
        raise Damaged(
            f"offsets {after.first} to {min(before.end, after.end) - 1} are in the archive twice: "
            f"move {after.path} away, then projector archive --check"
        )


def lost(segments: Iterable[Segment]) -> list[Ends]:
    """What these segments say was lost."""
    return [Ends(one.first, one.end) for one in segments if one.lost]


def other_log(end: int, log: Ends) -> str | None:
    """Why an archive that ends there can't be of this log, as far as the log's ends say."""
    if log.end < end:
        return (
            f"the archive's next offset is {end}, but the log's is {log.end}: the topic was made anew or "
            "has lost its end, or this is another cluster; archive it to another place"
        )
    return None
