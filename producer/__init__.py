"""The producing side: for now, a seeded stream of orders and its way into Kafka.

Guarantees: the same seed gives the same bytes. Never: anything of the consumer's.
"""
