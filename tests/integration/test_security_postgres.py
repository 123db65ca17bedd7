"""PostgreSQL behind TLS: `sslmode=verify-full` works, and what a person is told when it doesn't."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from runtime import postgres
from runtime.settings import load
from schemas.errors import ProjectorError, Refused, Unavailable
from testkit.databases import with_database
from tests.support.certificates import Authority, Certificate
from tests.support.fleet import fleet, projector, settings_for
from tests.support.streams import differences, plain_stream, publish
from tests.support.tls_front import TlsFront, tls_front

PASSWORD = "pg-s3cret"


class Guarded(NamedTuple):
    """A server behind TLS whose certificate a test chooses, and who signed those."""

    front: TlsFront
    certificates: dict[str, Certificate]
    authority: Path
    other_authority: Path

    def url(self, database: str = "postgres", host: str = "127.0.0.1", **query: str) -> str:
        asked = {"sslmode": "verify-full", "sslrootcert": str(self.authority), **query}
        return self.front.url(database, host, "&".join(f"{name}={value}" for name, value in asked.items() if value))

    def present(self, certificate: str | None) -> None:
        """Show this certificate to whoever connects from now on; None: no TLS."""
        self.front.certificate = self.certificates[certificate] if certificate else None


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority, dict[str, Certificate]]:
    directory = tmp_path_factory.mktemp("authorities")
    ours, theirs = Authority(directory / "ours"), Authority(directory / "theirs")
    here = ("IP:127.0.0.1", "DNS:localhost")
    certificates = {
        "good": ours.issue("good", *here),
        "expired": ours.issue("expired", *here, expired=True),
        "elsewhere": ours.issue("elsewhere", "DNS:elsewhere.example"),
    }
    return ours, theirs, certificates


@pytest_asyncio.fixture
async def guarded(
    postgres_url: str, authorities: tuple[Authority, Authority, dict[str, Certificate]]
) -> AsyncIterator[Guarded]:
    ours, theirs, certificates = authorities
    async with tls_front(postgres_url) as front:
        yield Guarded(front, certificates, ours.certificate, theirs.certificate)


async def refusal(url: str) -> str:
    with pytest.raises(Refused) as refused:
        await postgres.connect(load({}, database_url=url), "test")
    assert refused.value.__cause__ is None
    return str(refused.value)


async def test_a_worker_works_with_verify_full(
    guarded: Guarded, empty_database_url: str, kafka_bootstrap: str, topic: str
) -> None:
    guarded.present("good")
    database = empty_database_url.rpartition("/")[2]
    migrated = await projector("migrate", DATABASE_URL=guarded.url(database, host="localhost"))
    assert migrated.code == 0, migrated.err
    stream = plain_stream(30, 5, topic=topic)
    ends = await publish(kafka_bootstrap, topic, stream)
    async with fleet(kafka_bootstrap, guarded.url(database), topic) as members:
        members.start()
        await members.caught_up(ends)
        assert await differences(members.connection, stream.settled()) == []
        assert await members.stop() == [0]


@pytest.mark.parametrize(
    ("certificate", "query", "said"),
    [
        ("expired", {}, "certificate has expired: the server needs another one"),
        ("elsewhere", {}, "certificate is not valid for '127.0.0.1': name the server as its certificate does"),
        ("elsewhere", {"host": "localhost"}, "certificate is not valid for 'localhost': name the server"),
        ("good", {"sslrootcert": "theirs"}, "sslrootcert has to hold the certificate of the CA that signed"),
        ("good", {"sslrootcert": "/nowhere/ca.pem"}, "sslrootcert='/nowhere/ca.pem': No such file"),
        ("good", {"sslrootcert": "/etc/hosts"}, "sslrootcert='/etc/hosts': holds no CA certificate in PEM"),
        ("good", {"sslrootcert": ""}, 'root certificate file "'),
        ("good", {"sslcert": "/nowhere/client.pem"}, "sslcert='/nowhere/client.pem': there is no such file"),
        ("good", {"sslmode": "verify-everything"}, "`sslmode` parameter must be one of"),
        (None, {}, "the server doesn't do TLS, and sslmode asks for it"),
        (None, {"sslmode": "require"}, "the server doesn't do TLS, and sslmode asks for it"),
    ],
)
async def test_what_a_person_has_to_put_right_is_refused_and_named(
    guarded: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certificate: str | None,
    query: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where a CA certificate would be looked for
    guarded.present(certificate)
    if query.get("sslrootcert") == "theirs":
        query = {"sslrootcert": str(guarded.other_authority)}
    told = await refusal(guarded.url(**query))
    assert told.startswith("DATABASE_URL: ")
    assert said in told


@pytest.mark.parametrize("command", ["worker", "migrate", "status"])
async def test_a_program_that_distrusts_the_server_says_so_in_one_line_and_ends(guarded: Guarded, command: str) -> None:
    guarded.present("good")
    ended = await projector(command, DATABASE_URL=guarded.url(sslrootcert=str(guarded.other_authority)))
    assert ended.code == 2
    [line] = ended.err.splitlines()
    assert line.startswith("projector: DATABASE_URL: unable to get local issuer certificate: sslrootcert has to hold")


async def test_a_certificate_that_expires_while_a_program_runs_is_a_server_that_is_away(guarded: Guarded) -> None:
    guarded.present("good")
    async with postgres.pool(settings_for("localhost:1", guarded.url(), "any"), "test-expiry", 1) as pool:
        guarded.present("expired")
        await guarded.front.drop_all()
        with pytest.raises(Unavailable), postgres.translated():
            await pool.fetchval("SELECT 1")
        guarded.present("good")
        assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize(
    ("user", "database", "said"),
    [
        (f"nobody:{PASSWORD}", "postgres", 'password authentication failed for user "nobody" (SQLSTATE 28P01)'),
        ("", "no_such_database", 'database "no_such_database" does not exist (SQLSTATE 3D000)'),
    ],
)
async def test_who_is_not_known_is_told_without_the_password(
    postgres_url: str, user: str, database: str, said: str
) -> None:
    there = urlsplit(with_database(postgres_url, database))
    known, _, place = there.netloc.rpartition("@")
    told = await refusal(there._replace(netloc=f"{user or known}@{place}").geturl())
    assert told == f"DATABASE_URL: {said}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:s3c/ret@localhost/shop",
        "postgresql://app:s3c?ret@localhost/shop",
        "postgresql://app:s3c#ret@localhost/shop",
        "postgresql://app:s3c@ret@localhost/shop",
        "postgresql://:s3cret/@localhost/shop",
        "postgresql://localhost:s3cret/shop",
        "postgresql://localhost:5432,localhost:s3cret/shop",
        "postgresql://localhost/shop?s3cret",
    ],
)
async def test_a_url_that_cannot_be_read_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ProjectorError) as refused:
        await postgres.connect(load({}, database_url=url, allow_plaintext=True), "test")
    assert isinstance(refused.value, Refused)
    assert str(refused.value).startswith("DATABASE_URL can't be read: ")
    assert "s3c" not in str(refused.value)
