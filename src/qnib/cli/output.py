"""How reads are printed: a table for people, --json and --csv for programs."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
ClusterName = Annotated[str, typer.Option("--cluster", help="Cluster meant; default: the one of the settings.")]


def show_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, as_csv: bool, empty: str
) -> None:
    """Print `rows`; `columns` are the ones people see, programs get all of them."""
    if as_json:
        print(json.dumps(list(rows), indent=1, default=str))
        return
    if as_csv:
        names = list(rows[0]) if rows else list(columns)
        writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            seen = {name: plain(v) if isinstance(v, str) else v for name, v in row.items()}
            writer.writerow(seen if sys.stdout.isatty() else row)
        return
    if not rows:
        print(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(Text(text(row.get(name))) for name in columns))
    Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 220).print(table)


_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)  # controls, and marks that turn the direction of text


def ago(text: str) -> str:
    """A moment as the server wants it: ``1h`` is meant as ``-1h``."""
    return f"-{text}" if text[:1].isdigit() and text[-1:] in "smhdw" and text[:-1].isdigit() else text


def plain(told: str) -> str:
    """Text that does nothing to a terminal: control characters are written as people write them, ``\\x1b``."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), told)


def text(value: Any) -> str:
    """One cell, short: no value is an empty cell, times lose their fraction; of several lines the first."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(text(v) for v in value)
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    first, *more = plain(str(value)).split("\n")
    return f"{first} (+{len(more)} lines)" if more else first


def duration(seconds: float | None) -> str:
    """1-02:03:04 as SLURM writes it."""
    if seconds is None:
        return ""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock
