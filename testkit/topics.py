"""Topics for tests."""

from __future__ import annotations

from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from testkit.deadline import eventually


async def create_topic(admin: AIOKafkaAdminClient, partitions: int) -> str:
    """Creates a topic under a fresh name, and returns when each partition has a leader."""
    name = f"test-{uuid4().hex[:12]}"
    answer = await admin.create_topics([NewTopic(name, partitions, 1)])
    for topic, code, *_ in answer.topic_errors:  # aiokafka leaves it to us to look
        if code != 0:
            raise for_code(code)(f"creating {topic}")

    async def led() -> bool:
        [described] = await admin.describe_topics([name])
        leaders = [partition["leader"] for partition in described["partitions"]]
        return len(leaders) == partitions and -1 not in leaders

    await eventually(led)
    return name
