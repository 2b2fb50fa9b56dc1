"""``qnib graph``: Cypher over everything that is known, now or at another time."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.errors import NotFound, WrongUse

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
        rows = [{**question, "columns": ", ".join(question["columns"])} for question in _shipped()]
        show_rows(rows, ("name", "ask"), as_json=as_json, as_csv=as_csv, empty="There are none.")

    @group.command("ask")
    def ask(
        name: Annotated[str, typer.Argument(help="Name of a shipped question.")],
        at: At = "", param: Params = None, cluster: ClusterName = "", as_json: Json = False, as_csv: Csv = False,
    ) -> None:
        """Ask a shipped question, for example: qnib graph ask hosts_on_switch --param switch=SW1."""
        shipped = {question["name"]: question for question in _shipped()}
        if name not in shipped:
            raise NotFound(
                f"There is no question {name!r}.", where="qnib graph ask",
                try_next=f"known: {', '.join(sorted(shipped))}.",
            )
        _print(_ask(shipped[name]["cypher"], _params(param), at, cluster), as_json, as_csv)


def _shipped() -> list[dict[str, Any]]:
    from qnib.cli.client import Client
    from qnib.settings import load

    questions: list[dict[str, Any]] = Client(load()).get("/api/graph/questions")["questions"]
    return questions


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


def _ask(query: str, params: dict[str, Any], at: str, cluster: str) -> dict[str, Any]:
    from qnib.cli.client import Client
    from qnib.settings import load

    body = {"query": query, "params": params, "at": _moment(at), "cluster": cluster}
    answer: dict[str, Any] = Client(load()).post("/api/graph/cypher", body)
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
