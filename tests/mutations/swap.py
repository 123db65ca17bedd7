"""Mutants of the swap: what is written meanwhile, who waits for whom, what takes over, the way back."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_SWAP = "consumer/rebuild/swap.py"
_RUN = "consumer/rebuild/run.py"
_ROLLBACK = "consumer/rebuild/rollback.py"

_MEANWHILE = "tests/integration/test_rebuild_meanwhile.py"
_STREAM = f"{_MEANWHILE}::test_a_stream_that_goes_on_at_every_step_is_all_there"
_WHATEVER = f"{_MEANWHILE}::test_whatever_happens_at_each_step_is_all_there"
_FASTER = f"{_MEANWHILE}::test_who_writes_faster_than_orders_are_folded_does_not_keep_the_swap_away"
_STAYS = f"{_MEANWHILE}::test_what_was_folded_while_writers_waited_stays_if_it_was_not_enough"
_WAITING = f"{_MEANWHILE}::test_writers_that_wait_for_the_swap_write_to_the_new_tables"
_LONG = f"{_MEANWHILE}::test_nobody_waits_long_behind_a_swap_that_waits_and_it_succeeds_once_it_can"
_CHANGED = "tests/integration/test_rebuild_changed.py"
_KEPT_OUT = f"{_CHANGED}::test_who_makes_it_as_before_can_write_nothing_more"
_MADE_ANEW = f"{_CHANGED}::test_what_has_changed_is_made_anew_and_what_was_wrong_is_named"
_BACK = "tests/integration/test_rebuild_rollback.py"
_OTHER_CODE = f"{_BACK}::test_to_what_other_code_has_made_only_that_code_goes_back"
_SURROUNDINGS = "tests/integration/test_rebuild_surroundings.py"
_GIVEN = f"{_SURROUNDINGS}::test_what_was_given_is_there_after_a_swap_and_after_the_way_back"

SWAP = (
    Mutant(
        "nobody notes what is written while a rebuild runs",
        _RUN,
        "            await shadow.capture(connection)\n",
        "            pass\n",
        (_STREAM,),
    ),
    Mutant(
        "only new orders are noted",
        "consumer/rebuild.sql",
        "FROM (VALUES ('INSERT'), ('UPDATE'), ('DELETE')) AS w (kind);",
        "FROM (VALUES ('INSERT'), ('DELETE')) AS w (kind);",
        (_STREAM,),
    ),
    Mutant(
        "a swap does not fold what is noted",
        _SWAP,
        "        return await catch_up.rest(connection, hold)\n",
        "        return 0\n",
        (_FASTER,),
    ),
    Mutant(
        "a swap takes over though notes are left",
        _SWAP,
        "            if not left:\n",
        "            if True:\n",
        (_STAYS,),
    ),
    Mutant(
        "what was folded while writers waited is taken back",
        _SWAP,
        "            if not left:\n",
        '            if left:\n                raise Behind("")\n            else:\n',
        (_STAYS,),
    ),
    Mutant(
        "what is left is folded once while writers wait",
        "consumer/rebuild/catch_up.py",
        "            if time.monotonic() > end:\n",
        "            if True:\n",
        (_FASTER,),
    ),
    Mutant(
        "catching up goes on for as long as writers are faster",
        "consumer/rebuild/catch_up.py",
        "        while vain < patience:\n",
        "        while True:\n",
        (_FASTER,),
    ),
    Mutant(
        "an order that is erased meanwhile comes back",
        "consumer/rebuild/catch_up.py",
        "            if order_id in live and live[order_id].erased:\n",
        "            if False:\n",
        (_WHATEVER,),
    ),
    Mutant(
        "writers go on while the tables are exchanged",
        _SWAP,
        '        await _lock(connection, SQL["writers_wait"], WRITERS_WAIT)\n',
        "",
        (_WAITING,),
    ),
    Mutant(
        "what is noted is folded before writers wait",
        _SWAP,
        '        await _lock(connection, SQL["writers_wait"], WRITERS_WAIT)\n'
        '        await failpoints.reach("rebuild_align")\n'
        "        return await catch_up.rest(connection, hold)\n",
        "        left = await catch_up.rest(connection, hold)\n"
        '        await failpoints.reach("rebuild_align")\n'
        '        await _lock(connection, SQL["writers_wait"], WRITERS_WAIT)\n'
        "        return left\n",
        (_WAITING,),
    ),
    Mutant(
        "a swap waits for writers as long as it takes",
        _SWAP,
        'WRITERS_WAIT = "400ms"',
        'WRITERS_WAIT = "0"',
        (_LONG,),
    ),
    Mutant(
        "a swap waits for readers as long as it takes",
        _SWAP,
        'READERS_WAIT = "200ms"',
        'READERS_WAIT = "0"',
        (_LONG,),
    ),
    Mutant(
        "readers wait behind whoever reads a table that takes over",
        _SWAP,
        "for schema in (HOME, self.source) for table",
        "for schema in (HOME,) for table",
        (_LONG,),
    ),
    Mutant(
        "a swap that somebody is in the way of is not tried again",
        _SWAP,
        "            if connection.is_closed() or time.monotonic() - began > _PATIENCE:\n",
        "            if True:\n",
        (_LONG,),
    ),
    Mutant(
        "views go on reading the old tables",
        _SWAP,
        '                yield view["again"]\n',
        "                yield from ()\n",
        ("tests/integration/test_rebuild_models.py::test_by_name_only_these_take_over",),
    ),
    Mutant(
        "views lose their options",
        "consumer/rebuild.sql",
        "           || coalesce(' WITH (' || array_to_string(v.reloptions, ', ') || ')', '')\n           || ' AS '",
        "           || ' AS '",
        (_GIVEN,),
    ),
    Mutant(
        "others lose their rights on the tables",
        "consumer/rebuild/shadow.py",
        '        for rights in ("grants_like_live", "columns_like_live"):\n',
        '        for rights in ("columns_like_live",):\n',
        (_GIVEN,),
    ),
    Mutant(
        "indexes that were added are lost",
        "consumer/rebuild.sql",
        "  AND i.indisvalid\n",
        "  AND i.indisprimary\n",
        (_GIVEN,),
    ),
    Mutant(
        "what a swap would leave behind is left behind",
        _SWAP,
        '    if found:\n        raise Refused(f"a swap would leave behind',
        '    if False:\n        raise Refused(f"a swap would leave behind',
        (f"{_SURROUNDINGS}::test_what_a_swap_would_leave_behind_is_refused_by_name",),
    ),
    Mutant(
        "workers of the old make keep their partitions",
        _SWAP,
        '            await connection.execute(SQL["fence"], "rebuild")\n',
        "            pass\n",
        (_KEPT_OUT,),
    ),
    Mutant(
        "the new make is not noted",
        _SWAP,
        '            await connection.execute(SQL["make_set"], name, make)\n',
        "            pass\n",
        (_KEPT_OUT,),
    ),
    Mutant(
        "the generation stays what it was",
        "consumer/rebuild.sql",
        "SET fingerprint = $2, generation = generation + 1, installed_at",
        "SET fingerprint = $2, installed_at",
        (_MADE_ANEW,),
    ),
    Mutant(
        "who takes a partition is not asked what it makes",
        "consumer/install.py",
        "        await check(connection, models)\n        return holds\n",
        "        return holds\n",
        (_KEPT_OUT,),
    ),
    Mutant(
        "who writes beside the partitions is not asked what it makes",
        "consumer/install.py",
        '    await connection.execute(_SQL["orders_stay"])\n    await check(connection, models)\n',
        '    await connection.execute(_SQL["orders_stay"])\n',
        (_KEPT_OUT,),
    ),
    Mutant(
        "a way back is not brought up to what was written since",
        _ROLLBACK,
        '            await connection.execute(SQL["touched_differing"].format(schema=quoted(BEFORE)))\n',
        "",
        (f"{_BACK}::test_what_was_written_since_is_in_the_tables_of_before",),
    ),
    Mutant(
        "nobody notes what is written during a way back",
        _ROLLBACK,
        "            await shadow.capture(connection)\n",
        "",
        (f"{_BACK}::test_what_is_written_while_it_goes_back_is_there",),
    ),
    Mutant(
        "any code goes back to what other code has made",
        _ROLLBACK,
        "    if other:\n",
        "    if False:\n",
        (_OTHER_CODE,),
    ),
    Mutant(
        "a way back leaves workers of the newer make at work",
        _ROLLBACK,
        "                bool(changed),\n",
        "                False,\n",
        (_OTHER_CODE,),
    ),
    Mutant(
        "the states that replaced sums stand for are not kept",
        _SWAP,
        "        if STATES not in self.tables:\n            yield _moved(STATES, self.source, _MEANWHILE)\n",
        "",
        (f"{_BACK}::test_after_a_swap_of_some_only_these_go_back",),
    ),
    Mutant(
        "a migration between a swap and the way back is not seen",
        _ROLLBACK,
        '        if same and not await connection.fetchval(SQL["same_columns"], BEFORE, table):\n',
        "        if False:\n",
        (f"{_BACK}::test_a_migration_that_came_between_is_refused",),
    ),
)
