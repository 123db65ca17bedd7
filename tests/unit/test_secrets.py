"""What is never said: passwords, and anything of a record, in whatever words errors and logs have for it."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog

from consumer.read_model_store import ProjectionFailed, ReadModelStore
from consumer.read_models.kinds import Document, Type, columns
from consumer.verdicts import Change
from runtime import logs, postgres
from runtime.settings import load
from schemas.errors import ProjectorError
from schemas.events import Unreadable
from schemas.order import OrderState
from schemas.wire import decode
from tests.support.events import DATA, ENCODINGS, Encoding, at, named, placed, record

CANARY = "C4NARY"
SECRETS = {
    "DATABASE_URL": f"postgresql://app:{CANARY}@localhost/shop?password={CANARY}",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "worker",
    "KAFKA_SASL_PASSWORD": CANARY,
    "REDIS_URL": f"redis://:{CANARY}@localhost",
}


def printed(error: BaseException) -> str:
    """As a traceback shows it, with all that it was caused by."""
    return "".join(traceback.format_exception(error))


# Settings


def test_settings_show_no_secret_in_any_form() -> None:
    settings = load(SECRETS)
    for shown in (repr(settings), str(settings), f"{settings!s}", settings.model_dump_json(), str(dict(settings))):
        assert CANARY not in shown
    assert settings.kafka_connection()["sasl_plain_password"] == CANARY


@pytest.mark.parametrize("wrong", [{"PROJECTOR_LANES": "0"}, {"KAFKA_SASL_MECHANISM": ""}, {"PROJECTOR_TYPO": "1"}])
def test_a_refused_setting_takes_no_secret_with_it(wrong: dict[str, str]) -> None:
    with pytest.raises(ProjectorError) as refused:
        load({**SECRETS, **wrong})
    assert CANARY not in printed(refused.value)


# Errors


def driver_error(sqlstate: str) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError(f"invalid input for query argument $1: '{CANARY}'")
    error.sqlstate = sqlstate  # type: ignore[misc]  # as the driver does
    error.detail = f"Key (order_id)=({CANARY}) already exists."
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(driver_error(state) for state in ("22000", "22021", "23505", "40001", "40P01", "54000", "55P03")),
        *(driver_error(state) for state in ("0A000", "P0001", "XX000", "44000", "21000", "38000")),
        asyncpg.InterfaceError(CANARY),
        asyncpg.InternalClientError(CANARY),
        OSError(CANARY),
    ],
    ids=lambda error: getattr(error, "sqlstate", None) or type(error).__name__,
)
def test_what_the_driver_says_of_a_value_ends_with_it(error: Exception) -> None:
    with pytest.raises(ProjectorError) as told, postgres.translated():
        raise error
    assert CANARY not in printed(told.value)


class Failing(Document):
    name = "failing"
    version = 1
    keys = columns(order_id=Type.TEXT)
    values = columns(name=Type.TEXT)
    depends_on = ("customer_name",)

    def row(self, order: OrderState) -> dict[str, Any]:
        raise ValueError(f"no good name: {order.customer_name}")


def test_what_a_read_model_says_of_an_order_ends_with_it() -> None:
    order = OrderState("o-1", version=1, customer_name=CANARY, placed_at=at(1))
    with pytest.raises(ProjectionFailed) as told:
        ReadModelStore([Failing()]).derive([Change(OrderState("o-1"), order)])
    assert CANARY not in printed(told.value).replace("no good name: {order.customer_name}", "")
    assert "ValueError at test_secrets.py" in str(told.value)


# Reasons of dead letters


ADDRESSED = {**placed(), "customer": {"id": "c", "name": "n", "email": "e"}, "shipping_address": {"city": "c"}}


def spoilt(value: Any) -> Iterator[Any]:
    """The value with the canary somewhere in it: as a text, a name, inside a list, with what can't be stored."""
    yield from (CANARY, [CANARY], {CANARY: CANARY}, {CANARY: 1}, CANARY * 2_000, f"{CANARY}\0", f"{CANARY}\ud800")
    if isinstance(value, dict):
        yield {**value, CANARY: CANARY}
        for name in value:
            rest = {other: value[other] for other in value if other != name}
            yield {**rest, CANARY: value[name]}
            yield from ({**value, name: one} for one in spoilt(value[name]))
    if isinstance(value, list):
        yield from ([one, *value[1:]] for one in spoilt(value[0]))


BROKEN = [
    text.replace("?", CANARY).encode()
    for text in ("?", '{"?', '"?', '{"a": ?}', '["?"', '{"?": NaN}', '{"a": 1e99999, "b": "?"}', '{"?": 1, "?": 2')
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", DATA)
def test_why_a_record_cannot_be_read_is_said_without_its_words(kind: str, encoding: Encoding) -> None:
    data = ADDRESSED if kind == "order.placed" else DATA[kind]
    values = [*(json.dumps(one).encode() for one in spoilt(data)), *BROKEN, CANARY.encode() + b"\xff"]
    found = [decode(record(encoding, value, kind)) for value in values]
    found += [
        decode(record(encoding, attributes={**named(kind), name: wrong}))
        for name in ("id", "source", "type", "subject", "time", "sequence", "schemaversion", "specversion")
        for wrong in (CANARY, CANARY * 400, f"{CANARY} {CANARY}", f"{CANARY}\0", [CANARY], {CANARY: 1})
    ]
    reasons = [one.why for one in found if isinstance(one, Unreadable)]
    assert len(reasons) > 20
    assert not [why for why in reasons if CANARY in why]


# Logs


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_in_the_log_shows_no_local_variables(
    style: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("", "aiokafka", "uvicorn"):  # as they were, afterwards
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.configure("debug", style)
    password = "".join(("C4N", "ARY"))  # not in a line that a traceback quotes
    try:
        dict[int, str]()[len(password)]
    except KeyError:
        logging.getLogger("aiokafka.conn").exception("Unexpected exception")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "Unexpected exception" in said
    assert "KeyError" in said
    assert CANARY not in said
