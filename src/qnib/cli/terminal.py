"""`qnib up`, `down`, `scale`, `exec`, `shell`, `fault`, `images`: the virtual cluster."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from qnib.cli.output import Csv, Json, show_rows

if TYPE_CHECKING:
    from qnib.terminal.faults.kinds import Kind

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
    app.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(ssh)
    app.command()(token)
    app.command()(scale)
    app.command()(doctor)
    fault = typer.Typer(cls=_Faults, no_args_is_help=True, help="Faults injected on purpose into the virtual cluster.")
    fault.command("kinds")(fault_kinds)
    fault.command("list")(fault_list)
    fault.command("clear")(fault_clear)
    fault.command("score")(fault_score)
    app.add_typer(fault, name="fault")
    plans = typer.Typer(no_args_is_help=True, help="Files that describe a virtual cluster (`qnib up -f`).")
    plans.command("list")(blueprint_list)
    plans.command("show")(blueprint_show)
    plans.command("check")(blueprint_check)
    plans.command("keys")(blueprint_keys)
    app.add_typer(plans, name="blueprint")
    images = typer.Typer(no_args_is_help=True, help="Images the virtual cluster is made from.")
    images.command("add")(add_image)
    images.command("list")(list_images)
    images.command("remove")(remove_image)
    images.command("clean")(clean_images)
    app.add_typer(images, name="images")


def up(
    name: Name = None,
    nodes: Annotated[int | None, typer.Option("--nodes", "-n", help="Number of compute nodes; default 4.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A blueprint: a TOML file, or the name of a shipped one.")
    ] = None,
    engine: Annotated[Engine | None, typer.Option(help="Container engine; default: the setting's.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Keep jobs of several users running.")] = False,
    hosts: Annotated[
        str, typer.Option(metavar="A,B,…", help="Docker engines to spread it over: local, ssh://USER@HOST, tcp://HOST.")
    ] = "",
    dense: Annotated[
        bool, typer.Option("--dense", help="Fifty nodes share a container: up to 1000, without limits and fabric.")
    ] = False,
    login: Annotated[bool, typer.Option("--login", help="A login node with SSH as well: `qnib ssh`.")] = False,
    accounting: Annotated[bool, typer.Option("--accounting", help="slurmdbd and MariaDB as well: sacct.")] = False,
    rest: Annotated[bool, typer.Option("--rest", help="slurmrestd as well, on loopback: `qnib token`.")] = False,
) -> None:
    """Start a SLURM cluster with a fabric on this machine, or over several; return when jobs start on it at once."""
    from qnib import terminal
    from qnib.errors import WrongUse
    from qnib.settings import load
    from qnib.terminal import reading

    if file and (dense or nodes is not None):
        raise WrongUse(
            "What nodes there are is the blueprint's to say.", where="--nodes or --dense beside --file",
            try_next="change `count` in the file, or `qnib scale` afterwards.",
        )
    wanted = reading.find(file) if file else None
    with _Steps() as steps:
        cluster = terminal.up(
            load(), wanted, name=name, nodes=4 if nodes is None else nodes, engine=engine.value if engine else None,
            demo=demo, dense=dense, with_login=login, accounting=accounting, rest=rest, say=steps.say,
            over=[one.strip() for one in hosts.split(",") if one.strip()],
        )
    count = cluster.details["nodes"]
    named = "" if cluster.name == load().cluster else f"--name {cluster.name} "
    print(f"Cluster {cluster.name} is ready: {count} nodes after {cluster.details['seconds']:.1f} s.")
    print(f"  Try: qnib exec {named}controller -- srun -N{count} hostname")
    if "ssh_port" in cluster.details:
        print(f"  Log in: qnib ssh {named}".rstrip())
    if "rest_port" in cluster.details:
        print(f"  slurmrestd: http://127.0.0.1:{cluster.details['rest_port']}, with a token: qnib token {named}USER")


def down(
    name: Name = None,
    every: Annotated[bool, typer.Option("--all", help="Every cluster on this machine.")] = False,
) -> None:
    """Remove a cluster: its containers, network, volume, limits and files. Images stay."""
    from qnib import terminal
    from qnib.settings import load

    removed = terminal.down(load(), name=name, every=every, say=lambda told: print(f"  {told}"))
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


def ssh(
    user: Annotated[str, typer.Argument(metavar="[USER]", help="Who logs in; default: the first of the users.")] = "",
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- CMD]", help="A command, as ssh takes it.")] = None,
    name: Name = None,
) -> None:
    """Log in to a cluster's login node, or run a command there; its exit status becomes this command's."""
    from qnib import terminal
    from qnib.settings import load

    words = [word for word in (user, *(command or [])) if word]
    if command and command[0] == "--":
        words.remove("--")
    raise typer.Exit(terminal.ssh(load(), words[0] if words else "", words[1:], name=name))


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user of the cluster.")],
    lifespan: Annotated[str, typer.Option(help="How long it holds: 90s, 2m, 8h.")] = "1h",
    name: Name = None,
) -> None:
    """Print a token with which slurmrestd takes its bearer for a user."""
    from qnib import terminal
    from qnib.errors import WrongUse
    from qnib.settings import load
    from qnib.terminal.units import seconds

    try:
        span = int(float(str(seconds(lifespan))))
    except ValueError as error:
        raise WrongUse(f"{lifespan!r} is no span.", where="--lifespan", try_next=f"{error}.") from error
    print(terminal.token(load(), user, lifespan=span, name=name))


def scale(
    nodes: Annotated[int, typer.Option("--nodes", "-n", help="Number of compute nodes to have.")],
    name: Name = None,
    patience: Annotated[float, typer.Option(help="Seconds jobs on leaving nodes may still take.")] = 300,
) -> None:
    """Add nodes, or drain and remove some; the fabric follows."""
    from qnib import terminal
    from qnib.settings import load

    with _Steps() as steps:
        cluster = terminal.scale(load(), nodes, name=name, patience=patience, say=steps.say)
    print(f"Cluster {cluster.name} has {cluster.details['nodes']} nodes.")


def doctor(as_json: Json = False, as_csv: Csv = False) -> None:
    """What this machine lacks for a virtual cluster, and a proof of each limit on a small one; status 1: not well."""
    from dataclasses import asdict

    from qnib.settings import load
    from qnib.terminal.doctor import examine

    with _Steps() as steps:
        found = list(examine(load(), steps.say))
    show_rows([asdict(row) for row in found], ["check", "state", "told"], as_json=as_json, as_csv=as_csv, empty="")
    if not all(row.well for row in found):
        raise typer.Exit(1)


class _Faults(TyperGroup):
    """Has one command for each kind of fault (``qnib fault cable-out SW1/3``), looked up when somebody asks for one."""

    def list_commands(self, ctx: Any) -> list[str]:
        self._look_up()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self._look_up()
        return super().get_command(ctx, cmd_name)

    def _look_up(self) -> None:
        from qnib.terminal.faults.kinds import KINDS

        if KINDS.keys() <= self.commands.keys():
            return
        group = typer.Typer()
        for kind in KINDS.values():
            group.command(kind.name, help=f"{kind.about}.")(_fault_command(kind))
        self.commands = {**typer.main.get_group(group).commands, **self.commands}


def _fault_command(kind: Kind) -> Callable[..., None]:
    metavar = "PORT" if kind.target == "port" else "NODE"
    where = "One end of the cable: SW1/3, compute0/1 …" if kind.target == "port" else "compute0 …"
    target = Annotated[str, typer.Argument(metavar=metavar, help=where)]
    told = f"{kind.value[:1].upper()}{kind.value[1:]}{f'; default {kind.default}' if kind.default else ''}."
    value = Annotated[str, typer.Argument(metavar="VALUE" if kind.default else "TO", help=told)]
    lasts = Annotated[str, typer.Option(help="Undone by itself after this long: 90s, 2m.")]

    def inject(target: str, value: str = "", name: str | None = None, lasts: str = "") -> None:
        from qnib import terminal
        from qnib.errors import WrongUse
        from qnib.settings import load
        from qnib.terminal.units import seconds

        try:
            span = float(str(seconds(lasts))) if lasts else None
        except ValueError as error:
            raise WrongUse(f"{lasts!r} is no span.", where="--lasts", try_next=f"{error}.") from error
        fault = terminal.fault_inject(load(), kind.name, target, value, name=name, lasts=span)
        if kind.name == "cable-out":
            print(f"Fault {fault.id}: the cable between {fault.ends[0]} and {fault.ends[1]} is out.")
        else:
            print(f"Fault {fault.id}: {kind.name} of {fault.target}{f', {fault.value}' if fault.value else ''}.")
        print(f"  {'Put it back' if kind.name == 'cable-out' else 'Undo it'}: qnib fault clear {fault.id}")

    inject.__annotations__ = {"target": target, "name": Name, "lasts": lasts, "return": None}
    parameters = dict(inspect.signature(inject).parameters)
    if kind.value:
        inject.__annotations__["value"] = value
    else:
        del parameters["value"]
    inject.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(annotation=inject.__annotations__[p.name]) for p in parameters.values()]
    )
    return inject


def fault_kinds(as_json: Json = False, as_csv: Csv = False) -> None:
    """What can be made to go wrong."""
    from qnib.terminal.faults.kinds import KINDS

    rows = [
        {"kind": k.name, "target": k.target, "value": k.value, "default": k.default, "about": k.about}
        for k in KINDS.values()
    ]
    columns = ["kind", "target", "value", "default", "about"]
    show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="Nothing can.")


def fault_list(name: Name = None, as_json: Json = False, as_csv: Csv = False) -> None:
    """Faults injected into a cluster, open and cleared."""
    from dataclasses import asdict

    from qnib import terminal
    from qnib.settings import load

    settings = load()
    rows = [asdict(fault) for fault in terminal.fault_list(settings, name or settings.cluster)]
    show_rows(
        rows, ["id", "time", "kind", "target", "value", "ends", "cleared"], as_json=as_json, as_csv=as_csv,
        empty="No fault was ever injected.",
    )


def fault_clear(
    number: Annotated[int | None, typer.Argument(metavar="[ID]", help="The fault; default: all that are open.")] = None,
    name: Name = None,
) -> None:
    """Undo one fault, or all."""
    from qnib import terminal
    from qnib.settings import load

    cleared = terminal.fault_clear(load(), number, name=name)
    print(f"Cleared {', '.join(f'{f.id} ({f.target})' for f in cleared)}." if cleared else "No fault was open.")


def fault_score(
    name: Name = None,
    since: Annotated[int, typer.Option(help="Only faults from this number on.")] = 1,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """What was injected against what QNIB said: found, how quickly, about the right thing; and false alarms."""
    import json

    from qnib import terminal
    from qnib.cli.client import Client
    from qnib.settings import load
    from qnib.terminal.faults.score import ALARMS, score

    settings = load()
    cluster = name or settings.cluster
    faults = [fault for fault in terminal.fault_list(settings, cluster) if fault.id >= since]
    told = Client(settings).get(
        "/api/events", cluster=cluster, kind=",".join(ALARMS), limit=5000, **{"from": faults[0].time},
    )["events"] if faults else []
    found = score(faults, told)
    alarms = [{k: one[k] for k in ("time", "kind", "message", "entities")} for one in found.false_alarms]
    if as_json:
        missed = [{"id": f.id, "kind": f.kind, "target": f.target} for f in found.missed]
        print(json.dumps({"kinds": found.rows(), "missed": missed, "false_alarms": alarms}, indent=1))
        return
    columns = ["kind", "injected", "found", "right entity", "median s", "slowest s"]
    show_rows(found.rows(), columns, as_json=False, as_csv=as_csv, empty="No fault was injected.")
    if not as_csv:
        for one in found.missed:
            print(f"  not found: fault {one.id}, {one.kind} of {one.target}")
        print(f"  {len(alarms)} false alarms")
        for alarm in alarms:
            print(f"    {alarm['time']}  {alarm['kind']}  {alarm['message']}")


def blueprint_list(as_json: Json = False, as_csv: Csv = False) -> None:
    """Blueprints that are shipped; `qnib up -f NAME` takes one by its name."""
    from qnib.terminal import reading

    rows = [
        {"name": file.stem, "about": reading.about(file), "nodes": reading.read(file).count}
        for file in reading.shipped()
    ]
    show_rows(rows, ["name", "nodes", "about"], as_json=as_json, as_csv=as_csv, empty="None is shipped.")


def blueprint_show(name: Annotated[Path, typer.Argument(metavar="NAME")]) -> None:
    """The text of a blueprint, to start your own from."""
    from qnib.terminal import reading

    print(reading.file_of(name).read_text(), end="")


def blueprint_check(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Check a blueprint without starting it."""
    from qnib.terminal import memory, reading

    found = reading.find(file)
    print(f"{file}: {found.count} nodes, room for {found.capacity}; fabric: {found.fabric.shape}.")
    for trouble in [] if found.hosts else memory.enough(found):
        print(f"  {trouble}")


