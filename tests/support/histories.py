"""Random histories of orders and random deliveries of them, as the reference model takes them."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.events import DATA, Row, placed, row

_skus = st.sampled_from(["pen", "cup", "tea"])
_prices = st.sampled_from(["12.50", "12.5", "0", "3", "99999999999999.9999", "0.0001"])
_quantities = st.sampled_from([1, 2, 7, 2**63, 10**30])
_amounts = st.sampled_from(["0", "5", "12.50", "25", "99999999999999.9999"])
_titles = st.sampled_from([None, "Pen", "☕"])
_rivals = st.sampled_from(["", "", "", "b", "c"])
_sources = st.sampled_from(["/shop/orders", "/shop/orders", "/shop/orders", "/app"])
_addresses = st.sampled_from([None, {"city": "Paris"}, {}])

lines = st.fixed_dictionaries(
    {"sku": _skus, "quantity": _quantities, "unit_price": _prices}, optional={"title": _titles}
)


@st.composite
def datas(draw: st.DrawFn, type_: str) -> Row | None:
    """Valid data of a type, varied where the fold looks."""
    found = dict(DATA[type_] or {})
    match type_:
        case "order.placed":
            customer = {"id": draw(st.sampled_from(["c-1", "c-2"])), "name": draw(st.sampled_from(["Ada", "Zoë"]))}
            return placed(
                *draw(st.lists(lines, min_size=1, max_size=3)),
                customer=customer,
                currency=draw(st.sampled_from(["EUR", "USD"])),
                shipping_address=draw(_addresses),
            )
        case "order.line_added":
            return {"line": draw(lines)}
        case "order.line_removed":
            return {"sku": draw(_skus)}
        case "order.payment_captured" | "order.refunded":
            return {**found, "amount": draw(_amounts)}
    return DATA[type_]


@st.composite
def histories(draw: st.DrawFn, order: str = "o-1", most: int = 8) -> list[Row]:
    """Events in version order that an order can take: unknown types anywhere, `order.placed` once."""
    before = draw(st.integers(0, 1))
    rest = [type_ for type_ in DATA if type_ != "order.placed"]
    later = draw(st.lists(st.sampled_from(rest), max_size=most))
    types = ["order.gift_wrapped"] * before + ["order.placed", *later]
    times = st.integers(0, 59)
    return [
        row(
            type_, version, draw(datas(type_)), order=order, time=f"2026-01-0{1 + version % 3}T12:{draw(times):02d}:00Z"
        )
        for version, type_ in enumerate(types, 1)
    ]


@st.composite
def rows(draw: st.DrawFn, order: str, *, shared_ids: bool = False) -> Row:
    """Any event at any version, valid there or not. Rivals are rare; with `shared_ids` orders may claim one id."""
    version = draw(st.sampled_from([1, 1, 2, 2, 3, 3, 4, 5]))
    type_ = draw(st.sampled_from(["order.placed"] * 9 * (version == 1) + list(DATA)))
    id_ = f"{order}-{version}{draw(_rivals)}"
    if shared_ids:
        id_ = draw(st.sampled_from([id_, id_, "e-1", "e-2"]))
    return row(type_, version, order=order, id=id_, source=draw(_sources))
