"""`qnib events aggregates`: what events are counted by, how far that is, and counting the past."""

from __future__ import annotations

from typing import Annotated

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.server import server

COLUMNS = ("series", "query", "interval", "by", "known", "most_series", "counted", "waiting", "trouble")


def add_to(group: typer.Typer) -> None:
    """The command, into `qnib events`."""

    @group.command("aggregates")
    def aggregates(
        backfill: Annotated[str, typer.Option(help="Count the past of this one, again or for the first time.")] = "",
        since: Annotated[str, typer.Option("--from", "--since", help="Start of that: -7d, ISO 8601.")] = "-1d",
        until: Annotated[str, typer.Option(help="End of that.")] = "now",
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Events that are counted as series, as declared in the settings ([aggregates.NAME])."""
        client = server()
        if backfill:
            body = {"name": backfill, "cluster": cluster, "start": since, "until": until}
            told = client.post("/api/aggregates/backfill", body)
            if as_json or as_csv:
                show_rows([told], tuple(told), as_json=as_json, as_csv=as_csv, empty="")
            else:
                print(f"{told['intervals']} intervals of {backfill} are being counted; without --backfill: how far.")
            return
        rows = client.get("/api/aggregates", cluster=cluster)["aggregates"]
        if not as_json:
            rows = [row | {"by": " ".join(row["by"]), "counted": (row["counted"] or "")[:19]} for row in rows]
        show_rows(
            rows, COLUMNS, as_json=as_json, as_csv=as_csv,
            empty="None is declared: docs/guides/events.md, Counting events.",
        )  # fmt: skip
