"""The faults, by what breaks. Each module's `Fault`s are found by `tests.faults.matrix`."""
