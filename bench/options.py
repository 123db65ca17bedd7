"""What the benchmark's commands take, and say, alike."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bench.report import PAGE, Report, write
from bench.tables import Parts
from schemas.errors import ProjectorError


def common(parser: argparse.ArgumentParser, runs: int) -> None:
    """Options for rounds, the stream and where the figures go."""
    parser.add_argument("--runs", type=positive, default=runs, help=f"rounds ({runs})")
    parser.add_argument("--orders", type=positive, default=60_000, help="orders; each has 4.9 events (60,000)")
    parser.add_argument("--window", type=positive, default=400, help="orders under way at once in the stream (400)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")


def positive(text: str) -> int:
    """A count. Raises ArgumentTypeError below 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def run(options: argparse.Namespace, bench: Callable[[argparse.Namespace], Coroutine[Any, Any, None]]) -> int:
    """The exit code: 1, and why on standard error, if something isn't there, takes too long or gives wrong rows."""
    if options.write and not PAGE.exists():  # better now than after it all
        sys.exit(f"{PAGE} is not there")
    try:
        asyncio.run(bench(options))
    except ProjectorError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 0


def shown(options: argparse.Namespace, found: Report, name: str, *tables: Callable[[Parts], str]) -> None:
    """The figures to where the options want them: standard output always, a file, the page between `name`'s markers."""
    text = found.markdown(*tables)
    if options.json:
        options.json.write_bytes(found.json())
    if options.write:
        write(text, name)
    sys.stdout.write(text + "\n")


def say(line: str) -> None:
    """How far it is, to standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
