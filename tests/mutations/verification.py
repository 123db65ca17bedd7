"""Mutants of the verification: it overlooks something, or cries wolf."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_CHOICES = "tests/unit/test_verify_choices.py"
_ARRIVALS = "tests/unit/test_verify_arrivals.py"
_CLEAN = "tests/integration/test_verify.py"
_DAMAGE = "tests/integration/test_verify_damage.py"
_LETTERS = "tests/integration/test_verify_letters.py"
_SNAPSHOT = "tests/integration/test_verify_snapshot.py"
_SPILL = "tests/unit/test_spill.py"
_SUMS = "tests/unit/test_verify_sums.py"

VERIFICATION = (
    Mutant(
        "verify: each statement sees another moment",
        "consumer/verification/snapshot.py",
        'connection.transaction(isolation="repeatable_read", readonly=True)',
        'connection.transaction(isolation="read_committed", readonly=True)',
        (_SNAPSHOT,),
    ),
    Mutant(
        "verify: a swap is not kept out",
        "consumer/verification/snapshot.py",
        '            await connection.execute(_SQL["hold"].format(relations=", ".join(relations)))\n',
        "",
        (_SNAPSHOT,),
    ),
    Mutant(
        "verify: the log is read beyond the checkpoint",
        "consumer/verification/log.py",
        "return {one: Ends(0, applied[one]) for one in ends}",
        "return {one: Ends(0, ends[one].end) for one in ends}",
        (f"{_CLEAN}::test_a_fleet_at_work_gives_no_false_alarm",),
    ),
    Mutant(
        "verify: a log without its beginning is good enough",
        "consumer/verification/log.py",
        "        if log.first > 0:\n",
        "        if False:\n",
        (_DAMAGE,),
    ),
    Mutant(
        "verify: what the log lacks is not taken from the journal",
        "consumer/verification/orders.py",
        "        await self._add_applied(span, live, by_order)\n",
        "",
        (f"{_CLEAN}::test_what_came_beside_the_log_is_told_and_no_difference",),
    ),
    Mutant(
        "verify: what is parked in the database alone is forgotten",
        "consumer/verification/orders.py",
        "                by_order.setdefault(one.order_id, []).append(one)\n                self._beside(",
        "                self._beside(",
        (_CLEAN,),
    ),
    Mutant(
        "verify: an erasure that the log lacks is a difference",
        "consumer/verification/orders.py",
        "        self._add_erased(live, by_order)\n",
        "",
        (_CLEAN,),
    ),
    Mutant(
        "verify: Kafka's times decide between partitions",
        "consumer/verification/orders.py",
        "            outcomes |= await self._as_live(",
        "            await self._as_live(",
        (f"{_CLEAN}::test_which_of_two_partitions_came_first_is_for_live_to_say",),
    ),
    Mutant(
        "verify: live decides within a partition too",
        "consumer/verification/choices.py",
        "            if one.lane in last:\n",
        "            if False:\n",
        (_CHOICES,),
    ),
    Mutant(
        "verify: one identity with two contents is not seen",
        "consumer/verification/orders.py",
        " or varies(by_order[order_id])",
        "",
        (f"{_CLEAN}::test_which_of_two_partitions_came_first_is_for_live_to_say",),
    ),
    Mutant(
        "verify: another order's event is missed here",
        "consumer/verification/settling.py",
        "        return said.identity not in elsewhere and (",
        "        return (",
        (f"{_CLEAN}::test_which_of_two_partitions_came_first_is_for_live_to_say",),
    ),
    Mutant(
        "verify: any event that is known anywhere is a copy here",
        "consumer/verification/orders.py",
        "owners.get(identity, set()) - {order_id}}",
        "owners.get(identity, set())}",
        (_DAMAGE,),
    ),
    Mutant(
        "verify: what a failing read model left out is expected",
        "consumer/verification/arrivals.py",
        '    elif known is not None and known.reason == "projection_error":\n',
        "    elif False:\n",
        (_ARRIVALS, _LETTERS),
    ),
    Mutant(
        "verify: a copy of what a letter keeps out is expected",
        "consumer/verification/settling.py",
        " and one.said.identity not in decided:",
        ":",
        (_ARRIVALS, _LETTERS),
    ),
    Mutant(
        "verify: a retried letter's record came when the log says",
        "consumer/verification/arrivals.py",
        " or (self.note is not None and self.note.again):",
        ":",
        (_LETTERS,),
    ),
    Mutant(
        "verify: a letter is anything at its offset",
        "consumer/verification/log.py",
        " and letter.digest == _digest(record.value):",
        ":",
        (f"{_CLEAN}::test_a_topic_made_anew_leaves_letters_whose_records_are_gone",),
    ),
    Mutant(
        "verify: letters beyond the first page are not met",
        "consumer/verification/log.py",
        "                self._last = (self._page[-1].offset, self._page[-1].number)\n",
        "                self._last = (2**62, 0)\n",
        (f"{_LETTERS}::test_letters_are_met_in_step_however_many_there_are",),
    ),
    Mutant(
        "verify: letters of records without an order are not asked for",
        "consumer/verification/run.py",
        '            self._findings.compare("dead_letters", [letter_row("unreadable", None, item.place)], [])\n',
        '            self._findings.equal("dead_letters", 1)\n',
        (_LETTERS,),
    ),
    Mutant(
        "verify: how far orders stand is not compared",
        "consumer/verification/orders.py",
        " and (outcome.erased or theirs.version == len(outcome.history)):",
        ":",
        (_DAMAGE,),
    ),
    Mutant(
        "verify: data are told in the version of now",
        "consumer/verification/orders.py",
        "reference.told(as_sent(event))",
        "reference.told(event)",
        (f"{_CLEAN}::test_records_in_every_encoding_erasures_and_odd_values",),
    ),
    Mutant(
        "verify: old data are folded as they were sent",
        "consumer/verification/arrivals.py",
        "    return upcasts.upcast(said.type, version, data)\n",
        "    return data\n",
        (_ARRIVALS,),
    ),
    Mutant(
        "verify: JSON numbers go through floats",
        "consumer/exact_json.py",
        "_FAST = json.JSONDecoder(parse_float=Decimal)",
        "_FAST = json.JSONDecoder()",
        (_ARRIVALS,),
    ),
    Mutant(
        "verify: a sum is only that of the last range",
        "consumer/verification/sums.py",
        "                    row[column] += value\n",
        "                    row[column] = value\n",
        (_SUMS,),
    ),
    Mutant(
        "verify: a customer's name is that of any range",
        "consumer/verification/sums.py",
        'share["last_order_at"] >= row["last_order_at"]',
        "True",
        (_SUMS,),
    ),
    Mutant(
        "verify: sums of a sample are those of the sample",
        "consumer/verification/run.py",
        "from_log, plan.sample is None)",
        "from_log, True)",
        (f"{_CLEAN}::test_a_sample_is_of_the_same_orders_each_time_and_sums_are_of_all",),
    ),
    Mutant(
        "verify: a sample is of other orders in the database",
        "consumer/verification.sql",
        "md5($3::text || order_id)",
        "md5(order_id || $3::text)",
        (_CLEAN,),
    ),
    Mutant(
        "verify: differences beyond those kept are not counted",
        "consumer/verification/findings.py",
        "        check.differences += len(differences)\n",
        "        check.differences = min(check.differences + len(differences), self.limit)\n",
        (_SUMS, _DAMAGE),
    ),
    Mutant(
        "verify: a database's time limits end it",
        "consumer/verification/snapshot.py",
        '    "idle_in_transaction_session_timeout": "0",\n',
        "",
        (_SNAPSHOT,),
    ),
    Mutant(
        "verify: everything is one range",
        "consumer/verification/snapshot.py",
        "        return Ranges(bounds)\n",
        "        return Ranges()\n",
        (_SNAPSHOT,),
    ),
    Mutant(
        "spill: a range that has grown is never cut",
        "consumer/spill.py",
        "if there > most else []",
        "if False else []",
        (_SPILL,),
    ),
    Mutant(
        "spill: scratch files stay",
        "consumer/spill.py",
        "        shutil.rmtree(directory, ignore_errors=True)\n",
        "        pass\n",
        (_SPILL,),
    ),
)
