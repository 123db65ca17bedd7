"""Hypothesis strategies of good events, by the contract's table, and of values that may or may not fit in one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from hypothesis import strategies as st

Json = dict[str, Any]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)
quantities = st.integers(1, 2**63 - 1)
addresses = st.dictionaries(texts, texts, max_size=3)


def _amount(units: int, places: int) -> str:
    whole, fraction = divmod(units, 10**places)
    return f"{whole}.{fraction:0{places}d}" if places else str(whole)


_amounts = st.integers(0, 4).flatmap(
    lambda places: st.builds(_amount, st.integers(0, 10 ** (14 + places) - 1), st.just(places))
)
money = _amounts | _amounts.map(orjson.Fragment)  # a text, or the same as a number

lines = st.fixed_dictionaries(
    {"sku": keys, "quantity": quantities, "unit_price": money}, optional={"title": st.none() | texts, "more": texts}
)
customers = st.fixed_dictionaries({"id": keys, "name": texts}, optional={"email": st.none() | texts})
_reason: Json = {"reason": texts}

# Event type → its data; a type that carries none is not in here.
DATA: dict[str, st.SearchStrategy[Json]] = {
    "order.placed": st.fixed_dictionaries(
        {
            "customer": customers,
            "currency": st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3),
            "lines": st.lists(lines, min_size=1, max_size=3),
        },
        optional={"shipping_address": st.none() | addresses},
    ),
    "order.line_added": st.fixed_dictionaries({"line": lines}),
    "order.line_removed": st.fixed_dictionaries({"sku": keys}),
    "order.address_changed": st.fixed_dictionaries({"shipping_address": addresses}),
    "order.payment_captured": st.fixed_dictionaries({"payment_id": texts, "amount": money}),
    "order.payment_failed": st.fixed_dictionaries({"payment_id": texts, **_reason}),
    "order.shipped": st.fixed_dictionaries({"carrier": texts, "tracking_number": texts}),
    "order.delivery_failed": st.fixed_dictionaries(_reason),
    "order.cancelled": st.fixed_dictionaries(_reason),
    "order.refunded": st.fixed_dictionaries({"amount": money, **_reason}),
}

_offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_times = st.builds(
    datetime.isoformat,
    # No nearer to the ends of the calendar than an offset could carry it.
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=_offsets),  # noqa: DTZ001  # they get an offset
)
_sequences = st.integers(1, 2**63 - 1) | st.integers(1, 2**63 - 1).map(str)


def events(event_type: str) -> st.SearchStrategy[Json]:
    """Structured events of a type that the contract allows."""
    data = {"data": DATA[event_type]} if event_type in DATA else {}
    return st.fixed_dictionaries(
        {
            "specversion": st.just("1.0"),
            "type": st.just(event_type),
            "id": keys,
            "source": st.from_regex(r"[a-z0-9:/._~-]{1,50}", fullmatch=True),
            "subject": keys,
            "time": _times,
            "sequence": _sequences,
            **data,
        },
        optional={"schemaversion": st.integers(1, 9), "traceparent": texts | st.none(), "unknown": addresses},
    )


# Near the contract's edges, or far from it. No number that only JSON Schema would call an integer (1.0).
anything = st.recursive(
    st.booleans() | st.integers(-1, 2) | st.integers(-(2**63), 2**63 - 1) | texts
    | st.sampled_from(["", " ", "0", "1", "-1", "12.5", "1.23456", "GBP", "1.0", str(2**63), "2026-11-23T09:30:00Z"])
    | st.sampled_from(["null", "-0", "0.5", "1e2", "1e14", "-0.1", "9223372036854775808"]).map(orjson.Fragment),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def paths(value: Any, so_far: tuple[str, ...] = ()) -> list[str]:
    """Every place in an event, dotted as the cases have them."""
    here = [".".join(so_far)] if so_far else []
    if isinstance(value, dict):
        named = [(name, item) for name, item in value.items() if name and "." not in name]
    else:
        named = [(str(at), item) for at, item in enumerate(value)] if isinstance(value, list) else []
    return here + [path for name, item in named for path in paths(item, (*so_far, name))]
