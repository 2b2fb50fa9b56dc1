"""Graphite as its clients see it: the grammar, times, functions with exact numbers, and what Grafana calls."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from qnib.api import graphite as api
from qnib.api import graphite_events, graphite_tags
from qnib.api.errors import show_errors
from qnib.errors import WrongUse
from qnib.inventory.facts import Facts
from qnib.monitoring.graphite.find import glob_pattern, tag_conditions
from qnib.monitoring.graphite.functions import FUNCTIONS, Line, Window, call, consolidated
from qnib.monitoring.graphite.targets import Call, Path, first_path, parse
from qnib.monitoring.graphite.times import moment

from .conftest import NOW, Plant

T = int(NOW.timestamp())
NAN = math.nan


# ── grammar and times ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("target", "tree"),
    [
        ("a.b-c.d_e", Path("a.b-c.d_e")),
        ("servers.{a,b{1,2}}*.c[0-9].x?", Path("servers.{a,b{1,2}}*.c[0-9].x?")),
        ("sum(a.*, b.*)", Call("sum", [Path("a.*"), Path("b.*")])),
        (" f ( g(a) , 2 , -1.5e3 , 'x\"y' , \"(^.*$)\" , true, None ) ",
         Call("f", [Call("g", [Path("a")]), 2, -1500.0, 'x"y', "(^.*$)", True, None])),
        ('aliasSub(a.b, "(^.*$)", "\\1 A")', Call("aliasSub", [Path("a.b"), "(^.*$)", "\\1 A"])),
        ("f(a, maxValue=10, name='x')", Call("f", [Path("a")], {"maxValue": 10, "name": "x"})),
        ("a.b | scale(2) | alias('x')", Call("alias", [Call("scale", [Path("a.b"), 2]), "x"])),
        ("seriesByTag('name=cpu.used', 'host=~c.*')", Call("seriesByTag", ["name=cpu.used", "host=~c.*"])),
        ("f(123.456.x)", Call("f", [Path("123.456.x")])),
        ("f(servers.1.cpu)", Call("f", [Path("servers.1.cpu")])),
        ("disk.free;host=a;unit=B", Path("disk.free;host=a;unit=B")),
        ("group()", Call("group", [])),
        ("f('a\\'b')", Call("f", ["a'b"])),
    ],
)  # fmt: skip
def test_targets(target: str, tree: object) -> None:
    assert parse(target) == tree


@pytest.mark.parametrize(
    "target",
    [
        "",
        "f(",
        "f(a",
        "f(a,)",
        "f(a b)",
        "f(a))",
        "'text'",
        "12",
        "f(x=1, a)",
        "a | b",
        'f("a)',
        "f(" * 80 + "a" + ")" * 80,
    ],
)
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(WrongUse):
        parse(target)


def test_the_first_path_of_a_name() -> None:
    assert first_path('alias(scale(sumSeries(a.*.c,b),2),"x")') == "a.*.c"
    assert first_path("CPU of all hosts (%)") == "CPU of all hosts (%)"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", NOW), ("-1h", NOW - timedelta(hours=1)), ("now-90s", NOW - timedelta(seconds=90)),
        ("-6min", NOW - timedelta(minutes=6)), ("-2d", NOW - timedelta(days=2)), ("-1w", NOW - timedelta(days=7)),
        ("-1mon", NOW - timedelta(days=30)), ("-1h30min", NOW - timedelta(minutes=90)),
        ("now+5m", NOW + timedelta(minutes=5)),
        ("-1hours", NOW - timedelta(hours=1)), (str(T - 5), NOW - timedelta(seconds=5)),
        (f"{T}.5", NOW + timedelta(seconds=0.5)), ("14:30_20261119", datetime(2026, 11, 19, 14, 30, tzinfo=UTC)),
        ("20261119", datetime(2026, 11, 19, tzinfo=UTC)), ("midnight", datetime(2026, 11, 20, tzinfo=UTC)),
        ("noon", NOW), ("yesterday", datetime(2026, 11, 19, tzinfo=UTC)),
        ("08:15_yesterday", datetime(2026, 11, 19, 8, 15, tzinfo=UTC)),
        ("midnight-1d", datetime(2026, 11, 19, tzinfo=UTC)),
        ("", NOW), ("soon", None), ("-5parsecs", None), ("25:00_20261119", None), ("99999999999999999999", None),
    ],
)  # fmt: skip
def test_times(text: str, meant: datetime | None) -> None:
    if meant is None:
        with pytest.raises(WrongUse):
            moment(text, NOW)
    else:
        assert moment(text, NOW) == meant


def test_a_zone_moves_the_day() -> None:
    assert moment("midnight", NOW, "Europe/Berlin") == datetime(2026, 11, 19, 23, tzinfo=UTC)
    with pytest.raises(WrongUse):
        moment("midnight", NOW, "Mars/Olympus")


@pytest.mark.parametrize(
    ("glob", "pattern"),
    [
        ("a.*.c", r"a\.[^.]*\.c"), ("a{b,c.d}e", r"a(?:b|c\.d)e"), ("a[0-9]?", "a[0-9][^.]"), ("a[!b]", "a[^b]"),
        ("a,b", "a,b"), ("a+(b)", r"a\+\(b\)"),
    ],
)  # fmt: skip
def test_globs(glob: str, pattern: str) -> None:
    assert glob_pattern(glob) == pattern


@pytest.mark.parametrize("expressions", [["host!=a"], ["host="], ["host=~.*"], ["host=~("], ["host"], ["host!=~a"]])
def test_tag_expressions_that_ask_for_too_much(expressions: list[str]) -> None:
    with pytest.raises(WrongUse):
        tag_conditions(expressions)


# ── functions ─────────────────────────────────────────────────────────────────────────────────


def line(name: str, *values: float, start: float = 0, step: float = 10, **tags: str) -> Line:
    return Line(name, start, step, np.array(values, float), {"name": name, **tags}, name)


class Given:
    """What a function may ask for, where all series are given."""

    window = Window(0, 120)
    xff: float | None = None

    def __init__(self) -> None:
        self.stacks: dict[str, Any] = {}

    def evaluate(self, target: Any, window: Window | None = None) -> list[Line]:
        lines: list[Line] = target
        return lines

    def moment(self, text: str) -> float:
        return float(text)

    def happened(self, tags: Any) -> list[float]:
        return []


def apply(name: str, *args: Any, **named: Any) -> list[Line]:
    lines: list[Line] = call(name, args, named, Given())
    return lines


def values(lines: list[Line]) -> list[list[float | None]]:
    return [[None if math.isnan(v) else v for v in each.values] for each in lines]


A, B, C = line("a.x", 1, 2, NAN, NAN), line("a.y", 10, NAN, 30, NAN), line("b.z", -5, 0, 5, 50)


@pytest.mark.parametrize(
    ("name", "args", "names", "result"),
    [
        ("sumSeries", [[A, B], [C]], ["sumSeries(a.x,a.y,b.z)"], [[6, 2, 35, 50]]),
        ("sum", [[A, B]], ["sumSeries(a.x,a.y)"], [[11, 2, 30, None]]),
        ("averageSeries", [[A, B]], ["averageSeries(a.x,a.y)"], [[5.5, 2, 30, None]]),
        ("avg", [[C]], ["averageSeries(b.z)"], [[-5, 0, 5, 50]]),
        ("maxSeries", [[A, B, C]], ["maxSeries(a.x,a.y,b.z)"], [[10, 2, 30, 50]]),
        ("minSeries", [[A, B, C]], ["minSeries(a.x,a.y,b.z)"], [[-5, 0, 5, 50]]),
        ("group", [[A], [B]], ["a.x", "a.y"], [[1, 2, None, None], [10, None, 30, None]]),
        ("scale", [[A], 2.5], ["scale(a.x,2.5)"], [[2.5, 5, None, None]]),
        ("offset", [[A], -1], ["offset(a.x,-1)"], [[0, 1, None, None]]),
        ("absolute", [[C]], ["absolute(b.z)"], [[5, 0, 5, 50]]),
        ("derivative", [[C]], ["derivative(b.z)"], [[None, 5, 5, 45]]),
        ("derivative", [[B]], ["derivative(a.y)"], [[None, None, None, None]]),
        ("nonNegativeDerivative", [[line("c", 5, 9, 3, 7)]], ["nonNegativeDerivative(c)"], [[None, 4, None, 4]]),
        ("nonNegativeDerivative", [[line("c", 5, 9, 3, 7)], 9], ["nonNegativeDerivative(c)"], [[None, 4, 4, 4]]),
        ("perSecond", [[line("c", 0, 100, 300, 0)]], ["perSecond(c)"], [[None, 10, 20, None]]),
        ("keepLastValue", [[A]], ["keepLastValue(a.x)"], [[1, 2, 2, 2]]),
        ("keepLastValue", [[A], 1], ["keepLastValue(a.x)"], [[1, 2, None, None]]),
        ("keepLastValue", [[line("g", NAN, 1, NAN, 3)], 1], ["keepLastValue(g)"], [[None, 1, 1, 3]]),
        ("limit", [[A, B, C], 2], ["a.x", "a.y"], None),
        ("highestMax", [[A, B, C], 2], ["b.z", "a.y"], None),
        ("sortByName", [[C, B, A]], ["a.x", "a.y", "b.z"], None),
        ("sortByName", [[line("n10"), line("n2")], True], ["n2", "n10"], None),
        ("sortByName", [[A, C], False, True], ["b.z", "a.x"], None),
        ("alias", [[A], "mine"], ["mine"], None),
        ("aliasByNode", [[line("scale(servers.c0.cpu.used,10)")], 1, -1], ["c0.used"], None),
        ("aliasByNode", [[line("cpu;host=c0", host="c0")], "host", 0], ["c0.cpu"], None),
        ("aliasByTags", [[line("cpu", host="c0")], "host", "none"], ["c0."], None),
        ("aliasSub", [[line("a.b.c")], "(^.*$)", "\\1 A"], ["a.b.c A"], None),
        ("aliasSub", [[line("ip-10-2.x")], r"ip-(\d+)-(\d+)", r"\2/\1"], ["2/10.x"], None),
        ("consolidateBy", [[A], "max"], ['consolidateBy(a.x,"max")'], [[1, 2, None, None]]),
    ],
)  # fmt: skip
def test_functions(name: str, args: list[Any], names: list[str], result: list[Any] | None) -> None:
    answer = apply(name, *args)
    assert [each.name for each in answer] == names
    if result is not None:
        assert values(answer) == result


def test_a_constant_line_spans_the_window() -> None:
    answer = apply("constantLine", 100)
    assert [(each.name, each.start, each.step, each.values.tolist()) for each in answer] == [
        ("100.0", 0, 60, [100.0] * 3)
    ]


def test_series_of_unequal_steps_meet_on_a_common_one() -> None:
    fine = line("f", *range(12), step=10)
    coarse = line("c", 100, 200, 300, 400, step=30)
    answer = apply("sumSeries", [fine, coarse])
    assert (answer[0].step, values(answer)) == (30, [[101.0, 204.0, 307.0, 410.0]])


@pytest.mark.parametrize(
    ("how", "result"),
    [("average", [1.5, 4]), ("sum", [3, 4]), ("max", [2, 4]), ("min", [1, 4]), ("first", [1, 4]), ("last", [2, 4])],
)
def test_consolidation(how: str, result: list[float]) -> None:
    assert consolidated(np.array([1, 2, NAN, NAN, 4]), 3, how).tolist() == result


def test_wrong_calls_say_what_is_wrong() -> None:
    wrong = [
        ("noSuch", []), ("scale", [[A]]), ("aliasSub", [[A], "(", "x"]), ("consolidateBy", [[A], "bogus"]),
        ("scale", [[A], "x"]), ("aliasSub", [[A], "x" * 2000, ""]), ("aliasSub", [[A], "(a)", "\\7"]),
    ]  # fmt: skip
    for name, args in wrong:
        with pytest.raises(WrongUse, match=name):
            apply(name, *args)


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def client(plant: Plant) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(api.router)
    app.include_router(graphite_tags.router)
    app.include_router(graphite_events.router)
    app.state.qnib = SimpleNamespace(
        engine=plant.engine, clock=plant.clock, settings=plant.settings, token="secret",
        facts=Facts(plant.engine, plant.clock),
    )  # fmt: skip
    show_errors(app)
    with TestClient(app, headers={"Authorization": "Bearer secret"}) as client:
        yield client


@pytest.fixture
def filled(plant: Plant) -> None:
    plant.carbon(
        "".join(f"servers.c{h}.cpu.used {h * 100 + n} {T - 60 + 10 * n}\n" for h in range(3) for n in range(7))
        + "".join(f"servers.c0.network.eth0.rx_bytes {1000 * n} {T - 60 + 10 * n}\n" for n in range(7))
        + f"disk.free;host=c1;unit=B 5 {T - 10}\n"
    )


WINDOW = {"from": str(T - 60), "until": str(T)}


def points(*rows: tuple[float | None, int]) -> list[list[float | None]]:
    return [[value, T + at] for value, at in rows]


@pytest.mark.engine
@pytest.mark.usefixtures("filled")
class TestOverHttp:
    def test_grafana_tests_the_data_source(self, client: TestClient) -> None:
        form = {"target": 'aliasSub(constantLine(100), "(^.*$)", "\\1 A")', "from": "-1h", "until": "now",
                "format": "json", "maxDataPoints": "300"}  # fmt: skip
        answer = client.post("/render", data=form)
        assert answer.status_code == 200
        assert answer.json() == [
            {
                "target": "100.0 A",
                "tags": {"name": "100.0"},
                "datapoints": points((100.0, -3600), (100.0, -1800), (100.0, 0)),
            }
        ]
        assert client.get("/version").text == "1.1.10"

    def test_a_path_over_the_half_open_window(self, client: TestClient) -> None:
        answer = client.get("/render", params={"target": "servers.c1.cpu.used", "format": "json", **WINDOW}).json()
        assert answer == [
            {"target": "servers.c1.cpu.used", "tags": {"name": "servers.c1.cpu.used", "host": "c1"},
             "datapoints": points(*((100.0 + n, -60 + 10 * n) for n in range(1, 7)))}
        ]  # fmt: skip

    def test_several_targets_globs_and_functions(self, client: TestClient) -> None:
        form = {"target": ["sumSeries(servers.*.cpu.used)", "aliasByNode(servers.{c0,c2}.cpu.used, 1)",
                           "perSecond(servers.c0.network.*.rx_bytes)", "nothing.here"], **WINDOW}  # fmt: skip
        answer = {one["target"]: one["datapoints"] for one in client.post("/render", data=form).json()}
        assert list(answer) == [
            "sumSeries(servers.*.cpu.used)",
            "c0",
            "c2",
            "perSecond(servers.c0.network.eth0.rx_bytes)",
        ]
        assert answer["sumSeries(servers.*.cpu.used)"][0] == [303.0, T - 50]
        assert [v for v, _ in answer["perSecond(servers.c0.network.eth0.rx_bytes)"]] == [None, *[100.0] * 5]

    def test_by_tag(self, client: TestClient) -> None:
        def names(*expressions: str) -> list[str]:
            target = f"seriesByTag({','.join(repr(e) for e in expressions)})"
            return [one["target"] for one in client.get("/render", params={"target": target, **WINDOW}).json()]

        assert names("name=cpu.used", "host=~c[01]$") == ["cpu.used;host=c0", "cpu.used;host=c1"]
        assert names("name=cpu.used", "host!=c0", "host!=~.*2") == ["cpu.used;host=c1"]
        assert names("name=disk.free") == ["disk.free;host=c1;unit=B"]

    def test_fewer_points_than_there_are(self, client: TestClient) -> None:
        params = {"target": 'consolidateBy(servers.c0.cpu.used,"max")', "maxDataPoints": "3", **WINDOW}
        answer = client.get("/render", params=params).json()[0]["datapoints"]
        assert [at % 20 for _, at in answer] == [0] * len(answer)
        assert len(answer) <= 3
        assert answer[-1] == [6.0, T]

    def test_csv_and_raw(self, client: TestClient) -> None:
        params = {"target": "servers.c0.cpu.used", "from": str(T - 20), "until": str(T)}
        csv = client.get("/render", params={**params, "format": "csv"}).text
        assert csv == "servers.c0.cpu.used,2026-11-20 11:59:50,5.0\r\nservers.c0.cpu.used,2026-11-20 12:00:00,6.0\r\n"
        raw = client.get("/render", params={**params, "format": "raw"}).text
        assert raw == f"servers.c0.cpu.used,{T - 10},{T + 10},10|5.0,6.0\n"

    def test_the_tree_is_browsed(self, client: TestClient) -> None:
        def found(query: str) -> list[tuple[str, str, int, int]]:
            nodes = client.post("/metrics/find", data={"query": query}).json()
            return [(n["id"], n["text"], n["leaf"], n["expandable"]) for n in nodes]

        roots = [(name, name, 0, 1) for name in ("by_host", "by_job", "by_partition", "by_rack")]
        assert found("*") == [*roots, ("servers", "servers", 0, 1)]
        assert found("servers.c?") == [(f"servers.c{n}", f"c{n}", 0, 1) for n in range(3)]
        assert found("servers.c0.*") == [("servers.c0.cpu", "cpu", 0, 1), ("servers.c0.network", "network", 0, 1)]
        assert found("servers.c0.cpu.*") == [("servers.c0.cpu.used", "used", 1, 0)]
        assert found("nothing.*") == []
        assert client.get("/metrics/expand", params={"query": "servers.*"}).json() == {
            "results": ["servers.c0", "servers.c1", "servers.c2"]
        }
        assert "servers.c0.cpu.used" in client.get("/metrics/index.json").json()

    def test_tags_are_completed(self, client: TestClient) -> None:
        def completed(what: str, **params: Any) -> Any:
            return client.get(f"/tags/autoComplete/{what}", params=params).json()

        assert completed("tags") == ["host", "interface", "name", "unit"]
        assert completed("tags", expr="name=cpu.used", tagPrefix="h") == ["host"]
        assert completed("values", tag="host", expr="name=cpu.used") == ["c0", "c1", "c2"]
        assert completed("values", tag="name", valuePrefix="cpu") == ["cpu.used"]

    def test_functions_are_declared(self, client: TestClient) -> None:
        declared = client.get("/functions").json()
        assert set(declared) == set(FUNCTIONS)
        assert declared["scale"]["params"] == [
            {"name": "seriesList", "type": "seriesList", "required": True},
            {"name": "factor", "type": "float", "required": True},
        ]
        json.dumps(declared, allow_nan=False)

    def test_events_for_annotations(self, client: TestClient, plant: Plant) -> None:
        from qnib.monitoring import events

        at = NOW - timedelta(seconds=30)
        events.record(plant.engine, "demo", [{"time": at, "kind": "link.down", "message": "cable out", "host": "fab"}])
        plant.syslog("<13>Nov 20 11:59:00 c0 app: nothing known")
        answer = client.get("/events/get_data", params={"from": "-1h", "until": "now"}).json()
        assert [{k: e[k] for k in ("when", "what", "data", "tags")} for e in answer] == [
            {"when": T - 30, "what": "link.down", "data": "cable out", "tags": ["link.down", "fabric", "fab", "qnib"]}
        ]
        assert len(client.get("/events/get_data", params={"from": "-1h", "tags": "fabric link.down"}).json()) == 1
        assert client.get("/events/get_data", params={"from": "-1h", "tags": "scheduler"}).json() == []

    @pytest.mark.parametrize(
        ("params", "names"),
        [
            ({"target": "noSuchFunction(a)"}, "noSuchFunction"), ({"target": "sum("}, "bracket"), ({}, "target"),
            ({"target": "a", "from": "soon"}, "soon"), ({"target": "a", "from": "now", "until": "now"}, "window"),
            ({"target": "a", "format": "png"}, "png"), ({"target": "a", "maxDataPoints": "x"}, "maxDataPoints"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named(self, client: TestClient, params: dict[str, str], names: str) -> None:
        answer = client.get("/render", params=params)
        assert answer.status_code == 400
        assert names in answer.text

    def test_a_token_is_needed(self, client: TestClient) -> None:
        wrong = {"Authorization": "Bearer guess"}
        for path in ("/render?target=a", "/metrics/find?query=*", "/functions", "/version", "/events/get_data"):
            assert client.get(path, headers=wrong).status_code == 401
        assert client.get("/version", headers={"Authorization": "Basic YWRtaW46c2VjcmV0"}).status_code == 200
