"""An event's data: bytes in, validated data and the text to keep out.

Two readers of one grammar. The fast one is a single pydantic-core call. It knows money as text only, since
pydantic reads a JSON number through a binary float (12345678901234.1234 would lose a digit); whatever it
refuses goes to the exact one, which either reads it or says in words what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from schemas import json_text, money
from schemas.errors import UnreadableEvent
from schemas.events import ADAPTERS
from schemas.upcasts import CURRENT, upcast

_VALIDATE_JSON = {name: adapter.validator.validate_json for name, adapter in ADAPTERS.items()}
_ABSENT = frozenset((b"", b"null"))
_ADDRESS = "shipping_address"


def read(event_type: str, schemaversion: int, raw: bytes, *, suspect: bool = True) -> tuple[Any, str | None]:
    """(data, its text). Data is None for a type that carries none, and for a type we don't know.

    `suspect` is False of bytes that hold nothing that `json_text.looks_suspect` looks for. Raises UnreadableEvent with
    a reason a person can act on, and nothing else, whatever the bytes.
    """
    validate = _VALIDATE_JSON.get(event_type)
    if validate is None:
        return None, _any_json(raw)
    if schemaversion >= CURRENT:
        try:
            data = validate(raw)
            text = raw.decode()
        except (ValidationError, UnicodeDecodeError):
            return _read_exactly(event_type, schemaversion, raw)
        if suspect and json_text.looks_suspect(raw, json_text.NUL):
            json_text.exact(text)
        return data, text
    return _read_exactly(event_type, schemaversion, raw)


def read_all(
    event_types: Sequence[str], schemaversions: Sequence[int], raws: Sequence[bytes], odd: set[int]
) -> tuple[list[Any], list[str | None]]:
    """`read` of many: data and texts. The places of those that it refuses are added to `odd`."""
    suspect = json_text.any_looks_suspect(raws, json_text.NUL)
    datas: list[Any] = []
    texts: list[str | None] = []
    for event_type, version, raw in zip(event_types, schemaversions, raws, strict=True):
        try:
            data, text = read(event_type, version, raw, suspect=suspect)
        except UnreadableEvent:
            odd.add(len(datas))
            data = text = None
        datas.append(data)
        texts.append(text)
    return datas, texts


def read_parsed(event_type: str, schemaversion: int, value: Any, text: str | None) -> tuple[Any, str | None]:
    """The same for data that stands inside a structured event: `value` parsed by a fast reader, `text` its source."""
    adapter = ADAPTERS.get(event_type)
    if text is not None and json_text.looks_suspect(text.encode()):
        json_text.exact(text)
    if adapter is None:
        return None, None if value is None else text
    if text is None:
        raise UnreadableEvent("data is missing")
    if schemaversion >= CURRENT:
        try:
            return adapter.validator.validate_python(value), text
        except ValidationError:
            pass
    return _read_exactly(event_type, schemaversion, text.encode())


def _any_json(raw: bytes) -> str | None:
    if raw == b"{}":
        return "{}"
    if raw.strip() in _ABSENT:
        return None
    try:
        from_json(raw, allow_inf_nan=False)
        text = raw.decode()
    except ValueError as error:
        raise UnreadableEvent(f"not JSON: {_words(error)}") from None
    if json_text.looks_suspect(raw, json_text.NUL):
        json_text.exact(text)
    return text


def _read_exactly(event_type: str, schemaversion: int, raw: bytes) -> tuple[Any, str | None]:
    if raw.strip() in _ABSENT:
        raise UnreadableEvent("data is missing")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UnreadableEvent(f"not UTF-8 at byte {error.start}") from None
    value = upcast(event_type, schemaversion, json_text.exact(text))
    try:
        return ADAPTERS[event_type].validator.validate_python(_money_as_text(value)), text
    except ValidationError as error:
        raise UnreadableEvent(_first_problem(error)) from None


def _money_as_text(data: Any) -> Any:
    """The data with JSON numbers as text where the contract has money, and nowhere else."""
    if not isinstance(data, dict):
        return data
    read = {name: _line(value) if name == "line" else value for name, value in data.items()}
    if isinstance(data.get("lines"), list):
        read["lines"] = [_line(line) for line in data["lines"]]
    if "amount" in data:
        read["amount"] = _number(data["amount"])
    return read


def _line(line: Any) -> Any:
    if isinstance(line, dict) and "unit_price" in line:
        return {**line, "unit_price": _number(line["unit_price"])}
    return line


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    if isinstance(value, Decimal) and value.adjusted() > money.SCALE * 10:
        return value  # far out of range: as text it would have that many digits
    return money.number_text(value) if value else "0"  # JSON's -0 is 0


def _first_problem(error: ValidationError) -> str:
    """Where and what, without the value: it may be personal, and it stands in the raw bytes anyway."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = _place(first["loc"])
    if first["type"] == "string_pattern_mismatch" and first["loc"][-1] in ("unit_price", "amount"):
        return f"{where}: not an amount from 0, below 10^14, with at most 4 decimal places"
    if first["type"] == "less_than":
        return f"{where}: more than 4,000 digits"  # the message has the bound in full
    return f"{where}: {first['msg']}"


def _place(path: tuple[int | str, ...]) -> str:
    """Where in the data; but the names inside an address are the producer's own, and may be personal."""
    named = path[: path.index(_ADDRESS) + 1] if _ADDRESS in path else path
    return ".".join(("data", *map(str, named), *("*" for _ in path[len(named) :][:1])))


def _words(error: ValueError) -> str:
    return str(error) if not isinstance(error, UnicodeDecodeError) else f"not UTF-8 at byte {error.start}"
