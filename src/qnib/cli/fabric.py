"""``qnib fabric``: links and parts, routes, who shares them, who may be to blame, what is not wired or running as it
should."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.server import server
from qnib.errors import NotFound

At = Annotated[str, typer.Option("--at", help="As it was then: -1h, or ISO 8601 (UTC when no zone is given).")]
Port = Annotated[str, typer.Argument(help="A port like SW1/3 or compute0/1.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="The fabric: routes, shared links, guilty parts, degraded links.")
    app.add_typer(group, name="fabric")
    _looks(group)
    _ways(group)
    _faults(group)


def _looks(group: typer.Typer) -> None:
    @group.command("links")
    def links(
        of: Annotated[str, typer.Option("--of", help="Of this switch or adapter only.")] = "",
        text: Annotated[str, typer.Option("--text", help="Whose names or cable hold this.")] = "",
        limit: Annotated[int, typer.Option("--limit", help="At most so many.")] = 50,
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """The links, those in trouble first."""
        answer = server().get("/api/fabric/links", of=of, q=text, limit=limit, at=at, cluster=cluster)
        rows = [{**row, "link": row["id"], "sent": row["xmit_rate"]} for row in answer["links"]]
        columns = ("link", "state", "cable", "width", "speed", "sent", "errors", "since")
        show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="There is no such link.")
        if answer["total"] > len(rows) and not (as_json or as_csv):
            print(f"{len(rows)} of {answer['total']} links, {answer['bad']} of them in trouble.")

    @group.command("show")
    def show(
        name: Annotated[str, typer.Argument(help="A switch, a host, a port like SW1/3, a link or a cable.")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """One part of the fabric: what it is, what it was joined with and when, whose jobs go through it."""
        answer = server().get("/api/fabric/part", name=name, at=at, cluster=cluster)
        if as_json or as_csv:
            show_rows([answer] if as_json else answer["history"], (), as_json=as_json, as_csv=as_csv, empty="")
            return
        told = ", ".join(f"{key} {value}" for key, value in answer["about"].items())
        print(f"{answer['kind']} {answer['name']}" + (f": {told}" if told else ""))
        if answer["hosts"]:
            print(f"Hosts on it: {answer['hosts']}.")
        print()
        show_rows(
            answer["history"], ("a", "b", "cable", "began", "until"), as_json=False, as_csv=False,
            empty="It was never connected.",
        )
        _show_jobs(answer["jobs"])

    @group.command("findings")
    def findings(at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False) -> None:
        """Links that are down, ports with errors in the hour before, and whether port or cable is to blame."""
        rows = server().get("/api/fabric/findings", at=at, cluster=cluster)["findings"]
        columns = ("severity", "about", "sentence", "advice")
        show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="Nothing stands out.")


def _ways(group: typer.Typer) -> None:
    @group.command("route")
    def route(
        a: Annotated[str, typer.Argument(help="A host, or a port of an adapter: compute0/1.")],
        b: Annotated[str, typer.Argument(help="Where to.")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """The way between two hosts, link by link, and the jobs that share a link of it."""
        answer = server().get("/api/fabric/routes", a=a, b=b, at=at, cluster=cluster)
        if as_json:
            show_rows([answer], (), as_json=True, as_csv=False, empty="")
            return
        hops = [
            {"route": number, "hop": step, **hop}
            for number, found in enumerate(answer["routes"], 1) for step, hop in enumerate(found["hops"], 1)
        ]  # fmt: skip
        columns = ("port", "peer", "by", "cable") if len(answer["routes"]) == 1 else ("route", "port", "peer", "by")
        show_rows(hops, columns, as_json=False, as_csv=as_csv, empty="No link.")
        if as_csv:
            return
        for found in answer["routes"]:
            since = f", tables of {found['tables_since']}" if found["tables_since"] else ""
            print(f"\n{found['source']} to {found['target']}: {len(found['hops'])} links, by {found['by']}{since}.")
            if found["problem"]:
                print(f"It does not get there: {found['problem']}.")
        _show_jobs(answer["jobs"])

    @group.command("sharing")
    def sharing(
        job: Annotated[str, typer.Option("--job", help="Id or key of a job.")] = "",
        link: Annotated[str, typer.Option("--link", help="A link, or a port of it.")] = "",
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Jobs whose routes cross the links of a job, or one link."""
        answer = server().get("/api/fabric/sharing", job=job, link=link, at=at, cluster=cluster)
        if as_json or as_csv:
            show_rows([answer] if as_json else answer["jobs"], (), as_json=as_json, as_csv=as_csv, empty="")
            return
        print(f"{len(answer['links'])} links.")
        _show_jobs(answer["jobs"])

    @group.command("tables")
    def tables(at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False) -> None:
        """What is known of the switches' forwarding tables: loops and dead ends in them."""
        answer = server().get("/api/fabric/tables", at=at, cluster=cluster)
        if as_json:
            show_rows([answer], (), as_json=True, as_csv=False, empty="")
            return
        if not as_csv:
            since = f", since {answer['since']}" if answer["since"] else ""
            print(f"Tables of {answer['known']} of {answer['switches']} switches are known{since}.")
        show_rows(
            answer["faults"], ("problem", "switch", "lid", "target"), as_json=False, as_csv=as_csv,
            empty="No loop and no dead end in them.",
        )


