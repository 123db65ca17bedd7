"""The bodies that the HTTP service answers with, for the OpenAPI document: nothing is validated or made by these.

An answer's bytes come from PostgreSQL as they are; tests/integration holds them to these models. Fields may be added.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Version = Annotated[int, Field(ge=0, description="How many events of the order are in it.")]
Amount = Annotated[
    str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="A decimal text, exact.", examples=["12.5000"])
]
Source = Annotated[
    Literal["read_model", "cache", "write_model"],
    Field(description="Where it comes from. The write model's is the newest that there is."),
]
Staleness = Annotated[
    int | None,
    Field(ge=0, description="How old it may be: that of the slowest partition. Null: nobody knows at the moment."),
]


class OrderLine(BaseModel):
    sku: str
    title: str | None
    quantity: Annotated[int, Field(ge=1)]
    unit_price: str


class Order(BaseModel):
    """The columns of `read_model.order_summary`."""

    order_id: str
    version: Version
    status: str | None
    customer_id: str | None
    customer_name: str | None
    customer_email: str | None
    currency: str | None
    line_count: int
    unit_count: int
    total: Amount
    paid: Amount
    refunded: Amount
    lines: list[OrderLine]
    shipping_address: dict[str, str] | None
    carrier: str | None
    tracking_number: str | None
    cancel_reason: str | None
    placed_at: datetime | None
    confirmed_at: datetime | None
    paid_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    cancelled_at: datetime | None
    last_event_id: str | None
    last_event_at: datetime | None
    projected_at: Annotated[datetime | None, Field(description="Null where the write model answers.")]


class _Aged(BaseModel):
    as_of: Annotated[datetime, Field(description="When it was read.")]
    staleness_ms: Staleness
    source: Source


class OrderAnswer(_Aged):
    """An order, its version, and how old it may be."""

    order: Order
    version: Version


class Accepted(BaseModel):
    """The command is done."""

    order_id: str
    version: Annotated[Version, Field(description="The order's version that it has made.")]
    repeated: Annotated[bool, Field(description="It was done before, under the same idempotency key.")]


class _Page(_Aged):
    next_cursor: Annotated[
        str | None, Field(description="What to ask for the next page with; null: this is the last one.")
    ]


class OrdersPage(_Page):
    """A page of orders, by id."""

    orders: list[Order]


class TimelineEvent(BaseModel):
    """The columns of `read_model.order_timeline`."""

    order_id: str
    version: Version
    event_id: str
    event_source: str
    event_type: str
    occurred_at: datetime
    data: Annotated[Any, Field(description="As it was sent.")]


class TimelinePage(_Page):
    """A page of an order's events, by version."""

    events: list[TimelineEvent]


class CustomerSummary(BaseModel):
    """The columns of `read_model.customer_summary`."""

    customer_id: str
    currency: str
    customer_name: str | None
    orders: int
    open_orders: int
    delivered_orders: int
    cancelled_orders: int
    revenue: Amount
    last_order_at: datetime | None


class CustomerPage(_Page):
    """A customer, one summary per currency."""

    summaries: list[CustomerSummary]


class SalesDay(BaseModel):
    """The columns of `read_model.product_sales_daily`."""

    sku: str
    day: date
    currency: str
    orders: int
    units: int
    revenue: Amount


class SalesPage(_Page):
    """A page of a product's sales, by day and currency."""

    days: list[SalesDay]


class ReadyOrder(BaseModel):
    """The columns of `read_model.fulfilment_queue`."""

    order_id: str
    customer_id: str | None
    customer_name: str | None
    unit_count: int
    total: Amount
    currency: str
    ready_since: datetime


class QueuePage(_Page):
    """A page of orders to be shipped, the one that is ready for longest first."""

    orders: list[ReadyOrder]


class PartitionFreshness(BaseModel):
    """How far a partition of the topic is applied."""

    topic: str
    partition: int
    lag: Annotated[int, Field(ge=0, description="Records not yet applied.")]
    staleness_ms: Annotated[int, Field(ge=0)]
    oldest_at: Annotated[datetime | None, Field(description="The time of the oldest event not yet applied.")]
    next_offset: int
    end_offset: int
    last_event_at: datetime | None
    updated_at: datetime | None


class FreshnessAnswer(BaseModel):
    """How far readers are behind. Of what nobody knows, only the first three members are there."""

    known: Annotated[bool, Field(description="False: Kafka or PostgreSQL could not be asked for ten seconds.")]
    objective_seconds: float
    objective_met: Annotated[bool | None, Field(description="Null: nobody knows.")]
    lag: Annotated[int | None, Field(ge=0, description="Records not yet applied, in all.")] = None
    staleness_ms: Staleness = None
    parked: Annotated[int | None, Field(description="Events that wait for an earlier one of their order.")] = None
    parked_oldest_at: datetime | None = None
    dead_letters: Annotated[dict[str, int] | None, Field(description="Unresolved, by reason.")] = None
    partitions: Annotated[list[PartitionFreshness] | None, Field(description="The slowest first.")] = None


class Problem(BaseModel):
    """What went wrong (RFC 9457). Nothing of the request is repeated in it."""

    type: Annotated[str, Field(pattern="^urn:projector:problem:[a-z-]+$", description="For programs.")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="For a person.")]
    reason: Annotated[str | None, Field(description="With 409: what of the order's state forbids it.")] = None
    version: Annotated[int | None, Field(description="The order's version as it stands.")] = None


class Live(BaseModel):
    """The process runs."""

    live: Literal[True]


class Ready(BaseModel):
    """PostgreSQL answers."""

    ready: Literal[True]


MODELS: tuple[type[BaseModel], ...] = (
    OrderAnswer, Accepted, OrdersPage, TimelinePage, CustomerPage, SalesPage, QueuePage, FreshnessAnswer, Problem, Live,
    Ready,
)  # fmt: skip
