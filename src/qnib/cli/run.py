"""`qnib run`: a workload on the virtual cluster by one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qnib.cli.output import Csv, Json, show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qnib.settings import Settings
    from qnib.terminal.submitting import Submitted


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    workload: Annotated[str, typer.Argument(metavar="[WORKLOAD]", help="Without one: a list of them.")] = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGS", help="Arguments of the program itself.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", "-n", min=0, help="Nodes; default: the workload's own.")] = 0,
    tasks: Annotated[int, typer.Option("--tasks", min=1, help="Tasks on each node.")] = 1,
    user: Annotated[str, typer.Option("--user", "-u", help="Whose job it is; default: the cluster's first user.")] = "",
    memory: Annotated[str, typer.Option("--mem", help="Memory on each node, as for sbatch: 100M; 0 is all.")] = "",
    minutes: Annotated[int, typer.Option("--time", min=0, help="Time limit in minutes; default 10.")] = 0,
    partition: Annotated[str, typer.Option("--partition", "-p", help="Default: the cluster's own.")] = "",
    array: Annotated[str, typer.Option(help="Make it an array: 1-8%2.")] = "",
    after: Annotated[list[int] | None, typer.Option(help="Start when this job has ended; may be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Stay, and show how it goes; status 1: not all well.")]
        = False,
    name: Annotated[str | None, typer.Option("--name", help="Cluster; default: the one of the settings.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:  # fmt: skip
    """Submit a workload as a user of the cluster: `qnib run gemm --nodes 4 --user alice -- --size 1024`."""
    from dataclasses import asdict

    from qnib.settings import load
    from qnib.terminal import submitting
    from qnib.terminal.workloads.kinds import WORKLOADS, Wanted

    if not workload:
        rows = [
            {"workload": w.name, "nodes": w.nodes, "ends": w.ends, "about": w.about, "needs": w.needs}
            for w in WORKLOADS.values()
        ]
        show_rows(rows, ["workload", "nodes", "ends", "about"], as_json=as_json, as_csv=as_csv, empty="None.")
        return
    settings = load()
    wanted = Wanted(nodes, tasks, memory, minutes, partition, array, after or (), arguments or ())
    jobs = submitting.submit(settings, workload, wanted, user=user, name=name)
    show_rows([asdict(job) for job in jobs], ["job", "name", "waits", "output"], as_json=as_json, as_csv=as_csv,
              empty="")  # fmt: skip
    if wait:
        raise typer.Exit(0 if _follow(settings, jobs, name, quiet=as_json or as_csv) else 1)
    if not (as_json or as_csv):
        where, on = (f" --cluster {name}", f" --name {name}") if name else ("", "")
        last = jobs[-1].job
        print(f"  Look: qnib job show {last}{where}   End it: qnib exec{on} controller -- scancel {last}")


def _follow(settings: Settings, jobs: Sequence[Submitted], name: str | None, quiet: bool) -> bool:
    """Print what changes until all have ended; whether all completed."""
    from qnib.terminal import submitting

    seen: dict[str, str] = {}
    well = True
    try:
        for now, lines in submitting.follow(settings, jobs, name=name):
            told = {one.job: f"{one.name} {one.state}{f' on {one.nodes}' if one.nodes else ''}" for one in now}
            told |= {f"{job} ": line for job, line in lines.items()}
            for job, line in told.items():
                if seen.get(job) != line and not quiet:
                    print(f"  {job.strip():>8}  {line}", flush=True)
            seen |= told
            well = all(one.state == "COMPLETED" for one in now)
    except KeyboardInterrupt:
        print("Not followed any longer; the jobs go on.")
        raise
    return well
