"""Other people's consumers beside ours: the same events, the same machine, the same round.

A peer is somebody else's way from Kafka to PostgreSQL, configured as its own documentation recommends for throughput.
The least that each does is one row per order with its newest state. None does what `live` does (five read
models, a ledger of every event, order by version, dead letters, its position in the same transaction): what a peer
keeps and what it doesn't stands beside its figure.

`frame` says what a peer is, `events` puts the events into the encoding it reads, `race` holds the clock and proves the
table, `roster` lists the peers, `report` makes the table. A peer itself is a package here: its definition in
`__init__`, its program (for another interpreter than ours) beside it, its dependencies pinned.

Where the rules favour one side, they favour the peer:

- A peer's clock starts when the first row is visible, so that starting, joining the group, filling the pipeline and
  preparing statements are not in it; `live`'s starts when its partitions are taken and nothing has been fetched.
- The order's status is in the events that a peer reads: the producer has folded it. `live` works it out.
- A peer's table has a primary key and no other index.

In favour of none: each reads a topic of its own with 12 partitions that holds the same events in the same order and
was filled before any clock; each runs alone, one process, in a fresh database of the same server, after a checkpoint.
"""
