"""``qnib job differs`` and ``qnib node differs``: which hosts are not like the others, and in what; what a node is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.server import server

At = Annotated[str, typer.Option("--at", help="As it was then: -1h, or ISO 8601 (UTC when no zone is given).")]


def add_to_jobs(group: typer.Typer) -> None:
    @group.command("differs")
    def job_differs(
        job: Annotated[str, typer.Argument(help="Job id, or its key: id@submit time.")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Which nodes of this job differ from the others, and in what? A job that has ended: as it was at its end."""
        _show({"job": job, "at": at, "cluster": cluster}, as_json, as_csv)


def add_to_nodes(group: typer.Typer) -> None:
    @group.command("differs")
    def node_differs(
        nodes: Annotated[str, typer.Argument(help="Node set: compute[0-3,7].")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Which of these nodes differ from the others, and in what?"""
        _show({"hosts": nodes, "at": at, "cluster": cluster}, as_json, as_csv)


def _show(asked: dict[str, str], as_json: bool, as_csv: bool) -> None:
    answer: dict[str, Any] = server().get("/api/differs", **asked)
    if as_json:
        show_rows([answer], (), as_json=True, as_csv=False, empty="")
        return
    rows = [
        {
            "aspect": row["aspect"], "item": row["item"], "hosts": one["hosts"], "value": one["value"],
            "usual": row["usual"]["value"] if row["usual"] else "", "usual_hosts": _hosts(row["usual"]),
        } for row in answer["differences"] for one in row["others"]
    ]
    if as_csv:
        columns = ("aspect", "item", "hosts", "value", "usual", "usual_hosts")
        show_rows(rows, columns, as_json=False, as_csv=True, empty="")
        return
    print(answer["sentence"])
    if rows:
        print()
        columns = ("aspect", "item", "hosts", "value", "usual", "usual_hosts")
        show_rows(rows, columns, as_json=False, as_csv=False, empty="")
    print("\nCompared:")
    for one in answer["compared"]:
        unknown = f"; not known: {one['unknown']}" if one["unknown"] else ""
        unknown += f"; last told {one['oldest']} or later: {one['silent']}" if one["silent"] else ""
        what = f"{one['differences']} of {one['items']} differ" if one["differences"] else f"{one['items']} alike"
        print(f"  {one['title']}: {what}, {one['hosts']}{unknown}")
    if answer["untold"]:
        print(f"  not known of any: {', '.join(answer['untold'])}")
    for finding in answer["findings"]:
        print(f"{finding['severity']}: {finding['sentence']} {finding['advice']}")


def _hosts(group: dict[str, Any] | None) -> str:
    return str(group["hosts"]) if group else ""


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """What is known of a node as a machine, a line each."""
    lines = [f"System {machine['os'] or 'unknown'}, kernel {machine['kernel']}"] if machine["kernel"] else []
    for what in ("packages", "modules"):
        if (told := machine[what]) is not None:
            lines.append(f"{told['size']} {what}, the same on {told['alike']} of {told['hosts'] - 1} other hosts")
    if (told := machine["container"]) is not None:
        memory = f", {told['memory'] >> 20} MiB" if told["memory"] else ""
        cpus = f", {told['cpus']:g} CPUs" if told["cpus"] else ""
        on = f", on {told['machine']}" if told["machine"] else ""
        image = told["image"] or "unknown"
        what = f"Container {told['name']} of {told['engine']}, image {image}" if told["name"] else (
            f"In a container of {told['engine']}"
        )
        lines.append(f"{what}{memory}{cpus}{on}")
    if machine["containers"]:
        lines.append(f"{machine['containers']} containers of this cluster stand on it")
    for one in machine["interfaces"]:
        speed = f", {one['speed']} Mb/s" if one["speed"] else ""
        switch = f", on {one['switch']} port {one['port']}" if one["port"] else ""
        addresses = f" {one['addresses']}" if one["addresses"] else ""
        lines.append(f"Interface {one['name']} {one['state']}{addresses}, MTU {one['mtu']}{speed}{switch}")
    return lines
