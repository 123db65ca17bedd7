"""Each saboteur does what it says, shown on the plainest thing it can be done to."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psutil
import pytest

from testkit.deadline import eventually
from tests.support.saboteurs.disk import small_disk
from tests.support.saboteurs.firewall import Packets, firewall
from tests.support.saboteurs.needs import need_firewall, need_small_disk
from tests.support.saboteurs.proxy import Proxy
from tests.support.saboteurs.signals import frozen, stands_still


@pytest.fixture
def packet_filter() -> None:
    need_firewall()


@pytest.fixture
def root() -> None:
    need_small_disk()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Client:
    """A connection whose every step has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, what: bytes) -> None:
        self.writer.write(what)
        await asyncio.wait_for(self.writer.drain(), 10)

    async def hear(self, size: int, timeout: float = 10) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), timeout)

    async def hears_nothing(self) -> bool:
        try:
            return not await self.hear(1, 0.3)
        except TimeoutError:
            return True


@asynccontextmanager
async def echo_server(greeting: bytes = b"") -> AsyncIterator[str]:
    serving: list[asyncio.Task[None]] = []

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        serving.append(asyncio.ensure_future(echo(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield ":".join(map(str, server.sockets[0].getsockname()))
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*serving), 10)


@asynccontextmanager
async def client_of(address: str) -> AsyncIterator[Client]:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def ends_without_a_word(address: str) -> None:
    async with client_of(address) as client:
        assert await asyncio.wait_for(client.reader.read(), 10) == b""


@asynccontextmanager
async def through_proxy() -> AsyncIterator[tuple[Proxy, Client]]:
    async with echo_server() as server:
        with Proxy(server) as proxy:
            async with client_of(proxy.address) as client:
                await client.say(b"first")
                assert await client.hear(5) == b"first"
                yield proxy, client


async def test_a_proxy_carries_everything_both_ways() -> None:
    async with through_proxy() as (proxy, client):
        much = bytes(range(256)) * 4096
        sending = asyncio.ensure_future(client.say(much))
        assert await client.hear(len(much)) == much
        await sending
        assert proxy.to_server.passed == proxy.to_client.passed == len(much) + 5
        assert proxy.counts == {"connections": 1}


async def test_an_end_is_carried_too() -> None:
    async with through_proxy() as (proxy, client):
        client.writer.write_eof()
        assert await asyncio.wait_for(client.reader.read(), 10) == b""
        await eventually(lambda: proxy.open_lines() == 0)


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_delay_is_added_to_each_piece_and_does_not_add_up(way: str) -> None:
    async with through_proxy() as (proxy, client):
        getattr(proxy, way).delay = 0.3
        began = time.monotonic()
        for _ in range(5):
            await client.say(b"x")
            await asyncio.sleep(0.02)
        await client.hear(5)
        assert 0.3 <= time.monotonic() - began < 1.2
        assert getattr(proxy, way).delayed >= 1


async def test_a_throttled_way_carries_no_more_than_its_rate() -> None:
    async with through_proxy() as (proxy, client):
        proxy.to_client.rate = 100_000
        began = time.monotonic()
        await client.say(bytes(50_000))
        await client.hear(40_000)
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_what_a_held_way_was_given_comes_when_it_is_free_again(way: str) -> None:
    async with through_proxy() as (proxy, client):
        getattr(proxy, way).held = True
        await client.say(b"held")
        assert await client.hears_nothing()
        assert getattr(proxy, way).stopped == 1
        getattr(proxy, way).held = False
        assert await client.hear(4) == b"held"


async def test_connections_are_cut_behind_a_byte() -> None:
    async with through_proxy() as (proxy, client):
        proxy.to_server.cut_after = 7
        await client.say(b"1234")
        assert await client.hear(4) == b"1234"
        await client.say(b"567890")
        assert await asyncio.wait_for(client.reader.read(), 10) in (b"", b"567")  # the echo may be too late
        assert proxy.to_server.passed == 5 + 7
        assert proxy.to_server.cuts == 1


async def test_a_cut_ends_in_good_order_and_a_reset_does_not() -> None:
    async with through_proxy() as (proxy, client):
        assert proxy.cut() == 1
        assert await asyncio.wait_for(client.reader.read(), 10) == b""
    async with through_proxy() as (proxy, client):
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), 10)
        assert proxy.counts["reset"] == 1


