"""Logs, to stderr: JSON where a machine reads, console on a terminal. One chain for ours and the libraries'.

Events are named in snake_case and carry fields, never an event's payload.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import orjson
import structlog


def configure(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Set up logging for this process."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[structlog.typing.Processor] = (
        # Its own way to show a traceback prints local variables too: records, passwords.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # aiokafka reports each step of a rebalance, and a leaving broker many times over; uvicorn each start and stop,
    # as an error would be.
    for library in ("aiokafka", "uvicorn"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


def _json(value: object, **_: object) -> str:
    return orjson.dumps(value, default=str).decode()
