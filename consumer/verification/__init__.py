"""Live read models held against a recomputation, row by row, while the fleet works on.

What is expected is the reference model's (consumer.reference), from the log or from the journal; what is found is read
in one snapshot of PostgreSQL, which says by its checkpoints how much of the log has to be in. Nothing here writes.
"""
