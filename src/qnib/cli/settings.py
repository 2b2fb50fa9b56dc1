"""`qnib settings show`: every setting, its value and where it came from."""

from __future__ import annotations

from typing import Any

import typer

from qnib.cli.output import Csv, Json, show_rows


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="The settings tree.")
    app.add_typer(group, name="settings")

    @group.command()
    def show(as_json: Json = False, as_csv: Csv = False) -> None:
        """Print every setting: name, value, origin (default, file or variable), meaning."""
        from qnib.settings import load, origins

        rows: list[dict[str, Any]] = [
            {"name": n, "value": v if isinstance(v, int | float | bool) else str(v), "origin": o, "meaning": d}
            for n, v, o, d in origins(load())
        ]
        show_rows(rows, ["name", "value", "origin", "meaning"], as_json=as_json, as_csv=as_csv, empty="")