async def test_an_abandoned_connection_looks_open_from_both_ends() -> None:
    async with through_proxy() as (proxy, client):
        assert proxy.abandon() == 1
        await client.say(b"is anybody there?")
        assert await client.hears_nothing()
        assert proxy.open_lines() == 1
        async with client_of(proxy.address) as other:
            assert proxy.forget() == 1
            with pytest.raises(ConnectionResetError):
                await client.hear(1)
            await other.say(b"new")
            assert await other.hear(3) == b"new"


async def test_new_connections_are_refused_or_ignored_while_old_ones_go_on() -> None:
    async with through_proxy() as (proxy, client):
        proxy.manners = "refuse"
        with pytest.raises(ConnectionResetError):
            await ends_without_a_word(proxy.address)
        proxy.manners = "ignore"
        async with client_of(proxy.address) as ignored:
            await ignored.say(b"hello?")
            assert await ignored.hears_nothing()
        await client.say(b"still here")
        assert await client.hear(10) == b"still here"
        assert proxy.counts == {"connections": 3, "refused": 1, "ignored": 1}


async def test_new_connections_lead_to_the_other_server() -> None:
    async with echo_server(b"other") as other, through_proxy() as (proxy, client):
        proxy.lead_to(other)
        async with client_of(proxy.address) as second:
            assert await second.hear(5) == b"other"
        await client.say(b"old")
        assert await client.hear(3) == b"old"


async def test_a_server_that_is_not_there_breaks_the_connection_off() -> None:
    with Proxy("127.0.0.1:1") as proxy:
        with pytest.raises(ConnectionResetError):
            await ends_without_a_word(proxy.address)
        assert proxy.counts["unreachable"] == 1


@pytest.mark.usefixtures("packet_filter")
@pytest.mark.parametrize("packets", ["to", "from", "both"])
async def test_dropped_packets_come_when_the_firewall_is_gone(packets: Packets) -> None:
    async with echo_server() as server, client_of(server) as client:
        with firewall(int(server.split(":")[1]), "drop", packets) as wall:
            await client.say(b"late")
            assert await client.hears_nothing()
            assert wall.stopped() >= 1
        assert await client.hear(4) == b"late"


@pytest.mark.usefixtures("packet_filter")
async def test_a_refusing_firewall_resets_and_leaves_nothing_behind() -> None:
    async with echo_server() as server:
        port = int(server.split(":")[1])
        with firewall(port, "reject with tcp reset", "to") as wall:
            with pytest.raises(ConnectionRefusedError):
                await ends_without_a_word(server)
            assert wall.stopped() >= 1
        async with client_of(server) as client:
            await client.say(b"back")
            assert await client.hear(4) == b"back"


@pytest.mark.usefixtures("root")
def test_a_small_disk_is_full_until_it_is_freed() -> None:
    with small_disk(2) as disk:
        assert disk.fill() > 1_900_000
        with pytest.raises(OSError, match="No space left"):
            (disk.directory / "more").write_bytes(bytes(10_000))
        disk.free()
        (disk.directory / "more").write_bytes(bytes(1_000_000))
        assert disk.room() < 1_200_000
    assert not disk.directory.exists()


async def test_a_frozen_family_stands_still_until_it_is_thawed() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    try:
        family = psutil.Process(parent.pid)
        [child] = await eventually(family.children)
        with frozen(parent.pid) as stopped:
            assert set(stopped) == {parent.pid, child.pid}
            await eventually(lambda: stands_still(parent.pid) and stands_still(child.pid))
        await eventually(lambda: not stands_still(parent.pid) and not stands_still(child.pid))
    finally:
        for process in (child, family):
            with suppress(psutil.NoSuchProcess):  # the parent ends with its child
                process.kill()
        await parent.wait()
