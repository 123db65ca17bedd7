"""Mutants of the engine: decisions, statements, the transaction."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_MACHINE = "tests/integration/test_processor_machine.py"
_PROCESSOR = "tests/integration/test_processor.py"
_RACES = "tests/integration/test_races.py"
_VERDICTS = "tests/unit/test_verdicts.py"

ENGINE = (
    Mutant(
        "a state that others have is changed in place",
        "consumer/verdicts.py",
        "            if change.applied:  # then",
        "            if True:  # then",
        (_VERDICTS,),
    ),
    Mutant(
        "no ledger insert",
        "consumer/batch_store.py",
        "        entries = ledger.columns(events, numbers)\n",
        "        entries = []\n",
        (_PROCESSOR,),
    ),
    Mutant(
        "no ledger insert of many events",
        "consumer/batch_store.py",
        "            await ledger.append(connection, events, numbers)\n",
        "",
        (_PROCESSOR,),
    ),
    Mutant(
        "ledger in another transaction",
        "consumer/batch_store.py",
        "            await ledger.append(connection, events, numbers)\n",
        '            await connection.execute("COMMIT; BEGIN")\n'
        "            await ledger.append(connection, events, numbers)\n",
        (_MACHINE,),
    ),
    Mutant(
        "many new orders are not written",
        "consumer/batch_store.py",
        "[state for state in states if state.order_id not in revisions]",
        "[]",
        (_PROCESSOR,),
    ),
    Mutant(
        "a new order that somebody else has written is no lost race",
        "consumer/order_store.py",
        '    with races_lost("orders"):\n',
        "    with races_lost():\n",
        (_RACES,),
    ),
    Mutant(
        "a lost race at the first attempt makes nobody careful",
        "runtime/attempts.py",
        "        careful = careful or isinstance(error, LostRace)\n",
        "",
        ("tests/unit/test_attempts.py",),
    ),
    Mutant(
        "an erased order's history goes after the ledger's insert",
        "consumer/batch_store.py",
        "                await ledger.erase(connection, erased)\n"
        "            await ledger.append(connection, events, numbers)\n",
        "                await ledger.append(connection, events, numbers)\n"
        "                await ledger.erase(connection, erased)\n"
        "            else:\n"
        "                await ledger.append(connection, events, numbers)\n",
        (_PROCESSOR,),
    ),
    Mutant(
        "who mends a document alone doesn't write its order",
        "consumer/rebuild/one_order.py",
        "            if columns or (found and documents):\n",
        "            if columns:\n",
        ("tests/integration/test_rebuild_one_order.py",),
    ),
    Mutant(
        "what is parked or in dead letters isn't looked at",
        "consumer/projection.py",
        "        if any_pending:\n",
        "        if False:\n",
        (_PROCESSOR, _MACHINE),
    ),
    Mutant(
        "the look sees nothing in dead letters",
        "consumer/queries.sql",
        "OR EXISTS (SELECT FROM u JOIN projector.dead_letters AS d USING (event_uuid, source_no)) AS pending",
        "AS pending",
        (_PROCESSOR,),
    ),
    Mutant(
        "the look sees nothing that waits",
        "consumer/batch_store.py",
        'rows[0]["waiting"])',
        "False)",
        (_PROCESSOR, _MACHINE),
    ),
    Mutant(
        "one odd value in a column of many is taken for what stands in for it",
        "schemas/wire_batch.py",
        "        events[place] = None\n",
        "        pass\n",
        ("tests/unit/test_wire_batch.py",),
    ),
    Mutant(
        "a time in another zone stands as it is written",
        "schemas/attributes.py",
        "            return [moment if moment.tzinfo is UTC else _in_utc(moment) for moment in moments]\n",
        "            return [*moments]\n",
        ("tests/unit/test_wire_batch.py",),
    ),
    Mutant(
        "checkpoint in another transaction",
        "consumer/processor.py",
        "                await checkpoints.advance(connection, batch.moves)\n",
        "                await checkpoints.advance(connection, batch.moves)\n"
        '                await connection.execute("COMMIT; BEGIN")\n',
        (_MACHINE,),
    ),
    Mutant(
        "a version may be applied twice (<= for <)",
        "consumer/verdicts.py",
        "            if ahead == 1:",
        "            if ahead in (0, 1):",
        (_VERDICTS, _MACHINE),
    ),
    Mutant(
        "a hole is no hole",
        "consumer/verdicts.py",
        "            if ahead == 1:",
        "            if ahead >= 1:",
        (_VERDICTS, _MACHINE),
    ),
    Mutant(
        "an order's write compares nothing (<= for =)",
        "consumer/queries.sql",
        "WHERE o.revision = excluded.revision - 1;",
        "WHERE o.revision <= excluded.revision;",
        (_RACES,),
    ),
    Mutant(
        "an order is not held while its event is parked",
        "consumer/projection.py",
        "if change.applied or change.held or change.erased",
        "if change.applied or change.erased",
        (_RACES,),
    ),
    Mutant(
        "the result of the checkpoint's compare-and-set is ignored",
        "consumer/checkpoints.py",
        "    if affected(moved) != len(moves):\n",
        "    if False:\n",
        (_RACES, _MACHINE),
    ),
    Mutant(
        "a lost race is run again inside its transaction",
        "consumer/processor.py",
        "            outcome = await self._projection.apply(connection, batch.items, shard, careful=careful)\n",
        "            try:\n"
        "                outcome = await self._projection.apply(connection, batch.items, shard, careful=careful)\n"
        "            except Exception:\n"
        "                outcome = await self._projection.apply(connection, batch.items, shard, careful=True)\n",
        (_RACES,),
    ),
    Mutant(
        "the result of the orders' compare-and-set is ignored",
        "consumer/order_store.py",
        "    if written != len(states):\n",
        "    if False:\n",
        (_RACES,),
    ),
    Mutant(
        "the epoch is not compared",
        "consumer/queries.sql",
        "  AND c.epoch = m.epoch\n",
        "",
        (_RACES,),
    ),
    Mutant(
        "orders are written unsorted",
        "consumer/queries.sql",
        'ORDER BY order_id COLLATE "C"\nON CONFLICT (order_id) DO UPDATE SET\n',
        "ON CONFLICT (order_id) DO UPDATE SET\n",
        (_RACES,),
    ),
    Mutant(
        "dead letters outside the transaction",
        "consumer/projection.py",
        "        await pending.bury(connection, verdicts.letters, self.sources)\n",
        "        if verdicts.letters:\n"
        '            await connection.execute("COMMIT; BEGIN")\n'
        "        await pending.bury(connection, verdicts.letters, self.sources)\n",
        (_MACHINE,),
    ),
    Mutant(
        "something transient becomes a dead letter",
        "runtime/postgres.py",
        "    if state.startswith(_TRANSIENT) or",
        '    if state.startswith("55"):\n        return Unstorable(state)\n    if state.startswith(_TRANSIENT) or',
        (_RACES,),
    ),
    Mutant(
        "what waits is drained without regard to who came first",
        "consumer/queries.sql",
        "ORDER BY order_id, version, arrival;",
        "ORDER BY order_id, version, arrival DESC;",
        (_PROCESSOR,),
    ),
    Mutant(
        "what an order gave before is not taken back",
        "consumer/read_model_store.py",
        "                        add_shares(delta.sums, model, before, -1)\n",
        "                        pass\n",
        (_PROCESSOR, _MACHINE),
    ),
    Mutant(
        "dead letters are not asked about duplicates",
        "consumer/queries.sql",
        "WHERE d.resolution IS DISTINCT FROM 'retried';",
        "WHERE false;",
        (_PROCESSOR,),
    ),
    Mutant(
        "the source is no part of an event's identity",
        "consumer/verdicts.py",
        "        who = (event.source, event.uuid)\n",
        '        who = ("", event.uuid)\n',
        (_PROCESSOR, _MACHINE),
    ),
    Mutant(
        "erasure forgets the history",
        "consumer/ledger.py",
        '    for query in ("ledger_erase", "parked_erase", "letters_erase", "pruned_erase"):',
        '    for query in ("parked_erase", "letters_erase", "pruned_erase"):',
        (_PROCESSOR,),
    ),
)
