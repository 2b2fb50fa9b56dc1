"""Answers that graphite-web 1.1.10 once gave over a real job's metrics: ours to the same requests are the same."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper
from fastapi.testclient import TestClient

from qnib.clock import FrozenClock
from qnib.errors import WrongUse
from qnib.monitoring.graphite import reference
from qnib.monitoring.graphite.functions import FUNCTIONS
from qnib.monitoring.graphite.render import evaluate
from qnib.monitoring.graphite.targets import Call, Node, parse
from qnib.monitoring.graphite.targets import Path as Series
from qnib.monitoring.graphite.views import ROOTS
from qnib.monitoring.storage.rules import rules_of
from qnib.monitoring.storage.upkeep import Upkeep
from qnib.settings import Storage
from tests.data import FOLDER, real

from .conftest import NOW, Plant, edges_of_their_own, graphite_api

pytestmark = pytest.mark.engine
RECORDED = FOLDER / "graphite/graphiteweb_emmy1403244_reference.json"
CASES = json.loads(RECORDED.read_text())["cases"] if RECORDED.exists() else []


@pytest.fixture(scope="module")
def client(shared_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with the points of the whisper files that the answers were made from."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(real("graphite/graphiteweb_emmy1403244_whisper.tar.gz")) as archive:
        archive.extractall(folder / "whisper", filter="data")
    schemas = folder / "storage-schemas.conf"
    schemas.write_text("[site]\npattern = ^emmy\\.\nretentions = 60s:26h,300s:50h\n")
    settings = edges_of_their_own(folder, cluster="demo", storage=Storage(schemas=schemas))
    for table in ("points", "series", "rollups", "changed", "rollup_marks"):
        shared_engine.run(f"TRUNCATE TABLE qnib.{table}")
    plant = Plant(settings, FrozenClock(NOW), shared_engine)
    plant.carbon("".join(_lines(folder / "whisper")))
    Upkeep(FrozenClock(datetime.fromtimestamp(1_609_009_500, UTC)), shared_engine, rules_of(settings)).settle()
    with graphite_api(plant) as client:
        yield client


def _lines(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*.wsp")):
        path = ".".join(file.relative_to(folder).with_suffix("").parts)
        last = 1_609_009_500
        (start, end, step), values = whisper.fetch(str(file), last - 93_000, last, now=last)
        told = zip(range(start, end, step), values, strict=True)
        yield from (f"{path} {value!r} {at}\n" for at, value in told if value is not None)


def alike(mine: Any, theirs: Any, where: str = "") -> None:
    """Equal, numbers to 1e-9; what theirs does not have, ours may."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert key in mine, f"{where}.{key}"
            alike(mine[key], value, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(mine) == len(theirs), f"{where}: {len(mine)} instead of {len(theirs)}"
        for place, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            alike(a, b, f"{where}[{place}]")
    elif isinstance(theirs, float) and mine is not None:
        assert math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9), f"{where}: {mine} instead of {theirs}"
    else:
        assert mine == theirs, where


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{n}-{case['params'].get('target', case['path'])}") for n, case in enumerate(CASES)]
)
def test_the_recorded_answer(client: TestClient, case: dict[str, Any]) -> None:
    answer = client.get(case["path"], params=case["params"])
    if case["status"] >= 400:
        assert 400 <= answer.status_code < 500
        return
    assert answer.status_code == 200, answer.text
    if "json" in case:
        told = answer.json()
        if case["path"] == "/metrics/find" and isinstance(told, list):  # our own roots stand beside theirs
            told = [node for node in told if node["id"] not in ROOTS]
        alike(told, case["json"])
    elif case["content_type"].startswith("text/csv"):
        alike(list(csv.reader(io.StringIO(answer.text))), list(csv.reader(io.StringIO(case["text"]))))
    else:
        assert answer.text.strip() == case["text"].strip()


# ── dashboards ────────────────────────────────────────────────────────────────────────────────

DASHBOARDS = FOLDER / "graphite/dashboards/targets.jsonl"
TARGETS = [json.loads(line) for line in DASHBOARDS.read_text().splitlines()] if DASHBOARDS.exists() else []


def _plain(target: str) -> str:
    """Without Grafana's variables, which Grafana itself fills in before it asks."""
    text = re.sub(r"\[\[\w+\]\]|\$\{\w+(?::\w+)?\}|\$\w+", "one", target)
    return re.sub(r"(?<=[(,])\s*#[A-Z]", "one.two", text)


def _named(node: Node) -> Iterator[str]:
    """The paths in a target, each as one that its glob means."""
    if isinstance(node, Series):
        first = re.sub(r"\{([^{},]*)[^{}]*\}", r"\1", node.text)
        yield re.sub(r"\[(.)[^\]]*\]", r"\1", first).replace("*", "some").replace("?", "x")
    elif isinstance(node, Call):
        for arg in (*node.args, *node.named.values()):
            yield from _named(arg)


def test_targets_of_real_dashboards_are_answered(client: TestClient, shared_engine: Any) -> None:
    """Over series that they name, so that their functions have something to do."""
    real("graphite/dashboards/targets.jsonl")
    targets = {_plain(told["target"]) for told in TARGETS}
    assert len(TARGETS) == 211
    paths = sorted({path for target in targets for path in _named(parse(target))})  # every one of them is understood
    settings = client.app.state.qnib.settings  # type: ignore[attr-defined]
    hour = int(NOW.timestamp()) - 3600
    points = (f"{path} {n % 7 + len(path)} {hour + 60 * n}\n" for path in paths for n in range(61))
    Plant(settings, FrozenClock(NOW), shared_engine).carbon("".join(points), cluster="boards")
    refused, silent = [], []
    for target in sorted(targets):
        try:
            lines = evaluate(shared_engine, "boards", target, NOW.replace(hour=11), NOW)
        except WrongUse as error:
            refused.append(f"{target}: {error}")
        else:
            silent += [] if any(np.isfinite(line.values).any() for line in lines) else [target]
    share = 1 - len(refused) / len(targets)
    print(f"{share:.1%} of {len(targets)} distinct targets of real dashboards evaluate, {len(silent)} without values")
    assert share >= 0.98, refused
    assert len(silent) <= 0.02 * len(targets), silent


def test_their_functions_are_all_here() -> None:
    real("graphite/dashboards/targets.jsonl")

    def called(node: Node) -> Iterator[str]:
        if isinstance(node, Call):
            yield node.name
            for arg in (*node.args, *node.named.values()):
                yield from called(arg)

    names = {name for told in TARGETS for name in called(parse(_plain(told["target"])))}
    assert len(names) > 10
    assert names <= set(FUNCTIONS) | {"seriesByTag", "template"}
    assert isinstance(parse("one.two"), Series)


def test_the_reference_page_is_current() -> None:
    assert (Path(__file__).parents[2] / "docs/reference/graphite.md").read_text() == reference.page()
    assert reference.lacking() == []
