"""Mutants of the fleet: positions, assignments, polling, watching, supervision."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_MEMBERSHIP = "tests/integration/test_worker_membership.py"
_FEED = "tests/unit/test_feed.py"
_DATABASE = "tests/integration/test_worker_database.py"
_WATCH = "tests/acceptance/test_fleet_watch.py"
_WATCHDOG = "tests/integration/test_watchdog.py"
_WORKER = "tests/integration/test_worker.py"
_TASKS = "tests/integration/test_kafka_tasks.py"

FLEET = (
    Mutant(
        "Kafka is told of more than the database has committed",
        "consumer/worker.py",
        "            place: hold.next_offset for place,",
        "            place: hold.next_offset + 1 for place,",
        (_WORKER,),
    ),
    Mutant(
        "a batch fetched under another epoch is used",
        "consumer/membership.py",
        "        if epoch != self.epoch:\n            self._observation.discarded()\n"
        "            self._go_back(fetched)\n            return epoch, {}\n",
        "",
        (_MEMBERSHIP,),
    ),
    Mutant(
        "Kafka is told of what was fetched, not of what was applied",
        "consumer/worker.py",
        "                await asyncio.wait_for(consumer.commit(offsets), _COMMIT)\n",
        "                await asyncio.wait_for(consumer.commit(), _COMMIT)\n",
        (_WORKER,),
    ),
    Mutant(
        "Kafka's committed offset is the position",
        "consumer/membership.py",
        "            self._consumer.seek(TopicPartition(*place), hold.next_offset)\n        _log",
        "            place_ = TopicPartition(*place)\n"
        "            self._consumer.seek(place_, await self._consumer.committed(place_) or 0)\n        _log",
        (_WORKER,),
    ),
    Mutant(
        "a gap is believed at once",
        "consumer/membership.py",
        "        if fresh and fresh[0].offset > expected and self._gaps.get(partition) != fresh[0].offset:\n",
        "        if False:\n",
        (_MEMBERSHIP,),
    ),
    Mutant(
        "what is on its way to a lane is handed out again",
        "consumer/membership.py",
        "        self._ahead.update((place, records[-1].offset + 1) for place, records in found.items())\n",
        "",
        (_MEMBERSHIP,),
    ),
    Mutant(
        "a checkpoint passes over records that are on their way",
        "consumer/membership.py",
        "self._next(place) == hold.next_offset < position:",
        "hold.next_offset < position:",
        (_MEMBERSHIP,),
    ),
    Mutant("two lanes have a partition in hand", "consumer/feed.py", "        self._in_hand |= places\n", "", (_FEED,)),
    Mutant(
        "an old epoch's batch gives back what a new one has in hand",
        "consumer/feed.py",
        "            if batch.epoch == self._epoch:\n",
        "            if True:\n",
        (_FEED,),
    ),
    Mutant(
        "the feed is full of another epoch's records",
        "consumer/feed.py",
        "            self._turn_to(self._membership.epoch)\n",
        "",
        (_FEED,),
    ),
    Mutant(
        "the feed has no end",
        "consumer/feed.py",
        "        return {place for place, queue in self._queues.items() if len(queue.records) >= most or "
        "queue.size >= _BYTES}\n",
        "        return set()\n",
        (_FEED,),
    ),
    Mutant(
        "the gate stays open in a rebalance",
        "consumer/membership.py",
        "        self._open.clear()\n",
        "",
        (_MEMBERSHIP,),
    ),
    Mutant(
        "a member that waits for PostgreSQL polls no more",
        "consumer/worker.py",
        "                membership.keep_polling(stop, settings.max_poll_interval / _POLLS, _HEAR),\n",
        "",
        (f"{_WATCH}::test_a_worker_that_waits_for_postgresql_keeps_its_partitions",),
    ),
    Mutant(
        "a member that is stuck is left alone",
        "consumer/watchdog.py",
        "        if stalled := progress.stalled(now, self._limit):\n",
        "        if stalled := None:\n",
        (_WATCHDOG,),
    ),
    Mutant(
        "a member that waits for PostgreSQL counts as stuck",
        "consumer/watchdog.py",
        "            if kafka is None or not database or self._was_away(now):\n",
        "            if kafka is None or not database:\n",
        (_WATCHDOG,),
    ),
    Mutant(
        "an assignment that never comes is no matter",
        "consumer/watchdog.py",
        "        if self._unassigned >= self._limit:\n",
        "        if False:\n",
        (_WATCHDOG,),
    ),
    Mutant(
        "members don't follow their supervisor",
        "cli/supervisor.py",
        '        *(sys.executable, "-m", "cli", "worker", FOLLOW),\n',
        '        *(sys.executable, "-m", "cli", "worker"),\n',
        (f"{_WATCH}::test_members_whose_supervisor_is_killed_end_too",),
    ),
    Mutant(
        "connections to a server that is read-only are kept",
        "runtime/postgres.py",
        "                await pool.expire_connections()\n",
        "",
        (f"{_DATABASE}::test_connections_to_a_server_that_is_read_only_are_given_up",),
    ),
    Mutant(
        "a part that a library cancelled counts as done",
        "runtime/service.py",
        "task.done() and (task.cancelled() or task.exception() is not None)\n",
        "task.done() and not task.cancelled() and task.exception() is not None\n",
        ("tests/unit/test_service.py",),
    ),
    Mutant(
        "a client that its broker keeps waiting is not ended",
        "runtime/kafka_tasks.py",
        "        await _torn_down(client)\n",
        "        pass\n",
        (_TASKS,),
    ),
    Mutant(
        "a client whose tasks have ended is not noticed",
        "runtime/kafka_tasks.py",
        "    if ended := [task.get_coro().__name__ for task in needed if task.done()]:\n",
        "    if ended := []:\n",
        (_TASKS,),
    ),
    Mutant(
        "a COMMIT that nobody answered is believed",
        "consumer/processor.py",
        " or not await checkpoints.reached(connection, batch.moves)",
        "",
        ("tests/integration/test_lost_commits.py",),
    ),
    Mutant(
        "a member doesn't poll in a rebalance",
        "consumer/membership.py",
        "            if not self.assigned:",
        "            if not self.assigned:\n                continue\n            if False:",
        ("tests/integration/test_worker_rebalances.py",),
    ),
)
