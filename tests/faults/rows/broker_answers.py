"""A broker that answers with errors, with damaged records, or not at all."""

from __future__ import annotations

import signal

from testkit.deadline import eventually
from tests.faults.between import kafka_proxied, kafka_proxy
from tests.faults.evidence import seen
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.saboteurs.kafka import Api, Rule, failed_commit, no_topics

LOADING, MOVED, TIMED_OUT = 14, 16, 7  # Kafka's codes


async def _rebalance(scene: Scene) -> None:
    """A worker comes, and one goes: everybody asks where the group stands."""
    leaver = scene.running[0]
    scene.start()
    await scene.shared()
    leaver.signal(signal.SIGTERM)
    assert await leaver.ended() == 0
    await scene.shared()


@fault(
    9,
    "group's coordinator loading, then moved: no offsets are named",
    tier="short",
    shown_by=("answers without offsets",),
    around=kafka_proxied,
)
async def coordinator_moved(scene: Scene) -> None:
    proxy = kafka_proxy(scene)
    for code in (LOADING, MOVED):
        rule = proxy.answer(Api.OFFSET_FETCH, no_topics(code))
        await _rebalance(scene)
        await scene.works()
        scene.evidence["answers without offsets"] += rule.happened
        proxy.rules.remove(rule)


@fault(
    16,
    "commits to Kafka fail, are cut off, are never answered",
    shown_by=("commits lost", "commits failed"),
    around=kafka_proxied,
)
async def commits_lost(scene: Scene) -> None:
    proxy = kafka_proxy(scene)
    await _loses(scene, proxy.answer(Api.OFFSET_COMMIT, failed_commit(TIMED_OUT)))
    await _loses(scene, proxy.sever(Api.OFFSET_COMMIT))
    await _loses(scene, proxy.swallow(Api.OFFSET_COMMIT))


async def _loses(scene: Scene, rule: Rule) -> None:
    await eventually(lambda: rule.happened >= 2, 60)
    await scene.works()
    scene.evidence["commits lost"] += rule.happened
    kafka_proxy(scene).rules.remove(rule)


@fault(
    17,
    "a record damaged on its way: a wrong checksum",
    shown_by=("damaged", "sessions ended"),
    around=kafka_proxied,
)
async def records_damaged(scene: Scene) -> None:
    proxy = kafka_proxy(scene)
    for _ in range(3):
        rule = proxy.corrupt(b"specversion")
        await _session_ends(scene)
        scene.evidence["damaged"] += rule.happened
        proxy.rules.remove(rule)
        await scene.works()


async def _session_ends(scene: Scene) -> None:
    before = seen(scene.fleet.members)["sessions ended"]
    await eventually(lambda: seen(scene.fleet.members)["sessions ended"] > before, 30)
