"""A broker that answers with errors, with damaged records, or not at all."""

from __future__ import annotations

import signal
from io import BytesIO

from aiokafka.protocol import fetch

from testkit.deadline import eventually
from tests.faults.between import kafka_proxied, kafka_proxy
from tests.faults.evidence import seen
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.saboteurs.kafka import Api, Request, Rule, failed_commit, no_topics

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
    workers=1,
    settings={"PROJECTOR_LANES": 1},  # so that the client drains all partitions in one call
    shown_by=("damaged", "sessions ended"),
    around=kafka_proxied,
)
async def records_damaged(scene: Scene) -> None:
    """What the client has drained from other partitions in the same call goes with the error, its position does not:
    only who starts again from the checkpoints has it all."""
    proxy = kafka_proxy(scene)
    for _ in range(3):
        rule = proxy.answer(Api.FETCH, _last_of_several, times=1)
        await _session_ends(scene)
        scene.evidence["damaged"] += rule.happened
        proxy.rules.remove(rule)
        await scene.works()


def _last_of_several(request: Request, body: bytes) -> bytes | None:
    """A bit flipped in the last partition's records, if others have some too: those are drained before."""
    told = getattr(fetch, f"FetchResponse_v{request.version}").decode(BytesIO(body))
    sets = [partition[-1] for _, partitions in told.topics for partition in partitions if partition[-1]]
    at = body.find(b"specversion", body.rfind(sets[-1])) if len(sets) > 1 else -1
    return None if at < 0 else body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


async def _session_ends(scene: Scene) -> None:
    before = seen(scene.fleet.members)["sessions ended"]
    await eventually(lambda: seen(scene.fleet.members)["sessions ended"] > before, 30)
