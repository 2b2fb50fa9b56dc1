"""``qnib metrics``: series listed by what they belong to, and taken away; who sends points, and where they go on to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.senders import show_mirror, show_senders
from qnib.cli.server import server

Host = Annotated[str, typer.Option(help="Of these hosts: a node set, or a glob.")]
Partition = Annotated[str, typer.Option(help="Of the hosts that were in this partition.")]
Rack = Annotated[str, typer.Option(help="Of the hosts that stood in this rack.")]
Job = Annotated[str, typer.Option(help="Of the hosts of this job while it ran there, and its own samples.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Series of metrics: list them, take some away; who sends points, and where they go on to.",
    )
    app.add_typer(group, name="metrics")
    for add in (_list, _show, _groups, _paths, _senders, _mirror, _delete):
        add(group)


def _list(group: typer.Typer) -> None:
    @group.command("list")
    def list_series(
        host: Host = "",
        partition: Partition = "",
        rack: Rack = "",
        job: Job = "",
        name: Annotated[str, typer.Option(help="Of this metric; a glob: 'cpu.*'.")] = "",
        text: Annotated[str, typer.Option("--text", "-q", help="With this in path or name.")] = "",
        since: Annotated[str, typer.Option("--from", help="Heard since: -1h, or in ISO 8601; default: a day.")] = "",
        until: Annotated[str, typer.Option(help="… and until.")] = "now",
        limit: Annotated[int, typer.Option(help="Most series to print.")] = 50,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Series with unit, kind, tags, when last heard, and the newest value."""
        told = server().get(
            "/api/metrics", host=host, partition=partition, rack=rack, job=job, name=name, q=text, until=until,
            limit=limit, cluster=cluster, **{"from": since},
        )  # fmt: skip
        columns = ["path", "name", "value", "unit", "mtype", "last_seen", "tags", "source"]
        rows = told["series"]
        if not (as_json or as_csv):
            rows = [row | {"tags": [f"{tag}={value}" for tag, value in row["tags"].items()]} for row in rows]
        show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="No series.")
        if as_json or as_csv:
            return
        if told["total"] > len(rows):
            print(f"{told['total']} in all, of {told['names_total']} metrics: --name and --host narrow it.")
        if told["target"]:
            print(f"/render?target={told['target']}")


def _show(group: typer.Typer) -> None:
    @group.command("show")
    def show(
        name: Annotated[str, typer.Argument(help="The metric: cpu.used")],
        host: Host = "",
        partition: Partition = "",
        rack: Rack = "",
        job: Job = "",
        since: Annotated[str, typer.Option("--from", help="Start: -1h, or a time in ISO 8601.")] = "-1h",
        until: Annotated[str, typer.Option(help="End.")] = "now",
        points: Annotated[int, typer.Option(help="Most buckets of the window.")] = 600,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """A metric's series over a window: the newest, the least, the mean, the greatest; programs get every bucket."""
        told = server().get(
            "/api/metrics/chart", name=name, host=host, partition=partition, rack=rack, job=job, until=until,
            points=points, cluster=cluster, **{"from": since},
        )  # fmt: skip
        rows = _buckets(told) if as_json or as_csv else [_summary(one, told["unit"]) for one in told["series"]]
        columns = ["series", "newest", "min", "mean", "max", "unit"]
        show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="No series.")
        if "total" in told and not (as_json or as_csv):
            print(f"The {len(rows)} least like the others, of {told['total']}.")


