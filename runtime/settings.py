"""All settings, in one typed place, read once from the environment when the program starts.

A bad value or an unknown `PROJECTOR_` name stops the program with the setting's name, its value (secrets hidden)
and what would be right. Nothing else in the project reads the environment.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from runtime import hosts, tls
from runtime.api_settings import ApiSettings
from runtime.api_settings import named as _named
from runtime.hosts import plaintext
from schemas.errors import Refused

_SHORTEST_TOKEN, _SHORTEST_SECRET = 16, 32  # characters

# Read before there are settings, by the test suite and the embedded services.
_NOT_OURS = {"PROJECTOR_TEST_BROKER", "PROJECTOR_CACHE_DIR"}


class Settings(ApiSettings):
    """Everything that can be set. Durations are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True)

    kafka_bootstrap_servers: str = _named(
        "KAFKA_BOOTSTRAP_SERVERS",
        "localhost:9092",
        "Kafka brokers to begin with, `host:port`, comma-separated",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _named(
        "KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", "How to talk to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = _named(
        "KAFKA_SASL_MECHANISM", None, "How to log in to Kafka, for the SASL protocols"
    )
    kafka_sasl_username: str | None = _named("KAFKA_SASL_USERNAME", None, "Kafka user")
    kafka_sasl_password: SecretStr | None = _named("KAFKA_SASL_PASSWORD", None, "Kafka password")
    kafka_ssl_cafile: str | None = _named(
        "KAFKA_SSL_CAFILE", None, "CA certificates (PEM file) that sign Kafka's; the system's if not set"
    )
    database_url: SecretStr = _named(
        "DATABASE_URL", SecretStr("postgresql://localhost:5432/projector"), "PostgreSQL, 15 or newer"
    )
    read_database_url: SecretStr | None = _named(
        "PROJECTOR_READ_DATABASE_URL", None, "PostgreSQL for the HTTP service's reads: a replica, or a role of its own"
    )
    redis_url: SecretStr | None = _named("REDIS_URL", None, "Redis or Valkey for the HTTP service's cache of orders")

    topics: Annotated[tuple[str, ...], NoDecode] = _named(
        "PROJECTOR_TOPICS", ("orders.events",), "Topics with order events, comma-separated", min_length=1
    )
    group_id: str = _named("PROJECTOR_GROUP_ID", "order-projector", "Kafka consumer group of the fleet", min_length=1)
    batch_size: int = _named(
        "PROJECTOR_BATCH_SIZE", 5_000, "Most records in one transaction (1 to 100,000)", ge=1, le=100_000
    )
    lanes: int = _named(
        "PROJECTOR_LANES", 3, "Transactions that one process has under way at once (1 to 64)", ge=1, le=64
    )
    session_timeout: float = _named(
        "PROJECTOR_SESSION_TIMEOUT",
        10.0,
        "Silence after which Kafka gives a worker's partitions away",
        ge=1,
        le=1800,
    )
    max_poll_interval: float = _named(
        "PROJECTOR_MAX_POLL_INTERVAL",
        300.0,
        "A worker that polls Kafka less often is put out of its group; one that waits for PostgreSQL goes on polling",
        ge=1,
        le=86_400,
    )
    group_instance_id: str | None = _named(
        "PROJECTOR_GROUP_INSTANCE_ID",
        None,
        "Static membership under this name, unique in the group: a restart moves no partitions, but a worker that "
        "is stopped keeps them for a session timeout",
        max_length=200,
    )
    stuck_timeout: float = _named(
        "PROJECTOR_STUCK_TIMEOUT",
        120.0,
        "Records wait, Kafka and PostgreSQL answer, and nothing is applied: after this long the worker ends with 1",
        gt=0,
        le=86_400,
    )
    parked_limit: float = _named(
        "PROJECTOR_PARKED_LIMIT",
        3600.0,
        "Age from which a parked event is reported: in `status`, metrics and the log",
        gt=0,
        le=31_536_000,
    )
    consistency: Literal["eventual", "local-first", "synchronous"] = _named(
        "PROJECTOR_CONSISTENCY",
        "eventual",
        "When a command changes the read models: `eventual`, by way of Kafka; `local-first` or `synchronous`, in its "
        "own transaction",
    )
    source: str = _named(
        "PROJECTOR_SOURCE", "/orders", "CloudEvents source of the events that our commands make", min_length=1
    )
    outbox_days: int = _named(
        "PROJECTOR_OUTBOX_DAYS", 7, "Whole days for which published outbox rows are kept", ge=1, le=3650
    )
    idempotency_hours: int = _named(
        "PROJECTOR_IDEMPOTENCY_HOURS",
        48,
        "Hours for which the answer under an idempotency key is kept",
        ge=1,
        le=87_600,
    )
    api_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = _named(
        "PROJECTOR_API_TOKENS",
        (),
        "Bearer tokens of the HTTP service's clients, comma-separated, 16 characters or more",
    )
    api_secret: SecretStr | None = _named(
        "PROJECTOR_API_SECRET",
        None,
        "What write tokens and cursors are signed with, 32 characters or more; all processes of the service share it",
    )
    freshness_objective: float = _named(
        "PROJECTOR_FRESHNESS_OBJECTIVE",
        5.0,
        "How old what readers see may be at most, for /freshness to say it is met",
        gt=0,
    )
    payment_timeout: float = _named(
        "PROJECTOR_PAYMENT_TIMEOUT", 3600.0, "Time after which a confirmed order that isn't paid is cancelled", gt=0
    )
    delivery_attempts: int = _named(
        "PROJECTOR_DELIVERY_ATTEMPTS",
        3,
        "Failed deliveries after which an order is cancelled and refunded",
        ge=1,
        le=100,
    )
    statement_timeout: float = _named(
        "PROJECTOR_STATEMENT_TIMEOUT", 30.0, "Longest a statement may take in PostgreSQL", gt=0, le=3600
    )
    connect_timeout: float = _named(
        "PROJECTOR_CONNECT_TIMEOUT", 10.0, "Longest wait for a connection to PostgreSQL", gt=0, le=600
    )
    stop_timeout: float = _named(
        "PROJECTOR_STOP_TIMEOUT",
        5.0,
        "Time to finish the batch in hand after SIGTERM; leaving takes another 5 at most",
        gt=0,
        le=600,
    )
    metrics_port: int | None = _named(
        "PROJECTOR_METRICS_PORT",
        None,
        "Port for /metrics, /health/live and /health/ready; off if not set",
        ge=0,
        le=65535,
    )
    metrics_host: str = _named(
        "PROJECTOR_METRICS_HOST", "127.0.0.1", "Address that the metrics port is served on; 0.0.0.0 in a container"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _named(
        "PROJECTOR_LOG_LEVEL", "info", "What is logged, to stderr"
    )
    log_format: Literal["auto", "json", "console"] = _named(
        "PROJECTOR_LOG_FORMAT", "auto", "`auto`: console on a terminal, else JSON"
    )
    allow_plaintext: bool = _named(
        "PROJECTOR_ALLOW_PLAINTEXT",
        False,
        "Allow unencrypted connections to other hosts, and the HTTP service to serve them in the clear",
    )
    failpoints: str = _named(
        "PROJECTOR_FAILPOINTS", "", "For fault tests: `name=action:when`, comma-separated; never in production"
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: Any, *others: Any, **more: Any
    ) -> tuple[Any, ...]:
        """Only what `load` found: pydantic would also take LOG_LEVEL, LANES or TOPICS, which may be another's."""
        return (init_settings,)

    @field_validator("topics", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_tokens", mode="before")
    @classmethod
    def _split_tokens(cls, value: Any) -> Any:
        found = tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
        if any(len(token) < _SHORTEST_TOKEN for token in found):
            raise ValueError(f"each has to have {_SHORTEST_TOKEN} characters or more")
        return found

    @field_validator("api_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"has to have {_SHORTEST_SECRET} characters or more")
        return value

    @field_validator("database_url", "read_database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in ("postgresql", "postgres"):
            raise ValueError("has to be like postgresql://user:password@host:5432/database")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("has to be like redis://:password@host:6379/0, or rediss:// for TLS")
        return value

    @model_validator(mode="after")
    def _is_encrypted(self) -> Settings:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_mechanism and self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(
                "KAFKA_SECURITY_PROTOCOL with SASL needs KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD too"
            )
        if self.allow_plaintext:
            return self
        if self.kafka_security_protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
            for host in hosts.far_brokers(self.kafka_bootstrap_servers):
                raise ValueError(plaintext("KAFKA_BOOTSTRAP_SERVERS", host, "KAFKA_SECURITY_PROTOCOL=SASL_SSL"))
        for name, url in (
            ("DATABASE_URL", self.database_url),
            ("PROJECTOR_READ_DATABASE_URL", self.read_database_url),
        ):
            if url is not None and (far := hosts.open_postgres(url.get_secret_value())):
                raise ValueError(plaintext(name, far, "?sslmode=verify-full"))
        if self.redis_url is not None and (far := hosts.open_redis(self.redis_url.get_secret_value())):
            raise ValueError(plaintext("REDIS_URL", far, "a rediss:// URL"))
        return self

    def kafka_connection(self) -> dict[str, Any]:
        """What every aiokafka client is given to reach the brokers."""
        found: dict[str, Any] = {
            "bootstrap_servers": self.kafka_bootstrap_servers,
            "security_protocol": self.kafka_security_protocol,
        }
        if self.kafka_security_protocol.endswith("SSL"):
            found["ssl_context"] = tls.trusting(self.kafka_ssl_cafile, "KAFKA_SSL_CAFILE")
        if self.kafka_security_protocol.startswith("SASL"):
            assert self.kafka_sasl_password is not None
            found["sasl_mechanism"] = self.kafka_sasl_mechanism
            found["sasl_plain_username"] = self.kafka_sasl_username
            found["sasl_plain_password"] = self.kafka_sasl_password.get_secret_value()
        return found


def load(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings of this process; `overrides` (from options) win. Raises Refused with every problem named."""
    env = os.environ if environment is None else environment
    aliases = {str(field.validation_alias): name for name, field in Settings.model_fields.items()}
    unknown = [name for name in env if name.startswith("PROJECTOR_") and name not in aliases and name not in _NOT_OURS]
    if unknown:
        raise Refused("\n".join(_unknown(name, aliases) for name in sorted(unknown)))
    given: dict[str, Any] = {name: env[alias] for alias, name in aliases.items() if env.get(alias)}
    given.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings(_env_file=None, **given)
    except ValidationError as error:
        raise Refused("\n".join(_problem(one) for one in error.errors())) from None


def _problem(error: Any) -> str:
    """One bad setting, for the person who set it."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    field = Settings.model_fields.get(name) or next(
        field for field in Settings.model_fields.values() if field.validation_alias == name
    )
    alias = str(field.validation_alias)
    secret = "SecretStr" in str(field.annotation)
    return f"{alias}={'(hidden)' if secret else error['input']!r}: {message}. {field.description}."


def _unknown(name: str, aliases: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, aliases, n=1)
    return f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
