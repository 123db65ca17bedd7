"""PostgreSQL: the pool, and the driver's errors put into this project's words, once.

connection lost, timed out, refused       → Unavailable   (the outcome of a COMMIT may be unknown: run again)
SQLSTATE 28 3D (login, database)          → Unavailable   (a start is refused for it: runtime.postgres_access)
SQLSTATE 40 (serialisation, deadlock)     → LostRace
SQLSTATE 08 53 55 57 58, some of 25, a
stale plan                                → Unavailable
SQLSTATE 22 23 54                         → Unstorable    (never with the value: it may be personal)
anything else                             → Refused       (a missing table, a missing right)

What the driver and the server say may repeat a value or a row. So an error says its SQLSTATE, in words only where
those name objects, and doesn't carry the driver's error as its cause: a traceback would print it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from runtime.postgres_access import explained
from runtime.settings import Settings
from schemas.connection import Connection, Pool
from schemas.errors import LostRace, Refused, Unavailable, Unstorable

_TRANSIENT = ("08", "53", "55", "57", "58", "28", "3D")
# A server that is read-only for now, or has ended a transaction that took too long; a plan that has become stale.
_ALSO_TRANSIENT = ("25006", "25P03", "25P04", "0A000")
_VALUE = ("22", "23", "54")
_NAMES_OBJECTS = ("3F", "42")  # schemas, tables; never a value

_TRANSACTION_TIMEOUT_SINCE = 17  # PostgreSQL's version

_CLOSE = 1.0  # seconds for a pool to say goodbye; a server that has gone away never answers


async def connect(settings: Settings, name: str, url: SecretStr | None = None) -> Connection:
    """One connection, for tools and for a program's start. `name` is what pg_stat_activity shows; `url` instead of the
    settings'.

    Raises Unavailable, or Refused if a person has to change something before PostgreSQL lets us in.
    """
    address = (url or settings.database_url).get_secret_value()
    with translated(), explained(address):
        return await asyncpg.connect(
            address,
            timeout=settings.connect_timeout,
            server_settings={"application_name": name, "timezone": "UTC"},
        )


def affected(status: str) -> int:
    """The rows that a command wrote, from what asyncpg's execute returns ("INSERT 0 5", "UPDATE 5")."""
    return int(status.rpartition(" ")[2])


def sibling(settings: Settings, database: str) -> SecretStr:
    """The URL of another database on the same server."""
    url = urlsplit(settings.database_url.get_secret_value())
    return SecretStr(urlunsplit(url._replace(path=f"/{database}")))


class _Stateless(asyncpg.Connection):
    """A connection whose users leave nothing in the session, so that nothing has to be reset when they give it back:
    one round trip less per batch."""

    def get_reset_query(self) -> str:
        return ""


def reading_pool(settings: Settings, name: str, size: int) -> AbstractAsyncContextManager[Pool]:
    """Connections that can write nothing: to `PROJECTOR_READ_DATABASE_URL`, which may be a replica, if it is set."""
    url = settings.read_database_url or settings.database_url
    return pool(settings, name, size, url=url, session={"default_transaction_read_only": "on"})


@asynccontextmanager
async def pool(
    settings: Settings, name: str, size: int, *, url: SecretStr | None = None, session: Mapping[str, str] | None = None
) -> AsyncIterator[Pool]:
    """At most `size` connections, each with time limits on statements, locks and idling inside a transaction.

    `url` instead of the settings'; `session` are more of PostgreSQL's own settings.
    """
    timeout = settings.statement_timeout
    # A member that is silent for a session timeout has lost its partitions: its locks would only be in the way.
    whole = {"idle_in_transaction_session_timeout": str(int(settings.session_timeout * 1000))}
    probe = await connect(settings, name, url)
    if probe.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
        # A client that stops between the messages of one statement isn't idle to PostgreSQL: only this ends its locks.
        whole["transaction_timeout"] = str(int((timeout + settings.session_timeout) * 1000))
    await probe.close()
    with translated():
        made = await asyncpg.create_pool(
            (url or settings.database_url).get_secret_value(),
            min_size=1,
            max_size=size,
            connection_class=_Stateless,
            # A batch's write grows with the read models; above asyncpg's own limit it would be planned each time.
            max_cacheable_statement_size=0,
            timeout=settings.connect_timeout,
            command_timeout=timeout + 5,  # the server's own limit goes first, and leaves the connection usable
            server_settings={
                "application_name": name,
                "timezone": "UTC",
                "statement_timeout": str(int(timeout * 1000)),
                "lock_timeout": str(int(timeout * 1000)),
                **whole,
                # A client that has vanished with its machine holds a connection for two minutes, not for the hours that
                # are Linux's default.
                "tcp_keepalives_idle": "60",
                "tcp_keepalives_interval": "10",
                "tcp_keepalives_count": "6",
                # A statement of a client that was killed ends within this time, and its locks with it.
                "client_connection_check_interval": "1000",
                # Plans of array-driven statements are as good generic as custom, and planning costs each time.
                "plan_cache_mode": "force_generic_plan",
                # Everything a pool's user reads, it reads by key. Of a table that was never analysed the planner
                # thinks otherwise: a scan that looks each row up in an array of thousands took 200 times as long.
                "enable_seqscan": "off",
                "jit": "off",
                **(session or {}),
            },
        )
    try:
        yield made
    finally:
        try:
            async with asyncio.timeout(_CLOSE):
                await made.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            made.terminate()


@asynccontextmanager
async def leased(pool: Pool, wait: float) -> AsyncIterator[Connection]:
    """One of the pool's connections, waited for up to `wait` seconds. Driver errors leave the block as this project's.

    A server that is read-only may be a primary no longer, and stay reachable: its connections would say so for ever.
    They are given up for new ones, which lead to where the primary is by now.
    """
    with translated():
        async with pool.acquire(timeout=wait) as connection:
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                await pool.expire_connections()
                raise


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors inside the block leave it as this project's."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_state(error) from None
    # InternalClientError: the server's last word came between two of ours; the connection is lost in a moment.
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"PostgreSQL: {type(error).__name__}") from None


@contextmanager
def races_lost(*tables: str) -> Iterator[None]:
    """That a row of these tables is in already leaves the block as LostRace."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.table_name not in tables:
            raise
        raise LostRace(f"somebody else has written to the {error.table_name}") from None


def _of_state(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state.startswith("40"):
        return LostRace(f"PostgreSQL: SQLSTATE {state}")
    if state.startswith(_TRANSIENT) or state in _ALSO_TRANSIENT:
        return Unavailable(f"PostgreSQL: SQLSTATE {state}")
    if state.startswith(_VALUE):
        return Unstorable(state)
    words = f": {error.args[0]}" if error.args and state.startswith(_NAMES_OBJECTS) else ""
    return Refused(f"PostgreSQL: {type(error).__name__} (SQLSTATE {state}){words}")
