"""`projector`: the subcommands, and how a program ends."""

from __future__ import annotations

import sys

import typer

from cli import (
    api,
    archive,
    dead_letters,
    demo,
    fleet,
    prune,
    rebuild,
    relay,
    replay,
    sagas,
    services,
    simulate,
    status,
    verify,
)
from schemas.errors import ProjectorError, Stuck, TryAgain

app = typer.Typer(
    name="projector",
    help="Kafka order events in, true PostgreSQL read models out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo")(demo.demo)
app.command("up")(services.up)
app.command("down")(services.down)
app.command("migrate")(services.migrate)
app.command("worker")(fleet.worker)
app.command("simulate")(simulate.simulate)
app.command("api")(api.api)
app.command("relay")(relay.relay)
app.command("sagas")(sagas.sagas)
app.command("status")(status.status)
app.command("replay")(replay.replay)
app.command("verify")(verify.verify)
app.command("rebuild")(rebuild.rebuild)
app.command("rollback")(rebuild.rollback)
app.command("archive")(archive.archive)
app.command("prune")(prune.prune_ledger)
app.add_typer(dead_letters.app, name="dead-letters")

FOUND_WRONG, BAD_USAGE, UNREACHABLE = 1, 2, 3


def main() -> None:
    """The entry point. Errors that a person can do something about are one message, not a traceback."""
    try:
        app()
    except TryAgain as error:
        _end(error, UNREACHABLE)
    except Stuck as error:
        _end(error, FOUND_WRONG)
    except ProjectorError as error:
        _end(error, BAD_USAGE)


def _end(error: ProjectorError, code: int) -> None:
    sys.stderr.write(f"projector: {error}\n")
    sys.exit(code)
