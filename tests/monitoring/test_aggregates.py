"""Events counted as series: whole intervals, right again when events are late or said anew, bounded, silent or zero."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from qnib.api import aggregates as api
from qnib.api import graphite, graphite_tags
from qnib.api.errors import show_errors
from qnib.clock import FrozenClock
from qnib.context import aggregates as module
from qnib.context.aggregates import Aggregates
from qnib.errors import NotFound, TooMuch, WrongUse
from qnib.inventory.facts import Facts
from qnib.model import EventRule
from qnib.monitoring import events as event_store
from qnib.monitoring.reclassify import Reclassify
from qnib.monitoring.rulebook import Rulebook
from qnib.settings import Aggregate, Settings

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())
SSH = "app:sshd \"Failed password\""
FAILED = "Failed password for root from 10.9.8.7 port 4711 ssh2"


@pytest.fixture(autouse=True)
def _clean(shared_engine: Any) -> None:
    for table in ("came", "aggregates", "facts"):
        shared_engine.run(f"TRUNCATE TABLE qnib.{table}")


@pytest.fixture
def clock(plant: Plant) -> FrozenClock:
    plant.clock = FrozenClock(NOW)
    return plant.clock


def counting(plant: Plant, **told: Any) -> Aggregates:
    """What a server has that is started now with this declared."""
    declared = {name: Aggregate(**one) for name, one in told.items()}
    plant.settings = plant.settings.model_copy(update={"cluster": "demo", "aggregates": declared})
    sources = SimpleNamespace(
        settings=plant.settings, clock=plant.clock, engine=plant.engine, facts=Facts(plant.engine, plant.clock)
    )
    return Aggregates(sources)


def line(at: float, host: str = "c0", text: str = FAILED, app: str = "sshd") -> str:
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"<38>1 {stamp} {host} {app} - - - {text}"


def points(plant: Plant, name: str = "ssh") -> dict[str, dict[int, float]]:
    """Values by path and by seconds from `T`."""
    told: dict[str, dict[int, float]] = {}
    for row in plant.rows(
        "SELECT path, toInt64(toUnixTimestamp(time)) AS at, value FROM qnib.points FINAL"
        " INNER JOIN (SELECT series, any(path) AS path, any(name) AS name FROM qnib.series GROUP BY series) AS s"
        " USING (series) WHERE name = {name:String} ORDER BY path, at", name=f"events.{name}",
    ):  # fmt: skip
        told.setdefault(row["path"], {})[row["at"] - T] = row["value"]
    return told


def test_matching_events_are_counted_by_host(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, ssh={"query": SSH, "by": ["host"], "backfill": 0})
    plant.syslog(line(T + 1), line(T + 59.9), line(T + 60, "c1"), line(T + 61), line(T + 62, text="Accepted password"))
    clock.advance(64)
    counts.look()
    assert points(plant) == {}  # the minute is over, but its last events may be under way
    clock.advance(2)
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {0: 2}}
    clock.advance(60)
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {0: 2, 60: 1}, "events.ssh;host=c1": {60: 1}}
    plant.writer(plant.spool())  # which names series anew by what it knows
    series = plant.rows("SELECT name, tags, unit, mtype, host FROM qnib.series FINAL ORDER BY host")
    assert series == [
        {"name": "events.ssh", "tags": {"host": host}, "unit": "event", "mtype": "count", "host": host}
        for host in ("c0", "c1")
    ]  # fmt: skip
    assert plant.rows("SELECT host FROM qnib.heard") == []  # that we count says nothing of a host's own numbers


def test_they_are_read_as_any_series(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, ssh={"query": SSH, "by": ["host"]}, all={"query": "app:*", "by": []})
    plant.syslog(*(line(T - 300 + 60 * n, f"c{n % 2}") for n in range(5)))
    clock.advance(10)
    counts.look()
    app = FastAPI()
    for part in (graphite, graphite_tags, api):
        app.include_router(part.router)
    app.state.qnib = SimpleNamespace(
        engine=plant.engine, clock=plant.clock, settings=plant.settings, token="secret", aggregates=counts
    )
    show_errors(app)
    with TestClient(app, headers={"Authorization": "Bearer secret"}) as client:
        def ask(path: str, **params: Any) -> Any:
            return client.get(path, params=params).json()

        params = {"from": str(T - 301), "until": str(T), "format": "json"}
        rendered = ask("/render", target="aliasByTags(seriesByTag('name=events.ssh'),'host')", **params)
        values = {one["target"]: [value for value, _ in one["datapoints"]] for one in rendered}
        assert {host: sum(filter(None, own)) for host, own in values.items()} == {"c0": 3, "c1": 2}
        assert ask("/tags/autoComplete/values", expr="name=events.ssh", tag="host") == ["c0", "c1"]
        assert [node["id"] for node in ask("/metrics/find", query="events.*")] == ["events.all"]
        every = ask("/render", target="events.all", **params)[0]["datapoints"]
        assert sum(value or 0 for value, _ in every) == 5
        listed = {one["name"]: one for one in ask("/api/aggregates")["aggregates"]}
        assert listed["ssh"] == {
            "name": "ssh", "series": "events.ssh", "query": SSH, "interval": 60, "by": ["host"], "most_series": 500,
            "known": 2, "counted": "2026-11-20T12:00:00+00:00", "waiting": 1, "trouble": "",
        }  # fmt: skip
        begun = client.post("/api/aggregates/backfill", json={"name": "ssh", "start": "-1h"})
        assert (begun.status_code, begun.json()["intervals"]) == (202, 61)
        assert client.post("/api/aggregates/backfill", json={"name": "no", "start": "-1h"}).status_code == 404
        assert client.post("/api/aggregates/backfill", json={"name": "ssh", "start": "-1y"}).status_code == 400


def test_late_events_are_counted_where_they_belong(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, ssh={"query": SSH, "by": ["host"], "backfill": 0})
    plant.syslog(line(T - 7200))
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {-7200: 1}}
    plant.engine.insert("qnib.rollup_marks", [{"name": "settled", "value": T // 3600, "number": 1}])
    plant.syslog(line(T - 7199), line(T - 7198, "c1"), line(T - 3600))
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {-7200: 2, -3600: 1}, "events.ssh;host=c1": {-7200: 1}}
    changed = {row["hour"] for row in plant.rows("SELECT hour FROM qnib.changed")}
    assert changed == {T // 3600 - 2, T // 3600 - 1}  # and their roll-ups are made again


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_count_of_all_events_gives(plant: Plant, clock: FrozenClock, seed: int) -> None:
    """In any order of coming in and of counting, with a server that is killed now and then."""
    dice = random.Random(seed)
    told = {"ten": {"query": "app:sshd", "interval": 10, "by": ["host", "severity"]},
            "minute": {"query": SSH, "by": ["host"]}, "odd": {"query": "-Accepted", "interval": 420}}  # fmt: skip
    counts = counting(plant, **told)
    for _ in range(25):
        now = int(clock.now().timestamp())
        plant.syslog(*(
            line(now - dice.choice([0, 1, 5, 70, 700, 4000]) - dice.random(), f"c{dice.randrange(3)}",
                 dice.choice([FAILED, "Accepted password"]), dice.choice(["sshd", "cron"]))
            for _ in range(dice.randrange(4))
        ))  # fmt: skip
        if dice.random() < 0.6:
            counts.look()
        if dice.random() < 0.2:
            counts = counting(plant, **told)
        clock.advance(dice.randrange(40))
    clock.advance(2000)
    counts.look()
    columns = "toUnixTimestamp(time) AS at, host, app, toString(severity) AS severity, message"
    events = plant.rows(f"SELECT {columns} FROM qnib.events")
    for name, one in told.items():
        step = one.get("interval", 60)
        wanted: Counter[tuple[str, int]] = Counter()
        for event in events:
            hit = {"ten": event["app"] == "sshd", "minute": "Failed" in event["message"] and event["app"] == "sshd",
                   "odd": "Accepted" not in event["message"]}[name]  # fmt: skip
            tags = "".join(f";{by}={event[by]}" for by in sorted(one.get("by", [])))
            wanted[f"events.{name}{tags}", event["at"] // step * step - T] += hit
        found = {(path, at): n for path, own in points(plant, name).items() for at, n in own.items()}
        assert {key: n for key, n in found.items() if n} == {key: n for key, n in wanted.items() if n}
    counts._forgot = -1e9
    counts.look()
    assert plant.rows("SELECT count() AS n FROM qnib.came")[0]["n"] == 0


def test_nothing_is_told_as_nothing_only_while_the_server_ran(plant: Plant, clock: FrozenClock) -> None:
    told = {"ssh": {"query": SSH, "backfill": 600}, "hosts": {"query": SSH, "by": ["host"]}}
    counts = counting(plant, **told)
    plant.syslog(line(T - 100))
    for _ in range(40):  # over three minutes, as the thread does
        counts.look()
        clock.advance(5)
    assert points(plant) == {"events.ssh": {-120: 1, 0: 0, 60: 0, 120: 0}}  # of before it says only what it knows
    plant.syslog(line(T + 61))
    counts.look()
    assert points(plant)["events.ssh"] == {-120: 1, 0: 0, 60: 1, 120: 0}
    clock.advance(3600)
    counts = counting(plant, **told)  # another server: of the hour between nothing is known
    counts.look()
    clock.advance(120)
    counts.look()
    after = {at for at in points(plant)["events.ssh"] if at > 120}
    assert after == {3840}
    assert points(plant, "hosts") == {"events.hosts;host=c0": {-120: 1, 60: 1}}


def test_the_past_is_counted_when_it_is_declared_and_when_it_changes(plant: Plant, clock: FrozenClock) -> None:
    plant.syslog(line(T - 86_000), line(T - 90_000), line(T - 50), line(T - 50, app="cron"))
    counts = counting(plant, ssh={"query": SSH, "backfill": 86_400})
    clock.advance(60)
    counts.look()
    assert points(plant) == {"events.ssh": {-86_040: 1, -60: 1}}
    assert counts.backfill("ssh", "demo", NOW - timedelta(days=2), NOW) == 2880
    counts.look()
    assert points(plant) == {"events.ssh": {-90_000: 1, -86_040: 1, -60: 1}}
    plant.engine.run("TRUNCATE TABLE qnib.points")
    counting(plant, ssh={"query": SSH, "backfill": 86_400}).look()
    assert points(plant) == {}  # it was counted already
    counting(plant, ssh={"query": "app:cron", "backfill": 86_400}).look()
    assert points(plant) == {"events.ssh": {-60: 1}}
    counting(plant).start()  # taken away
    plant.engine.run("TRUNCATE TABLE qnib.points")
    counting(plant, ssh={"query": "app:cron", "backfill": 86_400}).look()
    assert points(plant) == {"events.ssh": {-60: 1}}


def test_a_query_that_changed_takes_back_what_it_no_longer_counts(plant: Plant, clock: FrozenClock) -> None:
    plant.syslog(line(T - 50), line(T - 50, "c1", app="cron"))
    clock.advance(60)
    counting(plant, ssh={"query": "app:*", "by": ["host"]}).look()
    assert points(plant) == {"events.ssh;host=c0": {-60: 1}, "events.ssh;host=c1": {-60: 1}}
    counting(plant, ssh={"query": "app:cron", "by": ["host"]}).look()
    assert points(plant) == {"events.ssh;host=c0": {-60: 0}, "events.ssh;host=c1": {-60: 1}}


def test_what_is_said_anew_is_counted_anew(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, ssh={"query": "kind:door.open", "by": ["host"]}, shut={"query": "kind:door.shut"})
    plant.rules = [EventRule("door", "door", "door.open", sample="door")]
    plant.syslog(line(T - 100, text="the door"), line(T - 100, "c1", text="the door"))
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {-120: 1}, "events.ssh;host=c1": {-120: 1}}
    book = Rulebook(plant.clock, plant.engine, rules=[EventRule("door", "door", "door.shut", sample="door")])
    job = Reclassify(plant.clock, plant.engine, book, plant.writer(plant.spool()).known, counted=True)
    job.run("demo", NOW - timedelta(hours=1), NOW)
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {-120: 0}, "events.ssh;host=c1": {-120: 0}}
    assert points(plant, "shut") == {"events.shut": {-120: 2}}


def test_own_events_are_counted(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, down={"query": "kind:link.down", "backfill": 0})
    event_store.observers.append(counts.own)
    try:
        event = {"time": NOW - timedelta(seconds=90), "kind": "link.down", "message": "x"}
        event_store.record(plant.engine, "demo", [event])
    finally:
        event_store.observers.remove(counts.own)
    counts.look()
    assert points(plant, "down") == {"events.down": {-120: 1}}


def test_names_of_a_host_are_one_series(plant: Plant, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counting(plant, ssh={"query": SSH, "by": ["host"]})
    known = {"c0.site.org": "c0", "10.0.0.1": "c0"}
    monkeypatch.setattr(counts._sources.facts, "resolve", lambda cluster, name: known.get(name))
    plant.syslog(line(T - 100), line(T - 100, "c0.site.org"), line(T - 100, "10.0.0.1"), line(T - 100, "other"))
    counts.look()
    assert points(plant) == {"events.ssh;host=c0": {-120: 3}, "events.ssh;host=other": {-120: 1}}


def test_fields_kinds_and_odd_values(plant: Plant, clock: FrozenClock) -> None:
    who = EventRule("who", r"for (?P<who>.*) from", "access.refused", sample="for a from", expect={"who": "a"})
    plant.rules = [who]
    counts = counting(plant, ssh={"query": SSH, "by": ["field.who", "kind"]})
    plant.syslog(*(line(T - 100, text=f"Failed password for {who} from x") for who in ("a b;c=d", "~", "ü", "x" * 500)),
                 line(T - 100, text="Failed password of nobody"))  # fmt: skip
    counts.look()
    assert set(points(plant)) == {
        "events.ssh;kind=access.refused;who=a_b_c=d", "events.ssh;kind=access.refused",
        "events.ssh;kind=access.refused;who=ü", f"events.ssh;kind=access.refused;who={'x' * 200}", "events.ssh",
    }  # fmt: skip


def test_series_are_bounded_and_the_sum_is_right(plant: Plant, clock: FrozenClock) -> None:
    told = {"ssh": {"query": SSH, "by": ["host"], "most_series": 3}}
    counts = counting(plant, **told)
    plant.syslog(*(line(T - 100, f"c{n}") for n in range(10) for _ in range(10 - n)))
    counts.look()
    first = points(plant)
    assert set(first) == {f"events.ssh;host={host}" for host in ("c0", "c1", "c2", "_other")}
    assert first["events.ssh;host=c0"] == {-120: 10}
    assert sum(own[-120] for own in first.values()) == 55
    plant.syslog(line(T - 40, "new"), line(T - 40, "c1"))
    clock.advance(60)
    counts = counting(plant, **told)  # which there are is known again
    counts.look()
    assert {path: own.get(-60) for path, own in points(plant).items()} == {
        "events.ssh;host=c0": None, "events.ssh;host=c1": 1, "events.ssh;host=c2": None, "events.ssh;host=_other": 1,
    }  # fmt: skip
    assert points(plant)["events.ssh;host=_other"][-120] == 28
    assert counts.state("demo")[0]["known"] == 3


def test_only_the_clusters_that_are_named(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, ssh={"query": SSH, "clusters": ["lab"]})
    plant.syslog(line(T - 100))
    plant.syslog(line(T - 100), cluster="lab")
    counts.look()
    assert {row["cluster"] for row in plant.rows("SELECT cluster FROM qnib.points")} == {"lab"}
    assert counts.state("demo") == []
    with pytest.raises(NotFound):
        counts.backfill("ssh", "demo", NOW - timedelta(hours=1), NOW)


def test_one_in_trouble_does_not_stop_the_others(
    plant: Plant, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = counting(plant, bad={"query": "app:sshd"}, ssh={"query": SSH})
    count = counts._count
    broken = True

    def failing(one: Any, cluster: str, slots: Any) -> None:
        if one.what.name == "bad" and broken:
            raise WrongUse("It cannot be counted.")
        count(one, cluster, slots)

    monkeypatch.setattr(counts, "_count", failing)
    plant.syslog(line(T - 100))
    counts._forgot = -1e9
    counts.look()
    assert points(plant) == {"events.ssh": {-120: 1}}
    assert [one["trouble"] for one in counts.state("demo")] == ["It cannot be counted.", ""]
    assert plant.rows("SELECT count() AS n FROM qnib.came")[0]["n"] == 0  # it remembers by itself what it owes
    broken = False
    counts.look()
    assert points(plant, "bad") == {}  # not at once
    counts._all["bad"].again = 0
    counts.look()
    assert points(plant, "bad") == {"events.bad": {-120: 1}}


def test_too_much_at_once_is_counted_in_parts(
    plant: Plant, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = counting(plant, ssh={"query": SSH, "backfill": 3600})
    count, asked = counts._count, []

    def limited(one: Any, cluster: str, slots: Any) -> None:
        asked.append(len(slots))
        if len(slots) > 10:
            raise TooMuch("It takes too long.")
        count(one, cluster, slots)

    monkeypatch.setattr(counts, "_count", limited)
    plant.syslog(line(T - 100), line(T - 3000))
    counts.look()
    assert points(plant) == {"events.ssh": {-120: 1, -3000: 1}}
    assert max(asked) > 50


def test_notes_are_written_only_for_aggregates(plant: Plant, clock: FrozenClock) -> None:
    plant.syslog(line(T - 100))
    assert plant.rows("SELECT count() AS n FROM qnib.came")[0]["n"] == 0
    counting(plant, ssh={"query": SSH})
    plant.syslog(line(T - 100), line(T - 99))
    assert plant.rows("SELECT cluster, slot FROM qnib.came") == [{"cluster": "demo", "slot": (T - 100) // 10}]


@pytest.mark.parametrize(
    ("query", "names"),
    [("host:c[0-", "host"), ("severity>=awful", "awful"), ("(a", "character"), ("time>=-15m x", "time"),
     ("nosuch:field", "nosuch"), ("-(received>=-1h)", "time")],
)  # fmt: skip
def test_a_wrong_query_is_told_at_the_start(plant: Plant, query: str, names: str) -> None:
    with pytest.raises(WrongUse, match=names) as told:
        counting(plant, ssh={"query": query})
    assert "aggregates.ssh.query" in told.value.where


@pytest.mark.parametrize(
    ("told", "names"),
    [({"by": ["user"]}, "user"), ({"by": ["field.name"]}, "field.name"), ({"by": ["host", "field.host"]}, "same tag"),
     ({"interval": 61}, "multiple"), ({"interval": 5}, "10"), ({"interval": 7200}, "3600"), ({"most_series": 0}, "0"),
     ({"by": ["host", "app", "kind", "severity", "field.x"]}, "4")],
)  # fmt: skip
def test_a_wrong_declaration_is_told_at_the_start(told: dict[str, Any], names: str) -> None:
    with pytest.raises(ValidationError, match=names):
        Settings(aggregates={"ssh": {"query": "x", **told}})


def test_a_name_can_be_part_of_a_series_name() -> None:
    for wrong in ("a b", "a.b", "a;b", "", "1a", "x" * 70):
        with pytest.raises(ValidationError):
            Settings(aggregates={wrong: {"query": "x"}})
    assert json.loads(Settings(aggregates={"a-B_1": {"query": "x"}}).model_dump_json())["aggregates"]["a-B_1"]


def test_more_of_the_past_than_is_counted_at_once_is_refused(plant: Plant, clock: FrozenClock) -> None:
    counts = counting(plant, ssh={"query": SSH, "interval": 10})
    with pytest.raises(WrongUse, match="50000"):
        counts.backfill("ssh", "demo", NOW - timedelta(days=30), NOW)
    assert module.MOST_SLOTS == 50_000