def _show_jobs(jobs: list[dict[str, Any]]) -> None:
    rows = [{**job, "hosts": _fold(job["hosts"]), "of": f"{job['pairs']}/{job['of_pairs']}"} for job in jobs]
    if rows:
        print()
    show_rows(
        rows, ("id", "name", "user", "hosts", "shared", "of"), as_json=False, as_csv=False,
        empty="\nNo job shares a link of it.",
    )


def _fold(hosts: list[str]) -> str:
    from ClusterShell.NodeSet import NodeSet

    return str(NodeSet.fromlist(hosts)) if hosts else ""


def _faults(group: typer.Typer) -> None:
    @group.command("candidates")
    def candidates(
        port: Port,
        time: Annotated[str, typer.Option("--time", help="When the error was: -5m, or ISO 8601.")] = "",
        before: Annotated[float, typer.Option(help="Seconds that a job may have ended earlier.")] = 600,
        cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Jobs that may have to do with an error at a port, ranked by route and time."""
        answer = server().get("/api/fabric/candidates", port=port, time=time, before=before, cluster=cluster)
        if as_json:
            show_rows([answer], (), as_json=True, as_csv=False, empty="")
            return
        rows = [{**one["job"], **{k: v for k, v in one.items() if k != "job"}} for one in answer["candidates"]]
        rows = [{**row, "hosts": _fold(row["hosts"]), "why": row.pop("sentence")} for row in rows]
        columns = ("score", "id", "name", "user", "hosts", "why")
        show_rows(rows, columns, as_json=False, as_csv=as_csv, empty="No job's routes crossed this link then.")

    @group.command("verdict")
    def verdict(
        port: Port,
        since: Annotated[str, typer.Option("--since", help="From when; default: a day before.")] = "",
        until: Annotated[str, typer.Option("--until", help="Until when; default: now.")] = "",
        cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Is it the port or the cable? What the errors follow, how sure that is, and what to swap next."""
        answer = server().get("/api/fabric/verdict", port=port, since=since, until=until, cluster=cluster)
        if as_json or as_csv:
            show_rows([answer] if as_json else answer["suspects"], (), as_json=as_json, as_csv=as_csv, empty="")
            return
        print(answer["sentence"])
        print(answer["advice"])
        for line in answer["evidence"]:
            print(f"  {line}")

    @group.command("degraded")
    def degraded(at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False) -> None:
        """Links that run below what both their ends can do, or below most links of their kind."""
        answer = server().get("/api/fabric/degraded", at=at, cluster=cluster)
        if as_json:
            show_rows([answer], (), as_json=True, as_csv=False, empty="")
            return
        columns = ("a", "b", "width", "speed", "could", "usual", "share", "cable")
        empty = f"None of {answer['of']} links; of {answer['known']} it is known what they could do."
        show_rows(answer["links"], columns, as_json=False, as_csv=as_csv, empty=empty)
        if answer["everywhere"] and not as_csv:
            print(answer["everywhere"])

    @group.command("planned")
    def planned(
        plan: Annotated[Path, typer.Argument(help="ibnetdiscover's answer of a good day, or ibsim's topology file.")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Wired as planned? Missing, extra, swapped and moved cables. The exit status is 1 when it is not."""
        try:
            text = plan.read_text(errors="replace")
        except OSError as error:
            raise NotFound(f"Cannot read it: {error.strerror}.", where=str(plan), try_next="name a file.") from error
        answer = server().post("/api/fabric/planned", {"plan": text, "at": at, "cluster": cluster})
        rows = [{"what": "missing", "a": a, "b": b, "sentence": "planned, and not there"} for a, b in answer["missing"]]
        rows += [{"what": "extra", "a": a, "b": b, "sentence": "there, and not planned"} for a, b in answer["extra"]]
        rows += [
            {"what": what, "a": one["found"][0], "b": one["found"][1], "sentence": one["sentence"]}
            for what in ("swapped", "moved") for one in answer[what]
        ]  # fmt: skip
        if as_json:
            show_rows([answer], (), as_json=True, as_csv=False, empty="")
        else:
            empty = f"All {answer['links']} links are as planned."
            show_rows(rows, ("what", "a", "b", "sentence"), as_json=False, as_csv=as_csv, empty=empty)
        if not answer["as_planned"]:
            raise typer.Exit(1)
