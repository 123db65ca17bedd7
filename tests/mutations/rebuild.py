"""Mutants of rebuilds: the plan, the bulk, the comparison, going on after a kill, one at a time, one order alone."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_COMPARE = "consumer/rebuild/compare.py"
_ONE_ORDER = "consumer/rebuild/one_order.py"
_RUN = "consumer/rebuild/run.py"

_COPYING = "tests/unit/test_copying.py"
_DIFFERENCES = "tests/integration/test_rebuild_differences.py"
_DAMAGE = f"{_DIFFERENCES}::test_damage_is_found_and_stops_and_is_mended_when_told_to"
_NEWER = f"{_DIFFERENCES}::test_what_is_only_newer_is_no_difference"
_KILLED = "tests/integration/test_rebuild_killed.py"
_ONE = "tests/integration/test_rebuild_one_order.py"
_BESIDE = "tests/integration/test_rebuild_one_order_beside.py"
_TOLD = "tests/integration/test_rebuild_told_to_end.py"

REBUILD = (
    Mutant(
        "sums stay behind where the states take over",
        "consumer/rebuild/plan.py",
        "    chosen = tuple(stored) if states else tuple(",
        "    chosen = tuple(stored) if everything else tuple(",
        ("tests/unit/test_rebuild_plan.py",),
    ),
    Mutant(
        "a change is expected of nothing",
        _COMPARE,
        "    found = Comparison(expected=plan.changed)\n",
        "    found = Comparison()\n",
        ("tests/integration/test_rebuild_changed.py",),
    ),
    Mutant(
        "a text that looks like null is null",
        "runtime/copying.py",
        ', _NULL: "\\\\x1e"}\n',
        "}\n",
        (_COPYING,),
    ),
    Mutant(
        "a backslash is copied as it is",
        "runtime/copying.py",
        '{"\\\\": "\\\\\\\\", "',
        '{"',
        (_COPYING,),
    ),
    Mutant(
        "data of an older version are read as they were sent",
        "consumer/journal.py",
        "    for version in (1, 0) if recorded is None else (recorded,):\n",
        "    for version in (1,):\n",
        ("tests/integration/test_rebuild_models.py::test_data_of_an_older_version_are_brought_up_again",),
    ),
    Mutant(
        "a hole in the journal is no hole",
        "consumer/rebuild/bulk.py",
        "    if event.version != state.version + 1:\n",
        "    if False:\n",
        (f"{_ONE}::test_a_journal_with_a_hole_changes_nothing",),
    ),
    Mutant(
        "states are not compared",
        _COMPARE,
        '        await _rows(connection, found, STATES, ["order_id"], STATES, meant="version > 0 OR erased")\n',
        "",
        (_DAMAGE,),
    ),
    Mutant(
        "sums are not compared",
        _COMPARE,
        "                await _sums(connection, found, model, _explained(model, live, shadow))\n",
        "                pass\n",
        (_DAMAGE,),
    ),
    Mutant(
        "documents are not compared",
        _COMPARE,
        '                await _rows(connection, found, model.name, ["order_id"], model.name)\n',
        "                pass\n",
        (_DAMAGE,),
    ),
    Mutant(
        "what newer orders explain is a difference of sums",
        _COMPARE,
        "_explained(model, live, shadow))\n",
        "{})\n",
        (_NEWER,),
    ),
    Mutant(
        "newer orders are differences",
        "consumer/rebuild.sql",
        "{shadow} WHERE {meant}) AS s USING ({keys})\nWHERE (l IS DISTINCT FROM s)\n"
        "  AND NOT EXISTS (SELECT FROM projector.touched_orders AS t"
        " WHERE t.order_id = coalesce(l.order_id, s.order_id))\n",
        "{shadow} WHERE {meant}) AS s USING ({keys})\nWHERE (l IS DISTINCT FROM s)\n",
        (_NEWER,),
    ),
    Mutant(
        "a difference that should be there is not missed",
        _COMPARE,
        "        if any(due[place] for place in places):\n",
        "        if False:\n",
        (f"{_DIFFERENCES}::test_a_difference_that_new_orders_explain_and_is_not_there_is_one",),
    ),
    Mutant(
        "live and notes are read in two snapshots",
        _COMPARE,
        'connection.transaction(isolation="repeatable_read", readonly=True):',
        "connection.transaction():",
        (f"{_DIFFERENCES}::test_what_is_written_while_it_compares_is_no_difference",),
    ),
    Mutant(
        "differences stop nothing",
        _RUN,
        "            if comparison.unexpected and not self._options.accept:\n",
        "            if False:\n",
        (_DAMAGE,),
    ),
    Mutant(
        "what is kept goes on noting",
        _RUN,
        "        await shadow.release(connection)\n        error = ",
        "        error = ",
        (_DAMAGE,),
    ),
    Mutant(
        "what nobody noted between two runs is not looked for",
        _RUN,
        '        await connection.execute(SQL["touched_differing"].format(schema=quoted(SHADOW)))\n',
        "",
        (f"{_DIFFERENCES}::test_what_was_kept_is_brought_up_before_it_is_swapped",),
    ),
    Mutant(
        "a run goes on with what another one wanted",
        _RUN,
        'if found is not None and found.state != "cancelling" and found.plan == plan.as_json():',
        'if found is not None and found.state != "cancelling":',
        (f"{_KILLED}::test_who_wants_something_else_begins_anew",),
    ),
    Mutant(
        "a run goes on with ranges that are done",
        _RUN,
        ' for row in rows if row["events"] is None]',
        " for row in rows]",
        (f"{_KILLED}::test_ranges_that_are_done_are_not_done_again",),
    ),
    Mutant(
        "a range is noted before its rows are in",
        "consumer/rebuild/bulk.py",
        "        await rows.copy(connection)\n        await done(connection, part.number, events)\n",
        "        await done(connection, part.number, events)\n"
        '        await connection.execute("COMMIT; BEGIN")\n'
        "        await rows.copy(connection)\n",
        (f"{_KILLED}::test_a_range_that_was_not_finished_is_done_again_as_a_whole",),
    ),
    Mutant(
        "a range's rows are in before it is noted",
        "consumer/rebuild/bulk.py",
        "        await rows.copy(connection)\n        await done(connection, part.number, events)\n",
        "        await rows.copy(connection)\n"
        '        await connection.execute("COMMIT; BEGIN")\n'
        "        await done(connection, part.number, events)\n",
        (f"{_KILLED}::test_a_range_that_was_not_finished_is_done_again_as_a_whole",),
    ),
    Mutant(
        "a shadow of something else is gone on with",
        "consumer/rebuild/records.py",
        '    await connection.execute(SQL["record_superseded"], number)\n',
        "",
        (f"{_KILLED}::test_what_is_left_of_another_rebuild_is_not_gone_on_with",),
    ),
    Mutant(
        "two rebuilds run at once",
        "consumer/rebuild/shadow.py",
        "        if not held:\n",
        "        if False:\n",
        (f"{_TOLD}::test_a_second_one_is_refused_and_the_first_goes_on",),
    ),
    Mutant(
        "a migration goes on beside a rebuild",
        "consumer/install.py",
        "        if not free:\n",
        "        if False:\n",
        (f"{_TOLD}::test_a_migration_waits_for_the_end_of_a_rebuild_if_it_has_something_to_do",),
    ),
    Mutant(
        "who is cancelled goes on",
        _RUN,
        '            raise _Ended("cancelled")\n',
        "            return\n",
        (f"{_TOLD}::test_cancelled_at_any_step_nothing_is_left",),
    ),
    Mutant(
        "one order: its stored state says what sums hold of it",
        _ONE_ORDER,
        "                off = await _off(reader, model, key, sums)\n",
        "                given: dict[Key, list[int]] = {}\n"
        "                for state, sign in ((after, 1), (before, -1)):\n"
        "                    if state.placed_at is not None:\n"
        "                        add_shares(given, model, state, sign)\n"
        "                off = given.get(key, [0] * len(sums))\n",
        (f"{_ONE}::test_sums_that_have_given_a_wrong_share_are_put_right_whichever_share_that_was",),
    ),
    Mutant(
        "one order: sums and states are read in two snapshots",
        _ONE_ORDER,
        'reader.transaction(isolation="repeatable_read", readonly=True):',
        "reader.transaction(readonly=True):",
        (f"{_BESIDE}::test_a_writer_that_comes_between_its_reading_and_its_writing_counts_once",),
    ),
    Mutant(
        "one order: its session writes from the snapshot that it reads",
        _ONE_ORDER,
        "        async with connection.transaction():\n",
        '        async with connection.transaction(isolation="repeatable_read"):\n',
        (f"{_BESIDE}::test_a_writer_that_comes_between_its_reading_and_its_writing_counts_once",),
    ),
    Mutant(
        "one order: two are mended at once",
        _ONE_ORDER,
        '            await connection.execute(SQL["mend_lock"])\n',
        "",
        (f"{_BESIDE}::test_two_orders_that_share_a_wrong_sum_correct_it_once",),
    ),
    Mutant(
        "one order: its reader waits for ever",
        _ONE_ORDER,
        '        await reader.execute(SQL["lock_timeout"], _LOCK_TIMEOUT)\n',
        "",
        (f"{_BESIDE}::test_who_wants_the_whole_table_gets_it_in_between",),
    ),
    Mutant(
        "one order: sums stay as they are",
        _ONE_ORDER,
        "    if not any(due.values()):\n",
        "    if True:\n",
        (f"{_ONE}::test_what_was_damaged_is_put_right_and_named",),
    ),
    Mutant(
        "one order: any code mends what other code makes",
        _ONE_ORDER,
        "            await stay(connection, models)\n",
        "",
        (f"{_ONE}::test_a_database_of_another_make_is_refused",),
    ),
    Mutant(
        "one order: less than it stands at is enough",
        _ONE_ORDER,
        "    if state.version < version:\n",
        "    if False:\n",
        (f"{_ONE}::test_a_journal_with_a_hole_changes_nothing",),
    ),
)
