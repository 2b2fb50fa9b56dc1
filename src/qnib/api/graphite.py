"""Graphite's HTTP API, as Grafana's data source calls it: render, find, tags, functions, events, version.

The cluster is `?cluster=` (a query parameter of the data source), the header X-Qnib-Cluster, or the server's own.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from qnib.api.viewer import Seeing, must_see
from qnib.context.membership import Membership
from qnib.context.search import Search
from qnib.errors import TooMuch, WrongUse
from qnib.monitoring.graphite import find, views
from qnib.monitoring.graphite.functions import FUNCTIONS
from qnib.monitoring.graphite.functions.described import described
from qnib.monitoring.graphite.render import render
from qnib.monitoring.graphite.times import moment
from qnib.monitoring.storage.rules import rules_of

VERSION = "1.1.10"
"""The Graphite whose answers these are; Grafana reads from it what it may ask."""
_LARGEST = 4 << 20  # octets of a form
_MOST_EVENTS = 1000

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
    """Series of one or more targets as json (default), csv or raw."""
    targets = question.all("target", "target[]")
    if not targets:
        raise WrongUse("No target is named.", where="target", try_next="send target=… .")
    start, end = question.window()
    most = question.number("maxDataPoints", 0, 1_000_000) if question.one("maxDataPoints") else None
    template = {found[1]: value for name, value in question.pairs if (found := _TEMPLATE.fullmatch(name))}
    work = partial(
        render, now=question.now, template=template, zone=question.one("tz", "UTC"), known=question.yes("noNullPoints"),
        rules=rules_of(question.parts.settings), tree=Membership(question.parts, question.cluster),
    )
    text, media = await run_in_threadpool(
        work, question.parts.engine, question.cluster, targets, start, end, most, question.one("format", "json")
    )
    if (wrapped := question.one("jsonp")) and media == "application/json":
        if not _WORD.fullmatch(wrapped):
            raise WrongUse(f"{wrapped!r} is no name of a function.", where="jsonp", try_next="leave it out.")
        return Response(f"{wrapped}({text})", media_type="text/javascript")
    return Response(text, media_type=media)


@router.api_route("/metrics/find", methods=["GET", "POST"])
@router.api_route("/metrics/find/", methods=["GET", "POST"], include_in_schema=False)
@router.api_route("/metrics", methods=["GET", "POST"], include_in_schema=False)
async def find_metrics(question: Question) -> Any:
    """One level of the tree of paths, as treejson or, with ``format=completer``, as completer."""
    query = question.one("query")
    if not query:
        raise WrongUse("No query is given.", where="query", try_next="send query=servers.* .")
    start = moment(question.one("from"), question.now) if question.one("from") else None
    end = moment(question.one("until"), question.now) if question.one("until") else None
    completing = question.one("format") == "completer"
    if completing and not query.endswith("*"):
        query += "*"
    rows = await run_in_threadpool(_level, question, query, start, end, each=completing)
    if completing:
        return {"metrics": [_completion(row) for row in sorted(rows, key=lambda row: str(row["id"]))]}
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


def _completion(row: dict[str, Any]) -> dict[str, str]:
    leaf = bool(row["leaf"])
    return {"path": row["id"] if leaf else f"{row['id']}.", "name": row["text"], "is_leaf": str(int(leaf))}


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
async def index(question: Question) -> list[str]:
    """Every path there is."""
    return await run_in_threadpool(find.all_paths, question.parts.engine, question.cluster)


@router.get("/version", response_class=PlainTextResponse)
@router.get("/version/", response_class=PlainTextResponse, include_in_schema=False)
async def version(viewer: Seeing) -> str:
    return VERSION


@router.get("/functions")
@router.get("/functions/", include_in_schema=False)
async def functions(viewer: Seeing, grouped: bool = False) -> dict[str, Any]:
    """The functions there are, with their parameters, for Grafana's editor; `grouped`: by what they do."""
    told = {name: described(function) for name, function in sorted(FUNCTIONS.items())}
    if not grouped:
        return told
    groups: dict[str, dict[str, Any]] = {}
    for name, one in told.items():
        groups.setdefault(one["group"], {})[name] = one
    return groups


@router.get("/functions/{name}")
async def one_function(name: str, viewer: Seeing) -> dict[str, Any]:
    if name not in FUNCTIONS:
        raise WrongUse(f"There is no function {name!r} here.", where=name, try_next="`/functions` lists them.")
    return described(FUNCTIONS[name])


@router.get("/events/get_data")
@router.get("/events/get_data/", include_in_schema=False)
async def events(question: Question) -> list[dict[str, Any]]:
    """What happened, for annotations: the events of a query of the event search (`query`), and, as Graphite has it,
    those whose tags (kind, lane, host, app) include all that are asked for; set=union: any of them.

    Without a query only what a rule knows the meaning of.
    """
    start = moment(question.one("from") or "-24h", question.now)
    end = moment(question.one("until") or "now", question.now) + timedelta(microseconds=1)
    wanted = sorted(set(" ".join(question.all("tags")).split()))
    found = await run_in_threadpool(_annotations, question, wanted, start, end)
    return [
        {
            "id": int(row["id"]), "what": row["kind"] or row["app"] or "event", "data": row["message"],
            "when": int(datetime.fromisoformat(row["time"]).timestamp()),
            "tags": list(filter(None, (row["kind"], row["lane"], row["host"], row["app"], *row["tags"]))),
        }
        for row in found
    ]  # fmt: skip


def _annotations(question: Asked, tags: list[str], start: datetime, end: datetime) -> list[dict[str, Any]]:
    has = "hasAny" if question.one("set") == "union" else "hasAll"
    more = f"{has}([kind, lane, host, app], {{tags:Array(String)}})" if tags else "1"
    found = Search(
        question.parts, question.cluster, question.one("query") or "kind:*", start, end,
        lambda text: moment(text, question.now),
    )  # fmt: skip
    return found.events(_MOST_EVENTS, more=more, **({"tags": tags} if tags else {}))
