"""What the commands on rebuilds tell: people on a terminal, or machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.letters import counted, plain
from consumer.rebuild import terms
from consumer.rebuild.compare import SHOWN, Comparison
from consumer.rebuild.one_order import Mended
from consumer.rebuild.terms import Outcome

_EVERY = 2.0  # seconds between lines where there is no terminal

_PHASES = {
    "read": "reading",
    "bulk": "folding",
    "catch_up": "catching up",
    "compare": "comparing",
    "swap": "swapping",
}

_ENDS = {
    "swapped": "swapped in",
    "kept": "compared, and kept: run it again without --no-swap to swap",
    "cancelled": "cancelled; nothing is left of it",
    "stopped": "stopped; run it again, and it goes on",
    "differs": "kept, not swapped: rows differ that should not; --accept-differences swaps all the same",
    "copied": "copied",
    "unchanged": "nothing has changed",
}


@contextmanager
def progress(*, as_json: bool) -> Iterator[terms.Tell]:
    """Something to tell how far a rebuild is, on stderr: a bar on a terminal, else an object a line."""
    if sys.stderr.isatty() and not as_json:
        with _bar() as tell:
            yield tell
        return
    phase, at = "", 0.0

    def line(done: terms.Progress) -> None:
        nonlocal phase, at
        now = time.monotonic()
        if done.phase != phase or now - at >= _EVERY:
            phase, at = done.phase, now
            typer.echo(orjson.dumps(_figures(done)), err=True)

    yield line


def outcome(done: Outcome, *, as_json: bool) -> int:
    """Tell what became of a rebuild; the exit code."""
    if as_json:
        typer.echo(orjson.dumps(_as_json(done), default=str))
    else:
        if done.names:
            rate = f", {done.events / done.seconds:,.0f}/s" if done.events and not done.resumed else ""
            typer.echo(f"{', '.join(done.names)}: {counted(done.events, 'event')} in {done.seconds:,.1f} s{rate}")
        _differences(done.comparison)
        typer.echo(_ENDS[done.state])
    return 0 if done.state in ("swapped", "kept", "unchanged", "copied") else 1


def rolled_back(done: Outcome, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps({"state": "rolled_back", "tables": list(done.names), "seconds": done.seconds}))
    else:
        typer.echo(f"{', '.join(done.names)}: back to what was before the swap, caught up")


def mended(done: Mended, *, as_json: bool) -> None:
    if as_json:
        typer.echo(
            orjson.dumps(
                {
                    "order_id": done.order_id,
                    "version": done.version,
                    "columns": done.columns,
                    "documents": done.documents,
                    "sums": dict(done.sums),
                }
            )
        )
        return
    parts = [f"its {', '.join(done.columns)}"] if done.columns else []
    parts += [f"its row in {name}" for name in done.documents]
    parts += [f"{counted(number, 'row')} of {name}" for name, number in done.sums.items() if number]
    what = f"put right {'; '.join(parts)}" if parts else "all of it was right"
    typer.echo(f"order {plain(done.order_id)}, version {done.version}: {what}")


def cancelled(what: str | None, *, as_json: bool) -> None:
    told = {None: "there is no rebuild", "asked": "told to end", "dropped": "what it had left is dropped"}
    typer.echo(orjson.dumps({"cancelled": what}) if as_json else told[what])


def dropped(tables: Sequence[str], *, as_json: bool) -> None:
    what = f"dropped the old {', '.join(tables)}" if tables else "there were no old tables"
    typer.echo(orjson.dumps({"dropped": list(tables)}) if as_json else what)


@contextmanager
def _bar() -> Iterator[terms.Tell]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", rate="")

        def tell(done: terms.Progress) -> None:
            name = _PHASES[done.phase] + (f", attempt {done.attempts + 1}" if done.attempts else "")
            bar.update(
                task, description=name, completed=done.events, total=done.expected, rate=f"{done.rate:,.0f} events/s"
            )

        yield tell


def _figures(done: terms.Progress) -> dict[str, Any]:
    left = done.left
    return {
        "phase": done.phase,
        "events": done.events,
        "expected": done.expected,
        "events_per_s": round(done.rate),
        "seconds_left": None if left is None else round(left, 1),
        **({"attempts": done.attempts} if done.attempts else {}),
    }


def _as_json(done: Outcome) -> dict[str, Any]:
    found = done.comparison
    return {
        "state": done.state,
        "rebuilt": list(done.names),
        "events": done.events,
        "seconds": round(done.seconds, 3),
        "resumed": done.resumed,
        "differences": {
            name: {
                "rows": count,
                "expected": name in found.expected,
                "first": [
                    {"key": [str(part) for part in one.key], "live": one.live, "rebuilt": one.rebuilt}
                    for one in found.first[name]
                ],
            }
            for name, count in found.counts.items()
        },
    }


def _differences(found: Comparison) -> None:
    for name, count in found.counts.items():
        why = " (it is of another make now)" if name in found.expected else ""
        typer.echo(f"{name}: {counted(count, 'row')} {'differs' if count == 1 else 'differ'}{why}")
        for one in found.first[name]:
            key = ", ".join(plain(part) for part in one.key)
            for column, live, rebuilt in one.columns():
                typer.echo(f"  {key}  {column}: live {plain(live)}, rebuilt {plain(rebuilt)}")
        if count > SHOWN:
            typer.echo(f"  and {counted(count - SHOWN, 'other')}")
