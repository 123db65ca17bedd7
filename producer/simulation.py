"""A shop's order events made from a seed: the stream of the demo, the benchmarks and the tests.

Pure: no clock and no I/O; the same plan gives the same bytes. Deliveries come lazily, in produce order; memory is
bounded by the plan's window, however many orders there are. Every event is delivered at least once, late or repeated
as the plan asks; no order needs a broken record.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from random import Random
from typing import Any, Literal

import orjson

from producer.flaws import FLAWS, GOOD

Encoding = Literal["binary", "structured", "outbox"]
Data = dict[str, Any]
Headers = list[tuple[str, bytes]]
Stream = Iterator["Delivery"]
Line = tuple[Data, int]  # and its worth in cents

HOT_CUSTOMER, HOT_SKU = "c-hot", "sku-hot"


@dataclass(frozen=True)
class SimulationPlan:
    """What to make. `duplicates` and `shuffle` are drawn for each event; `poison` is exact: how
    many broken records or, below 1, what share of the events. Repeat an encoding to weigh it."""

    orders: int = 20_000
    seed: int = 42
    duplicates: float = 0.10
    shuffle: float = 0.05
    poison: float = 100
    tombstones: int = 1
    encodings: tuple[Encoding, ...] = ("binary", "binary", "binary", "structured", "outbox")
    window: int = 400  # orders under way at once
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)  # has to be in UTC
    days: int = 30
    topic: str = "orders.events"  # the source of an outbox record that names none
    hot: float = 0.0  # the share of orders that HOT_CUSTOMER places, with HOT_SKU first: spaced evenly, not drawn

    def __post_init__(self) -> None:
        for name in ("orders", "duplicates", "shuffle", "poison", "tombstones", "window", "hot"):
            value, is_share = getattr(self, name), name in ("duplicates", "shuffle", "hot")
            if value < (name == "window") or (is_share and value > 1):
                raise ValueError(f"{name} can't be {value}")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a delivery says: an event (its attributes), a tombstone, or nothing, for a `flaw`."""

    kind: Literal["event", "broken", "tombstone"]
    event: Data | None = None
    order_id: str | None = None
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record to produce, and what was meant by it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    meant: Meaning


def simulate(plan: SimulationPlan) -> Stream:
    """The plan's stream in produce order; a second call gives the same stream again."""
    rng = Random(plan.seed)  # noqa: S311 - a simulation, not a secret
    numbers = rng.sample(range(plan.orders), min(plan.tombstones, plan.orders))
    doomed = {f"o{plan.seed}-{number:06d}" for number in numbers}
    orders = (_order(plan, rng, number, doomed) for number in range(plan.orders))
    return _with_copies(plan, rng, _with_broken(plan, rng, _interleaved(rng, orders, plan.window), doomed))


def _interleaved(rng: Random, orders: Iterator[list[Delivery]], window: int) -> Stream:
    """Always the next delivery of an order picked at random among those under way."""
    under_way = list(islice(orders, window))
    while under_way:
        at = int(rng.random() * len(under_way))
        yield under_way[at].pop(0)
        if not under_way[at]:
            under_way[at] = under_way[-1]
            under_way[-1:] = islice(orders, 1)


def _with_broken(plan: SimulationPlan, rng: Random, stream: Stream, doomed: set[str]) -> Stream:
    """A count is spread over the first four events per order, a share over all of them."""
    count, sent = int(plan.poison), 0
    for place, delivery in enumerate(stream, 1):
        due = min(count, place * count / (4 * plan.orders)) if count else place * plan.poison
        while sent + 1 <= due:
            yield _broken(plan, rng, sent, None if delivery.meant.order_id in doomed else delivery)
            sent += 1
        yield delivery
    yield from (_broken(plan, rng, number, None) for number in range(sent, count))


def _with_copies(plan: SimulationPlan, rng: Random, stream: Stream) -> Stream:
    later: dict[int, list[Delivery]] = {}
    for place, delivery in enumerate(stream):
        yield delivery
        if delivery.meant.event and rng.random() < plan.duplicates:
            copy = _copy(plan, rng, delivery, delivery.meant.event)
            later.setdefault(place + rng.randint(1, 5 * plan.window), []).append(copy)
        yield from later.pop(place, ())
    yield from (copy for place in sorted(later) for copy in later[place])


def _copy(plan: SimulationPlan, rng: Random, delivery: Delivery, event: Data) -> Delivery:
    """The same event again: mostly the same bytes, else another encoding or another partition."""
    luck = rng.random()
    if 0.70 <= luck < 0.85:
        return _encoded(plan, rng, event)
    # An outbox record's key is its order id, so that one stays where it is.
    if luck < 0.70 or ("id", event["id"].encode()) in delivery.headers:
        return delivery
    return replace(delivery, key=rng.choice((None, b"elsewhere-%d" % rng.randrange(1000))))