def _groups(group: typer.Typer) -> None:
    @group.command("groups")
    def list_groups(
        by: Annotated[str, typer.Argument(help="host, partition, rack, job or name.")],
        text: Annotated[str, typer.Option("--text", "-q", help="With this in its name.")] = "",
        since: Annotated[str, typer.Option("--from", help="Start: -1h, or a time in ISO 8601.")] = "-1d",
        until: Annotated[str, typer.Option(help="End.")] = "now",
        limit: Annotated[int, typer.Option(help="Most to print.")] = 50,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """What series can be listed by: hosts, partitions, racks, jobs, metrics."""
        told = server().get(
            "/api/metrics/groups", by=by, q=text, until=until, limit=limit, cluster=cluster, **{"from": since}
        )
        show_rows(told["groups"], ["name", "about"], as_json=as_json, as_csv=as_csv, empty=f"No {by} is known.")
        if told["total"] > len(told["groups"]) and not (as_json or as_csv):
            print(f"{told['total']} in all.")


def _paths(group: typer.Typer) -> None:
    @group.command("paths")
    def paths(
        path: Annotated[list[str] | None, typer.Argument(help="Paths: what would they be named?")] = None,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """The rules that make names and tags of dotted paths, in the order in which they are tried."""
        import sys

        told = server().get("/api/metrics/paths", named=path or None, cluster=cluster)
        last = ["tags", "host"] if path else ["sample"]
        columns = ["path", "name", "unit", "mtype", *last]
        rows = told["named"] if path else told["rules"]
        if not (as_json or as_csv):
            rows = [row | {"tags": [f"{tag}={value}" for tag, value in row["tags"].items()]} for row in rows]
        show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="No rules.")
        if told["trouble"]:
            print(f"Not in force: {told['trouble']}", file=sys.stderr)
            raise typer.Exit(1)


def _senders(group: typer.Typer) -> None:
    @group.command("senders")
    def senders(
        since: Annotated[str, typer.Option("--from", help="Start: -1h, or a time in ISO 8601.")] = "-1h",
        until: Annotated[str, typer.Option(help="End.")] = "now",
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Who sends points: by which edge, how many (counted in whole five minutes), and when last."""
        show_senders(
            "points", ["host", "sender", "listener", "points", "last"],
            since=since, until=until, cluster=cluster, as_json=as_json, as_csv=as_csv,
        )  # fmt: skip


def _mirror(group: typer.Typer) -> None:
    @group.command("mirror")
    def mirror(as_json: Json = False, as_csv: Csv = False) -> None:
        """Where points are sent on to: how many, how far behind, and what is wrong."""
        show_mirror("metrics", as_json=as_json, as_csv=as_csv)


def _delete(group: typer.Typer) -> None:
    @group.command("delete")
    def delete(
        pattern: Annotated[str, typer.Argument(help="Graphite's glob: servers.old*.cpu.{user,system}")],
        yes: Annotated[bool, typer.Option("--yes", help="Delete them; without it they are only told.")] = False,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Say how many series and points a pattern means; with --yes take them away."""
        told = server().post("/api/metrics/delete", {"pattern": pattern, "cluster": cluster, "really": yes})
        if as_json or as_csv:
            show_rows([told], tuple(told), as_json=as_json, as_csv=as_csv, empty="")
            return
        for path in told["paths"]:
            print(f"  {path}")
        if told["series"] > len(told["paths"]):
            print(f"  and {told['series'] - len(told['paths'])} more")
        what = f"{told['series']} series with {told['points']} points in cluster {told['cluster']}"
        print(f"{what} deleted." if yes else f"{what}; nothing was deleted: --yes does it.")


def _buckets(told: dict[str, Any]) -> list[dict[str, Any]]:
    from datetime import UTC, datetime

    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in told["t"]]
    return [
        {"time": at, "series": one["name"], **one["tags"], "mean": mean, "min": low, "max": high, "unit": told["unit"]}
        for one in told["series"]
        for at, mean, low, high in zip(times, one["mean"], one["min"], one["max"], strict=True)
        if mean is not None
    ]


def _summary(one: dict[str, Any], unit: str) -> dict[str, Any]:
    means, lows, highs = ([value for value in one[key] if value is not None] for key in ("mean", "min", "max"))
    return {
        "series": one["name"], "unit": unit, "newest": means[-1] if means else None, "min": min(lows, default=None),
        "mean": sum(means) / len(means) if means else None, "max": max(highs, default=None),
    }  # fmt: skip
