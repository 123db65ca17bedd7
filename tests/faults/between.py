"""Proxies between the workers and their services; the test itself goes past them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.scene import Scene
from tests.support.saboteurs.kafka import KafkaProxy
from tests.support.saboteurs.postgres import PostgresProxy
from tests.support.saboteurs.standby import address


@asynccontextmanager
async def kafka_proxied(scene: Scene) -> AsyncIterator[None]:
    """All workers reach Kafka through a proxy: `kafka_proxy(scene)`."""
    with KafkaProxy(scene.stage.bootstrap) as proxy:
        scene.tools["kafka"] = proxy
        scene.fleet.settings["KAFKA_BOOTSTRAP_SERVERS"] = proxy.address
        yield


@asynccontextmanager
async def postgres_proxied(scene: Scene) -> AsyncIterator[None]:
    """All workers reach PostgreSQL through a proxy: `postgres_proxy(scene)`."""
    url = str(scene.fleet.settings["DATABASE_URL"])
    with PostgresProxy(address(url)) as proxy:
        scene.tools["postgres"] = proxy
        scene.fleet.settings["DATABASE_URL"] = url.replace(address(url), proxy.address)
        yield


def kafka_proxy(scene: Scene) -> KafkaProxy:
    proxy = scene.tools["kafka"]
    assert isinstance(proxy, KafkaProxy)
    return proxy


def postgres_proxy(scene: Scene) -> PostgresProxy:
    proxy = scene.tools["postgres"]
    assert isinstance(proxy, PostgresProxy)
    return proxy
