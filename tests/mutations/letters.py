"""Mutants of dead letters: retried, discarded, found; and of the migration that they need."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_LETTERS = "tests/integration/test_dead_letters.py"
_MACHINE = "tests/integration/test_redelivery_machine.py"
_RACES = "tests/integration/test_redelivery_races.py"
_RETRY = "tests/integration/test_redelivery.py"
_SELECTION = "tests/integration/test_redelivery_selection.py"

LETTERS = (
    Mutant(
        "a retried letter's event counts as known",
        "consumer/queries.sql",
        "JOIN projector.dead_letters AS d USING (event_uuid, source_no)\n"
        "WHERE d.resolution IS DISTINCT FROM 'retried';",
        "JOIN projector.dead_letters AS d USING (event_uuid, source_no);",
        (_RETRY,),
    ),
    Mutant(
        "what is refused again stays resolved",
        "consumer/queries.sql",
        "      AND d.resolution = 'retried'\n",
        "      AND false\n",
        (_RETRY, _MACHINE),
    ),
    Mutant(
        "a discarded letter is opened by a retry",
        "consumer/letters.sql",
        "WHERE d.id = u.id AND d.resolved_at IS NULL;",
        "WHERE d.id = u.id;",
        (_RACES,),
    ),
    Mutant(
        "a letter that somebody else resolved is retried all the same",
        "consumer/letters.py",
        "    if affected(taken) != len(letters):\n",
        "    if False:\n",
        (_RACES,),
    ),
    Mutant(
        "letters are locked before their order",
        "consumer/redelivery.py",
        "            await order_store.read(connection, named, hold=True)\n"
        "            await letters.take(connection, found, self._by)\n",
        "            await letters.take(connection, found, self._by)\n"
        "            await order_store.read(connection, named, hold=True)\n",
        (_RACES,),
    ),
    Mutant(
        "orders are not locked before letters",
        "consumer/redelivery.py",
        "            await order_store.read(connection, named, hold=True)\n",
        "",
        (_RACES,),
    ),
    Mutant(
        "a dry run commits",
        "consumer/letters.py",
        "        await (begun.commit() if keep else begun.rollback())",
        "        await begun.commit()",
        (_RETRY,),
    ),
    Mutant(
        "letters of an erased order stay",
        "consumer/redelivery.py",
        '        await letters.forget(connection, [one.letter for one in fates if one.becomes == "erased"])\n',
        "",
        (_SELECTION,),
    ),
    Mutant(
        "a retried letter keeps the order that it was noted with",
        "consumer/letters.sql",
        "    order_id = coalesce(u.order_id, d.order_id),\n    event_id",
        "    event_id",
        (_SELECTION,),
    ),
    Mutant(
        "a letter outside the transaction",
        "consumer/redelivery.py",
        "            await letters.take(connection, found, self._by)\n",
        "            await letters.take(connection, found, self._by)\n"
        "            await connection.execute('COMMIT; BEGIN')\n",
        (
            _MACHINE,
            _RETRY,
        ),
    ),
    Mutant(
        "one order's failure ends the retry",
        "consumer/redelivery.py",
        "                if out_of_reach:\n",
        "                if True:\n",
        (_SELECTION,),
    ),
    Mutant(
        "letters are retried in the order in which they came",
        "consumer/redelivery.py",
        "[number for _, number in sorted(theirs)]",
        "[number for _, number in theirs]",
        (_SELECTION,),
    ),
    Mutant(
        "a discarded letter's event may come back",
        "consumer/queries.sql",
        "WHERE d.resolution IS DISTINCT FROM 'retried';",
        "WHERE d.resolved_at IS NULL;",
        (_LETTERS,),
    ),
    Mutant(
        "a refused retry is not counted",
        "consumer/queries.sql",
        "        attempts = d.attempts + 1,\n",
        "",
        (_RETRY,),
    ),
    Mutant(
        "what is discarded is not asked to be open",
        "consumer/letters.sql",
        "    WHERE id = ANY($1::bigint[]) AND resolved_at IS NULL\n    ORDER BY id\n    FOR UPDATE",
        "    WHERE id = ANY($1::bigint[])\n    ORDER BY id\n    FOR UPDATE",
        (_LETTERS,),
    ),
    Mutant(
        "one letter that PostgreSQL refuses keeps its order's others",
        "consumer/redelivery.py",
        "            if len(ids) == 1:\n",
        "            if True:\n",
        (_SELECTION,),
    ),
    Mutant(
        "a migration waits for its lock",
        "schemas/ddl/0002_letters_resolved.sql",
        "SET LOCAL lock_timeout = '5s';\n",
        "",
        ("tests/integration/test_migrations.py",),
    ),
    Mutant(
        "a new read of an unreadable letter is not asked for its order",
        "consumer/letters.sql",
        "  AND ($3::text IS NULL OR order_id = $3 OR reason = 'unreadable')",
        "  AND ($3::text IS NULL OR order_id = $3)",
        (_SELECTION,),
    ),
    Mutant(
        "parked events are counted to the last one, every few seconds",
        "consumer/queries.sql",
        "    FROM (SELECT 1 FROM projector.parked_events ORDER BY parked_at LIMIT $2) AS p\n",
        "    FROM (SELECT 1 FROM projector.parked_events ORDER BY parked_at) AS p\n",
        ("tests/integration/test_parked_age.py",),
    ),
)
