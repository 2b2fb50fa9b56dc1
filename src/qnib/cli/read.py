"""Reads of the command line: what the pages say, as text. Every one has --json and --csv."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from qnib.cli import differs
from qnib.cli.output import ClusterName, Csv, Json, ago, duration, plain, show_rows
from qnib.cli.server import server


def register(app: typer.Typer) -> None:
    _jobs(app)
    _nodes(app)

    @app.command()
    def tour() -> None:
        """Print the UI's address and three things to look at."""
        _tour()


def _jobs(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Jobs: list them, show one.")
    app.add_typer(group, name="job")
    differs.add_to_jobs(group)

    @group.command("list")
    def list_jobs(
        state: Annotated[str, typer.Option(help="running, pending, finished or all.")] = "all",
        user: Annotated[str, typer.Option(help="Only this user's.")] = "",
        since: Annotated[str, typer.Option("--since", "--from", help="Only jobs that had not ended by then: 30d, or a time in ISO 8601.")] = "",  # noqa: E501
        until: Annotated[str, typer.Option(help="Only jobs submitted by then.")] = "",
        limit: Annotated[int, typer.Option(help="Most jobs to print.")] = 50,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Jobs, newest first."""
        asked = {"cluster": cluster, "state": state, "user": user, "limit": limit}
        answer = server().get("/api/jobs", **asked, **{"from": ago(since), "until": until})
        rows = answer["jobs"]
        if not (as_json or as_csv):
            rows = [row | {"elapsed": duration(row["elapsed"]), "progress": _percent(row["progress"])} for row in rows]
        show_rows(
            rows,
            ["id", "name", "user", "partition", "state", "nodes", "elapsed", "progress", "reason"],
            as_json=as_json,
            as_csv=as_csv,
            empty="No jobs.",
        )
        if answer["more"]:
            print(f"These are {len(answer['jobs'])} of more: --limit, --from and --until show others.", file=sys.stderr)

    @group.command("show")
    def show_job(
        job: Annotated[str, typer.Argument(help="Job id, or its key: id@submit time.")],
        cluster: ClusterName = "",
        as_json: Json = False,
    ) -> None:
        """One job: verdict, progress, placement, findings: what its page says."""
        import json

        page = server().get(f"/api/jobs/{job}", cluster=cluster)
        if as_json:
            print(json.dumps(page, indent=1))
            return
        print(
            plain(
                f"Job {page['id']}  {page['name']}  {page['state']}  {duration(page['elapsed'])}"
                f" of {duration(page['limit']) or 'no limit'}  {page['nodes'] or '-'}"
                f"  {page['user']} / {page['account'] or page['group']}"
            )
        )
        print(plain(page["verdict"]))
        if page["progress"]:
            print(f"Progress {_percent(page['progress'])}, ends {page['progress']['ends'] or 'unknown'}")
        print(page["placement"]["sentence"])
        for finding in page["findings"]:
            print(plain(f"{finding['severity']}: {finding['sentence']} {finding['advice']}"))


def _percent(progress: dict[str, Any] | None) -> str:
    return f"{progress['fraction']:.0%}" if progress else ""


def _nodes(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Nodes: list them, show one.")
    app.add_typer(group, name="node")
    differs.add_to_nodes(group)

    @group.command("list")
    def list_nodes(cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False) -> None:
        """All nodes with state, load, jobs and the switch they hang on."""
        answer = server().get("/api/nodes", cluster=cluster)
        rows = answer["nodes"]
        show_rows(
            rows,
            ["name", "state", "cpus", "cpus_allocated", "cpu_percent", "memory_percent", "switch", "jobs", "reason"],
            as_json=as_json,
            as_csv=as_csv,
            empty="No nodes.",
        )
        if answer["others"] and not (as_json or as_csv):
            print(f"Beside them: {', '.join(one['name'] for one in answer['others'])}; `qnib node show NAME`.")

    @group.command("show")
    def show_node(name: str, cluster: ClusterName = "", as_json: Json = False) -> None:
        """One node: state, port, jobs, findings; or another host: the controller, the machine below."""
        import json

        page = server().get(f"/api/nodes/{name}", cluster=cluster)
        if as_json:
            print(json.dumps(page, indent=1))
            return
        if page["node"]:
            print(f"Node {page['name']}  {page['state']}  {page['cpus_allocated']} of {page['cpus']} CPUs allocated")
        else:
            print(f"Host {page['name']}, no node of SLURM")
            if page["memory_percent"] is not None:
                print(f"Memory {page['memory_percent']:.0f} % of {page['memory_mb']} MiB in use")
        if (port := page["port"]) is not None:
            print(
                f"Fabric {port['hca']} on {port['switch']} port {port['switch_port']}, {port['rate']}, {port['state']},"
                f" cable {port['cable']}"
            )
        for line in differs.machine_lines(page["machine"]):
            print(line)
        for entry in page["history"]:
            job = entry["job"]
            print(f"  job {job['id']}  {job['name']}  {job['state']}  {entry['since']} until {entry['until'] or 'now'}")
        for finding in page["findings"]:
            print(f"{finding['severity']}: {finding['sentence']} {finding['advice']}")


def _tour() -> None:
    from qnib import clusters
    from qnib.cli.client import running
    from qnib.cli.serve import address
    from qnib.errors import Unavailable
    from qnib.settings import load

    settings = load()
    told = running(settings)
    if told is None:
        raise Unavailable(
            "No QNIB server is running.",
            where=str(settings.run),
            try_next="start it with `qnib serve --background`.",
        )
    names = [c.name for c in clusters.load_all(settings.clusters)]
    named = "" if settings.cluster in names or not names else f" --name {names[0]}"
    print(f"""
  Open   {address(told)}

  Three things to look at
    1  A running job: Jobs, open `gemm`. Progress, its nodes' charts, and over them what the logs said.
    2  A cable pulled: `.venv/bin/qnib fault cable-out SW1/3{named}`, then Fabric;
       `.venv/bin/qnib fault clear{named}` puts it back.
    3  A job of your own: `.venv/bin/qnib exec{named} controller -- srun -N4 hostname`.

  `make down` ends it all.
""")