def blueprint_keys(as_json: Json = False, as_csv: Csv = False) -> None:
    """Every key of a blueprint, with its type, default and meaning."""
    from qnib.terminal import reading

    show_rows(
        list(reading.keys()), ["key", "type", "default", "meaning"], as_json=as_json, as_csv=as_csv, empty="None.",
    )


def add_image(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What jobs call it: --comment=image:NAME.")],
    archive: Annotated[Path, typer.Argument(metavar="TAR", help="From `podman save`, or a root file system.")],
) -> None:
    """Stage an image that jobs may run in, from a file."""
    from qnib.settings import load
    from qnib.terminal import job_images

    print(f"Staged {job_images.add(load(), name, archive)}.")


def list_images(as_json: Json = False, as_csv: Csv = False) -> None:
    """Images on this machine: of clusters, and for jobs."""
    from qnib.settings import load
    from qnib.terminal import job_images

    show_rows(
        job_images.every(load()), ["kind", "name", "tag"], as_json=as_json, as_csv=as_csv, empty="There is none yet.",
    )


def remove_image(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Remove an image that was added."""
    from qnib.settings import load
    from qnib.terminal import job_images

    job_images.remove(load(), name)
    print(f"Removed {name}.")


def clean_images() -> None:
    """Remove the images; the next `qnib up` builds them again."""
    from qnib import terminal
    from qnib.settings import load

    removed = terminal.clean_images(load())
    print(f"Removed {', '.join(removed)}." if removed else "There was no image to remove.")


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
            line = f"  [dim]{self._clock() - self._began:6.1f} s[/]  {self._step} [dim]({took:.1f} s)[/]"
            self._console.print(line, soft_wrap=True)

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if self._status:
            self._status.stop()
        self._finish()
