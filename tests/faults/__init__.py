"""Faults on purpose: each breaks a working fleet in one way, heals it, and holds every row against the oracle."""
