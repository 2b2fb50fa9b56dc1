"""The same targets over the same points, asked of us and of a real graphite-web 1.1.10: names, times, values alike."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qnib.errors import WrongUse
from qnib.monitoring.graphite.functions import FUNCTIONS
from qnib.monitoring.graphite.render import as_json, evaluate, fewer

from .conftest import NOW, Plant, edges_of_their_own

PYTHON = Path(__file__).parents[2] / ".make/graphite-web/bin/python"
BESIDE = Path(__file__).parent / "graphite_web.py"
T = int(NOW.timestamp())
DAY = 86_400

pytestmark = pytest.mark.engine


def points(seed: int, step: int, shape: str) -> list[tuple[int, float]]:
    """Two days before `T`, with gaps; values with few digits, since both sides print them."""
    dice = random.Random(seed)
    told: list[tuple[int, float]] = []
    level = dice.uniform(10, 90)
    for number, at in enumerate(range(T - 2 * DAY, T + 1, step)):
        level += dice.uniform(-5, 5)
        value = {
            "walk": level, "counter": 7 * number + dice.randrange(5),
            "share": 0.5 + 0.49 * math.sin(number / 50 + seed), "flag": float(dice.random() < 0.3),
            "signed": 20 * math.sin(number / 30 + seed),
        }[shape]  # fmt: skip
        if shape == "counter" and number % 700 == 699:
            level = 0.0
        if dice.random() > 0.08 and not 400 < number % 900 < 420:
            told.append((at, round(value, 3)))
    return told


SERIES = {
    **{f"servers.c{n}.cpu.used": (60, points(n, 60, "walk")) for n in range(4)},
    **{f"servers.c{n}.cpu.wait": (60, points(10 + n, 60, "signed")) for n in range(4)},
    **{f"servers.c{n}.net.eth0.rx": (60, points(20 + n, 60, "counter")) for n in range(2)},
    **{f"ratio.c{n}.share": (60, points(30 + n, 60, "share")) for n in range(2)},
    "flags.door": (60, points(40, 60, "flag")),
    "fast.c0.load": (10, points(41, 10, "walk")),
}

# Each begins where steps of ten seconds and of a minute have their first slot at the same moment.
HOUR, PART, LONG = (T - 3610, T), (T - 7 * 3600 - 10, T - 3 * 3600), (T - DAY - 10, T)

USED, WAIT, RX, SHARE = "servers.*.cpu.used", "servers.*.cpu.wait", "servers.*.net.eth0.rx", "ratio.*.share"
TARGETS = [
    USED, "servers.{c0,c2}.cpu.*", "fast.c0.load",
    # combine
    f"sumSeries({USED})", f"sum({USED},{WAIT})", f"averageSeries({USED})", f"avg({WAIT})", f"maxSeries({USED})",
    f"minSeries({USED})", f"diffSeries({USED})", f"stddevSeries({USED})", f"rangeOfSeries({USED})",
    f"multiplySeries({USED})", "multiplySeries(servers.c0.cpu.used)", f"countSeries({USED})", f"powSeries({SHARE})",
    f"percentileOfSeries({USED},75)", f"percentileOfSeries({USED},40,true)", f"group({USED},{WAIT})",
    *(f"aggregate({USED},'{how}')" for how in
      ("average", "median", "sum", "min", "max", "diff", "stddev", "count", "range", "multiply", "last", "avg_zero")),
    f"aggregate({USED},'sum',0.8)", f"aggregateSeriesLists({USED},{WAIT},'max')", f"sumSeriesLists({USED},{WAIT})",
    f"diffSeriesLists({USED},{WAIT})", f"multiplySeriesLists({USED},{WAIT})", f"divideSeriesLists({USED},{WAIT})",
    f"divideSeries({USED},servers.c1.cpu.wait)", f"divideSeries({USED},nothing.here)",
    f"groupByNode({USED},1)", "groupByNode(servers.*.cpu.*,3,'sum')", "groupByNode(servers.*.cpu.*,-1,'maxSeries')",
    "groupByNodes(servers.*.cpu.*,'average',0,3)", "groupByNodes(servers.*.cpu.*,'countSeries',1)",
    "groupByTags(servers.*.cpu.used,'sum','name')",
    "aggregateWithWildcards(servers.*.cpu.*,'max',1)", "sumSeriesWithWildcards(servers.*.cpu.*,1)",
    "averageSeriesWithWildcards(servers.*.cpu.*,1,2)", "multiplySeriesWithWildcards(servers.*.cpu.*,3)",
    "reduceSeries(mapSeries(servers.*.cpu.*,1),'asPercent',3,'used','wait')",
    "reduce(map(servers.*.cpu.*,1),'diffSeries',3,'used','wait')",
    f"applyByNode({USED},1,'sumSeries(%.cpu.*)','%.all')", f"applyByNode({USED},1,'sumSeries(%.cpu.*)')",
    f"weightedAverage({USED},{WAIT},1)",
    f"asPercent({USED})", f"asPercent({USED},200)", f"asPercent({USED},servers.c0.cpu.used)",
    f"asPercent({USED},{WAIT})", "asPercent(servers.*.cpu.*,None,1)", f"pct(servers.*.cpu.*,{USED},1)",
    # transform
    f"scale({USED},0.125)", f"scaleToSeconds({USED},10)", f"add({USED},7)", f"offset({USED},-3.5)",
    f"offsetToZero({USED})", f"absolute({WAIT})", f"invert({WAIT})", f"pow({WAIT},2)", f"pow({WAIT},0.5)",
    f"squareRoot({USED})", "exp(ratio.*.share)", f"log({USED},2)", f"log({WAIT})", f"logit({SHARE})",
    f"sigmoid({SHARE})", f"round({USED})", f"round({USED},1)", f"minMax({USED})", f"isNonNull({USED})",
    f"transformNull({USED})", f"transformNull({USED},-1)", f"transformNull({USED},5,servers.c0.cpu.wait)",
    "changed(flags.door)", f"derivative({USED})", f"nonNegativeDerivative({WAIT})",
    f"nonNegativeDerivative({RX})", f"perSecond({RX})", f"delay({USED},3)", f"integral({USED})",
    f"integralByInterval({USED},'10min')", f"keepLastValue({USED})", f"keepLastValue({USED},1)",
    f"interpolate({USED})", f"interpolate({USED},1)", f"compressPeriodicGaps({USED})",
    # along time
    *(f"summarize({USED},'10min','{how}')" for how in
      ("sum", "avg", "max", "min", "last", "median", "count", "range", "stddev", "diff", "multiply", "avg_zero")),
    f"summarize({USED},'7min','sum',true)", f"summarize({USED},'1h')", f"smartSummarize({USED},'10min','avg')",
    f"smartSummarize({USED},'30min','max','hours')", f"smartSummarize({USED},'1d','sum','days')",
    f"smartSummarize({USED},'1d','sum','weeks')", f"hitcount({RX},'10min')", f"hitcount({USED},'7min')",
    f"hitcount({USED},'1h',true)", f"timeShift({USED},'1h')", f"timeShift({USED},'-30min',false)",
    f"timeStack({USED},'1h',0,3)", f"timeSlice({USED},'{T - 3000}','{T - 600}')",
    # calculate
    "constantLine(123.5)", f"aggregateLine({USED},'max')", f"aggregateLine({USED},'avg',true)",
    f"nPercentile({USED},95)", 'identity("t")', 'time("t",120)', 'timeFunction("t")', 'sin("s",2,60)',
    f"movingAverage({USED},10)", f"movingAverage({USED},'15min')", f"movingMedian({USED},5)",
    f"movingSum({USED},'10min')", f"movingMin({USED},7)", f"movingMax({USED},7,0.5)",
    f"movingWindow({USED},5,'stddev')", f"movingWindow({USED},'5min','count')", f"movingWindow({USED},4,'multiply')",
    f"exponentialMovingAverage({USED},10)", f"exponentialMovingAverage({USED},'10min')", f"stdev({WAIT},5)",
    f"stdev({WAIT},10,0.9)", f"linearRegression({USED})", f"linearRegression({USED},'{T - 1800}','{T}')",
    "holtWintersForecast(servers.c0.cpu.wait,'6h','1h')", "holtWintersConfidenceBands(servers.c0.cpu.wait,3,'6h','1h')",
    "holtWintersAberration(servers.c0.cpu.wait,1,'6h','1h')",
    "holtWintersConfidenceArea(servers.c0.cpu.wait,2,'6h','1h')",
    "threshold(42,'limit')", f"verticalLine('{T - 1200}','mark')",
    # choose and order
    *(f"{name}({USED},50)" for name in (
        "maximumAbove", "minimumAbove", "maximumBelow", "minimumBelow", "currentAbove", "currentBelow",
        "averageAbove", "averageBelow", "removeAboveValue", "removeBelowValue", "removeAbovePercentile",
        "removeBelowPercentile")),
    *(f"{name}({USED},2)" for name in (
        "highestAverage", "highestCurrent", "highestMax", "lowestAverage", "lowestCurrent", "mostDeviant", "limit")),
    f"highest({USED},2,'max')", f"lowest({USED},2,'stddev')", f"filterSeries({USED},'max','>=',60)",
    f"filterSeries({USED},'min','<',20)", f"grep({USED},'c[12]')", f"exclude({USED},'c[12]')",
    f"unique({USED},servers.c1.*.used)", f"removeEmptySeries({USED},0.95)",
    "fallbackSeries(nothing.here,constantLine(5))",
    f"useSeriesAbove(transformNull({USED}),60,'^.*(servers.c.).*$','\\1.cpu.wait')",
    f"averageOutsidePercentile({USED},30)",
    f"removeBetweenPercentile(transformNull({USED}),30)", f"sortBy({USED},'max')", f"sortBy({USED},'min',true)",
    f"sortByName({USED},true,true)", f"sortByTotal({USED})", f"sortByMaxima({USED})", f"sortByMinima({USED})",
    # names
    f"alias({USED},'mine')", f"aliasByNode({USED},1,3)", f"aliasByNode(scale({USED},2),-1,1)", f"aliasByMetric({USED})",
    f"aliasByTags({USED},'name')", f"aliasSub({USED},'^.*(c.).*$','\\1!')", f"substr({USED},1,3)",
    f"aliasQuery({USED},'used','wait','now %d')", f"upper({USED})", f"upper({USED},0,2)", f"lower(upper({USED}))",
    f"legendValue({USED},'avg','max')", f"legendValue({RX},'last','si')", f"cactiStyle({USED})",
    f"cactiStyle({RX},'si','b')",
    # special
    f'consolidateBy({USED},"max")', f"cumulative({USED})", f"sumSeries(setXFilesFactor({USED},0.9))",
    f"summarize(setXFilesFactor({USED},0.95),'10min','sum')", "events('*')", f"stacked({USED})",
    f"alpha({USED},0.5)", f"color({USED},'red')", f"dashed({USED})", f"lineWidth({USED},2)",
    f"drawAsInfinite({USED})", f"secondYAxis({USED})", "areaBetween(servers.{c0,c1}.cpu.used)",
    # nested, as dashboards have them
    f"aliasByNode(scale(perSecond({RX}),8),1)", f"{USED} | sumSeries() | scale(0.25) | alias('all')",
    f"movingAverage(scale({USED},2),'10min')", f"timeShift(sumSeries({USED}),'1h')",
    f"sumSeries(movingAverage({USED},5))", "template(servers.$host.cpu.used,host='c1')",
    f"aliasSub(sumSeries({USED}), \"(^.*$)\", \"\\1 A\")",
    f"asPercent(summarize({USED},'10min','avg'),sumSeries({USED}))",
    "sumSeries(fast.c0.load,servers.c0.cpu.used)",
]  # fmt: skip

QUIRKS = {
    f"asPercent(summarize({USED},'10min','avg'),sumSeries({USED}))":
        "graphite-web zips what has unlike steps; here both are brought onto the wider one",
}  # fmt: skip


class Beside:
    """A graphite-web that has the same points."""

    def __init__(self, folder: Path, told: dict[str, Any] | None = None) -> None:
        self._process = subprocess.Popen(
            [PYTHON, BESIDE, folder], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        told = told or {
            path: {"step": step, "slots": 9 * DAY // step, "points": values} for path, (step, values) in SERIES.items()
        }
        self._say({"series": told, "now": T})
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "graphite-web did not start"

    def ask(self, path: str, *params: tuple[str, str], **how: Any) -> tuple[int, str]:
        """Status and text; `how`: ``method="post"``, or ``json=…``."""
        self._say({"path": path, "params": [("now", str(T)), *params], **how})
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        return told["status"], told["text"]

    def _say(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    if not PYTHON.exists():
        assert not os.environ.get("CI"), "graphite-web belongs to what CI installs"
        pytest.skip("graphite-web is not installed: run tools/setup test")
    graphite = Beside(tmp_path_factory.mktemp("graphite"))
    yield graphite
    graphite.close()


@pytest.fixture(scope="module")
def same(shared_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our own store with the same points."""
    from qnib.clock import FrozenClock

    settings = edges_of_their_own(tmp_path_factory.mktemp("same"))
    for table in ("points", "series"):
        shared_engine.run(f"TRUNCATE TABLE qnib.{table}")
    plant = Plant(settings, FrozenClock(NOW), shared_engine)
    plant.carbon("".join(f"{path} {value} {at}\n" for path, (_, told) in SERIES.items() for at, value in told))
    return shared_engine


