"""A fresh database for each test: cloned from a template that is built once a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from consumer.install import install

TemplateStep = Callable[[str], Awaitable[object]]


async def apply_migrations(url: str) -> None:
    """Brings the template to the current schema, read models and all."""
    connection = await asyncpg.connect(url)
    try:
        await install(connection)
    finally:
        await connection.close()


TEMPLATE_STEPS: list[TemplateStep] = [apply_migrations]
"""What makes the template, in order: each is called with its URL."""


def fresh_name(purpose: str) -> str:
    """A name nobody else on a shared server uses."""
    return f"test_{purpose}_{uuid4().hex[:12]}"


def with_database(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Creates a database and returns its URL."""
    copied = "" if template is None else f' TEMPLATE "{template}"'
    await _execute(server_url, f'CREATE DATABASE "{name}"{copied}')
    return with_database(server_url, name)


async def drop_database(server_url: str, name: str) -> None:
    """Drops a database, and the connections to it."""
    await _execute(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
