"""Rules that changed, applied to events that are stored: all of the period, only the period, next to what comes in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from qnib.errors import Conflict
from qnib.model import EventMetric, EventRule
from qnib.monitoring import reclassify as module
from qnib.monitoring.known import Known
from qnib.monitoring.reclassify import Reclassify
from qnib.monitoring.rulebook import Rulebook

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
FIRST = EventRule("fan", r"fan (?P<fan>\d+) slow", "host.fan", severity="warning", hint="Look.", sample="fan 3 slow")
SECOND = EventRule(
    "fan speed", r"fan (?P<place>\d+) slow: (?P<rpm>\d+) rpm", "host.fan_slow", severity="err", tags=("cooling",),
    entities=("Host:{host}",), hint="Replace it.",
    metrics=(EventMetric("host.fan_speed", "rpm", "{rpm}", tags={"fan": "{place}"}),),
)  # fmt: skip
DAY = timedelta(days=1)


def known(plant: Plant) -> Known:
    return Known(plant.clock, plant.engine, plant.settings.series)


SAID = "kind, severity, hint, rules, CAST(fields, 'Map(String, String)') AS fields, entities, tags"


def line(n: int, text: str, host: str = "c0", day: int = 20) -> str:
    stamp = f"2026-11-{day}T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"
    return f'<30>1 {stamp} {host} bmc - - [a@1 slot="2"] {text}'


def again(plant: Plant, rules: list[EventRule], start: Any = None, end: Any = None) -> module.Progress:
    book = Rulebook(plant.clock, plant.engine, rules=rules)
    job = Reclassify(plant.clock, plant.engine, book, known(plant))
    return job.run("demo", start or NOW - 7 * DAY, end or NOW + DAY)


def said(plant: Plant, where: str = "1") -> list[dict[str, Any]]:
    return plant.rows(f"SELECT DISTINCT {SAID} FROM qnib.events WHERE {where} ORDER BY kind, fields['place']")


def test_what_rules_say_now_and_nothing_of_what_they_said(plant: Plant) -> None:
    plant.rules = [FIRST]
    plant.syslog(line(1, "fan 3 slow: 200 rpm"), line(2, "nothing known"))
    assert said(plant, "kind != ''") == [
        {"kind": "host.fan", "severity": "warning", "hint": "Look.", "rules": ["fan"],
         "fields": {"a@1.slot": "2", "fan": "3"}, "entities": [], "tags": []},
    ]  # fmt: skip
    before = plant.rows("SELECT id, time, received, host, message, said, sender FROM qnib.events ORDER BY id")
    told = again(plant, [SECOND])
    assert (told.state, told.total, told.looked_at, told.changed) == ("done", 2, 2, 1)
    assert said(plant, "kind != ''") == [
        {"kind": "host.fan_slow", "severity": "err", "hint": "Replace it.", "rules": ["fan speed"],
         "fields": {"a@1.slot": "2", "place": "3", "rpm": "200"}, "entities": ["Host:c0"], "tags": ["cooling"]},
    ]  # fmt: skip
    assert plant.rows("SELECT path, unit, mtype, host FROM qnib.series FINAL") == [
        {"path": "host.fan_speed;fan=3;host=c0", "unit": "rpm", "mtype": "gauge", "host": "c0"}
    ]
    assert plant.rows("SELECT value FROM qnib.points FINAL") == [{"value": 200.0}]
    assert again(plant, [SECOND]).changed == 0, "a second time changes nothing"
    assert plant.rows("SELECT value FROM qnib.points FINAL") == [{"value": 200.0}]
    assert again(plant, []).changed == 1
    assert {row["kind"] for row in said(plant)} == {""}
    assert {row["severity"] for row in said(plant)} == {"info"}, "as it was sent"
    assert plant.rows("SELECT id, time, received, host, message, said, sender FROM qnib.events ORDER BY id") == before
    known = {row["template"] for row in plant.rows("SELECT template FROM qnib.patterns FINAL")}
    assert known == {"fan <*> slow: <*> rpm", "nothing known"}, "what no rule knows any more has a template"


def test_only_the_period_and_the_cluster(plant: Plant) -> None:
    plant.syslog(*(line(1, "fan 3 slow: 200 rpm", day=day) for day in (17, 18, 19)))
    plant.syslog(line(1, "fan 3 slow: 200 rpm", day=18), cluster="other")
    told = again(plant, [SECOND], NOW.replace(day=18, hour=0), NOW.replace(day=19, hour=0))
    assert (told.total, told.changed) == (1, 1)
    days = plant.rows("SELECT cluster, toDayOfMonth(time) AS day FROM qnib.events WHERE kind != ''")
    assert days == [{"cluster": "demo", "day": 18}]


def test_events_of_qnibs_own_stay(plant: Plant) -> None:
    from qnib.monitoring import events

    events.record(plant.engine, "demo", [{"time": NOW, "kind": "link.down", "message": "fan 3 slow: 200 rpm"}])
    assert again(plant, [SECOND]).total == 0
    assert plant.rows("SELECT kind FROM qnib.events") == [{"kind": "link.down"}]


def test_in_slices_with_many_at_one_moment(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 7)
    monkeypatch.setattr(module, "TOGETHER", 20)
    plant.syslog(*(line(n // 20, f"fan {n} slow: {n} rpm", host=f"c{n % 3}") for n in range(100)))
    plant.syslog(*(line(n, "nothing known") for n in range(50)))
    told = again(plant, [SECOND])
    assert (told.looked_at, told.changed) == (150, 100)
    assert plant.rows("SELECT count() n, uniqExact(fields['place']) u FROM qnib.events WHERE kind != ''") == [
        {"n": 100, "u": 100}
    ]
    assert plant.rows("SELECT count() n FROM qnib.points FINAL") == [{"n": 100}]


def test_next_to_lines_that_come_in(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the same period arrive all the while: none is lost, none is classified by the old rules."""
    monkeypatch.setattr(module, "SLICE", 50)
    monkeypatch.setattr(module, "TOGETHER", 100)
    plant.rules = [FIRST]
    plant.syslog(*(line(n, f"fan {n} slow: {n} rpm") for n in range(400)))
    plant.rules = [SECOND]
    book = Rulebook(plant.clock, plant.engine, rules=[SECOND])
    job = Reclassify(plant.clock, plant.engine, book, known(plant))
    job.begin("demo", NOW - DAY, NOW + DAY)
    with pytest.raises(Conflict):
        job.begin("demo", NOW - DAY, NOW + DAY)
    count = 0
    while job.progress.state == "running" or count < 3:
        plant.syslog(*(line(n, f"fan {n} slow: {n} rpm", host=f"late{count}") for n in range(0, 400, 40)))
        count += 1
    assert job._thread is not None
    job._thread.join()
    assert job.progress.state == "done", job.progress.problem
    assert plant.rows("SELECT count() n, countIf(kind = 'host.fan_slow') k FROM qnib.events") == [
        {"n": 400 + 10 * count, "k": 400 + 10 * count}
    ]


def test_a_file_replayed_after_it_counts_once(plant: Plant) -> None:
    plant.rules = [FIRST]
    writer = plant.syslog(line(1, "fan 3 slow: 200 rpm"))
    again(plant, [SECOND])
    spool = plant.spool()
    for file in spool.done():
        spool.again(file)
    writer.drain()
    assert [row["kind"] for row in plant.rows("SELECT kind FROM qnib.events")] == ["host.fan_slow"]


def test_what_a_killed_process_left_is_ended(plant: Plant) -> None:
    plant.syslog(line(1, "fan 3 slow: 200 rpm"))
    book = Rulebook(plant.clock, plant.engine, rules=[SECOND])
    killed = Reclassify(plant.clock, plant.engine, book, known(plant))
    killed._prepare(book.current())
    again(plant, [SECOND])
    assert plant.rows("SELECT kind FROM qnib.events") == [{"kind": "host.fan_slow"}]
    assert plant.rows("EXISTS TABLE qnib.reclassified") == [{"result": 0}]
