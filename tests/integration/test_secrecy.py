"""A worker at its most talkative, fed with a word in every place where records have one: the word stays inside."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.install import install
from consumer.read_models import READ_MODELS
from consumer.read_models.kinds import Document, Type, columns
from runtime.embedded.ports import free_port
from schemas.order import OrderState
from testkit.deadline import eventually
from tests.support.engine import engine, placed, structured
from tests.support.events import DATA, ENCODINGS, Encoding, Rec, named, record
from tests.support.fleet import Fleet, fleet, projector
from tests.support.streams import deliveries_of, publish

CANARY = "C4NARY"
TALKATIVE = {"PROJECTOR_LOG_LEVEL": "debug", "PROJECTOR_STOP_TIMEOUT": 5}

# PostgreSQL's own message and detail hold the row then.
REFUSAL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused: %', NEW.data USING DETAIL = NEW.data, ERRCODE = TG_ARGV[0]; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON projector.ledger
    FOR EACH ROW WHEN (NEW.order_id LIKE '%refused') EXECUTE FUNCTION refuse('{}');
"""


def spoken(value: Any) -> Any:
    """The value with the canary in each text that may be any."""
    if isinstance(value, dict):
        kept = ("currency", "unit_price", "amount")
        return {name: one if name in kept else spoken(one) for name, one in value.items()}
    if isinstance(value, list):
        return [spoken(one) for one in value]
    return f"{CANARY} {value}" if isinstance(value, str) else value


def data(kind: str) -> Any:
    if kind != "order.placed":
        return spoken(DATA[kind])
    return {**spoken(DATA[kind]), "shipping_address": {CANARY: CANARY}}


def event(encoding: Encoding, order: str, kind: str, version: int, **more: Any) -> Rec:
    """A valid event that says the canary wherever it can, in names that nobody knows too."""
    attributes = named(kind, version, order=f"{CANARY}-{encoding}-{order}", source=f"/{CANARY}") | more
    carried = data(kind) if kind in DATA else {CANARY: CANARY}
    carried = {**carried, CANARY: CANARY} if isinstance(carried, dict) else carried
    return record(encoding, carried, attributes=attributes, headers=[(CANARY, CANARY.encode())])


def everything(encoding: Encoding) -> Iterator[Rec]:
    kinds = [*DATA, f"order.{CANARY}"]
    yield from (event(encoding, "whole", kind, version) for version, kind in enumerate(kinds, 1))
    yield event(encoding, "whole", "order.shipped", 2, id=f"{CANARY}-conflict-{encoding}")
    yield event(encoding, "early", "order.shipped", 7)
    yield event(encoding, "unplaced", "order.shipped", 1)
    yield event(encoding, "erased", "order.placed", 1)
    yield Rec(key=f"{CANARY}-{encoding}-erased".encode())
    yield event(encoding, "refused", "order.placed", 1)
    for wrong in ("id", "type", "time", "sequence"):
        yield event(encoding, "wrong", "order.placed", 1, **{wrong: f"{CANARY}\0"})
    yield record(encoding, {**data("order.placed"), "shipping_address": {CANARY: 1}}, order=CANARY)
    yield record(encoding, f'{{"{CANARY}'.encode(), order=CANARY)
    yield Rec(key=CANARY.encode() + b"\xff", value=CANARY.encode() + b"\xff")


