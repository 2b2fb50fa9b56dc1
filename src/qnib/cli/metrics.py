"""``qnib metrics``: what is done to series as a whole, and where points are sent on to."""

from __future__ import annotations

from typing import Annotated

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.senders import show_mirror
from qnib.cli.server import server


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Series of metrics: take some away; where points are sent on to.")
    app.add_typer(group, name="metrics")

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

    @group.command("mirror")
    def mirror(as_json: Json = False, as_csv: Csv = False) -> None:
        """Where points are sent on to: how many, how far behind, and what is wrong."""
        show_mirror("metrics", as_json=as_json, as_csv=as_csv)
