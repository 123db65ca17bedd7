"""What may be wrong in a database, and how a verification has to name it: for the world of test_verify_damage."""

from __future__ import annotations

QUEUE = (
    "INSERT INTO projector.fulfilment_queue (order_id, customer_id, unit_count, total, currency, ready_since) "
    "VALUES ('{0}', 'c', 1, 1, 'EUR', now())"
)
PRODUCT = [f"product_sales_daily sku-1 2026-03-01 EUR {column}" for column in ("orders", "units", "revenue")]

# What is done to the database, and what has to be found: by the log, and by the journal where that is something else.
DAMAGE: dict[str, tuple[str, list[str], list[str] | None]] = {
    "an order's column": (
        "UPDATE projector.orders SET status = 'paid' WHERE order_id = 'b'",
        ["order_summary b status"],
        None,
    ),
    "an order's lines": (
        "UPDATE projector.orders SET lines = jsonb_set(lines, '{0,quantity}', '3') WHERE order_id = 'b'",
        ["order_summary b lines"],
        None,
    ),
    "an order's total, by a ten-thousandth": (
        "UPDATE projector.orders SET total = total + 0.0001 WHERE order_id = 'b'",
        ["order_summary b total"],
        None,
    ),
    "an order that is not there": (
        "DELETE FROM projector.orders WHERE order_id = 'b'",
        ["order_summary b missing", "orders b missing", "customer_summary c-2 EUR missing"],
        None,
    ),
    "an order too many": (
        'INSERT INTO projector.orders SELECT (jsonb_populate_record(o, \'{"order_id": "x"}\')).* '
        "FROM projector.orders AS o WHERE order_id = 'c'",
        ["order_summary x extra", "orders x extra"],
        None,
    ),
    "a version": (
        "UPDATE projector.orders SET version = 2 WHERE order_id = 'b'",
        ["order_summary b version", "orders b version"],
        None,
    ),
    "an erased order that is back": (
        "UPDATE projector.orders SET erased = false WHERE order_id = 'e'",
        ["orders e erased"],
        ["orders e extra"],
    ),
    "a ledger's last row": (
        "DELETE FROM projector.ledger WHERE order_id = 'b' AND version = 4",
        ["order_timeline b 4 missing", "processed_events b 4 missing"],
        [
            *(f"order_summary b {column}" for column in ("version", "status", "carrier", "tracking_number")),
            *(f"order_summary b {column}" for column in ("shipped_at", "last_event_id", "last_event_at")),
            "orders b version",
            "fulfilment_queue b missing",
        ],
    ),
    "a ledger's row in between": (
        "DELETE FROM projector.ledger WHERE order_id = 'c' AND version = 1",
        ["order_timeline c 1 missing", "processed_events c 1 missing"],
        ["order_summary c extra", "orders c extra", "customer_summary c-3 EUR extra", *PRODUCT],
    ),
    "data in the ledger": (
        "UPDATE projector.ledger SET data = jsonb_set(data, '{amount}', '\"24\"') WHERE order_id = 'b' AND version = 3",
        ["order_timeline b 3 data"],
        ["order_summary b paid"],
    ),
    "data in the ledger that nobody can read": (
        "UPDATE projector.ledger SET data = '{}' WHERE order_id = 'c'",
        ["order_timeline c 1 data"],
        [
            "order_summary c extra",
            "processed_events c 1 not to be read (KeyError)",
            "customer_summary c-3 EUR extra",
            *PRODUCT,
        ],
    ),
    "a time in the ledger": (
        "UPDATE projector.ledger SET occurred_at = occurred_at + interval '1 microsecond' "
        "WHERE order_id = 'b' AND version = 1",
        ["order_timeline b 1 occurred_at"],
        ["order_summary b placed_at", "customer_summary c-2 EUR last_order_at"],
    ),
    "an identity in the ledger": (
        "UPDATE projector.ledger SET plain_id = 'other' WHERE order_id = 'b' AND version = 4",
        ["order_summary b last_event_id", "dead_letters b /shop b-4 missing"],
        ["order_summary b last_event_id"],
    ),
    "an event that nobody sent": (
        "INSERT INTO projector.ledger (event_uuid, source_no, version, occurred_at, order_id, event_type) "
        "SELECT gen_random_uuid(), source_no, 2, now(), 'd', 'order.delivered' FROM projector.event_sources",
        [
            *(f"order_summary d {column}" for column in ("version", "status", "delivered_at")),
            *(f"order_summary d {column}" for column in ("last_event_id", "last_event_at")),
            "orders d version",
            *(f"customer_summary c-1 EUR {column}" for column in ("open_orders", "delivered_orders")),
        ],
        None,
    ),
    "a customer's sum, off by one": (
        "UPDATE projector.customer_summary SET orders = orders + 1 WHERE customer_id = 'c-1'",
        ["customer_summary c-1 EUR orders"],
        None,
    ),
    "a customer's money": (
        "UPDATE projector.customer_summary SET revenue = revenue - 0.0001 WHERE customer_id = 'c-1'",
        ["customer_summary c-1 EUR revenue"],
        None,
    ),
    "a customer who is not there": (
        "DELETE FROM projector.customer_summary WHERE customer_id = 'c-1'",
        ["customer_summary c-1 EUR missing"],
        None,
    ),
    "a product that is not there": (
        "DELETE FROM projector.product_sales_daily",
        ["product_sales_daily sku-1 2026-03-01 EUR missing"],
        None,
    ),
    "a product too many": (
        "INSERT INTO projector.product_sales_daily VALUES ('x', '2026-01-01', 'EUR', 1, 1, 1, 0)",
        ["product_sales_daily x 2026-01-01 EUR extra"],
        None,
    ),
    "zeros, which are no row": (
        "INSERT INTO projector.product_sales_daily VALUES ('x', '2026-01-01', 'EUR', 0, 0, 0, 0)",
        [],
        None,
    ),
    "an order that awaits shipping and isn't told": (
        "DELETE FROM projector.fulfilment_queue",
        ["fulfilment_queue a missing"],
        None,
    ),
    "an order that awaits shipping no longer": (QUEUE.format("b"), ["fulfilment_queue b extra"], None),
    "an order that awaits shipping and is none": (QUEUE.format("zzz"), ["fulfilment_queue zzz extra"], None),
    "a row that is stale": (
        "UPDATE projector.fulfilment_queue SET unit_count = 1",
        ["fulfilment_queue a unit_count"],
        None,
    ),
    "a parked event that is lost": (
        "DELETE FROM projector.parked_events",
        ["parked_events c /shop c-3 missing"],
        [],
    ),
    "a parked event whose turn has come": (
        "UPDATE projector.parked_events SET version = 2",
        ["parked_events c /shop c-3 version"],
        [
            *(f"order_summary c {column}" for column in ("version", "status", "confirmed_at")),
            *(f"order_summary c {column}" for column in ("last_event_id", "last_event_at")),
            "order_timeline c 2 missing",
            "orders c version",
            "processed_events c 2 missing",
            "parked_events c /shop c-3 extra",
        ],
    ),
    "a letter that is lost": (
        "DELETE FROM projector.dead_letters WHERE event_id = 'rival'",
        ["dead_letters d /shop rival missing"],
        [],
    ),
    "a letter's reason": (
        "UPDATE projector.dead_letters SET reason = 'invalid_history' WHERE event_id = 'rival'",
        ["dead_letters d /shop rival reason"],
        [],
    ),
    "an unreadable record's letter": (
        "DELETE FROM projector.dead_letters WHERE order_id = 'broken'",
        ["dead_letters broken {topic}/1 at offset 7 missing"],
        [],
    ),
    "a nameless record's letter": (
        "DELETE FROM projector.dead_letters WHERE order_id IS NULL",
        ["dead_letters  {topic}/1 at offset 8 missing"],
        [],
    ),
    "a checkpoint that was moved past records": (
        "DELETE FROM projector.dead_letters WHERE order_id = 'd'; DELETE FROM projector.orders WHERE order_id = 'd'; "
        "DELETE FROM projector.ledger WHERE order_id = 'd'",
        [
            "order_summary d missing",
            "order_timeline d 1 missing",
            "orders d missing",
            "processed_events d 1 missing",
            "dead_letters d /shop d-2 missing",
            "dead_letters d /shop rival missing",
        ],
        [*(f"customer_summary c-1 EUR {column}" for column in ("orders", "open_orders", "revenue")), *PRODUCT],
    ),
}