# What an order goes through after it was placed, and how often in a hundred.
# fmt: off
_LIVES = {
    "confirm pay ship deliver": 48, "pay confirm ship deliver": 5, "confirm pay ship": 3, "": 4,
    "confirm fail pay ship deliver": 5, "confirm pay ship miss deliver": 6, "confirm pay": 3,
    "confirm pay ship deliver part": 4, "confirm pay ship deliver part refund": 2, "confirm": 3,
    "confirm pay ship deliver refund": 2, "confirm pay cancel refund": 4, "cancel": 5, "confirm pay cancel": 2,
    "confirm fail cancel": 2, "confirm cancel": 2,
}
_SOURCES = ["/shop/orders", "/shop/orders", "/shop/app", "urn:legacy:pos"]
_CURRENCIES = ["EUR", "EUR", "USD", "GBP"]
_NAMES = ["Ada Byron", "Zoë Núñez", "Jan de Vries", "山田 花子", "Sam O'Neill", "Ana Lima"]
_ADDRESSES = [
    {"street": "Kerkstraat 1", "postcode": "1012 AB", "city": "Amsterdam", "country": "NL"},
    {"street": "Rue de l'Église 3", "postcode": "75001", "city": "Paris", "country": "FR"},
]
_MONEY_STYLES = [*["two places"] * 8, "brief", "number"]
# fmt: on


def _money(cents: int, style: str) -> str | Decimal:
    text = f"{cents // 100}.{cents % 100:02d}"
    brief = text.rstrip("0").rstrip(".")
    return text if style == "two places" else brief if style == "brief" else Decimal(brief)


def _skewed(rng: Random, count: int) -> int:
    """From 0 below `count`; the chance of k falls about as 1/(k+1)."""
    return int(count ** rng.random()) - 1


