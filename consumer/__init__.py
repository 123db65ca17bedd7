"""The consumer: events into read models, exactly once in effect.

Guarantees: rows, ledger and checkpoint change in one transaction; an event has an effect once, whoever delivers it;
a read model only ever shows the fold of versions 1..n of an order. Never: a decision that depends on timing, on
delivery order, or on a worker knowing that it still owns a partition.
"""
