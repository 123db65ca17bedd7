"""Whether Kafka lets us in and, if not, what a person has to change.

aiokafka has one error for a certificate that isn't trusted, a password that is wrong, a listener of another protocol
and a broker that is away, and tries all of them again for ever. So a program knocks once, when it starts: what another
try would meet again refuses the start. While it runs the same things are Unavailable: who renews a certificate or a
password finds the fleet still trying.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from runtime import tls
from runtime.hosts import is_loopback
from runtime.settings import Settings
from schemas.errors import Refused

_PATIENCE = 5.0  # seconds for a broker to let us in, or not; then it is away
_GOODBYE = 1.0
_GROUP = 0  # of the coordinators, the consumer groups'


class _Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Entered(NamedTuple):
    """A broker that let us in, and the brokers that it named."""

    at: _Address
    brokers: list[_Address]


class _Listener(NamedTuple):
    """What a port speaks: as KAFKA_SECURITY_PROTOCOL, and by which mechanisms one may log in."""

    protocol: str
    mechanisms: Sequence[str]


async def check(settings: Settings, topics: Iterable[str] = (), group: str | None = None) -> None:
    """Raise Refused if a person has to change something before Kafka lets us in; Kafka being away is no reason.

    Both doors are tried, the servers that we were given and the addresses that they advertise: one that opens is
    enough. `topics` and `group` are those that we have to be allowed to see.
    """
    visit = _Visit(settings, list(topics), group)
    entered = await visit.any_of(_servers(settings), "KAFKA_BOOTSTRAP_SERVERS")
    if entered is not None:
        _expect_encrypted(settings, entered.brokers)
    if entered is not None and entered.at not in entered.brokers:
        await visit.any_of(entered.brokers, "the brokers' advertised.listeners")


def _expect_encrypted(settings: Settings, brokers: Iterable[_Address]) -> None:
    """What a first server on this machine advertises may be anywhere, and gets the records, and the password."""
    if settings.allow_plaintext or settings.kafka_security_protocol.endswith("SSL"):
        return
    if far := [str(broker) for broker in brokers if not is_loopback(broker.host)]:
        raise Refused(
            f"KAFKA_BOOTSTRAP_SERVERS leads to {', '.join(far)} (advertised.listeners), unencrypted and not on this "
            "machine. Set KAFKA_SECURITY_PROTOCOL=SASL_SSL, or PROJECTOR_ALLOW_PLAINTEXT=true if the network is safe"
        )


def _servers(settings: Settings) -> list[_Address]:
    try:
        return [_Address(host, port) for host, port, _ in collect_hosts(settings.kafka_bootstrap_servers)]
    except ValueError:
        name = f"KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers!r}"
        raise Refused(f"{name}: has to be like kafka-1.example:9093,kafka-2.example:9093") from None


class _Visit:
    def __init__(self, settings: Settings, topics: list[str], group: str | None) -> None:
        self._settings = settings
        self._connection = settings.kafka_connection()
        del self._connection["bootstrap_servers"]
        self._topics = topics
        self._group = group

    async def any_of(self, addresses: Iterable[_Address], known_from: str) -> _Entered | None:
        """The first that lets us in; None: none does, but they may some time. Raises Refused."""
        attempts = [asyncio.ensure_future(self._try(address)) for address in addresses]
        obstacles = []
        try:
            for attempt in asyncio.as_completed(attempts):
                found = await attempt
                if isinstance(found, _Entered):
                    return found
                obstacles += [found] if found else []
        finally:
            for one in attempts:
                one.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        if obstacles:
            raise Refused(f"{known_from}: {'; '.join(obstacles)}")
        return None

    async def _try(self, address: _Address) -> _Entered | str | None:
        """Let in, or what a person has to change, or nothing: it is away."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._enter(address)
        except TimeoutError:
            return None
        except (KafkaError, OSError) as error:
            why = await self._obstacle(address, error)
            return f"{address}: {why}" if why else None

    async def _enter(self, address: _Address) -> _Entered:
        async with _connected(address, **self._connection) as connection:
            answer = await connection.send(MetadataRequest(self._topics, allow_auto_topic_creation=False))
            for code, topic, *_ in answer.topics:
                if code == TopicAuthorizationFailedError.errno:
                    raise Refused(f"Kafka: no right to see topic {topic}: {self._who()} needs READ on it")
            if self._group is not None:
                found = await connection.send(FindCoordinatorRequest(self._group, _GROUP))
                if found.error_code == GroupAuthorizationFailedError.errno:
                    raise Refused(f"Kafka: no right to join group {self._group}: {self._who()} needs READ on it")
        return _Entered(address, [_Address(host, port) for _, host, port, *_ in answer.brokers])

    async def _obstacle(self, address: _Address, error: Exception) -> str | None:
        if isinstance(error, SaslAuthenticationFailed):
            return "login refused: KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD is wrong"
        breach = tls.breach(error)
        if isinstance(breach, ssl.SSLCertVerificationError):
            return tls.distrust(breach, "KAFKA_SSL_CAFILE")
        listener = await _listener(address)
        if listener is not None and listener.protocol != self._settings.kafka_security_protocol:
            ours = self._settings.kafka_security_protocol
            return f"speaks {listener.protocol}, and KAFKA_SECURITY_PROTOCOL={ours}: take another port or protocol"
        if listener is not None and not self._knows_our_mechanism(listener):
            return f"KAFKA_SASL_MECHANISM has to be one of {', '.join(listener.mechanisms)}"
        return f"TLS fails: {breach.reason}" if breach is not None else None

    def _knows_our_mechanism(self, listener: _Listener) -> bool:
        return "SASL" not in listener.protocol or self._settings.kafka_sasl_mechanism in listener.mechanisms

    def _who(self) -> str:
        return f"the user {self._settings.kafka_sasl_username or 'ANONYMOUS'}"


async def _listener(address: _Address) -> _Listener | None:
    """What a port speaks, if it is one of Kafka's. Asked without credentials, so whoever answers learns none."""
    for transport, context in (("SSL", _trusting_anyone()), ("PLAINTEXT", None)):
        try:
            async with (
                asyncio.timeout(_PATIENCE),
                _connected(address, security_protocol=transport, ssl_context=context) as connection,
            ):
                answer = await connection.send(SaslHandShakeRequest("none"))
        except (KafkaError, OSError, TimeoutError):
            continue
        login = answer.error_code != IllegalSaslStateError.errno
        return _Listener(f"SASL_{transport}" if login else transport, answer.enabled_mechanisms)
    return None


@asynccontextmanager
async def _connected(address: _Address, **options: object) -> AsyncIterator[AIOKafkaConnection]:
    connection = await create_conn(*address, client_id="projector-access", **options)
    try:
        yield connection
    finally:
        await asyncio.wait([connection.close()], timeout=_GOODBYE)  # a broker that is gone doesn't answer it


def _trusting_anyone() -> ssl.SSLContext:
    """For asking what a port speaks, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
