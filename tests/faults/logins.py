"""A login that may do what a worker has to do and nothing else: set up as docs/security.md says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

from tests.faults.scene import Scene
from tests.support.fleet import ROOT

_ROLES = ROOT / "schemas" / "roles.sql"


@asynccontextmanager
async def worker_login(scene: Scene) -> AsyncIterator[None]:
    """All workers log in with rights of role projector_worker: `login_of(scene)`."""
    name, password = f"worker_{uuid4().hex[:12]}", uuid4().hex
    await scene.connection.execute(_ROLES.read_text("utf-8"))
    await scene.connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE projector_worker")
    url = urlsplit(str(scene.fleet.settings["DATABASE_URL"]))
    place = url.netloc.rpartition("@")[2]
    scene.fleet.settings["DATABASE_URL"] = url._replace(netloc=f"{name}:{password}@{place}").geturl()
    scene.tools["login"] = name
    try:
        yield
    finally:
        await scene.connection.execute(f"DROP ROLE {name}")


def login_of(scene: Scene) -> str:
    return str(scene.tools["login"])
