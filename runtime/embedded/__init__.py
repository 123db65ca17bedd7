"""The services a developer would otherwise have to install: PostgreSQL, and a broker that speaks Kafka.

Guarantees: every server listens on loopback alone, on a port found free; `stop()` may be called
twice, or before `start()`; an attached server does not outlive its parent (Linux), a detached one
outlives it until `stack.down`; nothing is ever signalled but a process this package started, known
by its pid and its time of birth. Never: production. The packages behind this are the extra
`embedded`.
"""
