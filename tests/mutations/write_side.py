"""Mutants of the write side: commands, outbox, relay, sagas, local-first."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_COMMANDS = "tests/integration/test_commands.py"
_DECIDE = "tests/unit/test_decide.py"
_MODES = "tests/integration/test_modes.py"
_READER = "tests/integration/test_outbox_reader.py"
_RELAY = "tests/integration/test_relay.py"
_SAGA = "tests/unit/test_saga.py"
_SAGAS = "tests/integration/test_sagas.py"

_SEND = "                await self._send(producer, self._unheld(page.rows))\n            except RecordRefused:\n"

WRITE_SIDE = (
    Mutant(
        "the relay reads by id > last: what commits late is skipped",
        "producer/queries.sql",
        "SELECT pg_snapshot_xmin(s.snapshot)::text AS window_end,",
        "SELECT pg_snapshot_xmax(s.snapshot)::text AS window_end,",
        (_READER,),
    ),
    Mutant(
        "the relay marks before Kafka has acknowledged",
        "producer/relay.py",
        _SEND,
        "                await self._mark(connection, page.after)\n" + _SEND,
        (_RELAY,),
    ),
    Mutant(
        "what comes after a refused record goes out",
        "producer/relay.py",
        "        return [row for row in rows if row.aggregateid not in self._held.orders]\n",
        "        return list(rows)\n",
        ("tests/integration/test_relay_faults.py",),
    ),
    Mutant(
        "an outbox row has its own transaction's number",
        "producer/queries.sql",
        "xid = greatest(o.xid, excluded.xid)",
        "xid = excluded.xid",
        (_READER,),
    ),
    Mutant(
        "a reader's epoch is not compared",
        "producer/queries.sql",
        "WHERE name = $1 AND epoch = $2 AND done_below",
        "WHERE name = $1 AND $2::bigint IS NOT NULL AND done_below",
        (_READER,),
    ),
    Mutant(
        "days that nobody has read are dropped",
        "schemas/ddl/0005_write_model.sql",
        "        CONTINUE WHEN unread OR NOT EXISTS (SELECT FROM write_model.outbox_readers);\n",
        "",
        (_READER,),
    ),
    Mutant(
        "a key takes any command",
        "producer/handler.py",
        'same = found["fingerprint"] == self._fingerprint',
        "same = True",
        (_COMMANDS,),
    ),
    Mutant(
        "nobody asks whether a command with this key is under way",
        "producer/handler.py",
        '            if not found["free"]:\n                return KeyInProgress()\n',
        "",
        (_COMMANDS,),
    ),
    Mutant(
        "a commit that nobody answered is done again",
        "producer/handler.py",
        "            if done is not None:\n",
        "            if False:\n",
        (_COMMANDS,),
    ),
    Mutant(
        "the order is not locked",
        "producer/queries.sql",
        "WHERE order_id = $1 FOR UPDATE;",
        "WHERE order_id = $1;",
        (_COMMANDS,),
    ),
    Mutant(
        "local-first forgets what is still on its way",
        "producer/handler.py",
        "            if missing:\n",
        "            if False:\n",
        (_MODES,),
    ),
    Mutant(
        "a local event has another id than the one that is published",
        "producer/outbox.py",
        "        id=row.id,\n        type=row.type,\n",
        '        id=f"local-{row.id}",\n        type=row.type,\n',
        (_MODES,),
    ),
    Mutant(
        "a saga's step is written in another transaction than its command",
        "producer/saga_runner.py",
        "                    await saga_store.write(connection, [step.saga], [taken])\n",
        '                    await connection.execute("COMMIT; BEGIN")\n'
        '                    await self._failpoints.reach("saga_before_commit")\n'
        "                    await saga_store.write(connection, [step.saga], [taken])\n",
        (_SAGAS,),
    ),
    Mutant(
        "a payment in part stops the clock",
        "producer/saga.py",
        'if saga.stage != "awaiting_payment" or saga.order.paid < saga.order.total:',
        'if saga.stage != "awaiting_payment":',
        (_SAGA,),
    ),
    Mutant(
        "what was paid for a cancelled order stays",
        "producer/saga.py",
        "    if left <= 0:\n",
        "    if True:\n",
        (_SAGA,),
    ),
    Mutant(
        "more is taken than is due",
        "producer/order.py",
        "if amount > due or (amount == 0 and state.total):",
        "if amount == 0 and state.total:",
        (_DECIDE,),
    ),
)
