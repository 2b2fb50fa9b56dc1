"""``qnib graph``: Cypher over everything that is known, now or at another time."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.server import server
from qnib.errors import WrongUse

At = Annotated[str, typer.Option("--at", help="What held then: ISO 8601, in UTC when no zone is given.")]
Params = Annotated[list[str] | None, typer.Option("--param", help="name=value for $name in the query; repeatable.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="The graph over all layers, with the time each tie held.")
    app.add_typer(group, name="graph")

    @group.command("cypher")
    def cypher(
        query: Annotated[str, typer.Argument(help="Cypher; it may only read.")],
        at: At = "", param: Params = None, cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Ask the graph. Every node and relation has cluster, since, until (none: it holds) and confirmed."""
        _print(_ask(query, _params(param), at, cluster), as_json, as_csv)

    @group.command("questions")
    def questions(as_json: Json = False, as_csv: Csv = False) -> None:
        """The questions QNIB ships."""
        rows = [
            {**question, "params": " ".join(f"{one['name']}={one['type']}" for one in question["params"])}
            for question in _get("/api/graph/questions")["questions"]
        ]
        show_rows(rows, ("name", "params", "ask"), as_json=as_json, as_csv=as_csv, empty="There are none.")

    @group.command("ask")
    def ask(
        name: Annotated[str, typer.Argument(help="Name of a shipped question.")],
        at: At = "", param: Params = None, cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Ask a shipped question, for example: qnib graph ask hosts_on_switch --param switch=SW1."""
        _print(_ask("", _params(param), at, cluster, question=name), as_json, as_csv)

    @group.command("neighbours")
    def neighbours(
        entity: Annotated[str, typer.Argument(help="Kind and key: Host:compute0, PORT:SW1/3, Job:42@….")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """What is tied to an entity, and for how long."""
        found = _get("/api/graph/neighbours", entity=entity, at=_moment(at), cluster=cluster)["neighbours"]
        show_rows(found, ("relation", "direction", "ref", "since", "until"), as_json=as_json, as_csv=as_csv,
                  empty="Nothing is tied to it.")

    @group.command("changes")
    def changes(
        since: Annotated[str, typer.Option("--since", help="From when: ISO 8601, in UTC when no zone is given.")],
        until: Annotated[str, typer.Option("--until", help="Until when; else now.")] = "",
        kind: Annotated[str, typer.Option("--kind", help="Only these kinds, as CONNECTION,Node.")] = "",
        cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """What began, changed and ended between two times, and what was learnt then about the time before."""
        found = _get("/api/graph/changes", since=_moment(since), until=_moment(until), kind=kind, cluster=cluster)
        show_rows(found["rows"], ("time", "what", "kind", "key", "before"), as_json=as_json, as_csv=as_csv,
                  empty="Nothing changed.")
        if not as_json and not as_csv:
            for name, counts in found["counts"].items():
                typer.echo(f"{name}: " + ", ".join(f"{number} {what}" for what, number in counts.items()), err=True)

    @group.command("blast")
    def blast(
        entity: Annotated[str, typer.Argument(help="What fails: SW:SW1, PORT:SW1/3, CABLE:…, HCA:…, Host:compute0.")],
        at: At = "", cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """The blast radius: which hosts, jobs and users are concerned when this fails."""
        found = _get("/api/graph/blast", entity=entity, at=_moment(at), cluster=cluster)
        rows = [{**job, "effect": "stops"} for job in found["jobs"]]
        rows += [{**job, "effect": "goes on with fewer routes"} for job in found["rerouted"]]
        if as_json:
            typer.echo(json.dumps(found))
            return
        show_rows(rows, ("id", "name", "user", "effect", "nodes"), as_json=False, as_csv=as_csv,
                  empty="No running job is concerned.")
        typer.echo(f"Hosts lost: {found['nodes'] or 'none'}. Users: {', '.join(found['users']) or 'none'}.", err=True)

    @group.command("rebuild")
    def rebuild() -> None:
        """Make the graph again from the facts. Needed only when somebody doubts it; nothing is lost."""
        done = server().post("/api/graph/rebuild", {})
        typer.echo(f"Made again from {done['facts']} facts in {done['elapsed_ms'] / 1000:.1f} s.")


def _get(path: str, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server().get(path, **{name: value for name, value in params.items() if value})
    return answer


def _params(told: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in told or ():
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise WrongUse(f"{pair!r} is no parameter.", where="--param", try_next="write it as name=value.")
        try:
            found[name] = json.loads(value)  # numbers and lists as such …
        except ValueError:
            found[name] = value  # … and anything else as text, without quotes
    return found


def _ask(query: str, params: dict[str, Any], at: str, cluster: str, question: str = "") -> dict[str, Any]:
    body = {"query": query, "question": question, "params": params, "at": _moment(at), "cluster": cluster}
    answer: dict[str, Any] = server().post("/api/graph/cypher", body)
    return answer


def _moment(at: str) -> str | None:
    """An instant as the API reads it. Raises WrongUse."""
    from datetime import UTC, datetime

    if not at:
        return None
    try:
        time = datetime.fromisoformat(at)
    except ValueError as error:
        raise WrongUse(
            f"{at!r} is no time.", where="--at", try_next="write it like 2026-11-20T12:00:00Z."
        ) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def _print(answer: dict[str, Any], as_json: bool, as_csv: bool) -> None:
    names = _distinct(answer["columns"])
    rows = [dict(zip(names, row, strict=True)) for row in answer["rows"]]
    show_rows(rows, names, as_json=as_json, as_csv=as_csv, empty="Nothing.")
    if answer["truncated"]:
        typer.echo(f"Only the first {len(rows)} rows are shown.", err=True)


def _distinct(columns: list[str]) -> list[str]:
    """Column names, a repeated one with a number: two of the same name would hide one another."""
    names: list[str] = []
    for column in columns:
        name, number = column, 2
        while name in names:
            name, number = f"{column}_{number}", number + 1
        names.append(name)
    return names
