"""A guard against what would be felt by everybody: how much faster a batch is than the textbook's event by event.

A ratio of two measurements in the same seconds, on the same database: some twenty with a server that syncs nothing, as
a test's does (`python -m bench` has it with one that does). A busy machine may halve it; the best of three turns
counts.
"""

from __future__ import annotations

import gc
import time

from bench.naive import Textbook
from bench.stream import plan
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS
from producer.simulation import simulate
from runtime import postgres
from runtime.settings import load
from schemas.events import Event, StoredRecord
from schemas.wire import decode
from schemas.wire_batch import decode_all

ORDERS = 120  # some 590 events
LEAST = 10.0


def records(orders: int, prefix: str) -> list[StoredRecord]:
    found = []
    for place, one in enumerate(simulate(plan(orders, 100))):
        headers = {**dict(one.headers), "ce_source": prefix.encode()}
        headers["ce_subject"] = prefix.encode() + (headers["ce_subject"] or b"")
        found.append(StoredRecord("t", 0, place, 0, headers["ce_subject"], one.value, tuple(headers.items())))
    return found


async def test_a_batch_is_many_times_as_fast_as_the_textbook(database_url: str) -> None:
    ratios = []
    async with postgres.pool(load({}, database_url=database_url), "test", 2) as pool, pool.acquire() as connection:
        textbook, processor = Textbook(connection), Processor(pool, Projection(READ_MODELS))
        for turn in range(3):  # the first warms both
            one_by_one = records(ORDERS, f"/textbook/{turn}")
            at_once = records(ORDERS, f"/batch/{turn}")
            began = time.perf_counter()
            for record in one_by_one:
                item = decode(record)
                assert isinstance(item, Event)
                await textbook.apply(item)
            middle = time.perf_counter()
            outcome, _ = await processor.process(decode_all(at_once), {})
            ended = time.perf_counter()
            assert outcome.counts["applied"] == len(at_once) == len(one_by_one)
            ratios.append((middle - began) / (ended - middle))
        applied = await pool.fetchval("SELECT count(*) FROM projector.ledger")
    assert applied == 3 * 2 * len(at_once)
    assert max(ratios) >= LEAST, ratios


async def test_a_batch_leaves_no_cycles_to_the_garbage_collector(database_url: str) -> None:
    """It would look at all that waits behind a backlog to find them. (The driver's COPY leaves a dozen; it is for large
    batches, of which there are few.)"""
    some = decode_all(records(20, "/cycles"))
    async with postgres.pool(load({}, database_url=database_url), "test", 1) as pool:
        processor = Processor(pool, Projection(READ_MODELS))
        batches = [some[first : first + 8] for first in range(0, len(some), 8)]
        for batch in batches[:2]:  # what is done once is done
            await processor.process(batch, {})
        gc.collect()
        gc.disable()
        try:
            for batch in batches[2:]:
                await processor.process(batch, {})
            assert gc.collect() < len(batches[2:])  # not one per batch
        finally:
            gc.enable()
