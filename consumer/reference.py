"""What the read models must hold, computed the obvious way: the oracle for tests and `verify`.

Input is what the producer meant, not bytes: an event is a dict of its CloudEvents attributes `id,
source, type, subject, time, sequence, data`, with `time` as RFC 3339 text, `sequence` as int, `data`
as dict or None, and money in it as decimal text, Decimal or int (never float).
It imports nothing of ours, so that it shares no mistake with the code it judges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, localcontext
from operator import itemgetter
from typing import Any

Row = dict[str, Any]

# Quantities are unbounded, so no fixed precision is enough; Inexact proves that nothing is rounded.
EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])

# The status a type names, and the column that holds when it did. `order.refunded` has its own rule.
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
STATELESS = {"order.line_added", "order.line_removed", "order.address_changed", "order.refunded"}
KNOWN_TYPES = STATES.keys() | STATELESS

ORDER_COLUMNS = """order_id version status customer_id customer_name customer_email currency
    line_count unit_count total paid refunded lines shipping_address carrier tracking_number
    cancel_reason placed_at confirmed_at paid_at shipped_at delivered_at cancelled_at
    last_event_id last_event_at""".split()

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

    @property
    def order_id(self) -> str:
        return str(self.attributes["subject"])


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
            case _ if delivery.order_id in settled.erased:
                settled.dropped += 1
            case Broken(order_id):
                settled.dead.append(("unreadable", {"subject": order_id} if order_id else None))
            case Event(event):
                _receive(settled, event)
    return settled


def _erase(settled: Settled, order_id: str) -> None:
    settled.erased.add(order_id)
    settled.applied.pop(order_id, None)
    settled.waiting.pop(order_id, None)
    settled.dead = [(r, e) for r, e in settled.dead if not e or e["subject"] != order_id]


def _receive(settled: Settled, event: Row) -> None:
    order_id, identity = event["subject"], (event["source"], event["id"])
    if identity in settled.seen:
        settled.duplicates += 1
    else:
        settled.seen.add(identity)
        settled.waiting.setdefault(order_id, []).append(event)
        _advance(settled, order_id)


def _advance(settled: Settled, order_id: str) -> None:
    """Take out of the waiting, first come first tried, all whose turn it is or was."""
    history, waiting = settled.applied.get(order_id, []), settled.waiting[order_id]
    while due := [event for event in waiting if event["sequence"] <= len(history) + 1]:
        event = due[0]
        waiting.remove(event)
        if event["sequence"] <= len(history):
            settled.dead.append(("version_conflict", event))
        elif not _fits(history, event):
            settled.dead.append(("invalid_history", event))
        else:
            history.append(event)
            settled.applied[order_id] = history
            settled.unknown_types += event["type"] not in KNOWN_TYPES


def _fits(history: list[Row], event: Row) -> bool:
    if event["type"] not in KNOWN_TYPES:
        return True
    placed = any(earlier["type"] == "order.placed" for earlier in history)
    return placed != (event["type"] == "order.placed")


def read_models(applied: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The rows of all five read models, each sorted by its key, without `projected_at`."""
    with localcontext(EXACT):
        orders = [_order(order_id, history) for order_id, history in applied.items()]
        orders = [order for order in orders if order["placed_at"] is not None]
        models = {
            "order_summary": orders,
            "order_timeline": [_told(e) for history in applied.values() for e in history],
            "customer_summary": _customers(orders),
            "product_sales_daily": _products(orders),
            "fulfilment_queue": _queue(orders),
        }
    # Python sorts text by code point, which is the byte order of its UTF-8.
    return {name: sorted(rows, key=itemgetter(*KEYS[name])) for name, rows in models.items()}


def _told(event: Row) -> Row:
    row = {"order_id": event["subject"], "version": event["sequence"], "event_id": event["id"]}
    row |= {"event_source": event["source"], "event_type": event["type"]}
    return row | {"occurred_at": instant(event["time"]), "data": event["data"]}


