"""What the read models must hold, computed the obvious way: the oracle for tests and `verify`.

Input is what the producer meant, not bytes: an event is a dict of its CloudEvents attributes (`id,
source, type, subject, time, sequence, data`), with `time` as RFC 3339 text, `sequence` as int,
`data` as dict or None, and money in it as decimal text, Decimal or int (never float).
It imports nothing of ours, so that it shares no mistake with the code it judges.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from operator import itemgetter
from typing import Any

Row = dict[str, Any]

# Quantities are unbounded: more digits than a record can hold, and an error if it were not enough.
EXACT = Context(prec=2_000_000, traps=[Inexact, InvalidOperation])

# The status a type names and the column of its time; `order.refunded` names one only sometimes.
STATES = {
    "order.placed": ("placed", "placed_at"),
    "order.confirmed": ("confirmed", "confirmed_at"),
    "order.payment_captured": ("paid", "paid_at"),
    "order.payment_failed": ("payment_failed", None),
    "order.shipped": ("shipped", "shipped_at"),
    "order.delivery_failed": ("delivery_failed", None),
    "order.delivered": ("delivered", "delivered_at"),
    "order.cancelled": ("cancelled", "cancelled_at"),
}
KNOWN_TYPES = STATES.keys() | {"order.line_added", "order.line_removed", "order.address_changed", "order.refunded"}

KEYS = {
    "order_summary": ("order_id",),
    "order_timeline": ("order_id", "version"),
    "customer_summary": ("customer_id", "currency"),
    "product_sales_daily": ("sku", "day", "currency"),
    "fulfilment_queue": ("order_id",),
}


@dataclass(frozen=True)
class Event:
    """A record that can be read; `attributes` as in the module's docstring."""

    attributes: Row


@dataclass(frozen=True)
class Broken:
    """A record that can't be read, and the order it can still be tied to, if any."""

    order_id: str | None = None


@dataclass(frozen=True)
class Tombstone:
    """A null value: the order named by its key is to be forgotten."""

    order_id: str


@dataclass
class Settled:
    """Where every delivery ended. `dead` holds (reason, event), in which an unreadable record has
    no event, or one with a `subject` only if it could be tied to an order."""

    applied: dict[str, list[Row]] = field(default_factory=dict)
    waiting: dict[str, list[Row]] = field(default_factory=dict)
    dead: list[tuple[str, Row | None]] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    duplicates: int = 0
    dropped: int = 0
    unknown_types: int = 0

    @property
    def parked(self) -> list[Row]:
        """The events ahead of their turn, order by order, each order's as they arrived."""
        return [event for events in self.waiting.values() for event in events]


def settle(deliveries: Iterable[Event | Broken | Tombstone]) -> Settled:
    """Apply, park, refuse or drop each delivery, in the order of arrival."""
    settled = Settled()
    for delivery in deliveries:
        match delivery:
            case Tombstone(order_id):
                _erase(settled, order_id)
            case Event({"subject": order_id}) | Broken(order_id) if order_id in settled.erased:
                settled.dropped += 1
            case Broken(order_id):
                settled.dead.append(("unreadable", {"subject": order_id} if order_id else None))
            case Event(event) if (event["source"], event["id"]) in settled.seen:
                settled.duplicates += 1
            case Event(event):
                _receive(settled, event)
    return settled


def _erase(settled: Settled, order_id: str) -> None:
    settled.erased.add(order_id)
    settled.applied.pop(order_id, None)
    settled.waiting.pop(order_id, None)
    settled.dead = [(r, e) for r, e in settled.dead if not e or e["subject"] != order_id]


