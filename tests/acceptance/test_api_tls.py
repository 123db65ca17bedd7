"""The HTTP service over TLS, with clients' certificates in the place of bearer tokens, and refused in the clear."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from runtime.embedded.ports import free_port
from tests.support.certificates import Authority, Certificate
from tests.support.commands import place
from tests.support.fleet import Member, projector
from tests.support.http_service import KEYS, TOKEN, bearer, listens, rest

HERE = ("IP:127.0.0.1", "DNS:localhost")
SECRET = {"PROJECTOR_API_SECRET": KEYS["PROJECTOR_API_SECRET"]}


class Papers(NamedTuple):
    """Who signed what."""

    ours: Authority
    server: Certificate
    clients: dict[str, Certificate]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    directory = tmp_path_factory.mktemp("papers")
    ours, theirs = Authority(directory / "ours"), Authority(directory / "theirs")
    clients = {
        "one": ours.issue("one", *HERE),
        "another": ours.issue("another", *HERE),
        "expired": ours.issue("expired", *HERE, expired=True),
        "foreign": theirs.issue("foreign", *HERE),
    }
    return Papers(ours, ours.issue("server", *HERE), clients)


def served_by(papers: Papers) -> dict[str, Any]:
    return {"PROJECTOR_API_TLS_CERT": papers.server.chain, "PROJECTOR_API_TLS_KEY": papers.server.key}


def trusting_clients_of(papers: Papers) -> dict[str, Any]:
    return {**served_by(papers), "PROJECTOR_API_TLS_CLIENT_CA": papers.ours.certificate}


@asynccontextmanager
async def serving(database_url: str, *options: str, **settings: Any) -> AsyncIterator[tuple[int, Member]]:
    given = {"DATABASE_URL": database_url, "PROJECTOR_CONSISTENCY": "local-first", **settings}
    member = Member(("-m", "cli", "api", "--port", "0", *options), given)
    try:
        yield await listens(member), member
    finally:
        member.close()


def client(papers: Papers, port: int, shown: str | None = None, **more: Any) -> httpx2.AsyncClient:
    """One that shows this certificate."""
    context = ssl.create_default_context(cafile=papers.ours.certificate)
    if shown is not None:
        context.load_cert_chain(papers.clients[shown].chain, papers.clients[shown].key)
    return httpx2.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=20, **more)


async def test_over_tls_a_token_is_what_is_needed(database_url: str, papers: Papers) -> None:
    async with serving(database_url, **KEYS, **served_by(papers)) as (port, member):
        async with client(papers, port) as one:
            assert (await one.get("/orders")).status_code == 401
            assert (await one.get("/orders", headers=bearer())).status_code == 200
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as plain:
            with pytest.raises(httpx2.TransportError):
                await plain.get("/health/live")
        assert '"encrypted":true' in member.said()
        assert "Traceback" not in member.said()


async def test_a_clients_certificate_is_what_is_needed(database_url: str, papers: Papers) -> None:
    async with serving(database_url, **SECRET, **trusting_clients_of(papers)) as (port, member):
        for shown in (None, "expired", "foreign"):
            async with client(papers, port, shown) as unknown:
                with pytest.raises(httpx2.TransportError):
                    await unknown.get("/health/live")
        orders = []
        for shown in ("one", "another", "one"):
            async with client(papers, port, shown) as known:
                placed = await known.post("/orders", json=place(), headers={"Idempotency-Key": "k"})
                orders.append((placed.json()["order_id"], placed.json()["repeated"]))
                assert (await known.get(placed.headers["Location"])).status_code == 200
        assert orders[0][0] != orders[1][0]  # whose key it is, the certificate says
        assert orders[2] == (orders[0][0], True)
        assert "Traceback" not in member.said()


async def test_health_and_metrics_have_a_port_for_those_who_have_no_certificate(
    database_url: str, papers: Papers
) -> None:
    port = free_port()
    async with (
        serving(database_url, **SECRET, **trusting_clients_of(papers), PROJECTOR_METRICS_PORT=port),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as orchestrator,
    ):
        assert (await orchestrator.get("/health/live")).json() == {"live": True}
        assert (await orchestrator.get("/health/ready")).json() == {"ready": True}
        assert "projector_api_requests_total" in (await orchestrator.get("/metrics")).text
        for path in ("/orders", "/freshness", "/openapi.json", "/health/live/", "/metrics%2F"):
            assert (await orchestrator.get(path)).status_code == 404


async def test_with_both_set_both_are_needed(database_url: str, papers: Papers) -> None:
    async with serving(database_url, **KEYS, **trusting_clients_of(papers)) as (port, _):
        async with client(papers, port, "one") as known:
            assert (await known.get("/orders")).status_code == 401
            assert (await known.get("/orders", headers=bearer())).status_code == 200
            keys = {**bearer(), "Idempotency-Key": "k"}
            first = (await known.post("/orders", json=place(), headers=keys)).json()["order_id"]
        async with client(papers, port, "another") as other:
            assert (await other.post("/orders", json=place(), headers=keys)).json()["order_id"] != first
        async with client(papers, port) as unknown:
            with pytest.raises(httpx2.TransportError):
                await unknown.get("/orders", headers=bearer(TOKEN))


async def test_nobody_holds_a_connection_by_a_handshake_that_does_not_end(database_url: str, papers: Papers) -> None:
    async with serving(database_url, **SECRET, **trusting_clients_of(papers)) as (port, member):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01\x02\x00")  # how one begins
        async with asyncio.timeout(30):  # Python's own limit is twice that
            assert await rest(reader) == b""
        writer.close()
        assert "Traceback" not in member.said()


@pytest.mark.parametrize("options", [(), ("--dev",)])
async def test_in_the_clear_it_serves_this_machine_alone(database_url: str, options: tuple[str, ...]) -> None:
    for host in ("0.0.0.0", "", "::"):
        ended = await projector("api", "--host", host, *options, DATABASE_URL=database_url, **KEYS)
        assert ended.code == 2
        assert "PROJECTOR_ALLOW_PLAINTEXT=true" in ended.err
    allowed = {"PROJECTOR_ALLOW_PLAINTEXT": "true"}
    async with (
        serving(database_url, "--host", "0.0.0.0", *options, **KEYS, **allowed) as (port, _),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as one,
    ):
        assert (await one.get("/health/live")).status_code == 200


async def test_files_that_can_not_be_used_are_named(database_url: str, papers: Papers, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    wrong = [
        ({"PROJECTOR_API_TLS_CERT": garbage}, "a certificate and its private key are needed"),
        ({"PROJECTOR_API_TLS_CERT": tmp_path / "nowhere"}, "No such file"),
        ({"PROJECTOR_API_TLS_KEY": papers.clients["one"].key}, "a certificate and its private key are needed"),
        ({"PROJECTOR_API_TLS_CLIENT_CA": garbage}, "holds no CA certificate"),
        ({"PROJECTOR_API_TLS_CLIENT_CA": tmp_path / "nowhere"}, "No such file"),
    ]
    for one, said in wrong:
        given = {**trusting_clients_of(papers), **KEYS, **one}
        ended = await projector("api", "--port", "0", DATABASE_URL=database_url, **given)
        assert ended.code == 2
        assert said in ended.err
        assert next(iter(one)) in ended.err
        assert "Traceback" not in ended.err
