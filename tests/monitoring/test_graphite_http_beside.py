"""The same HTTP requests, asked of us and of a real graphite-web 1.1.10: forms, times, the tree, tags, events."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient

from qnib.clock import FrozenClock
from qnib.monitoring.graphite import find
from qnib.monitoring.graphite.functions import FUNCTIONS
from qnib.monitoring.graphite.reference import GRAPHITE_WEB
from qnib.monitoring.graphite.views import ROOTS

from .conftest import NOW, Plant, edges_of_their_own, graphite_api
from .test_graphite_beside import PYTHON, Beside, T, points

pytestmark = pytest.mark.engine

STEP, SLOTS = 60, 2 * 1440
SERIES = {
    name: points(seed, STEP, "walk")[-200:]
    for seed, name in enumerate(
        ["rack.r1.n1.cpu", "rack.r1.n1.mem.used", "rack.r1.n1.mem.free", "rack.r1.n2.cpu", "rack.r2.n1.cpu", "rack.r2",
         "other.x-1.y_2", "other.x-10.y_2", "alone", "disk.used;path=/;rack=r1", "disk.used;path=/tmp;rack=r1",
         "disk.used;path=/;rack=r2", "disk.free;rack=r2", "net.rx;if=eth0;rack=r10"]
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    if not PYTHON.exists():
        assert not os.environ.get("CI"), "graphite-web belongs to what CI installs"
        pytest.skip("graphite-web is not installed: run tools/setup test")
    told = {path: {"step": STEP, "slots": SLOTS, "points": values} for path, values in SERIES.items()}
    graphite_web = Beside(tmp_path_factory.mktemp("graphite"), told)
    yield graphite_web
    graphite_web.close()


@pytest.fixture(scope="module")
def client(shared_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = edges_of_their_own(tmp_path_factory.mktemp("same"), cluster="demo")
    for table in ("points", "series"):
        shared_engine.run(f"TRUNCATE TABLE qnib.{table}")
    plant = Plant(settings, FrozenClock(NOW), shared_engine)
    plant.carbon("".join(f"{path} {value} {at}\n" for path, told in SERIES.items() for at, value in told))
    with graphite_api(plant) as client:
        yield client


def both(client: TestClient, beside: Beside, path: str, *params: tuple[str, str], post: bool = False) -> Any:
    """Our answer and theirs, as JSON; None for what is wrong."""
    query = [("now", str(T)), *params]
    if post:
        form: dict[str, list[str]] = {}
        for name, value in query:
            form.setdefault(name, []).append(value)
        mine = client.post(path, data=form)
    else:
        mine = client.get(path, params=query)
    status, text = beside.ask(path, *params, method="post" if post else "get")
    assert (mine.status_code // 100, mine.text[:200]) == (status // 100, mine.text[:200]), text[:300]
    return (mine.json(), json.loads(text)) if status == 200 else (None, None)


# ── times ─────────────────────────────────────────────────────────────────────────────────────

FROM = [
    "-1h", "-90min", "-2d", "-1w", "-1mon", "-1y", "-1h30min", "-7days", "-45seconds", "now-6h", "now-1h30min",
    str(T - 4000), "20261118", "14:30_20261119", "6pm_20261119", "6am_20261119", "noon_yesterday", "noonyesterday",
    "midnight", "midnight_20261119", "teatime_yesterday", "yesterday", "today", "08:15_yesterday", "11:20pm_yesterday",
    "monday", "6pm_tuesday", "nov18", "november 18", "10:00_nov18", "11/18/26", "11/18/2026", "12:00_11/18/26",
    "midnight-1d", "noon-1d", "midnight+8h", "20261101", "8:50_20261101", "friday-1w", "now",
    "-1parsec", "soon", "25:00_20261118", "nov", "13/45/26",
]  # fmt: skip
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("told", FROM)
def test_the_same_moment(client: TestClient, beside: Beside, told: str, zone: str) -> None:
    until = "now+1min" if told == "now" else "now"
    mine, theirs = both(
        client, beside, "/render", ("target", "constantLine(5)"), ("from", told), ("until", until), ("tz", zone),
        ("format", "json"),
    )  # fmt: skip
    assert mine == theirs


# ── forms of an answer ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("post", [False, True], ids=["get", "post"])
@pytest.mark.parametrize("form", ["json", "csv", "raw", "dygraph", "rickshaw"])
@pytest.mark.parametrize("zone", ZONES[:2])
def test_the_same_form(client: TestClient, beside: Beside, form: str, zone: str, post: bool) -> None:
    params = [("target", "rack.r1.*.cpu"), ("target", "alias(alone,'a, \"b\"')"), ("from", "-30min"), ("until", "now"),
              ("format", form), ("tz", zone)]  # fmt: skip
    asked: dict[str, list[str]] = {"now": [str(T)]}
    for name, value in params:
        asked.setdefault(name, []).append(value)
    answer = client.post("/render", data=asked) if post else client.get("/render", params=asked)
    status, text = beside.ask("/render", *params, method="post" if post else "get")
    assert (answer.status_code, status) == (200, 200)
    if form == "csv":
        assert list(csv.reader(io.StringIO(answer.text))) == list(csv.reader(io.StringIO(text)))
    elif form == "raw":
        assert answer.text == text
    else:
        assert answer.json() == json.loads(text)


def test_csv_is_in_the_zone_that_is_asked_for(client: TestClient) -> None:
    params = {"target": "alone", "from": "-30min", "format": "csv", "tz": "Europe/Berlin"}
    first = next(csv.reader(io.StringIO(client.get("/render", params=params).text)))[1]
    assert first == datetime.fromtimestamp(T - 29 * 60, ZoneInfo("Europe/Berlin")).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    "target",
    ["seriesByTag('name=disk.used')", "seriesByTag('name=disk.used','rack=r1')", "seriesByTag('rack=~r1')",
     "seriesByTag('rack=~r1$','path=')", "seriesByTag('name=~disk','path!=/','rack!=~r2')",
     "groupByTags(seriesByTag('name=disk.used'),'sum','rack')",
     "aliasByTags(seriesByTag('name=disk.used'),'rack','path')", "aliasByNode(seriesByTag('name=disk.used'),'rack',1)",
     "sumSeries(seriesByTag('name=~disk'))", "groupByTags(seriesByTag('name=~disk'),'max','name','rack')",
    ],
)  # fmt: skip
def test_the_same_series_by_tags(client: TestClient, beside: Beside, target: str) -> None:
    mine, theirs = both(client, beside, "/render", ("target", target), ("from", "-1h"), ("format", "json"))

    def sorted_(answer: Any) -> Any:
        return answer and sorted(answer, key=lambda one: str(one["target"]))

    assert sorted_(mine) == sorted_(theirs)


@pytest.mark.parametrize("expression", ["rack!=r1", "rack=~.*", "rack="])
def test_what_any_series_would_match_is_refused(client: TestClient, beside: Beside, expression: str) -> None:
    """Theirs fails by its own fault (500) where ours says what is wrong."""
    target = f"seriesByTag('{expression}')"
    assert client.get("/render", params={"target": target}).status_code == 400
    assert beside.ask("/render", ("target", target), ("format", "json"))[0] == 500
    mine, _ = both(client, beside, "/tags/findSeries", ("expr", expression))
    assert mine is None


def test_post_of_json_and_of_a_form_mean_the_same(client: TestClient) -> None:
    asked = {"target": ["rack.*.*.cpu", "alone"], "from": "-1h", "format": "json"}
    assert client.post("/render", json=asked).json() == client.post("/render", data=asked).json() != []


# ── the tree ──────────────────────────────────────────────────────────────────────────────────

QUERIES = ["*", "rack.*", "rack.r1.*", "rack.r?.n1.*", "rack.*.n1.mem.*", "rack.{r1,r2}.*.cpu", "other.x-1*.*",
           "rack.r[12].*", "rack.r[!1].n1.*", "nothing.*", "rack.r1.n1.cpu", "alone", "rack.r2", "rack.r1.{n1,n2}",
           "{rack,other}.*", "*.*.*.c*"]  # fmt: skip


@pytest.mark.parametrize("post", [False, True], ids=["get", "post"])
@pytest.mark.parametrize("form", ["treejson", "completer", "json", "nodelist", "bogus"])
@pytest.mark.parametrize("query", QUERIES)
def test_the_same_nodes(client: TestClient, beside: Beside, query: str, form: str, post: bool) -> None:
    mine, theirs = both(client, beside, "/metrics/find", ("query", query), ("format", form), post=post)
    mine = _without_own(mine)
    if mine is None:
        assert form == "bogus"
    elif form == "completer":
        assert _by_path(mine["metrics"]) == _by_path(_public(theirs["metrics"]))
    elif form == "json":
        kept = ("path", "is_leaf")  # they also say when there are points, for those who make a cluster of several
        assert mine == _by_path([{k: node[k] for k in kept} for node in _public(theirs)])
    elif form == "nodelist":
        assert mine["nodes"] == [name for name in theirs["nodes"] if name != "_tagged"]
    else:
        kept = ("id", "text", "leaf", "expandable", "allowChildren")
        told = [{k: node[k] for k in kept} for node in _public(theirs)]
        mine = [{k: node[k] for k in kept} for node in mine]
        both_kinds = {node["id"] for node in mine if node["leaf"]} & {node["id"] for node in mine if not node["leaf"]}
        # A path that is a series and a branch, too, is told once by theirs, as either, and twice by ours
        assert [n for n in mine if n["id"] not in both_kinds] == [n for n in told if n["id"] not in both_kinds]


def _without_own(told: Any) -> Any:
    """Without the roots that stand beside theirs, wherever they are named."""
    if isinstance(told, dict):
        return {name: _without_own(value) for name, value in told.items()}
    if isinstance(told, list):
        return [one for one in told if not ROOTS.keys() & {one if isinstance(one, str) else _named(one)}]
    return told


def _named(node: dict[str, Any]) -> str:
    return str(node.get("id", node.get("path"))).rstrip(".")


def _by_path(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(nodes, key=lambda node: (node["path"], node["is_leaf"]))


def _public(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the folder in which whisper files of tagged series are."""
    return [node for node in nodes if not str(node.get("id", node.get("path"))).startswith("_tagged")]


