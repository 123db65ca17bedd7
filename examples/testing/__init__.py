"""The worked example of docs/testing-your-system.md: a small shop's tests of its own read model."""
