"""A worker cut off from the broker: in one direction, in both, by a proxy and by the kernel's packet filter."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.between import kafka_proxy
from tests.faults.fault import fault
from tests.faults.scene import SESSION, Scene
from tests.support.fleet import Member
from tests.support.saboteurs.firewall import firewall
from tests.support.saboteurs.kafka import KafkaProxy
from tests.support.saboteurs.line import Way
from tests.support.saboteurs.needs import need_firewall


@asynccontextmanager
async def _proxy_for_one(scene: Scene) -> AsyncIterator[None]:
    """A proxy that only the workers started with `_victim` go through."""
    with KafkaProxy(scene.stage.bootstrap) as proxy:
        scene.tools["kafka"] = proxy
        yield


ONE = {"workers": 1, "around": _proxy_for_one}


async def _taken_over(scene: Scene, survivor: Member) -> None:
    """Wait until the survivor has all partitions: a session, and a rebalance."""
    began = time.monotonic()
    await scene.shared(survivor)
    assert time.monotonic() - began < 2 * SESSION, "a worker that hears or says nothing keeps its partitions"
    scene.evidence["taken over"] += 1
    await scene.works()


async def _cut_off(scene: Scene, *ways: Way) -> None:
    """A worker is held off its broker until another has all its partitions; then it hears everything at once."""
    [survivor] = scene.running
    scene.start(KAFKA_BOOTSTRAP_SERVERS=kafka_proxy(scene).address)
    await scene.shared()
    await scene.works()
    for way in ways:
        way.held = True
    await _taken_over(scene, survivor)
    for way in ways:
        scene.evidence["pieces held up"] += way.stopped
        way.held = False


@fault(10, "a worker isn't heard by the broker", shown_by=("pieces held up", "taken over"), mixed=1, **ONE)
async def not_heard(scene: Scene) -> None:
    await _cut_off(scene, kafka_proxy(scene).to_server)


@fault(10, "a worker doesn't hear the broker", shown_by=("pieces held up", "taken over"), mixed=1, **ONE)
async def hears_nothing(scene: Scene) -> None:
    await _cut_off(scene, kafka_proxy(scene).to_client)


@fault(10, "a worker and the broker neither hear nor are heard", shown_by=("pieces held up", "taken over"), **ONE)
async def cut_off(scene: Scene) -> None:
    proxy = kafka_proxy(scene)
    await _cut_off(scene, proxy.to_server, proxy.to_client)


@fault(10, "packets between a worker and the broker dropped", shown_by=("packets dropped", "taken over"), **ONE)
async def packets_dropped(scene: Scene) -> None:
    need_firewall()
    [survivor] = scene.running
    scene.start(KAFKA_BOOTSTRAP_SERVERS=kafka_proxy(scene).address)
    await scene.shared()
    await scene.works()
    with firewall(kafka_proxy(scene).port) as wall:
        await _taken_over(scene, survivor)
        scene.evidence["packets dropped"] += wall.stopped()