def _order(order_id: str, history: Sequence[Row]) -> Row:
    row: Row = dict.fromkeys(ORDER_COLUMNS)
    row |= {"order_id": order_id, "paid": Decimal(0), "refunded": Decimal(0), "lines": []}
    for event in history:
        _tell(row, event["type"], event["data"] or {})
        _name_state(row, event["type"], instant(event["time"]))
    row["line_count"] = len(row["lines"])
    row["unit_count"] = sum(line["quantity"] for line in row["lines"])
    row["total"] = sum((_worth(line) for line in row["lines"]), Decimal(0))
    row["version"], row["last_event_id"] = len(history), history[-1]["id"]
    row["last_event_at"] = instant(history[-1]["time"])
    return row


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
        case "order.shipped":
            row["carrier"], row["tracking_number"] = data["carrier"], data["tracking_number"]
        case "order.cancelled":
            row["cancel_reason"] = data["reason"]


def _name_state(row: Row, event_type: str, time: datetime) -> None:
    status, at = STATES.get(event_type, (None, None))
    if event_type == "order.refunded" and row["refunded"] >= row["paid"]:
        status = "refunded"
    if status:
        row["status"] = status
    if at:
        row[at] = time


def _line(line: Row) -> Row:
    row = {"sku": line["sku"], "title": line.get("title"), "quantity": line["quantity"]}
    return row | {"unit_price": _text(line["unit_price"])}


def _text(money: str | int | Decimal) -> str:
    """The producer's own text, or the shortest plain one of a JSON number."""
    return money if isinstance(money, str) else format(Decimal(money).normalize(), "f")


def _add_line(lines: list[Row], added: Row) -> None:
    for line in lines:
        same_price = Decimal(line["unit_price"]) == Decimal(added["unit_price"])
        if line["sku"] == added["sku"] and same_price:
            line["quantity"] += added["quantity"]
            return
    lines.append(added)


def _worth(line: Row) -> Decimal:
    return Decimal(line["quantity"]) * Decimal(line["unit_price"])


def _customers(orders: list[Row]) -> list[Row]:
    theirs = defaultdict(list)
    for order in orders:
        theirs[order["customer_id"], order["currency"]].append(order)
    return [_customer(own) for own in theirs.values()]


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


def _products(orders: list[Row]) -> list[Row]:
    sold = defaultdict(list)
    for order in orders:
        for line in order["lines"] if not order["cancelled_at"] else []:
            key = line["sku"], order["placed_at"].date(), order["currency"]
            sold[key].append((order["order_id"], line))
    return [
        {"sku": sku, "day": day, "currency": currency}
        | {"orders": len({order_id for order_id, _ in sales})}
        | {"units": sum(line["quantity"] for _, line in sales)}
        | {"revenue": sum((_worth(line) for _, line in sales), Decimal(0))}
        for (sku, day, currency), sales in sold.items()
    ]


def _queue(orders: list[Row]) -> list[Row]:
    copied = ("order_id", "customer_id", "customer_name", "unit_count", "total", "currency")
    return [
        {column: order[column] for column in copied}
        # Nothing to pay, nothing captured: then it was ready as soon as it was confirmed.
        | {"ready_since": max(order["confirmed_at"], order["paid_at"] or order["confirmed_at"])}
        for order in orders
        if order["confirmed_at"] and order["paid"] >= order["total"]
        if not order["shipped_at"] and not order["cancelled_at"]
    ]


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
        where = "/".join(map(str, self.key)) + (f".{self.column}" if self.column else "")
        return f"{where}: expected {self.expected!r}, found {self.actual!r}"


def compare(
    expected_rows: Iterable[Row], actual_rows: Iterable[Row], key: Sequence[str], limit: int = 20
) -> list[Difference]:
    """The first `limit` differences, by key; numbers are equal by value, columns that the expected
    rows don't have are not looked at, and each key may occur once."""
    expected, actual = _by_key(expected_rows, key), _by_key(actual_rows, key)
    differences: list[Difference] = []
    for place in sorted(expected.keys() | actual.keys()):
        should, found = expected.get(place, []), actual.get(place, [])
        if len(should) == len(found) == 1:
            row = found[0]
            for column, value in should[0].items():
                if column not in row or row[column] != value:
                    differences.append(Difference(place, column, value, row.get(column)))
        else:
            differences.append(Difference(place, None, should, found))
    return differences[:limit]


def _by_key(rows: Iterable[Row], key: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    grouped = defaultdict(list)
    for row in rows:
        grouped[tuple(row[column] for column in key)].append(row)
    return grouped
