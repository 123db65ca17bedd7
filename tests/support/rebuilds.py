"""Rebuilds in tests: in this process, with small ranges, held against the reference model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consumer.read_models import READ_MODELS, ReadModel
from consumer.rebuild.journal_source import FromJournal
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import Options, Outcome
from runtime.settings import Settings, load


def settings_of(url: str, **more: Any) -> Settings:
    """For a database alone."""
    return load(environment={}, database_url=url, kafka_bootstrap_servers="localhost:9", **more)


async def from_journal(
    url: str,
    *names: str,
    models: Sequence[ReadModel] = READ_MODELS,
    failpoints: str = "",
    size: int = 7,
    **options: Any,
) -> Outcome:
    """A rebuild in this process, in ranges of so many events."""
    settings = settings_of(url, failpoints=failpoints)
    asked = Options(names=names, **{"processes": 0, **options})
    return await Rebuild(settings, FromJournal(settings, size), asked, models).run()
