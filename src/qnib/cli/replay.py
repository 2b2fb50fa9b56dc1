"""`qnib replay`: the jobs of a recorded site on the virtual cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnib.cli.output import Json, show_rows

if TYPE_CHECKING:
    from qnib.terminal.replay import Fitted, Outcome

TELL_EVERY = 5.0
"""Seconds between two lines of progress where the output is no terminal."""


def register(app: typer.Typer) -> None:
    app.command("replay")(replay)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="SWF, or sacct -P; may be gzipped.")],
    speedup: Annotated[float, typer.Option("--speedup", "-x", min=1e-3, help="How many times faster.")] = 100,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Only so many jobs; 0: all.")] = 0,
    start: Annotated[str, typer.Option("--from", help="From a time (2016-12-30T00:00) or a span (2h) on.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Cluster; default: the one of the settings.")] = None,
    as_json: Json = False,
) -> None:
    """Replay a trace: each job at its time, as a user, for as long, with its end. Ctrl-C cancels what is left of it."""
    from dataclasses import asdict

    from qnib.settings import load
    from qnib.terminal import replay as replaying

    settings = load()
    fitted = replaying.fit(
        replaying.read(file), replaying.room_of(settings, name), speedup=speedup, most=jobs, start=start,
    )
    if not as_json:
        print("\n".join(fitted.sentences), flush=True)
    if plan:
        if as_json:
            _print({"about": fitted.sentences, "jobs": [asdict(job) for job in fitted.jobs]})
        return
    with _Shown(as_json) as shown:
        outcome = replaying.play(settings, fitted, name=name, seen=shown.tell)
    if as_json:
        _print({"about": fitted.sentences, **asdict(outcome), "drift": outcome.drift(), "rows": outcome.rows(fitted)})
    else:
        _report(fitted, outcome)
    if outcome.stopped:
        raise KeyboardInterrupt


def _report(fitted: Fitted, outcome: Outcome) -> None:
    columns = ["outcome", "traced", "ended", "as traced"]
    show_rows(outcome.rows(fitted), columns, as_json=False, as_csv=False, empty="")
    for number, why in list(outcome.refused.items())[:5]:
        print(f"SLURM refused job {number}: {why}")
    drift = outcome.drift()
    print(f"{len(outcome.submitted)} of {outcome.planned} submitted, {len(outcome.refused)} refused. Late by "
          f"{drift['median']:.2f} s in the middle, {drift['p95']:.2f} s for 95 %, {drift['most']:.2f} s at most.")


def _print(told: dict[str, Any]) -> None:
    import json

    print(json.dumps(told, indent=1))


class _Shown:
    """One changing line on a terminal; a line now and then elsewhere; nothing for programs."""

    def __init__(self, quiet: bool) -> None:
        import time

        from rich.console import Console

        self._quiet, self._clock, self._next = quiet, time.monotonic, 0.0
        console = Console(stderr=True, highlight=False)
        self._status = console.status("starting") if sys.stderr.isatty() and not quiet else None

    def __enter__(self) -> _Shown:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def tell(self, outcome: Outcome) -> None:
        line = (f"{len(outcome.submitted)} of {outcome.planned} submitted, {outcome.running} run, {outcome.waiting} "
                f"wait, {len(outcome.ended)} ended; the last {outcome.late[-1] if outcome.late else 0:.2f} s late")
        if self._status:
            self._status.update(line)
        elif not self._quiet and self._clock() >= self._next:
            self._next = self._clock() + TELL_EVERY
            print(f"  {line}", flush=True)
