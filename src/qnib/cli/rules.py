"""`qnib events patterns`, `rules`, `jobs`, `reclassify`: what the rules make of lines."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, duration, show_rows
from qnib.cli.server import server

From = Annotated[str, typer.Option("--from", "--since", help="Start: -1h, -7d, or a time in ISO 8601.")]
Until = Annotated[str, typer.Option(help="End.")]
_LOOK_SECONDS = 0.5


def add_to(group: typer.Typer) -> None:
    """The commands of this file, into `qnib events`."""
    _patterns(group)
    _rules(group)
    _jobs(group)
    _reclassify(group)


def _patterns(group: typer.Typer) -> None:
    @group.command("patterns")
    def patterns(
        since: From = "-1d",
        until: Until = "now",
        host: Annotated[str, typer.Option(help="Node set: compute[0-3].")] = "",
        app: Annotated[str, typer.Option(help="Program.")] = "",
        known: Annotated[bool, typer.Option("--known", help="Lines that rules know, too.")] = False,
        new: Annotated[bool, typer.Option("--new", help="Only those first heard within the last day.")] = False,
        limit: Annotated[int, typer.Option(help="Most patterns.")] = 100,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Lines no rule knows, by template, the most frequent first; * marks those that are new since yesterday."""
        answer = server().get(
            "/api/events/patterns", cluster=cluster, until=until, host=host, app=app, known=known or None, limit=limit,
            **{"from": since},
        )  # fmt: skip
        rows = [row for row in answer["patterns"] if row["new"] or not new]
        if not (as_json or as_csv):
            rows = [
                row | {"": "*" if row["new"] else "", "share": f"{row['share']:.1%}", "since": row["seen_since"][:16]}
                for row in rows
            ]
        show_rows(
            rows, ["", "count", "share", "hosts", "since", "app", "kind", "template"], as_json=as_json, as_csv=as_csv,
            empty="No such lines: every line of this time is known to a rule, or there is none.",
        )  # fmt: skip
        if not (as_json or as_csv) and rows:
            print(
                f"{answer['unknown']} of {answer['lines']} lines are known to no rule: {answer['kinds']} patterns,"
                f" {answer['new']} of them new."
            )


def _rules(group: typer.Typer) -> None:
    @group.command("rules")
    def rules(as_json: Json = False, as_csv: Csv = False) -> None:
        """The rules in force, in the order in which they are tried, and what is wrong with a file of them."""
        import sys

        answer = server().get("/api/events/rules")
        show_rows(
            answer["rules"], ["name", "kind", "app", "severity", "tags", "hint"], as_json=as_json, as_csv=as_csv,
            empty="No rules.",
        )  # fmt: skip
        if answer["trouble"]:
            print(f"Not in force: {answer['trouble']}", file=sys.stderr)
            raise typer.Exit(1)
        if not (as_json or as_csv):
            print(f"{len(answer['rules'])} rules, {answer['site']} of the site's own in {answer['folder']}.")


def _jobs(group: typer.Typer) -> None:
    @group.command("jobs")
    def jobs(
        since: From = "-1d", until: Until = "now", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False
    ) -> None:
        """Jobs as slurmctld's log alone tells them: submit, start, end, state."""
        rows = server().get("/api/events/jobs", cluster=cluster, until=until, **{"from": since})["jobs"]
        show_rows(
            rows, ["job", "state", "submit", "start", "end", "partition", "nodes", "exit_code", "signal", "attempts"],
            as_json=as_json, as_csv=as_csv, empty="The log tells of no jobs.",
        )  # fmt: skip


def _reclassify(group: typer.Typer) -> None:
    @group.command("reclassify")
    def reclassify(
        since: Annotated[str, typer.Option("--from", "--since", help="Start of the period: -7d, ISO 8601.")] = "",
        until: Until = "now",
        status: Annotated[bool, typer.Option("--status", help="Only say how far one is that runs.")] = False,
        cluster: ClusterName = "",
        as_json: Json = False,
    ) -> None:
        """Apply the rules in force to stored events, while new ones come in; waits, and says how far it is."""
        import json

        from qnib.errors import Unavailable, WrongUse

        client = server()
        if status:
            now = client.get("/api/events/reclassify")
        else:
            if not since:
                raise WrongUse("From when on?", where="--from", try_next="qnib events reclassify --from -7d.")
            now = client.post("/api/events/reclassify", {"cluster": cluster, "start": since, "until": until})
            begun = time.monotonic()
            while now["state"] == "running":
                if not as_json:
                    _say(now, time.monotonic() - begun, end="\r")
                time.sleep(_LOOK_SECONDS)  # the server has nothing to wait on; a person wants to see it move
                now = client.get("/api/events/reclassify")
        if as_json:
            print(json.dumps(now, indent=1))
        elif now["state"] == "idle":
            print("Nothing was reclassified since the server started.")
        else:
            _say(now, None, end="\n")
        if now["state"] == "failed":
            raise Unavailable(now["problem"], where="reclassify", try_next="the same command begins again.")


def _say(now: dict[str, Any], seconds: float | None, end: str) -> None:
    took = f", {duration(seconds)}" if seconds is not None else ""
    print(
        f"{now['state']}: {now['looked_at']} of {now['total']} events looked at by {now['rules']} rules,"
        f" {now['changed']} changed{took}   ",
        end=end, flush=True,
    )  # fmt: skip
