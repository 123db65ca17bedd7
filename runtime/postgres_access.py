"""Whether PostgreSQL lets us in and, if not, what a person has to change in DATABASE_URL.

Asked of a program's first connection alone: what another try would meet again refuses the start. While it runs the
same things are Unavailable: who renews a certificate finds the fleet still trying.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from runtime import tls
from schemas.errors import Refused

_FILES = ("sslcert", "sslkey", "sslcrl")
_UNREADABLE = (
    "DATABASE_URL can't be read: has to be like postgresql://user:password@host:5432/database; in a user or a password "
    "write : / ? # @ as %3A %2F %3F %23 %40"
)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Errors of a first connection that another try would meet again leave the block as Refused."""
    _inspect(url)
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise Refused(f"DATABASE_URL: {error.args[0]} (SQLSTATE {error.sqlstate})") from None
    except asyncpg.exceptions.ClientConfigurationError as error:
        raise Refused(f"DATABASE_URL: {error.args[0]}") from None
    except OSError as error:
        if why := _obstacle(error):
            raise Refused(f"DATABASE_URL: {why}") from None
        raise
    except ValueError:  # its text has a part of the URL in it, and that may be a part of the password
        raise Refused(_UNREADABLE) from None


def _inspect(url: str) -> None:
    """What the driver would take for something else, or find out only later and tell us with the password in it."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    ports = [host.rpartition("]")[2].rpartition(":")[2] for host in hosts.split(",") if ":" in host.rpartition("]")[2]]
    if "@" in user or not all(port.isdigit() for port in ports if port):
        raise Refused(_UNREADABLE)
    query = dict(parse_qsl(parts.query))
    if authority := query.get("sslrootcert"):
        tls.trusting(authority, "DATABASE_URL: sslrootcert")
    for name in _FILES:
        if name in query and not os.access(query[name], os.R_OK):
            raise Refused(f"DATABASE_URL: {name}={query[name]!r}: there is no such file that we may read")


def _obstacle(error: OSError) -> str | None:
    breach = tls.breach(error)
    if isinstance(breach, ssl.SSLCertVerificationError):
        return tls.distrust(breach, "sslrootcert")
    if breach is not None:
        return f"TLS fails: {breach.reason}"
    # The driver has the same ConnectionError for a server that goes away in the middle.
    return "the server doesn't do TLS, and sslmode asks for it" if "rejected SSL upgrade" in str(error) else None
