"""Log events on the command line: search them, follow them, look around one; in the language of the UI's search."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from qnib.cli import aggregates, rules, senders
from qnib.cli.output import ClusterName, Csv, Json, ago, plain, show_rows
from qnib.cli.server import server

COLUMNS = ("time", "host", "jobs", "app", "severity", "kind", "message")
_BARS = " ▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Log events: search, follow, look around one.")
    app.add_typer(group, name="events")
    rules.add_to(group)
    senders.add_to(group)
    aggregates.add_to(group)

    @group.command("search")
    def search(
        query: Annotated[list[str] | None, typer.Argument(help='As host:compute[0-7] severity>=warning "out of memory". `qnib events fields` lists what can be asked.')] = None,  # noqa: E501
        since: Annotated[str, typer.Option("--since", "--from", help="Start: 1h, -1h, or a time in ISO 8601.")] = "1h",
        until: Annotated[str, typer.Option(help="End.")] = "now",
        limit: Annotated[int | None, typer.Option(help="Most events, the newest: 100; as JSON or CSV 100000.")] = None,
        facets: Annotated[str, typer.Option(help="Count by these instead: host,app,severity,kind,lane,user,partition.")] = "",  # noqa: E501
        cluster: ClusterName = "",
        as_json: Json = False,
        as_lines: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object a line.")] = False,
        as_csv: Csv = False,
    ) -> None:
        """Events that match, newest first, each with the jobs of its host at that moment."""
        asked = {"q": _query(query), "cluster": cluster, "from": ago(since), "until": until}
        if facets:
            _facets(server().get("/api/events/search", **asked, limit=0, facets=facets), as_json, as_csv)
        elif as_csv or as_lines or as_json:
            _export(asked, limit, "csv" if as_csv else "jsonl", as_array=as_json)
        else:
            answer = server().get("/api/events/search", **asked, limit=limit or 100, histogram=60)
            shown = [_row(event) for event in answer["events"]]
            show_rows(shown, COLUMNS, as_json=False, as_csv=False, empty="No events.")
            if answer["total"] > len(shown):
                more = f"The newest {len(shown)} of {answer['total']}; --limit shows more."
                print(f"{more}  {_spark(answer['histogram']['count'])}", file=sys.stderr)

    @group.command("tail")
    def tail(
        query: Annotated[list[str] | None, typer.Argument(help="As in `qnib events search`.")] = None,
        cluster: ClusterName = "",
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    ) -> None:
        """Events that match, as they come in, until Ctrl-C."""
        kind = ""
        with server().stream("/api/events/tail", q=_query(query), cluster=cluster) as answer:
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    _news(kind, json.loads(value), as_json)

    @group.command("around")
    def around(
        event: Annotated[str, typer.Argument(help="The event's id, as `qnib events search --json` shows it.")],
        time: Annotated[str, typer.Option(help="About when it was: found quicker.")] = "",
        minutes: Annotated[float, typer.Option(help="How long before and after it to look.")] = 2,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Whose an event is, and what else happened near it in time and in the graph."""
        found = server().get("/api/events/around", id=event, time=time, minutes=minutes, cluster=cluster)
        if as_json:
            print(json.dumps(found, indent=1))
            return
        rows = [{"near": one["title"], **_row(row)} for one in found["groups"] for row in one["events"]]
        if as_csv:
            show_rows(rows, ("near", *COLUMNS), as_json=False, as_csv=True, empty="")
            return
        print(f"{plain(found['event']['message'])}\n{plain(found['sentence'])}.\n")
        show_rows(
            rows, ("near", "time", "host", "severity", "message"), as_json=False, as_csv=False,
            empty=f"Nothing else happened within {minutes:g} minutes.",
        )  # fmt: skip

    @group.command("fields")
    def fields(as_json: Json = False, as_csv: Csv = False) -> None:
        """What a query can ask for."""
        from qnib.monitoring.query import explained

        show_rows(explained(), ("name", "about", "example"), as_json=as_json, as_csv=as_csv, empty="")


def _query(words: list[str] | None) -> str:
    """The words as one query: what the shell took out of its quotes is quoted again."""
    told = words or []
    if len(told) == 1:
        return told[0]
    return " ".join(f'"{one}"' if " " in one and ":" not in one and '"' not in one else one for one in told)


def _row(event: dict[str, Any]) -> dict[str, Any]:
    around = event.get("around") or {"jobs": [], "switches": []}
    told = event["fields"].get("sent_by")  # who spoke for it, when its address is known as another's
    return {
        **event, "message": plain(event["message"]), "host": f"{event['host']}{f' (by {told})' if told else ''}",
        "jobs": " ".join(f"{job['id']} ({job['user']})" for job in around["jobs"]),
        "switches": " ".join(around["switches"]),
    }  # fmt: skip


def _spark(counts: list[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(_BARS[0 if not n else 1 + (n * 7) // most] for n in counts)


def _news(kind: str, told: Any, as_json: bool) -> None:
    if kind == "error":
        from qnib.errors import QnibError

        raise QnibError(told["what"], where=told["where"], try_next=told["try_next"])
    if kind == "more":
        print(f"… and {told['count']} more that came at once", file=sys.stderr, flush=True)
        return
    for event in told:
        if as_json:
            print(json.dumps(event), flush=True)
        else:
            row = _row(event)
            print(plain("  ".join(str(row[name]) for name in COLUMNS if row[name])), flush=True)


def _export(asked: dict[str, Any], limit: int | None, form: str, *, as_array: bool) -> None:
    with server().stream("/api/events/export", **asked, format=form, limit=limit) as answer:
        if as_array:
            rows = [json.loads(line) for line in answer.iter_lines()]
            print(json.dumps(rows, indent=1))
        else:
            for line in answer.iter_lines():
                print(line)
        if (cut := int(answer.headers.get("x-qnib-cut", "0"))) > 0:
            print(f"{cut} older events that match are left out; choose a shorter time.", file=sys.stderr)


def _facets(answer: dict[str, Any], as_json: bool, as_csv: bool) -> None:
    rows = [
        {"facet": name, "value": one["value"], "count": one["count"]}
        for name, facet in answer["facets"].items() for one in facet["values"]
    ]  # fmt: skip
    show_rows(rows, ("facet", "value", "count"), as_json=as_json, as_csv=as_csv, empty="No events.")
    if not as_json and not as_csv and (folded := answer["facets"].get("host", {}).get("folded")):
        print(f"hosts: {folded}")
