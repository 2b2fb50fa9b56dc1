"""The command line: one file per command group, imports inside commands so that `qnib --help` is quick."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from qnib import __version__
from qnib.cli import (
    backup,
    cluster,
    demo,
    events,
    fabric,
    graph,
    load,
    metrics,
    read,
    replay,
    run,
    serve,
    settings,
    terminal,
)
from qnib.errors import QnibError

app = typer.Typer(
    name="qnib",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Joins the layers of a compute cluster: SLURM in containers, metrics, log events, and a graph over time.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"qnib {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a foreseen error, too.")] = False,
) -> None:
    del debug  # main() looks for the flag itself: it must also hold for errors of parsing


for group in (
    serve, terminal, run, replay, demo, cluster, read, events, load, metrics, graph, fabric, settings, backup,
):  # fmt: skip
    group.register(app)


def main() -> None:
    """Run the command; a foreseen error becomes three short lines and an exit status, never a traceback."""
    try:
        app()
    except QnibError as error:
        if "--debug" in sys.argv:
            raise
        _explain(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader went away (`qnib … | head`): nothing left to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)


def _explain(error: QnibError) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[bold red]qnib:[/]", end=" ")
    console.print(error.what, markup=False)
    if error.where:
        console.print(f"  where:    {error.where}", markup=False)
    if error.try_next:
        console.print(f"  try next: {error.try_next}", markup=False)
