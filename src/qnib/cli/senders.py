"""`qnib events mirror` and `senders`: where events go, and who sends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.server import server


def show_mirror(what: str, *, as_json: bool, as_csv: bool) -> None:
    """The targets that get `what`: events or metrics."""
    show_rows(
        [target for target in server().get("/api/health")["mirror"] if target["what"] == what],
        ["to", "sent", "refused", "dropped", "waiting", "lag", "trouble"],
        as_json=as_json,
        as_csv=as_csv,
        empty=f"Nowhere: [[mirror.{what}]] in qnib.toml names targets.",
    )


def show_senders(
    of: str, columns: Sequence[str], *, since: str, until: str, cluster: str, as_json: bool, as_csv: bool
) -> None:
    """Who sends events (`of` senders) or points."""
    told = server().get("/api/senders", cluster=cluster, until=until, **{"from": since})
    show_rows(told[of], columns, as_json=as_json, as_csv=as_csv, empty="Nobody sent any.")


def add_to(group: typer.Typer) -> None:
    """The commands of this file, into `qnib events`."""

    @group.command("mirror")
    def mirror(as_json: Json = False, as_csv: Csv = False) -> None:
        """Where events are sent on to: how many, how far behind, and what is wrong."""
        show_mirror("events", as_json=as_json, as_csv=as_csv)

    @group.command("senders")
    def senders(
        since: Annotated[str, typer.Option("--from", help="Start: -1h, or a time in ISO 8601.")] = "-1h",
        until: Annotated[str, typer.Option(help="End.")] = "now",
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Who sends events: how many, by how many seconds its clock is ahead, what was refused or dropped."""
        show_senders(
            "senders",
            ["sender", "host", "listener", "events", "last", "skew", "wrong_clock", "sent_by", "rejects", "dropped"],
            since=since, until=until, cluster=cluster, as_json=as_json, as_csv=as_csv,
        )  # fmt: skip
