"""Mutants of the ledger's pruning: something goes that is needed, or what is gone is not remembered."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_PRUNE = "consumer/prune.py"
_SQL = "consumer/prune.sql"

_TESTS = "tests/integration/test_prune.py"
_ARCHIVED = "tests/integration/test_prune_archived.py"
_MARKS = "tests/unit/test_prune_marks.py"

PRUNE = (
    Mutant(
        "prune: what comes again is a conflict",
        "consumer/projection.py",
        "        return known | await self._forgotten(connection, unknown)\n",
        "        return known\n",
        (f"{_TESTS}::test_what_was_dropped_comes_again_and_is_a_duplicate",),
    ),
    Mutant(
        "prune: every event behind its turn is a copy once something was dropped",
        "consumer/projection.py",
        "if event.version <= pruned.get(event.order_id, 0)}",
        "if event.order_id in pruned}",
        (f"{_TESTS}::test_an_order_goes_on_behind_what_was_dropped",),
    ),
    Mutant(
        "prune: histories with something parked go",
        _SQL,
        "      AND NOT EXISTS (SELECT FROM projector.parked_events AS p WHERE p.order_id = l.order_id)\n",
        "",
        (f"{_TESTS}::test_what_waits_keeps_its_orders_history",),
    ),
    Mutant(
        "prune: histories with an open letter go",
        _SQL,
        "WHERE d.order_id = l.order_id AND d.resolved_at IS NULL",
        "WHERE false",
        (f"{_TESTS}::test_an_open_letter_keeps_its_orders_history",),
    ),
    Mutant(
        "prune: the newest event alone says how old a history is",
        _SQL,
        "HAVING max(l.occurred_at) < $2 AND max(l.processed_at) < $3",
        "HAVING $2::timestamptz IS NOT NULL AND max(l.processed_at) < $3",
        (f"{_TESTS}::test_an_event_that_is_late_keeps_a_history_though_a_newer_version_is_old",),
    ),
    Mutant(
        "prune: what is not archived goes",
        _SQL,
        "HAVING max(l.occurred_at) < $2 AND max(l.processed_at) < $3",
        "HAVING max(l.occurred_at) < $2 AND $3::timestamptz IS NOT NULL",
        (_ARCHIVED,),
    ),
    Mutant(
        "prune: an archive has what the log has",
        _PRUNE,
        "held[one].end >= end)",
        "held[one].end >= 0)",
        (_MARKS,),
    ),
    Mutant(
        "prune: an archive without its beginning is good enough",
        _PRUNE,
        "        if span.first > 0:\n",
        "        if False:\n",
        (_ARCHIVED,),
    ),
    Mutant(
        "prune: an archive with a hole is good enough",
        _PRUNE,
        "    for one, gaps in archive.gaps(topics).items():\n",
        "    for one, gaps in ():\n",
        (_ARCHIVED,),
    ),
    Mutant(
        "prune: an archive of another log is good enough",
        _PRUNE,
        "(why := other_log(span.end, ends[one]))",
        "(why := None)",
        (f"{_ARCHIVED}::test_an_archive_of_another_log_is_refused",),
    ),
    Mutant(
        "prune: clocks never differ",
        _PRUNE,
        "archived - _LEEWAY",
        "archived",
        (f"{_ARCHIVED}::test_what_was_processed_after_the_last_mark_that_the_archive_has_reached_stays",),
    ),
    Mutant(
        "prune: events of other topics are in the archive too",
        _SQL,
        "WHERE topic <> ALL($1::text[])",
        "WHERE topic = '' AND topic <> ALL($1::text[])",
        (f"{_ARCHIVED}::test_topics_of_which_no_archive_is_asked_are_named",),
    ),
    Mutant(
        "prune: a dry run notes where the log ends",
        _PRUNE,
        "    if dry:\n        return newest\n",
        "",
        (f"{_ARCHIVED}::test_a_dry_run_notes_nothing",),
    ),
    Mutant(
        "prune: writers and it wait for each other",
        _SQL,
        "FOR NO KEY UPDATE SKIP LOCKED;",
        "FOR NO KEY UPDATE;",
        (f"{_TESTS}::test_an_order_that_is_being_written_is_left_for_the_next_time",),
    ),
    Mutant(
        "prune: a dry run drops",
        _PRUNE,
        "        await (transaction.rollback() if dry else transaction.commit())\n",
        "        await transaction.commit()\n",
        (f"{_TESTS}::test_a_dry_run_says_what_would_go_and_drops_nothing",),
    ),
    Mutant(
        "prune: tables that a way back needs are no matter",
        _PRUNE,
        '((SHADOW, "--cancel"), (BEFORE, "--drop-old"))',
        '((SHADOW, "--cancel"),)',
        (f"{_TESTS}::test_the_journal_is_kept_whole_as_long_as_a_rebuild_needs_it",),
    ),
    Mutant(
        "prune: a rebuild from a journal with holes is tried",
        "consumer/rebuild/journal_source.py",
        "        if dropped := await ledger.pruned_orders(connection):\n",
        "        if dropped := 0:\n",
        (f"{_TESTS}::test_from_the_journal_nothing_can_be_rebuilt_any_more",),
    ),
    Mutant(
        "prune: a rebuild finds differences in what was dropped",
        "consumer/rebuild/compare.py",
        '"ledger", "histories_differ")',
        '"ledger", "rows_differ")',
        (f"{_ARCHIVED}::test_what_is_archived_goes_and_a_rebuild_brings_it_back",),
    ),
    Mutant(
        "prune: what was dropped stays noted when it is there again",
        "consumer/rebuild/plan.py",
        'LEDGER = ("ledger", "pruned_orders")',
        'LEDGER = ("ledger",)',
        (f"{_ARCHIVED}::test_what_is_archived_goes_and_a_rebuild_brings_it_back",),
    ),
    Mutant(
        "verify: what was dropped is missed",
        "consumer/verification/orders.py",
        "            _of(live, order_id).remember(outcome.history)\n",
        "            pass\n",
        (f"{_ARCHIVED}::test_what_was_dropped_is_verified_by_the_log",),
    ),
)
