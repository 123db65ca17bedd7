"""Kafka behind TLS, a login and rights: what works, and what a person is told when it doesn't."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import CreateAclsRequest

from runtime import kafka_access
from runtime.embedded.apache_kafka import ApacheKafka, apache_kafka_available
from runtime.settings import Settings
from schemas.errors import Refused
from testkit.deadline import eventually
from testkit.services import tansu_is_not_enough
from testkit.topics import create_topic
from tests.support.certificates import Authority
from tests.support.fleet import fleet, projector, settings_for, working
from tests.support.streams import differences, plain_stream, publish

USERS = {"worker": "w0rker-s3cret", "stranger": "str4nger-s3cret"}
LISTENERS = {
    "SECURE": "SASL_SSL",
    "TLS": "SSL",
    "LOGIN": "SASL_PLAINTEXT",
    "EXPIRED": "SSL",
    "BY_NAME": "SSL",  # its certificate knows localhost, and it advertises 127.0.0.1
    "MUTUAL": "SSL",
}
TOPIC, GROUP = 2, 3  # of Kafka's resource types
READ, DESCRIBE = 3, 8  # of its operations


class Guarded(NamedTuple):
    """A broker that lets in only who it should; PLAINTEXT and SSL are for its administrators."""

    broker: ApacheKafka
    authority: Path
    other_authority: Path

    def environment(self, listener: str = "SECURE", user: str = "worker", **more: str) -> dict[str, str]:
        """The settings that are right for a listener, and these instead."""
        host, port = self.broker.bootstrap(listener).split(":")
        protocol = {**LISTENERS, "PLAINTEXT": "PLAINTEXT"}[listener]
        found = {
            "KAFKA_BOOTSTRAP_SERVERS": f"{more.pop('host', host)}:{port}",
            "KAFKA_SECURITY_PROTOCOL": protocol,
            "KAFKA_SSL_CAFILE": str(self.authority),
        }
        if "SASL" in more.get("KAFKA_SECURITY_PROTOCOL", protocol):
            found |= {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
            found |= {"KAFKA_SASL_USERNAME": user, "KAFKA_SASL_PASSWORD": USERS[user]}
        return {**found, **more}

    def settings(self, listener: str = "SECURE", database: str = "postgresql://localhost", **more: str) -> Settings:
        named = {name.lower(): value for name, value in self.environment(listener, **more).items()}
        return settings_for(named.pop("kafka_bootstrap_servers"), database, "any", **named)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    reason = apache_kafka_available()
    if reason is not None:
        (pytest.fail if tansu_is_not_enough(os.environ) else pytest.skip)(f"needs Apache Kafka under the JVM: {reason}")
    directory = tmp_path_factory.mktemp("authorities")
    ours, theirs = Authority(directory / "ours"), Authority(directory / "theirs")
    here = ours.issue("here", "DNS:localhost", "IP:127.0.0.1")
    certificates = dict.fromkeys(("SECURE", "TLS", "MUTUAL"), here)
    certificates["EXPIRED"] = ours.issue("expired", "DNS:localhost", "IP:127.0.0.1", expired=True)
    certificates["BY_NAME"] = ours.issue("by_name", "DNS:localhost")
    logins = [f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]" for name, password in USERS.items()]
    properties = _properties({name: one.both for name, one in certificates.items()}, ours.certificate)
    with ApacheKafka(listeners=LISTENERS, properties=properties, format_options=logins) as broker:
        yield Guarded(broker, ours.certificate, theirs.certificate)


def _properties(keystores: Mapping[str, Path], authority: Path) -> dict[str, str]:
    found = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(authority),
    }
    for name, keystore in keystores.items():
        found[f"listener.name.{name.lower()}.ssl.keystore.type"] = "PEM"
        found[f"listener.name.{name.lower()}.ssl.keystore.location"] = str(keystore)
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    for name in ("secure", "login"):
        found[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = login
    return found


@pytest_asyncio.fixture
async def topic(guarded: Guarded) -> AsyncIterator[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=guarded.broker.bootstrap())
    await admin.start()
    try:
        yield await create_topic(admin, 2)
    finally:
        await admin.close()


async def allow(guarded: Guarded, user: str, kind: int, name: str, operation: int) -> None:
    """Give a user a right: the literal name, from every host."""
    host, port = guarded.broker.bootstrap().split(":")
    connection = await create_conn(host, int(port))
    try:
        answer = await connection.send(CreateAclsRequest(kind, name, 3, f"User:{user}", "*", operation, 3))
        assert [code for code, _ in answer.creation_responses] == [0]
    finally:
        await connection.close()


async def test_a_worker_works_over_tls_with_a_login_and_the_two_rights_it_needs(
    guarded: Guarded, topic: str, database_url: str
) -> None:
    await allow(guarded, "worker", TOPIC, topic, READ)
    await allow(guarded, "worker", GROUP, f"group-{topic}", READ)
    stream = plain_stream(40, 7, topic=topic)
    ends = await publish(guarded.broker.bootstrap(), topic, stream)
    secure = guarded.environment()
    async with fleet(secure.pop("KAFKA_BOOTSTRAP_SERVERS"), database_url, topic, **secure) as members:
        members.start()
        await members.caught_up(ends)
        assert await differences(members.connection, stream.settled()) == []
        assert await members.stop() == [0]
    told = await projector("status", **guarded.environment(), DATABASE_URL=database_url, PROJECTOR_TOPICS=topic)
    assert told.code == 0, told.err
    assert "lag 0 records" in told.out


@pytest.mark.parametrize(
    ("command", "change", "named"),
    [
        ("worker", {"KAFKA_SASL_PASSWORD": "not-this-one"}, "KAFKA_SASL_PASSWORD"),
        ("status", {"KAFKA_SASL_PASSWORD": "not-this-one"}, "KAFKA_SASL_PASSWORD"),
        ("worker", {"listener": "EXPIRED"}, "certificate has expired"),
        ("simulate", {"listener": "EXPIRED"}, "certificate has expired"),
    ],
)
async def test_a_program_that_may_not_enter_says_why_in_one_line_and_ends(
    guarded: Guarded, database_url: str, command: str, change: dict[str, str], named: str
) -> None:
    ended = await projector(command, **guarded.environment(**change), DATABASE_URL=database_url)
    assert ended.code == 2
    [line] = ended.err.splitlines()
    assert line.startswith("projector: KAFKA_BOOTSTRAP_SERVERS: 127.0.0.1:")
    assert named in line
    assert "not-this-one" not in line


@pytest.mark.parametrize(
    ("listener", "change", "said"),
    [
        ("EXPIRED", {}, "certificate has expired"),
        ("BY_NAME", {}, "KAFKA_BOOTSTRAP_SERVERS: .*certificate is not valid for '127.0.0.1': name the server as"),
        ("BY_NAME", {"host": "localhost"}, "^the brokers' advertised.listeners: .*not valid for '127.0.0.1'"),
        ("TLS", {"KAFKA_SSL_CAFILE": "theirs"}, "KAFKA_SSL_CAFILE has to hold the certificate of the CA"),
        ("TLS", {"KAFKA_SSL_CAFILE": ""}, "KAFKA_SSL_CAFILE has to hold the certificate of the CA"),
        ("MUTUAL", {}, "TLS fails: .*CERTIFICATE"),
        ("SECURE", {"KAFKA_SASL_PASSWORD": "x"}, "KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD is wrong"),
        ("SECURE", {"KAFKA_SASL_USERNAME": "x"}, "KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD is wrong"),
        ("SECURE", {"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_MECHANISM has to be one of SCRAM-SHA-512"),
        ("TLS", {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "speaks SSL, and KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ("TLS", {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "speaks SSL, and KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ("SECURE", {"KAFKA_SECURITY_PROTOCOL": "SSL"}, "speaks SASL_SSL, and KAFKA_SECURITY_PROTOCOL=SSL"),
        ("SECURE", {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "speaks SASL_SSL, and"),
        ("LOGIN", {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "speaks SASL_PLAINTEXT, and"),
        ("PLAINTEXT", {"KAFKA_SECURITY_PROTOCOL": "SSL"}, "speaks PLAINTEXT, and KAFKA_SECURITY_PROTOCOL=SSL"),
        ("PLAINTEXT", {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "speaks PLAINTEXT, and"),
    ],
)
async def test_what_a_person_has_to_put_right_is_refused_with_the_setting_named(
    guarded: Guarded, listener: str, change: dict[str, Any], said: str
) -> None:
    if change.get("KAFKA_SSL_CAFILE") == "theirs":
        change = {"KAFKA_SSL_CAFILE": str(guarded.other_authority)}
    with pytest.raises(Refused, match=said):
        await kafka_access.check(guarded.settings(listener, **change))


@pytest.mark.parametrize("listener", ["SECURE", "TLS", "LOGIN", "PLAINTEXT"])
async def test_what_is_right_is_let_in(guarded: Guarded, listener: str) -> None:
    await kafka_access.check(guarded.settings(listener))


async def test_one_server_of_several_is_enough(guarded: Guarded) -> None:
    servers = ("127.0.0.1:1", guarded.broker.bootstrap("EXPIRED"), guarded.broker.bootstrap("TLS"))
    await kafka_access.check(guarded.settings("TLS", KAFKA_BOOTSTRAP_SERVERS=",".join(servers)))


@pytest.mark.parametrize("servers", ["127.0.0.1:1", "no-such-host.invalid:9092"])
async def test_a_broker_that_is_away_is_not_refused(guarded: Guarded, servers: str) -> None:
    await kafka_access.check(guarded.settings("TLS", KAFKA_BOOTSTRAP_SERVERS=servers))


async def test_a_broker_that_says_nothing_is_away(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_access, "_PATIENCE", 0.2)
    visitors: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: visitors.append(writer), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await kafka_access.check(guarded.settings("TLS", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}"))
        for visitor in visitors:
            visitor.close()
    assert visitors


async def test_sigterm_is_obeyed_at_once_while_a_worker_waits_to_be_let_in(database_url: str) -> None:
    visitors: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: visitors.append(writer), "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with fleet(address, database_url, "any") as members:
            members.start()
            await eventually(lambda: len(visitors) > 0, 30)
            assert await members.stop(timeout=4) == [0]  # before it would give up
        for visitor in visitors:
            visitor.close()


async def test_a_certificate_that_expires_while_a_worker_runs_is_a_broker_that_is_away(
    guarded: Guarded, database_url: str
) -> None:
    async with working(guarded.settings("EXPIRED", database_url)) as worker:

        def tried_again() -> bool:
            of = {"reason": "Unavailable"}
            return (worker.observation.registry.get_sample_value("projector_sessions_total", of) or 0) >= 2

        await eventually(tried_again, 30)


async def test_a_topic_and_a_group_that_the_user_may_not_see_are_named(guarded: Guarded, topic: str) -> None:
    settings = guarded.settings(user="stranger")
    with pytest.raises(Refused, match=f"no right to see topic {topic}: the user stranger needs READ"):
        await kafka_access.check(settings, [topic])
    with pytest.raises(Refused, match=f"no right to join group {topic}: the user stranger needs READ"):
        await kafka_access.check(settings, group=topic)


async def test_a_worker_that_may_see_a_topic_and_not_read_it_ends(
    guarded: Guarded, topic: str, database_url: str
) -> None:
    await allow(guarded, "stranger", TOPIC, topic, DESCRIBE)
    await allow(guarded, "stranger", GROUP, f"group-{topic}", READ)
    await publish(guarded.broker.bootstrap(), topic, plain_stream(1, 1, topic=topic))
    stranger = guarded.environment(user="stranger")
    async with fleet(stranger.pop("KAFKA_BOOTSTRAP_SERVERS"), database_url, topic, **stranger) as members:
        member = members.start()
        assert await member.ended() == 2
        assert "docs/security.md" in member.said().splitlines()[-1]