@pytest.mark.parametrize("more", [(), (("leavesOnly", "1"),), (("groupByExpr", "1"),)], ids=str)
@pytest.mark.parametrize("query", QUERIES)
def test_the_same_expansion(
    client: TestClient, beside: Beside, query: str, more: tuple[tuple[str, str], ...]
) -> None:
    mine, theirs = both(client, beside, "/metrics/expand", ("query", query), ("query", "other.*"), *more)
    mine = _without_own(mine)
    if more == (("groupByExpr", "1"),):
        theirs = {"results": {k: [p for p in v if p != "_tagged"] for k, v in theirs["results"].items()}}
        assert mine == theirs
    else:
        assert mine["results"] == [path for path in theirs["results"] if path != "_tagged"]


def test_the_same_index(client: TestClient, beside: Beside) -> None:
    mine, theirs = both(client, beside, "/metrics/index.json")
    plain = sorted(path for path in theirs if not path.startswith("_tagged"))
    assert [path for path in mine if ";" not in path] == plain
    assert sorted(mine) == mine == sorted(SERIES)


def test_the_index_comes_in_pages(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = client.get("/metrics/index.json")
    monkeypatch.setattr(find, "_PAGE", 3)
    pages = list(find.all_paths(client.app.state.qnib.engine, "demo"))  # type: ignore[attr-defined]
    assert max(map(len, pages)) == 3
    assert [path for page in pages for path in page] == whole.json()
    assert client.get("/metrics/index.json").text == whole.text
    assert client.get("/metrics/index.json", params={"cluster": "nobody"}).json() == []


def test_a_level_too_wide_is_refused_not_cut(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "MOST_NODES", 2)
    for path in ("/metrics/find", "/metrics/expand"):
        assert client.get(path, params={"query": "*"}).status_code == 422
        assert client.get(path, params={"query": "other.*"}).status_code == 200


# ── tags ──────────────────────────────────────────────────────────────────────────────────────

TAGS: list[tuple[str, list[tuple[str, str]]]] = [
    ("/tags/autoComplete/tags", []),
    ("/tags/autoComplete/tags", [("tagPrefix", "r")]),
    ("/tags/autoComplete/tags", [("expr", "name=disk.used")]),
    ("/tags/autoComplete/tags", [("expr", "name=disk.used"), ("expr", "rack=r1")]),
    ("/tags/autoComplete/tags", [("expr[]", "name=net.rx"), ("tagPrefix", "i")]),
    ("/tags/autoComplete/tags", [("expr", "rack=~r1"), ("limit", "2")]),
    ("/tags/autoComplete/tags", [("limit", "1")]),
    ("/tags/autoComplete/values", [("tag", "rack")]),
    ("/tags/autoComplete/values", [("tag", "rack"), ("valuePrefix", "r1")]),
    ("/tags/autoComplete/values", [("tag", "path"), ("expr", "name=disk.used"), ("expr", "rack!=r2")]),
    ("/tags/autoComplete/values", [("tag", "name"), ("expr", "rack=~r.")]),
    ("/tags/autoComplete/values", [("tag", "name"), ("valuePrefix", "disk"), ("limit", "1")]),
    ("/tags/autoComplete/values", [("tag", "nosuch")]),
    ("/tags/autoComplete/values", []),
    ("/tags/findSeries", [("expr", "name=disk.used")]),
    ("/tags/findSeries", [("expr", "rack=r2"), ("expr", "path=")]),
    ("/tags/findSeries", [("expr", "name=~(disk|net)"), ("expr", "rack!=~r1$")]),
    ("/tags/findSeries", []),
]  # fmt: skip


@pytest.mark.parametrize("post", [False, True], ids=["get", "post"])
@pytest.mark.parametrize(("path", "params"), TAGS, ids=str)
def test_the_same_tags(
    client: TestClient, beside: Beside, path: str, params: list[tuple[str, str]], post: bool
) -> None:
    mine, theirs = both(client, beside, path, *params, post=post)
    assert mine == theirs


def test_the_same_list_of_tags(client: TestClient, beside: Beside) -> None:
    for params in ([], [("filter", "ra")]):
        mine, theirs = both(client, beside, "/tags", *params)
        assert [one["tag"] for one in mine] == [one["tag"] for one in theirs] != []
    for params in ([], [("filter", "r1")], [("filter", "r1$")]):
        mine, theirs = both(client, beside, "/tags/rack", *params)
        assert mine["tag"] == theirs["tag"] == "rack"
        assert mine["values"] == [{k: one[k] for k in ("value", "count")} for one in theirs["values"]] != []
    for paths in (["a.b;y=2;x=1"], ["c;z=1;a=2", "plain"]):
        asked = [("path", path) for path in paths]
        mine, theirs = both(client, beside, "/tags/tagMultiSeries", *asked, post=True)
        assert mine == theirs
    mine, theirs = both(client, beside, "/tags/tagSeries", ("path", "a.b;y=2;x=1"), post=True)
    assert mine == theirs


# ── functions and version ─────────────────────────────────────────────────────────────────────


def test_the_same_functions_are_declared(client: TestClient, beside: Beside) -> None:
    mine = client.get("/functions").json()
    status, text = beside.ask("/functions")
    assert status == 200
    theirs = json.loads(text)
    assert set(theirs) == GRAPHITE_WEB  # what the docs page counts against is what graphite-web says
    assert set(theirs) - set(mine) == {"seriesByTag"}
    assert set(FUNCTIONS) == set(mine)
    fields = {"name", "function", "group", "module", "description", "params"}
    assert all(fields <= set(one) for one in mine.values())
    unlike = {name for name in mine if name in theirs and mine[name]["group"] != theirs[name]["group"]}
    assert unlike == set(), [(name, mine[name]["group"], theirs[name]["group"]) for name in sorted(unlike)]
    one = client.get("/functions/scale").json()
    assert one == mine["scale"]
    assert client.get("/functions/nosuch").status_code == beside.ask("/functions/nosuch")[0] == 404


def test_the_same_version(client: TestClient, beside: Beside) -> None:
    assert client.get("/version").text.strip() == beside.ask("/version")[1].strip() == "1.1.10"
