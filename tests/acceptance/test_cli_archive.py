"""`projector archive` from outside: what it says, how it ends, and that it may be killed anywhere."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from testkit.plugin import MakeTopic
from tests.support.archives import held, in_log, named
from tests.support.events import record
from tests.support.fleet import ROOT, Ended, projector, settings_for
from tests.support.streams import deliveries_of, publish

_WITHOUT_PYARROW = "import sys; sys.modules['pyarrow'] = None; from cli.main import main; main()"


class Commands:
    def __init__(self, bootstrap: str, topic: str, url: str) -> None:
        self.bootstrap = bootstrap
        self.topic = topic
        self.url = url
        self._places = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PROJECTOR_TOPICS": topic}

    async def archive(self, *arguments: str, **settings: str) -> Ended:
        ended = await projector("archive", "--to", self.url, *arguments, **self._places, **settings)
        assert "Traceback" not in ended.err
        return ended

    async def send(self, count: int) -> None:
        what = deliveries_of([record(order=f"o-{n}") for n in range(count)])
        await publish(self.bootstrap, self.topic, what, partition=1)

    async def expect_whole(self) -> None:
        settings = settings_for(self.bootstrap, "postgresql://localhost/none", self.topic)
        assert held(self.url, self.topic) == await in_log(settings)


@pytest.fixture
async def commands(make_topic: MakeTopic, kafka_bootstrap: str, tmp_path: Path) -> Commands:
    return Commands(kafka_bootstrap, await make_topic(partitions=2), str(tmp_path / "archive"))


async def test_it_copies_what_is_new_and_says_so(commands: Commands) -> None:
    await commands.send(5)
    done = await commands.archive("--records-per-file", "3")
    assert done.code == 0, done.err
    first, total = done.out.splitlines()
    assert first == f"{commands.topic}/1: offsets 0 to 4, 5 records, 2 files"
    assert total.startswith("5 records in 2 files, ")
    await commands.send(1)
    done = await commands.archive("--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["to"], told["files"], told["records"]) == (commands.url, 1, 1)
    nothing = {"files": 0, "records": 0, "bytes": 0, "left": 0, "accepted": [], "lost": None, "problem": None}
    idle, busy = told["partitions"]
    assert idle == {"topic": commands.topic, "partition": 0, "first": None, "next": None, **nothing}
    assert busy == {**nothing, **busy, "first": 5, "next": 6, "files": 1, "records": 1}
    tail = await commands.archive("--min-records", "2", "--partition", "1")
    assert tail.out.splitlines() == ["0 records in 0 files, 0 bytes"]
    await commands.send(1)
    tail = await commands.archive("--min-records", "2", "--topic", commands.topic, PROJECTOR_LOG_LEVEL="warning")
    assert tail.out.splitlines()[0] == f"{commands.topic}/1: 1 record left for the next time"
    assert tail.err == ""


@pytest.mark.parametrize("point", ["archive_records_written", "archive_file_written", "archive_file_published"])
async def test_killed_anywhere_it_leaves_no_torn_file_and_goes_on(commands: Commands, point: str) -> None:
    await commands.send(9)
    names = [f"{commands.topic}+1+{first:010d}.parquet" for first in (0, 3, 6)]
    killed = await commands.archive("--records-per-file", "3", PROJECTOR_FAILPOINTS=f"{point}=kill9:2")
    assert killed.code == -signal.SIGKILL
    there = [name for name in named(commands.url) if not name.startswith(".")]
    assert there == (names[:2] if point == "archive_file_published" else names[:1])
    done = await commands.archive("--records-per-file", "3")
    assert done.code == 0, done.err
    assert [name for name in named(commands.url) if not name.startswith(".")] == names
    await commands.expect_whole()


async def test_two_at_once_leave_one_archive(commands: Commands) -> None:
    await commands.send(50)
    ended = await asyncio.gather(*(commands.archive("--records-per-file", "4") for _ in range(2)))
    assert [one.code for one in ended] == [0, 0], ended
    await commands.expect_whole()
    assert len(named(commands.url)) == 13


@pytest.mark.apache_kafka
async def test_a_gap_ends_with_1_until_it_is_accepted(commands: Commands, kafka_admin: AIOKafkaAdminClient) -> None:
    await commands.send(3)
    await commands.archive()
    await commands.send(4)
    one = TopicPartition(commands.topic, 1)
    await kafka_admin.delete_records({one: RecordsToDelete(before_offset=5)})
    refused = await commands.archive("--json")
    assert refused.code == 1
    assert f"projector: {commands.topic}/1: offsets 3 to 4 are lost" in refused.err
    assert json.loads(refused.out)["partitions"][1]["lost"] == {"from": 3, "to": 5}
    accepted = await commands.archive("--accept-gap")
    assert accepted.code == 0, accepted.err
    assert accepted.out.splitlines()[:2] == [
        f"{commands.topic}/1: offsets 3 to 4 are lost, and accepted so",
        f"{commands.topic}/1: offsets 5 to 6, 2 records, 1 file",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--partition", "5"), 2, "has no partition 5"),
        (("--topic", "../secrets"), 2, "is no name of a topic"),
        (("--to", "ftp://host/x"), 2, "Unrecognized filesystem"),
        (("--records-per-file", "0"), 2, "greater than or equal to 1"),
        (("--topic", "none-such"), 3, "there is no topic none-such"),
        (("--kafka-bootstrap-servers", "127.0.0.1:1"), 3, "Kafka"),
    ],
)
async def test_what_it_cannot_do_ends_with_its_code_and_says_why(
    commands: Commands, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = await commands.archive(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in " ".join(ended.err.replace("│", " ").split())
    assert named(commands.url) == []


@pytest.mark.parametrize(("arguments", "code"), [(("archive", "--to", "x"), 2), (("status", "--help"), 0)])
def test_without_pyarrow_only_this_command_is_missing(arguments: tuple[str, ...], code: int) -> None:
    command = [sys.executable, "-c", _WITHOUT_PYARROW, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ("pip install 'order-projector[archive]'" in ended.stderr) == (code == 2)
