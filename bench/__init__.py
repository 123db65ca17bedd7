"""What is measured, against what limit: `python -m bench`, which is what `make bench` calls.

Every part is a function of the stage (a real Apache Kafka and a PostgreSQL 18 that keeps its promises in a power
cut) and gives named figures; parts run in turn, round after round, so that a slow minute of the machine falls on
all of them alike. Guarantees: fixed seeds; no figure of a run whose result wasn't proved right; everything bounded
in count and in time; every process that was started is ended. Never: a change to the engine's settings for a part.
"""