def _receive(settled: Settled, event: Row) -> None:
    """Let it wait, then take from the waiting, in order of arrival, all whose turn it is or was."""
    settled.seen.add((event["source"], event["id"]))
    history = settled.applied.get(event["subject"], [])
    waiting = settled.waiting.setdefault(event["subject"], [])
    waiting.append(event)
    while due := [other for other in waiting if other["sequence"] <= len(history) + 1]:
        event = due[0]
        waiting.remove(event)
        known, places = event["type"] in KNOWN_TYPES, event["type"] == "order.placed"
        if event["sequence"] <= len(history):
            settled.dead.append(("version_conflict", event))
        elif known and places == is_placed(history):
            settled.dead.append(("invalid_history", event))
        else:
            history.append(event)
            settled.applied[event["subject"]] = history
            settled.unknown_types += not known


def is_placed(history: Sequence[Row]) -> bool:
    return any(event["type"] == "order.placed" for event in history)


def read_models(applied: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The rows of all five read models, each sorted by its key, without `projected_at`."""
    with localcontext(EXACT):
        orders = [summary(history) for history in applied.values() if is_placed(history)]
        models = {
            "order_summary": orders,
            "order_timeline": [told(event) for history in applied.values() for event in history],
            "customer_summary": customers(orders),
            "product_sales_daily": sales(orders),
            "fulfilment_queue": queue(orders),
        }
    # Python sorts text by code point, which is the byte order of its UTF-8.
    return {name: sorted(rows, key=itemgetter(*KEYS[name])) for name, rows in models.items()}


def customers(orders: Iterable[Row]) -> list[Row]:
    """The rows of `customer_summary` for these rows of `order_summary`."""
    return [_customer(theirs) for theirs in _by_key(orders, KEYS["customer_summary"]).values()]


def told(event: Row) -> Row:
    """An applied event's row of `order_timeline`."""
    names = {"order_id": "subject", "version": "sequence", "event_id": "id", "event_source": "source"}
    row = {column: event[name] for column, name in names.items()}
    return row | {"event_type": event["type"], "occurred_at": instant(event["time"]), "data": event["data"]}


def summary(history: Sequence[Row]) -> Row:
    """A placed order's row of `order_summary`. Sums, here and below, are exact in the context EXACT."""
    row: Row = dict.fromkeys(("carrier", "tracking_number", "cancel_reason", *(at for _, at in STATES.values() if at)))
    row |= {"lines": [], "paid": Decimal(0), "refunded": Decimal(0)}
    for event in history:
        status, column = STATES.get(event["type"], (None, None))
        row |= ({"status": status} if status else {}) | ({column: instant(event["time"])} if column else {})
        _tell(row, event["type"], event["data"] or {})
    row["line_count"], row["total"] = len(row["lines"]), _worth(row["lines"])
    row["unit_count"] = sum(line["quantity"] for line in row["lines"])
    row |= {"order_id": event["subject"], "version": event["sequence"]}
    return row | {"last_event_id": event["id"], "last_event_at": instant(event["time"])}


def _tell(row: Row, event_type: str, data: Row) -> None:
    match event_type:
        case "order.placed":
            customer = data["customer"]
            row["customer_id"], row["customer_name"] = customer["id"], customer["name"]
            row["customer_email"], row["currency"] = customer.get("email"), data["currency"]
            row["lines"] = [_line(line) for line in data["lines"]]
            row["shipping_address"] = data.get("shipping_address")
        case "order.line_added":
            _add_line(row["lines"], _line(data["line"]))
        case "order.line_removed":
            row["lines"] = [line for line in row["lines"] if line["sku"] != data["sku"]]
        case "order.address_changed":
            row["shipping_address"] = data["shipping_address"]
        case "order.payment_captured":
            row["paid"] += Decimal(data["amount"])
        case "order.refunded":
            row["refunded"] += Decimal(data["amount"])
            if row["refunded"] >= row["paid"]:
                row["status"] = "refunded"
        case "order.shipped":
            row["carrier"], row["tracking_number"] = data["carrier"], data["tracking_number"]
        case "order.cancelled":
            row["cancel_reason"] = data["reason"]


def _line(line: Row) -> Row:
    price = line["unit_price"]
    text = price if isinstance(price, str) else format(Decimal(price), "f") if price else "0"
    return {c: line.get(c) for c in ("sku", "title", "quantity")} | {"unit_price": text}


def _add_line(lines: list[Row], added: Row) -> None:
    twin = added["sku"], Decimal(added["unit_price"])
    for line in lines:
        if (line["sku"], Decimal(line["unit_price"])) == twin:
            line["quantity"] += added["quantity"]
            return
    lines.append(added)


def _worth(lines: list[Row]) -> Decimal:
    return sum((line["quantity"] * Decimal(line["unit_price"]) for line in lines), Decimal(0))


def _customer(orders: list[Row]) -> Row:
    latest = max(orders, key=itemgetter("placed_at", "order_id"))
    row = {column: latest[column] for column in ("customer_id", "currency", "customer_name")}
    kept = [o for o in orders if not o["cancelled_at"]]
    return row | {
        "orders": len(orders),
        "open_orders": sum(not o["delivered_at"] and o["status"] != "refunded" for o in kept),
        "delivered_orders": sum(o["delivered_at"] is not None for o in orders),
        "cancelled_orders": len(orders) - len(kept),
        "revenue": sum((o["total"] - o["refunded"] for o in kept), Decimal(0)),
        "last_order_at": latest["placed_at"],
    }


def sales(orders: Iterable[Row]) -> list[Row]:
    """The rows of `product_sales_daily` for these rows of `order_summary`."""
    sold = [
        line | {"day": o["placed_at"].date(), "currency": o["currency"], "order_id": o["order_id"]}
        for o in orders
        for line in (o["lines"] if not o["cancelled_at"] else [])
    ]
    return [
        dict(zip(KEYS["product_sales_daily"], place, strict=True))
        | {"orders": len({line["order_id"] for line in lines})}
        | {"units": sum(line["quantity"] for line in lines), "revenue": _worth(lines)}
        for place, lines in _by_key(sold, KEYS["product_sales_daily"]).items()
    ]


def queue(orders: Iterable[Row]) -> list[Row]:
    """The rows of `fulfilment_queue` for these rows of `order_summary`."""
    copied = ("order_id", "customer_id", "customer_name", "unit_count", "total", "currency")
    held = [o for o in orders if not o["shipped_at"] and not o["cancelled_at"]]
    ready = [o for o in held if o["confirmed_at"] and o["paid"] >= o["total"]]
    # Nothing to pay, nothing captured: then it was ready as soon as it was confirmed.
    since = [max(o["confirmed_at"], o["paid_at"] or o["confirmed_at"]) for o in ready]
    return [{c: o[c] for c in copied} | {"ready_since": t} for o, t in zip(ready, since, strict=True)]


def instant(text: str) -> datetime:
    """RFC 3339 in UTC, to the microsecond, the rest cut off; second 60 is the next minute's 0."""
    text = text.upper()
    if text[17:19] == "60":
        return instant(f"{text[:17]}59{text[19:]}") + timedelta(seconds=1)
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True)
class Difference:
    """One value that is not what it should be; `column` is None where a row is missing or extra."""

    key: tuple[Any, ...]
    column: str | None
    expected: object
    actual: object

    def __str__(self) -> str:
        return f"{self.key} {self.column or 'row'}: expected {self.expected!r}, found {self.actual!r}"


def compare(
    expected_rows: Iterable[Row], actual_rows: Iterable[Row], key: Sequence[str], limit: int = 20
) -> list[Difference]:
    """The first `limit` differences in the expected columns, by key; numbers are equal by value."""
    expected, actual = _by_key(expected_rows, key), _by_key(actual_rows, key)
    differences = []
    for place in sorted(expected.keys() | actual.keys()):
        should, found = expected.get(place, []), actual.get(place, [])
        if len(should) == len(found) == 1:
            for column, value in should[0].items():
                if found[0].get(column, "no such column") != value:
                    differences.append(Difference(place, column, value, found[0].get(column)))
        else:
            differences.append(Difference(place, None, should, found))
    return differences[:limit]


def _by_key(rows: Iterable[Row], key: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    grouped: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault(tuple(row[column] for column in key), []).append(row)
    return grouped
