"""Graphite's HTTP API, as Grafana's data source calls it: render, find, functions, version. Tags and events have files
of their own.

The cluster is `?cluster=` (a query parameter of the data source), the header X-Qnib-Cluster, or the server's own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from qnib.api.viewer import Seeing, must_see
from qnib.context.membership import Membership
from qnib.errors import NotFound, TooMuch, WrongUse
from qnib.monitoring.graphite import find, views
from qnib.monitoring.graphite.functions import FUNCTIONS
from qnib.monitoring.graphite.functions.described import described
from qnib.monitoring.graphite.picture import Look
from qnib.monitoring.graphite.render import render
from qnib.monitoring.graphite.times import moment
from qnib.monitoring.storage.rules import rules_of

VERSION = "1.1.10"
"""The Graphite whose answers these are; Grafana reads from it what it may ask."""
_LARGEST = 4 << 20  # octets of a form
_NODE_FORMS = ("treejson", "completer", "nodelist", "json")

_TEMPLATE = re.compile(r"template\[(\w+)\]")
_WORD = re.compile(r"[A-Za-z_$][\w$.]{0,60}")

router = APIRouter()


class Asked:
    """Parameters of one request, from its address and its form alike, with the parts and the cluster it is about."""

    def __init__(self, request: Request, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self.parts: Any = request.app.state.qnib
        self.now: datetime = self.parts.clock.now()
        if told := self.one("now"):
            self.now = moment(told, self.now, self.one("tz", "UTC"))
        self.cluster = self.one("cluster") or request.headers.get("x-qnib-cluster") or self.parts.settings.cluster

    def all(self, *names: str) -> list[str]:
        return [value for name, value in self.pairs if name in names]

    def one(self, name: str, default: str = "") -> str:
        return next(iter(self.all(name)), default)

    def yes(self, name: str) -> bool:
        return self.one(name).lower() not in {"", "0", "false", "no"}

    def number(self, name: str, default: int, most: int) -> int:
        text = self.one(name) or str(default)
        try:
            return max(1, min(most, math.ceil(float(text))))
        except (ValueError, OverflowError) as error:
            raise WrongUse(f"{text!r} is no number.", where=name, try_next="write a whole number.") from error

    def window(self) -> tuple[datetime, datetime]:
        zone = self.one("tz", "UTC")
        start = moment(self.one("from") or "-24h", self.now, zone)
        end = moment(self.one("until") or "now", self.now, zone)
        if start == end:
            raise WrongUse("The window is empty.", where="from, until", try_next="name two moments.")
        return min(start, end), max(start, end)


async def asked(request: Request, viewer: Seeing) -> Asked:
    """Read the parameters; whoever asks must be allowed to see the cluster."""
    pairs = list(request.query_params.multi_items())
    if request.method == "POST":
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST:
                raise TooMuch(f"A form may have {_LARGEST} octets.", where=request.url.path, try_next="ask for less.")
        if request.headers.get("content-type", "").startswith("application/json"):
            pairs += _of_json(bytes(body))
        else:
            pairs += parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    told = Asked(request, pairs)
    must_see(viewer, told.cluster)
    return told


Question = Annotated[Asked, Depends(asked)]


def _of_json(body: bytes) -> list[tuple[str, str]]:
    try:
        told = json.loads(body)
    except ValueError as error:
        raise WrongUse("The body is not JSON.", where="POST", try_next="send a form or JSON.") from error
    if not isinstance(told, dict):
        raise WrongUse("The body is no JSON object.", where="POST", try_next='send {"target": "…"}.')
    return [(k, str(v)) for k, vs in told.items() for v in (vs if isinstance(vs, list) else [vs])]


@router.api_route("/render", methods=["GET", "POST"])
@router.api_route("/render/", methods=["GET", "POST"], include_in_schema=False)
async def render_targets(question: Question) -> Response:
    """Series of one or more targets as json (default), csv, raw, dygraph or rickshaw, or drawn as svg."""
    targets = question.all("target", "target[]")
    if not targets:
        raise WrongUse("No target is named.", where="target", try_next="send target=… .")
    start, end = question.window()
    most = question.number("maxDataPoints", 0, 1_000_000) if question.one("maxDataPoints") else None
    template = {found[1]: value for name, value in question.pairs if (found := _TEMPLATE.fullmatch(name))}
    work = partial(
        render, now=question.now, template=template, zone=question.one("tz", "UTC"), known=question.yes("noNullPoints"),
        rules=rules_of(question.parts.settings), look=Look.told(dict(reversed(question.pairs))),
        tree=Membership(question.parts, question.cluster),
    )
    text, media = await run_in_threadpool(
        work, question.parts.engine, question.cluster, targets, start, end, most, question.one("format", "json")
    )
    return wrapped(question, text, media)


@router.api_route("/metrics/find", methods=["GET", "POST"])
@router.api_route("/metrics/find/", methods=["GET", "POST"], include_in_schema=False)
@router.api_route("/metrics", methods=["GET", "POST"], include_in_schema=False)
async def find_metrics(question: Question) -> Any:
    """One level of the tree of paths, as treejson; with ``format=`` as completer, nodelist or json."""
    query = question.one("query")
    if not query:
        raise WrongUse("No query is given.", where="query", try_next="send query=servers.* .")
    start = moment(question.one("from"), question.now) if question.one("from") else None
    end = moment(question.one("until"), question.now) if question.one("until") else None
    form = question.one("format", "treejson")
    if form not in _NODE_FORMS:
        raise WrongUse(f"There is no format {form!r}.", where="format", try_next=f"use {', '.join(_NODE_FORMS)}.")
    if form == "completer":
        query = query.replace("..", "*.")
        query += "" if query.endswith("*") else "*"
    rows = await run_in_threadpool(_level, question, query, start, end, each=form != "treejson")
    if question.yes("leavesOnly"):
        rows = [{**row, "branch": 0} for row in rows if row["leaf"]]
    if form == "completer":
        return {"metrics": [_completion(*told) for told in sorted(_both(rows))]}
    if form == "json":
        return [{"path": path, "is_leaf": bool(leaf)} for path, leaf, _ in sorted(_both(rows))]
    if form == "nodelist":
        return {"nodes": _at(rows, question.one("position", "-1"))}
    # As Graphite does: of an asked segment each name once, below the path as it was asked.
    above = query[: len(query) - len(find.last_segment(query))]
    nodes: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        for branch in [0] * int(row["leaf"]) + [1] * int(row["branch"]):
            nodes[row["text"], branch] = _node(above + row["text"], row["text"], branch)
    return sorted(nodes.values(), key=lambda node: (node["leaf"], node["id"]))


def _level(
    question: Asked, query: str, start: datetime | None = None, end: datetime | None = None, each: bool = True
) -> list[dict[str, Any]]:
    """One level of what is stored, and of the virtual roots."""
    engine, cluster = question.parts.engine, question.cluster
    tree = Membership(question.parts, cluster)
    rows = views.level(engine, cluster, tree, query, start, end, question.now, each=each)
    return [*find.level(engine, cluster, query, start, end), *rows]


def _node(path: str, text: str, branch: int) -> dict[str, Any]:
    return {
        "text": text, "id": path, "leaf": 1 - branch, "expandable": branch, "allowChildren": branch, "context": {},
    }  # fmt: skip


def _both(rows: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """Path, whether it is a leaf, and name; twice what is a series and a branch, too."""
    return [
        (row["id"], leaf, row["text"]) for row in rows for leaf in [0] * int(row["branch"]) + [1] * int(row["leaf"])
    ]


def _completion(path: str, leaf: int, name: str) -> dict[str, str]:
    return {"path": path if leaf else f"{path}.", "name": name, "is_leaf": str(leaf)}


def _at(rows: list[dict[str, Any]], position: str) -> list[str]:
    """The segments at one place of all paths."""
    try:
        return sorted({row["id"].split(".")[int(position)] for row in rows})
    except (ValueError, IndexError) as error:
        raise WrongUse(
            f"{position!r} is no place in these paths.", where="position", try_next="write 0 for the first segment."
        ) from error


@router.api_route("/metrics/expand", methods=["GET", "POST"])
async def expand(question: Question) -> dict[str, Any]:
    """The paths that queries stand for, of one level; with ``groupByExpr`` for each query by itself."""
    paths: dict[str, list[str]] = {}
    only_leaves = question.yes("leavesOnly")
    for query in question.all("query"):
        rows = await run_in_threadpool(_level, question, query)
        paths[query] = sorted(row["id"] for row in rows if row["leaf"] or not only_leaves)
    if question.yes("groupByExpr"):
        return {"results": paths}
    return {"results": sorted({path for found in paths.values() for path in found})}


@router.get("/metrics/index.json")
def index(question: Question) -> StreamingResponse:
    """Every path there is. Made as it is sent, so that any number of series takes no more memory than some."""
    return StreamingResponse(_index(question), media_type="application/json")


def _index(question: Asked) -> Iterator[str]:
    before = "["
    for paths in find.all_paths(question.parts.engine, question.cluster):
        yield before + json.dumps(paths)[1:-1]
        before = ", "
    yield "]" if before != "[" else "[]"


@router.get("/version", response_class=PlainTextResponse)
@router.get("/version/", response_class=PlainTextResponse, include_in_schema=False)
async def version(viewer: Seeing) -> str:
    return VERSION


@router.get("/functions")
@router.get("/functions/", include_in_schema=False)
async def functions(viewer: Seeing, grouped: bool = False, group: str = "") -> dict[str, Any]:
    """The functions there are, with their parameters, for Grafana's editor; `grouped`: by what they do; `group`: only
    those."""
    told = {
        name: described(function) for name, function in sorted(FUNCTIONS.items()) if group in ("", function.group)
    }
    if not grouped:
        return told
    groups: dict[str, dict[str, Any]] = {}
    for name, one in told.items():
        groups.setdefault(one["group"], {})[name] = one
    return groups


@router.get("/functions/{name}")
async def one_function(name: str, viewer: Seeing) -> dict[str, Any]:
    if name not in FUNCTIONS:
        raise NotFound(f"There is no function {name!r} here.", where=name, try_next="`/functions` lists them.")
    return described(FUNCTIONS[name])


def wrapped(question: Asked, text: str, media: str, headers: dict[str, str] | None = None) -> Response:
    """The answer, in a call of the function that `jsonp` names if it is JSON."""
    if (name := question.one("jsonp")) and media == "application/json":
        if not _WORD.fullmatch(name):
            raise WrongUse(f"{name!r} is no name of a function.", where="jsonp", try_next="leave it out.")
        return Response(f"{name}({text})", media_type="text/javascript", headers=headers)
    return Response(text, media_type=media, headers=headers)
