"""The proof of a demo, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from consumer.proof import Check
from runtime.settings import Settings

_SHOWN = 5  # differences of each check that are printed


def report(console: Console, checks: Sequence[Check], examples: Sequence[dict[str, Any]]) -> int:
    """Print what was proved; the exit code: 0 only if every row was equal."""
    table = Table(title="Proved against an independent recomputation from what the producer meant")
    for name, side in (
        ("what", "left"),
        ("expected rows", "right"),
        ("found", "right"),
        ("differences", "right"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left")
    for check in checks:
        table.add_row(check.name, f"{check.expected:,}", f"{check.found:,}", str(len(check.differences)))
    console.print(table)
    for check in checks:
        for difference in check.differences[:_SHOWN]:
            console.print(f"{check.name}: {difference}", markup=False)
    if examples:
        shown = Table(*examples[0], title="A few of the orders")
        for row in examples:
            shown.add_row(*map(str, row.values()))
        console.print(shown)
    wrong = sum(len(check.differences) for check in checks)
    console.print("Every row is equal." if not wrong else f"{wrong} differences.")
    return 1 if wrong else 0


def watch(console: Console, address: str) -> None:
    """Where the page is, before there is anything on it."""
    console.print(f"Watch it: {address}", markup=False, highlight=False, soft_wrap=True)


def next_steps(console: Console, settings: Settings, address: str, *, stays: bool) -> None:
    """Where to go from here: lines to copy, so never wrapped; the page's address is the last."""
    url = settings.database_url.get_secret_value()
    running = (
        f"psql '{url}'    # and look round in schema read_model",
        f"KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers} PROJECTOR_TOPICS={settings.topics[0]} "
        f"DATABASE_URL='{url}' projector status",
        "Ctrl-C    # ends the demo and stops what it started",
    )
    ended = (
        "export $(projector up)    # embedded services that stay",
        "projector migrate; projector worker",
        "projector simulate --orders 1000; projector status",
        "projector api --dev    # the page again, at http://127.0.0.1:8000/",
    )
    console.print("\nWhat to try next:")
    for line in running if stays else ended:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    at_the_end = (
        f"The page is served until Ctrl-C: {address}"
        if stays
        else f"The page was served while the demo ran (on a terminal it stays until Ctrl-C): {address}"
    )
    console.print(at_the_end, markup=False, highlight=False, soft_wrap=True)
