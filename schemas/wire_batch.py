"""A batch of Kafka records into events, by columns: what `schemas.wire.decode` makes of each, in half of its time.

Most of what decoding costs Python is calls, some thirty per event. Here each attribute of all records in CloudEvents'
binary mode is checked and read with a handful of calls for all of them together. Whatever isn't as usual (another
encoding, one record in a column that a fast check refuses) is read by itself, by `decode`; so there is one meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar, cast

from schemas import attributes, payload
from schemas.errors import UnreadableEvent
from schemas.events import Decoded, Event, Record
from schemas.identity import event_uuids
from schemas.wire import (
    MAX_BYTES,
    OF_BINARY,
    SUBJECT,
    Slim,
    decode,
    decode_slim,
    order_of_slim,
    says_structured,
    slim,
)

_FEW = 4  # records: fewer are read faster one by one

T = TypeVar("T")

_Column = Sequence[bytes | None]
Columns = Mapping[str, _Column]
_event = cast("Callable[[tuple[Any, ...]], Event]", partial(tuple.__new__, Event))


def decode_all(records: Sequence[Record]) -> list[Decoded]:
    """[decode(record) for record in records]. Never raises."""
    if (columns := _one_layout(records)) is not None:
        return _read(columns, records)
    found: list[Decoded | None] = [None] * len(records)
    for places in _by_layout(records):
        some = [records[place] for place in places]
        columns = _one_layout(some)
        items = [*map(decode, some)] if columns is None else _read(columns, some)
        for place, item in zip(places, items, strict=True):
            found[place] = item
    return [item for item in found if item is not None]


def _read(columns: Columns, records: Sequence[Record]) -> list[Decoded]:
    events = _binary(columns, [record.value for record in records], records)
    return [decode(record) if event is None else event for event, record in zip(events, records, strict=True)]


def decode_all_slim(slims: Sequence[Slim], records: Sequence[Record]) -> list[Decoded]:
    """[decode_slim(*each) for each in zip(slims, records)]. Never raises."""
    if len(slims) < _FEW or any(len(slim[0] or b"") > MAX_BYTES for slim in slims):
        return [*map(decode_slim, slims, records)]
    values, *columns = zip(*slims, strict=True)
    events = _binary(dict(zip(OF_BINARY, columns, strict=True)), values, records)
    return [
        decode_slim(slim, record) if event is None else event
        for event, slim, record in zip(events, slims, records, strict=True)
    ]


def slim_all(records: Sequence[Record]) -> list[Slim | None]:
    """[slim(record) for record in records]."""
    columns = _one_layout(records)
    if columns is None:
        return [*map(slim, records)]
    nothing = (None,) * len(records)
    wanted = [columns.get(name, nothing) for name in OF_BINARY]
    return list(zip([record.value for record in records], *wanted, strict=True))


def orders_of_slims(slims: Sequence[Slim]) -> list[str | None]:
    """[order_of_slim(slim) for slim in slims]."""
    orders = attributes.keys([slim[SUBJECT] for slim in slims]) if slims else []
    return [*map(order_of_slim, slims)] if orders is None else [*orders]


def _one_layout(records: Sequence[Record]) -> Columns | None:
    """The headers' values, by name, of records in binary mode which all have the same names in the same order; None of
    others, and of few."""
    values = [record.value for record in records if record.value is not None]
    if len(records) < _FEW or len(values) < len(records) or max(map(len, values)) > MAX_BYTES:
        return None
    heads = [record.headers for record in records]
    width = len(heads[0])
    if not width or {*map(len, heads)} != {width}:
        return None
    flat = [*chain.from_iterable(chain.from_iterable(heads))]  # name, value, name, value, ...
    names = flat[: 2 * width : 2]
    if "ce_specversion" not in names or len(set(names)) < width:
        return None
    columns = {}
    for place, name in enumerate(names):
        if flat[2 * place :: 2 * width].count(name) < len(records):
            return None
        columns[name] = flat[2 * place + 1 :: 2 * width]
    if any(says_structured({"content-type": kind}) for kind in set(columns.get("content-type", ()))):
        return None
    return columns


def _by_layout(records: Sequence[Record]) -> Iterable[list[int]]:
    """Places of records, those together that may be read together."""
    found: dict[tuple[object, ...], list[int]] = {}
    for place, record in enumerate(records):
        alone = record.value is None or len(record.value) > MAX_BYTES
        layout: tuple[object, ...] = (place,) if alone else (*(name for name, _ in record.headers),)
        found.setdefault(layout, []).append(place)
    return found.values()


def _binary(columns: Columns, values: Sequence[Any], records: Sequence[Record]) -> list[Event | None]:
    """The events; None for a record that has to be read by itself. `values` are of MAX_BYTES at most."""
    odd: set[int] = set()
    nothing: _Column = (None,) * len(values)

    def column(name: str) -> _Column:
        return columns.get(name, nothing)

    _few(attributes.specversion, column("ce_specversion"), None, odd)
    kinds = _few(attributes.event_type, column("ce_type"), "", odd)
    versions = _few(attributes.schemaversion, column("ce_schemaversion"), 0, odd)
    sources = _few(attributes.source, column("ce_source"), "", odd)
    ids = _many(attributes.keys, partial(attributes.key, "id"), column("ce_id"), "", odd)
    order_ids = _many(attributes.keys, partial(attributes.key, "subject"), column("ce_subject"), "", odd)
    sequences = _many(attributes.sequences, attributes.sequence, column("ce_sequence"), 0, odd)
    times = _many(attributes.times, attributes.time, column("ce_time"), None, odd)
    datas, texts = payload.read_all(kinds, versions, values, odd)
    rows = zip(
        sources, ids, kinds, order_ids, sequences, times, datas, texts, event_uuids(ids), versions, records, strict=True
    )
    events: list[Event | None] = [*map(_event, rows)]
    for place in odd:
        events[place] = None
    return events


def _few(read: Callable[[Any], T], column: _Column, stand_in: T, odd: set[int]) -> list[T]:
    """A column of few different values, each read once."""
    meanings = {}
    refused = []
    for value in set(column):
        try:
            meanings[value] = read(value)
        except UnreadableEvent:
            refused.append(value)
            meanings[value] = stand_in
    if refused:
        odd.update(place for place, value in enumerate(column) if value in refused)
    return [*map(meanings.__getitem__, column)]


def _many(
    read_all: Callable[[Any], list[T] | None],
    read: Callable[[Any], T],
    column: _Column,
    stand_in: Any,
    odd: set[int],
) -> list[T]:
    """A column of many different values: all at once, or one by one if `read_all` meets something unusual."""
    if (all_of_them := read_all(column)) is not None:
        return all_of_them
    found: list[T] = []
    for place, value in enumerate(column):
        try:
            found.append(read(value))
        except UnreadableEvent:
            odd.add(place)
            found.append(stand_in)
    return found
