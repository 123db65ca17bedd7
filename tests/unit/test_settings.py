"""Settings: what is refused, how it is said, and that secrets and other programs' names stay out of it."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.settings import Settings, load
from schemas.errors import Refused

SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "worker",
    "KAFKA_SASL_PASSWORD": "hunter2",
}
FAR = "postgresql://app:s3cret@db.example.com/shop"


def refusal(**environment: str) -> str:
    with pytest.raises(Refused) as refused:
        load(environment)
    return str(refused.value)


def test_nothing_set_is_this_machine() -> None:
    settings = load({})
    assert settings.kafka_bootstrap_servers == "localhost:9092"
    assert settings.database_url.get_secret_value() == "postgresql://localhost:5432/projector"
    assert settings.topics == ("orders.events",)


def test_each_setting_is_read_by_its_name_and_empty_is_not_set() -> None:
    settings = load({"PROJECTOR_LANES": "7", "PROJECTOR_TOPICS": " a, b,", "PROJECTOR_BATCH_SIZE": ""})
    assert (settings.lanes, settings.topics, settings.batch_size) == (7, ("a", "b"), 5_000)


def test_options_win_over_the_environment_and_none_is_no_option() -> None:
    settings = load({"PROJECTOR_LANES": "7", "PROJECTOR_BATCH_SIZE": "9"}, lanes=2, batch_size=None)
    assert (settings.lanes, settings.batch_size) == (2, 9)


def test_every_setting_has_a_name_and_a_description() -> None:
    names = [str(field.validation_alias) for field in Settings.model_fields.values()]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("PROJECTOR_", "KAFKA_")) or name in ("DATABASE_URL", "REDIS_URL") for name in names)
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROJECTOR_BATCH_SIZE", "0"),
        ("PROJECTOR_BATCH_SIZE", "100001"),
        ("PROJECTOR_BATCH_SIZE", "1.5"),
        ("PROJECTOR_LANES", "many"),
        ("PROJECTOR_LANES", "65"),
        ("PROJECTOR_SESSION_TIMEOUT", "0.5"),
        ("PROJECTOR_SESSION_TIMEOUT", "nan"),
        ("PROJECTOR_STATEMENT_TIMEOUT", "inf"),
        ("PROJECTOR_CONNECT_TIMEOUT", "0"),
        ("PROJECTOR_STOP_TIMEOUT", "-1"),
        ("PROJECTOR_METRICS_PORT", "65536"),
        ("PROJECTOR_LOG_LEVEL", "loud"),
        ("PROJECTOR_LOG_FORMAT", "xml"),
        ("PROJECTOR_ALLOW_PLAINTEXT", "maybe"),
        ("PROJECTOR_TOPICS", " , "),
        ("KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_it_is_for(name: str, value: str) -> None:
    said = refusal(**{name: value})
    assert said.startswith(f"{name}=")
    assert value in said or name == "PROJECTOR_TOPICS"
    field = next(field for field in Settings.model_fields.values() if field.validation_alias == name)
    assert str(field.description) in said


def test_every_problem_is_named_at_once() -> None:
    said = refusal(PROJECTOR_LANES="0", PROJECTOR_BATCH_SIZE="0", PROJECTOR_LOG_LEVEL="x").splitlines()
    assert [line.partition("=")[0] for line in said] == [
        "PROJECTOR_BATCH_SIZE",
        "PROJECTOR_LANES",
        "PROJECTOR_LOG_LEVEL",
    ]


# Names


def test_an_unknown_name_is_refused_with_the_one_that_was_meant() -> None:
    assert refusal(PROJECTOR_BATCHSIZE="5") == "PROJECTOR_BATCHSIZE is no setting; did you mean PROJECTOR_BATCH_SIZE?"
    assert refusal(PROJECTOR_QQQQQQQQQQQQ="5") == "PROJECTOR_QQQQQQQQQQQQ is no setting"


def test_names_that_are_not_ours_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        "LOG_LEVEL": "DEBUG",
        "LANES": "x",
        "TOPICS": "a",
        "BATCH_SIZE": "0",
        "projector_lanes": "x",
        "FAILPOINTS": "x",
    }
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    for name in ("DATABASE_URL", "PROJECTOR_TOPICS", "PROJECTOR_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    assert load(others) == load({})
    assert load() == load({}, **{"kafka_bootstrap_servers": load().kafka_bootstrap_servers})


def test_load_reads_the_environment_it_is_given_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTOR_LANES", "17")
    assert load().lanes == 17
    assert load({}).lanes == 3


# Secrets


@pytest.mark.parametrize(
    "environment",
    [
        {"DATABASE_URL": "mysql://app:s3cret@localhost/shop"},
        {"DATABASE_URL": "postgresql://app:s3cret@[::1/shop"},
        {"DATABASE_URL": FAR},
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_PASSWORD": "s3cret"},
        {
            "PROJECTOR_LANES": "0",
            "DATABASE_URL": FAR,
            "KAFKA_SASL_PASSWORD": "s3cret",
            "REDIS_URL": "rediss://:s3cret@h",
        },
    ],
)
def test_a_refusal_never_shows_a_secret(environment: dict[str, str]) -> None:
    assert "s3cret" not in refusal(**environment)


def test_settings_never_show_a_secret() -> None:
    settings = load({**SASL, "DATABASE_URL": f"{FAR}?sslmode=require", "REDIS_URL": "rediss://:s3cret@h"})
    for shown in (repr(settings), str(settings), str(settings.model_dump())):
        assert "s3cret" not in shown
        assert "hunter2" not in shown


# Encryption


@pytest.mark.parametrize(
    "servers",
    [
        "broker.example.com:9092",
        "broker.example.com",
        "localhost:9092,broker.example.com:9092",
        "localhost:9092, 10.0.0.1",
        "127.example.com:9092",
        "127.0.0.1.example.com:9092",
        "localhost.example.com:9092",
        "[2001:db8::1]:9092",
    ],
)
def test_kafka_in_the_clear_is_refused_beyond_this_machine(servers: str) -> None:
    said = refusal(KAFKA_BOOTSTRAP_SERVERS=servers)
    assert "KAFKA_BOOTSTRAP_SERVERS: unencrypted" in said
    assert "PROJECTOR_ALLOW_PLAINTEXT=true" in said
    assert load({"KAFKA_BOOTSTRAP_SERVERS": servers, "PROJECTOR_ALLOW_PLAINTEXT": "true"})
    assert load({**SASL, "KAFKA_BOOTSTRAP_SERVERS": servers})


@pytest.mark.parametrize(
    "servers", ["localhost", "127.0.0.1:9092", "127.9.9.9:1", "[::1]:9092", "localhost:1,127.0.0.1:2"]
)
def test_kafka_on_this_machine_may_be_in_the_clear(servers: str) -> None:
    assert load({"KAFKA_BOOTSTRAP_SERVERS": servers}).kafka_bootstrap_servers == servers


@pytest.mark.parametrize(
    "url",
    [
        FAR,
        f"{FAR}?sslmode=prefer",
        f"{FAR}?sslmode=disable",
        f"{FAR}?sslmode=require&sslmode=disable",
        f"{FAR}?host=localhost",
        "postgresql://localhost/shop?host=db.example.com",
        "postgresql://localhost,db.example.com/shop",
        "postgresql://localhost:5432,db.example.com:5432/shop",
        "postgresql:///shop?host=localhost,db.example.com",
        "postgresql:///shop?host=db.example.com",
        "postgresql://127.example.com/shop",
        "postgresql:///?service=shop",
    ],
)
def test_postgresql_in_the_clear_is_refused_beyond_this_machine(url: str) -> None:
    assert "DATABASE_URL: unencrypted" in refusal(DATABASE_URL=url)
    assert load({"DATABASE_URL": url, "PROJECTOR_ALLOW_PLAINTEXT": "1"})


@pytest.mark.parametrize(
    "url",
    [
        *(f"{FAR}?sslmode={mode}" for mode in ("require", "verify-ca", "verify-full")),
        *(f"postgres://{host}/shop" for host in ("localhost", "127.0.0.1", "[::1]", "", "localhost:1,[::1]:2")),
        "postgresql://%2Fvar%2Frun%2Fpostgresql/shop",
        "postgresql:///shop?host=/var/run/postgresql",
    ],
)
def test_postgresql_encrypted_or_on_this_machine_is_accepted(url: str) -> None:
    assert load({"DATABASE_URL": url}).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "value", "shown"), [("PGHOST", "db.example.com", "db.example.com"), ("PGSERVICE", "shop", "service shop")]
)
def test_where_the_url_names_no_server_the_drivers_next_place_counts(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    assert f"unencrypted to '{shown}'" in refusal(DATABASE_URL="postgresql:///shop")
    assert load({"DATABASE_URL": "postgresql://localhost/shop"})
    assert load({"DATABASE_URL": "postgresql:///shop?sslmode=verify-full"})


@pytest.mark.parametrize("missing", ["KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
def test_sasl_needs_all_three_of_its_settings(missing: str) -> None:
    said = refusal(**{name: value for name, value in SASL.items() if name != missing})
    assert "KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD" in said


def test_a_kafka_client_is_given_what_the_settings_say() -> None:
    connection = load(SASL).kafka_connection()
    assert connection["sasl_plain_password"] == "hunter2"
    assert connection["ssl_context"].check_hostname
    plain: dict[str, Any] = load({}).kafka_connection()
    assert plain == {"bootstrap_servers": "localhost:9092", "security_protocol": "PLAINTEXT"}


# TLS of the HTTP service


@pytest.mark.parametrize(
    "environment",
    [
        {"PROJECTOR_API_TLS_CERT": "c.pem"},
        {"PROJECTOR_API_TLS_KEY": "k.pem"},
        {"PROJECTOR_API_TLS_CLIENT_CA": "ca.pem"},
    ],
)
def test_a_part_of_what_tls_needs_is_refused(environment: dict[str, str]) -> None:
    said = refusal(**environment)
    assert "PROJECTOR_API_TLS_CERT" in said
    assert "PROJECTOR_API_TLS_KEY" in said


def test_without_certificates_it_serves_in_the_clear() -> None:
    assert load({}).api_tls() is None
