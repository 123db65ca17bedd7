"""A fresh database for each test: cloned from a template that is built once a session."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from consumer.install import install
from consumer.read_models import READ_MODELS, ReadModel
from runtime.sql import Queries, quoted

_SQL = Queries("testkit", "queries.sql")


async def apply_migrations(url: str, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """Brings a database to the current schema, read models and all."""
    connection = await asyncpg.connect(url)
    try:
        await install(connection, models)
    finally:
        await connection.close()


def fresh_name(purpose: str) -> str:
    """A name nobody else on a shared server uses."""
    return f"test_{purpose}_{uuid4().hex[:12]}"


def with_database(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Creates a database and returns its URL."""
    if template is None:
        await _execute(server_url, _SQL["database_create"].format(name=quoted(name)))
    else:
        await _execute(server_url, _SQL["database_clone"].format(name=quoted(name), template=quoted(template)))
    return with_database(server_url, name)


async def drop_database(server_url: str, name: str) -> None:
    """Drops a database, and the connections to it."""
    await _execute(server_url, _SQL["database_drop"].format(name=quoted(name)))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
