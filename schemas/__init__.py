"""What crosses the borders: events in, their encodings, the database's shape, the published contracts.

Guarantees: decoding is pure and total (any bytes give an event, a tombstone or one declared error), money is
never a binary float, and a migration is numbered, forward-only and safe to run from many processes at once.
Never: Kafka, a clock, a decision about what an event does.
"""
