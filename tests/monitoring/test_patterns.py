"""Lines no rule knows, by template: counted by the engine, new ones known as new, grouped as people would."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qnib.engine.values import literal
from qnib.model import EventRule
from qnib.monitoring.patterns import patterns
from qnib.monitoring.template import template
from tests.data import real

from .conftest import NOW, Plant
from .test_exactly_once import file_again
from .test_reclassify import again
from .test_rules_on_logs import slurmctld

pytestmark = pytest.mark.engine
DAY = timedelta(days=1)
KNOWN = EventRule("fan", r"fan \d+ slow", "host.fan", sample="fan 3 slow")


def line(text: str, *, app: str = "daemon", host: str = "c0", day: int = 20, hour: int = 11) -> str:
    return f"<30>1 2026-11-{day}T{hour:02d}:00:00Z {host} {app} - - - {text}"


def asked(plant: Plant, days: int = 7, **options: Any) -> dict[str, Any]:
    return patterns(plant.engine, "demo", NOW - days * DAY, NOW, new_since=NOW - DAY, **options)


def test_most_frequent_first_and_new_ones_marked(plant: Plant) -> None:
    plant.rules = [KNOWN]
    plant.syslog(
        *(line(f"link eth{n} of 10.0.0.{n} went down", host=f"c{n}", day=18) for n in range(5)),
        *(line(f"link eth{n} of 10.0.0.{n} went down") for n in range(2)),
        *(line(f"disk {n} is odd") for n in range(3)), line("fan 3 slow"), line("disk 9 is odd", app="other"),
    )  # fmt: skip
    told = asked(plant)
    assert (told["lines"], told["unknown"], told["kinds"], told["new"]) == (12, 11, 3, 2)
    rows = [(r["template"], r["app"], r["count"], r["hosts"], r["new"]) for r in told["patterns"]]
    assert rows == [
        ("link <*> of <*> went down", "daemon", 7, 5, False),
        ("disk <*> is odd", "daemon", 3, 1, True),
        ("disk <*> is odd", "other", 1, 1, True),
    ]
    first = told["patterns"][0]
    assert first["share"] == pytest.approx(7 / 12) and sum(first["counts"]) == 7
    assert first["seen_since"] == "2026-11-18T11:00:00Z" and first["example"].startswith("link eth")
    assert asked(plant, limit=1)["kinds"] == 3, "what is left out is counted"
    assert asked(plant, days=1)["patterns"][0]["template"] == "disk <*> is odd", "only the window counts"
    assert not asked(plant, days=1)["patterns"][1]["new"], "but what was heard before it is not new"
    assert [r["count"] for r in asked(plant, hosts=["c3"])["patterns"]] == [1]
    assert [r["count"] for r in asked(plant, app="other")["patterns"]] == [1]
    with_known = asked(plant, known=True)["patterns"]
    assert ("fan", "host.fan") in {(r["rule"], r["kind"]) for r in with_known} and len(with_known) == 4


def test_a_file_inserted_again_counts_once(plant: Plant) -> None:
    writer = plant.syslog(line("disk 1 is odd"), line("disk 2 is odd"))
    file_again(plant, writer)
    assert [(r["count"], r["new"]) for r in asked(plant)["patterns"]] == [(2, True)]


def test_a_pattern_gone_when_a_rule_knows_it(plant: Plant) -> None:
    plant.syslog(line("fan 3 slow"), line("disk 1 is odd"))
    assert asked(plant)["unknown"] == 2
    again(plant, [KNOWN])
    assert [r["template"] for r in asked(plant)["patterns"]] == ["disk <*> is odd"]


def test_lines_of_a_pattern_can_be_read(plant: Plant) -> None:
    from qnib.monitoring.events import search

    plant.rules = [KNOWN]
    plant.syslog(line("disk 1 is odd"), line("disk 2 is odd"), line("cup 1 is odd"), line("fan 3 slow"))
    number = int(next(r for r in asked(plant)["patterns"] if r["count"] == 2)["pattern"])
    found = search(plant.engine, "demo", NOW - DAY, NOW, pattern=number)
    assert sorted(event["message"] for event in found["events"]) == ["disk 1 is odd", "disk 2 is odd"]
    assert [e["message"] for e in search(plant.engine, "demo", NOW - DAY, NOW, rule="fan")["events"]] == ["fan 3 slow"]


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ("connection from 10.0.0.7 () at Sun Jul 10 13:17:22 2005", "connection from <*> (<*>) at <*>"),
        ("Failed password for root from 5.36.59.76 port 42393 ssh2", "Failed password for <*> from <*> port <*>"),
        ("rhost=massive.example.org  user=root", "rhost=<*>  user=root"),
        ("opened /var/log/messages: Permission denied", "opened <*>: Permission denied"),
        ("Oops: 0000 [#1] SMP\nCall Trace:", "Oops: <*> [<*>] SMP"),
        ("node12 and node13, node14", "<*> and <*>"),
        ("nothing varies", "nothing varies"),
        ("", ""),
    ],
)
def test_a_lines_template(plant: Plant, message: str, shape: str) -> None:
    (row,) = plant.rows(f"SELECT {template(literal(message))} AS shape")
    assert row["shape"] == shape


def test_grouping_accuracy_on_labelled_lines(plant: Plant) -> None:
    """Loghub's Linux set, grouped by hand: the share of lines whose group is exactly the labelled one."""
    with real("logs/Linux_2k.log_structured.csv").open() as file:
        labelled = [(row["EventId"], row["Content"].strip()) for row in csv.DictReader(file)]
    shapes = plant.rows(
        f"SELECT number, {template('line')} AS shape FROM (SELECT arrayJoin(arrayEnumerate(lines)) AS number,"
        f" lines[number] AS line FROM (SELECT {literal([text for _, text in labelled])} AS lines)) ORDER BY number"
    )
    by_label: dict[str, set[int]] = defaultdict(set)
    by_shape: dict[str, set[int]] = defaultdict(set)
    for number, ((label, _), row) in enumerate(zip(labelled, shapes, strict=True)):
        by_label[label].add(number)
        by_shape[row["shape"]].add(number)
    groups = {frozenset(lines) for lines in by_label.values()}
    right = sum(len(lines) for lines in by_shape.values() if frozenset(lines) in groups)
    print(f"grouping accuracy {right / len(labelled):.3f}, {len(by_shape)} templates for {len(by_label)} labels")
    assert right / len(labelled) >= 0.99


def test_what_a_month_of_slurmctld_leaves(plant: Plant) -> None:
    slurmctld(plant)
    plant.clock.at = datetime(2022, 7, 1, tzinfo=UTC)
    told = patterns(plant.engine, "demo", plant.clock.at - 31 * DAY, plant.clock.at, new_since=plant.clock.at - DAY)
    assert (told["lines"], told["unknown"], told["kinds"], told["new"]) == (9827, 27, 10, 0)
    assert told["patterns"][0]["template"] == "job_step_signal: JobId=<*> StepId=<*> not found"
