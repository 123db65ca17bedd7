"""Known ways to break the engine, each with the tests that have to notice: faults that projection engines have had."""
