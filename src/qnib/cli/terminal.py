"""`qnib up`, `down`, `exec`, `shell`: the virtual cluster."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

Name = Annotated[str | None, typer.Option("--name", help="Cluster; default: the one of the settings.")]
User = Annotated[str, typer.Option("--user", "-u", help="Run as this user of the cluster instead of root.")]


class Engine(StrEnum):
    AUTO = "auto"
    PODMAN = "podman"
    DOCKER = "docker"


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(execute)
    app.command()(shell)


def up(
    name: Name = None,
    nodes: Annotated[int, typer.Option("--nodes", "-n", help="Number of compute nodes.")] = 4,
    engine: Annotated[Engine | None, typer.Option(help="Container engine; default: the setting's.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Keep jobs of several users running.")] = False,
) -> None:
    """Start a SLURM cluster with a fabric on this machine; return when jobs start on it at once."""
    from qnib import terminal
    from qnib.settings import load

    with _Steps() as steps:
        cluster = terminal.up(
            load(), name=name, nodes=nodes, engine=engine.value if engine else None, demo=demo, say=steps.say,
        )
    print(f"Cluster {cluster.name} is ready: {nodes} nodes after {cluster.details['seconds']:.1f} s.")
    print(f"  Try: qnib exec controller -- srun -N{nodes} hostname")


def down(
    name: Name = None,
    every: Annotated[bool, typer.Option("--all", help="Every cluster on this machine.")] = False,
) -> None:
    """Remove a cluster: its containers, network, volume, limits and files. Images stay."""
    from qnib import terminal
    from qnib.settings import load

    removed = terminal.down(load(), name=name, every=every)
    print(f"Removed {', '.join(removed)}." if removed else "There was no cluster to remove.")


def execute(
    host: Annotated[str, typer.Argument(metavar="NODE", help="controller, fabric, compute0 …")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD", help="The command and its arguments.")],
    name: Name = None,
    user: User = "",
) -> None:
    """Run a command on a node; its exit status becomes this command's."""
    from qnib import terminal
    from qnib.settings import load

    if command and command[0] == "--":
        command = command[1:]
    raise typer.Exit(terminal.execute(load(), host, command, name=name, user=user))


def shell(
    host: Annotated[str, typer.Argument(metavar="NODE", help="controller, fabric, compute0 …")] = "controller",
    name: Name = None,
    user: User = "",
) -> None:
    """Open a shell on a node."""
    from qnib import terminal
    from qnib.settings import load

    raise typer.Exit(terminal.shell(load(), host, name=name, user=user))


class _Steps:
    """Shows the step in progress on a terminal, and each step with its time when the output is a file."""

    def __enter__(self) -> _Steps:
        import time

        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("starting") if sys.stderr.isatty() else None
        self._clock = time.monotonic
        self._began = self._since = self._clock()
        self._step = ""
        if self._status:
            self._status.start()
        return self

    def say(self, step: str) -> None:
        if step == self._step:
            return
        self._finish()
        self._step, self._since = step, self._clock()
        if self._status:
            self._status.update(f"[cyan]{step}[/] …")

    def _finish(self) -> None:
        if self._step:
            took = self._clock() - self._since
            self._console.print(f"  [dim]{self._clock() - self._began:6.1f} s[/]  {self._step} [dim]({took:.1f} s)[/]")

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if self._status:
            self._status.stop()
        self._finish()