def _story(plan: SimulationPlan, rng: Random, number: int) -> list[tuple[str, Data]]:
    """The types and data of one order's events, in the order in which they happened."""
    style = rng.choice(_MONEY_STYLES)
    lines = [_line(rng, style) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    placed = _placed(plan, rng, [data for data, _ in lines])
    if int((number + 1) * plan.hot) > int(number * plan.hot):  # no draw: as many events as without
        placed |= {"customer": {"id": HOT_CUSTOMER, "name": "Ada Byron"}, "currency": "EUR"}
        lines[0][0].update(sku=HOT_SKU, title="Article of the day")  # in `placed` too
    told = [("order.placed", placed), *_changes(rng, lines)]
    steps = _steps(f"pay-{plan.seed}-{number}", sum(worth for _, worth in lines), style)
    told += [steps[name] for name in rng.choices(list(_LIVES), list(_LIVES.values()))[0].split()]
    if rng.random() < 0.03:  # a newer producer's type, which may come even before the order
        told.insert(rng.randint(0, len(told)), ("order.gift_wrapped", {"paper": "stars"}))
    return told


def _placed(plan: SimulationPlan, rng: Random, lines: list[Data]) -> Data:
    number = _skewed(rng, max(1, plan.orders // 8))
    name = _NAMES[number % len(_NAMES)] + " Jr" * (rng.random() < 0.03)
    email = {"email": f"customer{number}@example.com"} if number % 5 else {}
    address = {"shipping_address": rng.choice(_ADDRESSES)} if rng.random() < 0.9 else {}
    customer = {"id": f"c-{number:05d}", "name": name, **email}
    return {"customer": customer, "currency": rng.choice(_CURRENCIES), "lines": lines, **address}


def _line(rng: Random, style: str) -> Line:
    number, quantity = _skewed(rng, 200), rng.choice((1, 1, 1, 2, 3, 10))
    cents = (199 + number * 7919 % 9000) * rng.choice((*[10] * 9, 9)) // 10
    article = {"sku": f"sku-{number:03d}"} | ({"title": f"Article {number}"} if number % 7 else {})
    return {**article, "quantity": quantity, "unit_price": _money(cents, style)}, quantity * cents


def _changes(rng: Random, lines: list[Line]) -> Iterator[tuple[str, Data]]:
    """What was changed before the order went on; `lines` is changed too."""
    if rng.random() < 0.12:
        lines.append(_line(rng, rng.choice(_MONEY_STYLES)))
        yield "order.line_added", {"line": lines[-1][0]}
    if rng.random() < 0.05:
        sku = lines[-1][0]["sku"]
        lines[:] = [line for line in lines if line[0]["sku"] != sku]
        yield "order.line_removed", {"sku": sku}
    if rng.random() < 0.06:
        yield "order.address_changed", {"shipping_address": rng.choice(_ADDRESSES)}


def _steps(payment: str, total: int, style: str) -> dict[str, tuple[str, Data]]:
    return {
        "confirm": ("order.confirmed", {}),
        "pay": ("order.payment_captured", {"payment_id": payment, "amount": _money(total, style)}),
        "fail": ("order.payment_failed", {"payment_id": payment, "reason": "card declined"}),
        "ship": ("order.shipped", {"carrier": "PostNL", "tracking_number": f"T-{payment}"}),
        "miss": ("order.delivery_failed", {"reason": "nobody at home"}),
        "deliver": ("order.delivered", {}),
        "cancel": ("order.cancelled", {"reason": "changed my mind"}),
        "part": ("order.refunded", {"amount": _money(total // 3, style), "reason": "damaged"}),
        "refund": ("order.refunded", {"amount": _money(total, style), "reason": "returned"}),
    }


def _order(plan: SimulationPlan, rng: Random, number: int, doomed: set[str]) -> list[Delivery]:
    """One order's deliveries, some late; a doomed one has its tombstone at the end or before."""
    order_id, source = f"o{plan.seed}-{number:06d}", rng.choice([*_SOURCES, plan.topic])
    time = plan.start + timedelta(days=plan.days * (number + rng.random()) / plan.orders)
    deliveries, places = [], []
    for version, (event_type, data) in enumerate(_story(plan, rng, number), 1):
        event = {"id": _event_id(rng, source, order_id, version, time), "source": source}
        event |= {"type": event_type, "subject": order_id, "time": _time_text(rng, time)}
        deliveries.append(_encoded(plan, rng, {**event, "sequence": version, "data": data}))
        places.append(version + (rng.randint(1, 50) + 0.5 if rng.random() < plan.shuffle else 0))
        time += timedelta(seconds=int(rng.expovariate(1 / 20_000)))
    deliveries = [deliveries[at] for at in sorted(range(len(places)), key=places.__getitem__)]
    if order_id in doomed:
        tombstone = Delivery(order_id.encode(), None, [], Meaning("tombstone", order_id=order_id))
        deliveries.insert(rng.choice((len(places), rng.randint(1, len(places)))), tombstone)
    return deliveries


def _event_id(rng: Random, source: str, order_id: str, version: int, time: datetime) -> str:
    """Like a UUIDv7, but for the old till, which counts."""
    if source.startswith("urn:legacy"):
        return f"POS/{order_id}/{version}"
    when, noise = f"{int(time.timestamp() * 1000):012x}", f"{rng.getrandbits(62) | 1 << 63:016x}"
    return f"{when[:8]}-{when[8:]}-7{rng.getrandbits(12):03x}-{noise[:4]}-{noise[4:]}"


def _time_text(rng: Random, time: datetime) -> str:
    if rng.random() < 0.9:
        return f"{time.isoformat(timespec='milliseconds')[:-6]}Z"
    return f"{(time + timedelta(hours=2)).isoformat(timespec='microseconds')[:-6]}987+02:00"


def _encoded(plan: SimulationPlan, rng: Random, event: Data) -> Delivery:
    encoding, key = rng.choice(plan.encodings), event["subject"].encode()
    attributes = {name: value for name, value in event.items() if name != "data"}
    attributes["dataschema"] = f"https://shop.example/schemas/{event['type']}/1.json"
    attributes["traceparent"] = f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-01"
    value, headers = _record(encoding, attributes, orjson.dumps(event["data"], default=_json_number))
    headers = [] if encoding == "structured" and rng.random() < 0.3 else headers
    if encoding == "outbox" and rng.random() < 0.5:
        key, value = orjson.dumps(event["subject"]), orjson.dumps(value.decode())
    headers = [header for header in headers if header != ("source", plan.topic.encode())]
    return Delivery(key, value, headers, Meaning("event", event, event["subject"]))


def _json_number(amount: Decimal) -> int | float:
    """As a producer that sends amounts as numbers does: 76, 12.5."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _record(encoding: Encoding, attributes: Data, data: bytes) -> tuple[bytes, Headers]:
    if encoding == "structured":
        value = orjson.dumps({"specversion": "1.0", **attributes, "data": orjson.Fragment(data)})
        return value, [("content-type", b"application/cloudevents+json")]
    headers = [(name, str(value).encode()) for name, value in attributes.items()]
    if encoding == "binary":
        return data, [("ce_specversion", b"1.0"), *((f"ce_{n}", text) for n, text in headers)]
    return data, [({"type": "eventType"}.get(n, n), text) for n, text in headers if n != "subject"]


def _broken(plan: SimulationPlan, rng: Random, number: int, coming: Delivery | None) -> Delivery:
    """A record of an order of its own with the next of the flaws, or a torn copy of the coming."""
    # The last flaw is a megabyte: once is enough.
    bad, instead = FLAWS[number if number < len(FLAWS) else number % (len(FLAWS) - 1)]
    meant = Meaning("broken", flaw=f"{instead!r} for {bad!r}"[:60])
    if instead == b"" and coming and coming.value:
        # Its key or a header still says whose it was, so an erasure of that order finds it.
        meant = replace(meant, order_id=coming.meant.order_id)
        return replace(coming, value=coming.value[: len(coming.value) // 2], meant=meant)
    name = f"broken{plan.seed}-{number}"
    attributes: Data = {"id": name, "source": "/shop/orders", "type": "order.placed"}
    attributes |= {"subject": name, "time": "2026-01-01T00:00:00Z", "sequence": 1}
    attributes |= {bad: instead} if isinstance(bad, str) else {}
    attributes = {n: value for n, value in attributes.items() if value is not None}
    data = GOOD.replace(bad, instead) if isinstance(bad, bytes) else GOOD
    value, headers = _record(rng.choice(("binary", "structured")), attributes, data)
    return Delivery(name.encode(), value, headers, meant)