async def pages(port: int) -> str:
    """All that a worker serves."""

    def read(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return str(answer.read(), "utf-8")
        except urllib.error.HTTPError as refusal:
            with refusal:
                return str(refusal.read(), "utf-8")

    return "".join(
        [await asyncio.to_thread(read, path) for path in ("/metrics", "/health/ready", f"/{CANARY.lower()}")]
    )


@pytest.mark.parametrize("style", ["json", "console"])
async def test_nothing_of_a_record_is_logged_or_measured(
    kafka_bootstrap: str, topic: str, database_url: str, style: str
) -> None:
    port = free_port()
    settings = {**TALKATIVE, "PROJECTOR_LOG_FORMAT": style, "PROJECTOR_METRICS_PORT": port}
    async with fleet(kafka_bootstrap, database_url, topic, **settings) as members:
        await members.connection.execute(REFUSAL.format("22003"))
        records = [one for encoding in ENCODINGS for one in everything(encoding)]
        ends = await publish(kafka_bootstrap, topic, deliveries_of(records))
        member = members.start()
        await members.caught_up(ends)
        served = await pages(port)
        assert await members.stop() == [0]
        letters = await members.connection.fetch("SELECT reason, error FROM projector.dead_letters")
        assert {one["reason"] for one in letters} == {"unreadable", "version_conflict", "invalid_history"}
        assert sum("SQLSTATE 22003" in one["error"] for one in letters) == len(ENCODINGS)
        assert not [one["error"] for one in letters if CANARY in one["error"]]
        assert await heard_of(members) > 80
        assert "projector_events_total" in served
        assert "worker_stopped" in member.said()
        assert CANARY not in served
        assert CANARY not in member.said()


async def heard_of(members: Fleet) -> int:
    """Rows that hold the canary: where it may be."""
    tables = " UNION ALL ".join(
        f"SELECT t::text AS row FROM projector.{table} AS t"
        for table in ("ledger", "orders", "parked_events", "dead_letters")
    )
    return int(await members.connection.fetchval(f"SELECT count(*) FROM ({tables}) AS t WHERE row LIKE '%{CANARY}%'"))


async def test_a_worker_that_postgresql_sends_away_does_not_say_over_what(
    kafka_bootstrap: str, topic: str, database_url: str
) -> None:
    async with fleet(kafka_bootstrap, database_url, topic, **TALKATIVE) as members:
        await members.connection.execute(REFUSAL.format("P0001"))  # no error that is anybody's but the trigger's author
        await publish(kafka_bootstrap, topic, deliveries_of([event("binary", "refused", "order.placed", 1)]))
        member = members.start()
        assert await member.ended() == 2
        assert "(SQLSTATE P0001)" in member.said()
        assert CANARY not in member.said()


class Failing(Document):
    """A read model whose own code fails on every order, and says over what."""

    name = "failing"
    version = 1
    keys = columns(order_id=Type.TEXT)
    values = columns(name=Type.TEXT)
    depends_on = ("status",)

    def row(self, order: OrderState) -> dict[str, Any]:
        raise ValueError(f"what is this: {order.customer_name}")


class _Unfailing(Failing):
    """As it was when it was installed."""

    def row(self, order: OrderState) -> dict[str, Any]:
        return {"name": "anyone"}


async def test_a_read_model_that_fails_is_told_of_without_the_order(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with engine(database_url) as fed:
        fed.append(structured(placed("there", customer=CANARY)), key=b"there")
        await fed.run()
        async with fed.pool.acquire() as connection:
            await install(connection, (*READ_MODELS, _Unfailing()))
        async with engine(database_url, [*READ_MODELS, Failing()]) as failing:
            failing.logs = fed.logs
            failing.append(structured(placed("new", customer=CANARY)), key=b"new")
            failing.append(None, key=b"there")
            outcome = await failing.run()
            assert outcome.counts["projection_error"] == 2
            letters = await failing.fetch("SELECT error FROM projector.dead_letters")
    for letter in letters:
        assert "read model failing: ValueError at test_secrecy.py" in letter["error"]
        assert CANARY not in letter["error"]
    assert CANARY not in caplog.text


# Passwords


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"DATABASE_URL": f"postgresql://app:{CANARY}@127.0.0.1:1/shop"}, 3),
        ({"DATABASE_URL": f"postgresql://app:{CANARY}@no-such-host.invalid/shop?sslmode=require"}, 3),
        ({"DATABASE_URL": f"postgresql://app:x/{CANARY}@127.0.0.1/shop"}, 2),
        ({"DATABASE_URL": f"postgresql://app@127.0.0.1/shop?password={CANARY}&{CANARY}"}, 2),
        ({"REDIS_URL": f"redis://:{CANARY}@h", "PROJECTOR_LANES": "0"}, 2),
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
async def test_a_worker_that_gets_nowhere_keeps_its_passwords(settings: dict[str, str], code: int, style: str) -> None:
    ended = await projector("worker", **TALKATIVE, **settings, PROJECTOR_LOG_FORMAT=style)
    assert ended.code == code, ended.err
    assert CANARY not in ended.err + ended.out


async def test_a_worker_whose_broker_is_away_keeps_its_passwords(database_url: str) -> None:
    login = {"MECHANISM": "SCRAM-SHA-512", "USERNAME": "worker", "PASSWORD": CANARY}
    settings = {f"KAFKA_SASL_{name}": value for name, value in login.items()}
    settings |= {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "PROJECTOR_LOG_FORMAT": "console"}
    async with fleet(f"127.0.0.1:{free_port()}", database_url, "any", **TALKATIVE, **settings) as members:
        member = members.start()
        await eventually(lambda: member.said().count("session_ended") >= 2, 30)
        assert await members.stop() == [0]
        assert CANARY not in member.said()


def test_the_word_is_in_all_that_is_sent() -> None:
    for encoding in ENCODINGS:
        for one in everything(encoding):
            assert CANARY in json.dumps([str(one.key), str(one.value), str(one.headers)])