def ours(engine: Any, target: str, window: tuple[int, int], most: int | None = None) -> list[dict[str, Any]]:
    start, end = (datetime.fromtimestamp(at, UTC) for at in window)
    lines = evaluate(engine, "demo", target, start, end, now=NOW)
    answer: list[dict[str, Any]] = json.loads(as_json(fewer(lines, most) if most else lines))
    return answer


def theirs(
    beside: Beside, target: str, window: tuple[int, int], most: int | None = None
) -> list[dict[str, Any]] | None:
    """Its answer; None when it finds something wrong with the request."""
    params = [("target", target), ("from", str(window[0])), ("until", str(window[1])), ("format", "json")]
    status, text = beside.ask("/render", *params, *([("maxDataPoints", str(most))] if most else []))
    if status == 400:
        return None
    assert status == 200, text[-500:]
    answer: list[dict[str, Any]] = json.loads(text)
    return answer


def differences(mine: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    if (names := [one["target"] for one in mine]) != (wanted := [one["target"] for one in other]):
        return [f"names {names} instead of {wanted}"]
    found = []
    for a, b in zip(mine, other, strict=True):
        if (times := [at for _, at in a["datapoints"]]) != [at for _, at in b["datapoints"]]:
            found.append(f"{a['target']}: times {times[:2]}…{times[-1:]} ({len(times)}) instead of"
                         f" {[at for _, at in b['datapoints']][:2]}… ({len(b['datapoints'])})")  # fmt: skip
            continue
        for (mine_, at), (other_, _) in zip(a["datapoints"], b["datapoints"], strict=True):
            if (mine_ is None) != (other_ is None) or (
                mine_ is not None and not math.isclose(mine_, other_, rel_tol=1e-9, abs_tol=1e-9)
            ):
                found.append(f"{a['target']} at {at}: {mine_} instead of {other_}")
                break
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_answer(beside: Beside, same: Any, target: str) -> None:
    for window in (HOUR, PART, LONG):
        if target in QUIRKS:
            ours(same, target, window)
            continue
        if (wanted := theirs(beside, target, window)) is None:
            with pytest.raises(WrongUse):
                ours(same, target, window)
        else:
            assert not differences(ours(same, target, window), wanted), window


@pytest.mark.parametrize("most", [1, 7, 50, 333])
@pytest.mark.parametrize(
    "target", [USED, f'consolidateBy({USED},"sum")', f"setXFilesFactor({USED},0.9)", "fast.c0.load"]
)
def test_the_same_fewer_points(beside: Beside, same: Any, target: str, most: int) -> None:
    for window in (HOUR, LONG):
        wanted = theirs(beside, target, window, most)
        assert wanted is not None
        assert not differences(ours(same, target, window, most), wanted), window


def test_at_least_a_hundred_functions_are_compared() -> None:
    called = {name for target in TARGETS if target not in QUIRKS for name in re.findall(r"([A-Za-z_]\w*)\(", target)}
    distinct = {FUNCTIONS[name].make for name in called if name in FUNCTIONS and not FUNCTIONS[name].style}
    print(f"{len(distinct)} functions (aliases and styles not counted) are compared by {len(TARGETS)} targets")
    assert len(distinct) >= 100, len(distinct)


def test_what_is_not_compared_has_a_reason() -> None:
    called = {name for target in TARGETS for name in re.findall(r"([A-Za-z_]\w*)\(", target)}
    compared = {FUNCTIONS[name].make for name in called if name in FUNCTIONS}
    left = {name for name, one in FUNCTIONS.items() if one.make not in compared}
    assert left == {"randomWalk", "randomWalkFunction"}, "chance cannot be compared; everything else can"
