"""`qnib backup` and `qnib restore`: the record as one directory, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def backup(target: Annotated[Path, typer.Argument(help="A directory that does not exist yet.")]) -> None:
        """Copy the record (points, events, facts) to TARGET; the server may run on."""
        from qnib.cli.client import Client, running
        from qnib.clock import SystemClock
        from qnib.errors import Conflict
        from qnib.settings import load

        settings = load()
        target = target.absolute()
        if target.exists():
            raise Conflict(
                "The backup's target exists.", where=str(target), try_next="name a directory that does not exist yet."
            )
        if running(settings):
            Client(settings).post("/api/backup", {"target": str(target)})
        else:
            from qnib.engine.chdb import open_engine

            engine = open_engine(settings, SystemClock())
            try:
                engine.backup(target)
            finally:
                engine.close()
        print(f"Backed up to {target}.")

    @app.command()
    def restore(source: Annotated[Path, typer.Argument(help="A directory written by `qnib backup`.")]) -> None:
        """Replace an empty record by the backup in SOURCE; the server must not run."""
        from qnib.cli.client import running
        from qnib.clock import SystemClock
        from qnib.engine.chdb import open_engine
        from qnib.errors import Conflict, NotFound
        from qnib.settings import load

        settings = load()
        source = source.absolute()
        if not source.is_dir():
            raise NotFound(
                "There is no backup.", where=str(source), try_next="name the directory that `qnib backup` wrote."
            )
        if running(settings):
            raise Conflict(
                "The server holds the record.", where=str(settings.home), try_next="`qnib stop`, then restore."
            )
        engine = open_engine(settings, SystemClock())
        try:
            engine.restore(source)
        finally:
            engine.close()
        print(f"Restored from {source}. `qnib serve` rebuilds the graph from it.")
