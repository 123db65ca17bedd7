"""How a process runs: settings, clients, logs, signals, and the embedded services for development.

Guarantees: the environment is read in one place, driver errors leave in this project's words, everything that is
started is stopped. Never: an event, an order, a read model.
"""
