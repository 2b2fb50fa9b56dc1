"""One series by host, partition, rack and job: the same numbers, cut to the time in which they belonged there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from qnib import clusters
from qnib.api import browse as browse_api
from qnib.api import graphite
from qnib.api.errors import show_errors
from qnib.clusters import Cluster
from qnib.context import browse, membership
from qnib.discovery.own import tell_racks
from qnib.domains.paths import segment
from qnib.model import Entity, Ref, Relation
from qnib.monitoring.graphite import views

from .conftest import NOON, Site, at

SECONDS = range(0, 600, 10)
"""After noon: each host has a point at each, its value is the number of seconds."""


def series(
    site: Site, path: str, host: str, name: str = "", tags: dict[str, str] | None = None
) -> None:
    number = site.engine.rows("SELECT cityHash64('demo', {path:String}) AS n", {"path": path})[0]["n"]
    row = {
        "cluster": "demo", "series": number, "path": path, "name": name or path, "tags": {**(tags or {}), "host": host},
        "unit": "%", "mtype": "gauge", "host": host, "first_seen": NOON, "last_seen": NOON + timedelta(minutes=10),
    }  # fmt: skip
    site.engine.insert("qnib.series", [row])
    site.engine.insert("qnib.heard", [{"cluster": "demo", "host": host, "last": row["last_seen"]}])
    site.engine.insert("qnib.points", [
        {"cluster": "demo", "series": number, "time": NOON + timedelta(seconds=s), "told": float(s)} for s in SECONDS
    ])  # fmt: skip


def sample(site: Site, job: int, host: str, when: datetime, task: str, value: float) -> None:
    site.engine.insert("qnib.job_samples", [{
        "cluster": "demo", "job": job, "step": "0", "task": task, "host": host, "metric": "cpu", "time": when,
        "value": value,
    }])  # fmt: skip


@pytest.fixture
def grafana(site: Site) -> Iterator[TestClient]:
    for table in ("points", "series", "heard", "job_samples"):
        site.engine.run(f"TRUNCATE TABLE qnib.{table}")
    site.clock.at = NOON - timedelta(hours=1)
    site.hosts(NOON - timedelta(hours=1), "c0", "c1", "c2", "login.example.org")
    site.alias(NOON - timedelta(hours=1), "fqdn:c2.example.org", "c2")
    site.tell(
        NOON - timedelta(minutes=30), *(Entity("Partition", name, {"name": name}) for name in ("all", "debug")),
        *(Relation("PART_OF", Ref("Node", f"c{n}"), Ref("Partition", "all")) for n in range(3)),
        Relation("PART_OF", Ref("Node", "c0"), Ref("Partition", "debug")), by="slurm",
    )  # fmt: skip
    for host in ("c0", "c1", "c2_example_org", "login_example_org"):
        series(site, f"servers.{host}.cpu.used", host, "cpu.used")
    series(site, "disk.free;host=c0;path=/scratch", "c0", "disk.free", {"path": "/scratch"})
    series(site, "infiniband.SW1.3.xmit", "")
    parts = SimpleNamespace(
        engine=site.engine, facts=site.facts, clock=site.clock, settings=site.settings, token="t"
    )  # fmt: skip
    app = FastAPI()
    app.state.qnib = parts
    app.include_router(graphite.router)
    app.include_router(browse_api.router)
    show_errors(app)
    with TestClient(app, headers={"Authorization": "Bearer t"}) as client:
        site.clock.at = NOON + timedelta(minutes=10)
        yield client


def found(client: TestClient, query: str) -> list[str]:
    window = {"from": str(int(NOON.timestamp())), "until": str(int(NOON.timestamp()) + 600)}
    answer = client.get("/metrics/find", params={"query": query, **window})
    assert answer.status_code == 200, answer.text
    return [f"{node['text']}{'' if node['leaf'] else '.'}" for node in answer.json()]


def drawn(client: TestClient, target: str) -> dict[str, list[tuple[int, float]]]:
    """By name the seconds after noon and the values of what is known."""
    noon = int(NOON.timestamp())
    answer = client.get("/render", params={"target": target, "from": str(noon - 1), "until": str(noon + 599)})
    assert answer.status_code == 200, answer.text
    return {
        line["target"]: [(t - noon, v) for v, t in line["datapoints"] if v is not None] for line in answer.json()
    }  # fmt: skip


EVERYTHING = [(s, float(s)) for s in SECONDS]


def test_a_host_is_one_by_any_of_its_names(grafana: TestClient) -> None:
    assert found(grafana, "by_host.*") == ["c0.", "c1.", "c2.", "login_example_org."]
    assert found(grafana, "by_host.c2.*") == ["cpu."]
    assert drawn(grafana, "by_host.c[12].cpu.used") == {f"by_host.c{n}.cpu.used": EVERYTHING for n in (1, 2)}
    stored = drawn(grafana, "servers.c2_example_org.cpu.used")
    assert list(stored.values()) == list(drawn(grafana, "by_host.c2.cpu.used").values())


def test_tags_beside_the_host_are_segments(grafana: TestClient) -> None:
    assert found(grafana, "by_host.c0.*") == ["cpu.", "disk."]
    assert found(grafana, "by_host.c0.disk.free.*") == [f"path:{segment('/scratch')}"]
    assert list(drawn(grafana, "by_host.c0.disk.free.*")) == ["by_host.c0.disk.free.path:_scratch"]


def test_a_partition_has_the_hosts_it_had_then(grafana: TestClient, site: Site) -> None:
    assert found(grafana, "by_partition.*") == ["all.", "debug."]
    assert found(grafana, "by_partition.debug.*") == ["c0."]
    assert list(drawn(grafana, "by_partition.debug.*.cpu.used")) == ["by_partition.debug.c0.cpu.used"]
    site.tell(
        at("12:05:00"), *(Entity("Partition", name, {"name": name}) for name in ("all", "debug")),
        *(Relation("PART_OF", Ref("Node", f"c{n}"), Ref("Partition", "all")) for n in range(3)),
        Relation("PART_OF", Ref("Node", "c1"), Ref("Partition", "debug")), by="slurm", complete=("PART_OF",),
    )  # fmt: skip
    assert found(grafana, "by_partition.debug.*") == ["c0.", "c1."]
    assert drawn(grafana, "by_partition.debug.*.cpu.used") == {
        "by_partition.debug.c0.cpu.used": [(s, v) for s, v in EVERYTHING if s < 300],
        "by_partition.debug.c1.cpu.used": [(s, v) for s, v in EVERYTHING if s >= 300],
    }
    assert drawn(grafana, "by_partition.all.c1.cpu.used") == {"by_partition.all.c1.cpu.used": EVERYTHING}


def test_functions_see_the_virtual_path_and_its_tags(grafana: TestClient) -> None:
    assert list(drawn(grafana, "aliasByNode(by_partition.debug.*.cpu.used, 1, 2)")) == ["debug.c0"]
    assert list(drawn(grafana, 'groupByTags(by_partition.{all,debug}.*.cpu.used, "sum", "partition")')) == [
        "sum;partition=all", "sum;partition=debug",
    ]  # fmt: skip
    total = drawn(grafana, "sumSeries(by_partition.all.*.cpu.used)")
    assert total == {"sumSeries(by_partition.all.*.cpu.used)": [(s, 3 * v) for s, v in EVERYTHING]}


def test_a_job_has_its_hosts_only_while_it_ran_there(grafana: TestClient, site: Site) -> None:
    site.job(42, "ann", ["c0", "c1"], at("12:01:00"), at("12:02:00.5"))
    assert found(grafana, "by_job.*") == ["42."]
    assert found(grafana, "by_job.42.*") == ["c0.", "c1."]
    assert drawn(grafana, "by_job.42.*.cpu.used") == {
        f"by_job.42.c{n}.cpu.used": [(s, float(s)) for s in range(60, 121, 10)] for n in (0, 1)
    }
    # The slot of a longer step holds the job's own points alone: 60, 70 … 110 and 120, not what came before or after
    assert drawn(grafana, 'summarize(by_job.42.c0.cpu.used, "5min", "max")').popitem()[1] == [(0, 120.0)]


def test_a_requeued_job_has_several_intervals(grafana: TestClient, site: Site) -> None:
    key = f"7@{int(at('12:00:30').timestamp())}"
    for start, end in (("12:01:00", "12:01:59.5"), ("12:05:00", "12:05:29.5")):
        for until in (None, at(end)):
            site.job(7, "bob", ["c1"], at(start), until, submit=at("12:00:30"), key=key)
    wanted = [(s, float(s)) for s in (*range(60, 120, 10), 300, 310, 320)]
    assert drawn(grafana, "by_job.7.*.cpu.used") == {"by_job.7.c1.cpu.used": wanted}
    assert drawn(grafana, f"by_job.{key}.*.cpu.used") == {f"by_job.{key}.c1.cpu.used": wanted}


def test_what_a_jobs_own_cgroup_used_stands_apart(grafana: TestClient, site: Site) -> None:
    site.job(42, "ann", ["c0"], at("12:01:00"), at("12:03:00.5"))
    site.job(43, "ann", ["c0"], at("12:01:00"), at("12:03:00.5"))
    for second in range(60, 180, 10):
        for task in ("0", "1"):
            sample(site, 42, "c0", NOON + timedelta(seconds=second), task, 50.0)
    assert found(grafana, "by_job.42.c0.*") == ["cpu.", "disk.", "job."]
    assert found(grafana, "by_job.42.c0.job.*") == ["cpu"]
    assert found(grafana, "by_job.43.c0.*") == ["cpu.", "disk."]
    own = drawn(grafana, "by_job.42.*.job.cpu")
    assert own == {"by_job.42.c0.job.cpu": [(s, 100.0) for s in range(60, 180, 10)]}


def test_racks_are_recorded_when_they_changed(grafana: TestClient, site: Site) -> None:
    graph: Any = SimpleNamespace(update=lambda changes: None)

    def say(when: datetime, **racks: str) -> list[str]:
        site.clock.at = when
        known = site.settings.model_copy(update={"racks": racks})
        return tell_racks(site.facts, graph, known, when)

    assert say(at("11:50:00"), r1="c[0-1]", r2="c2.example.org") == ["demo"]
    assert say(at("11:55:00"), r1="c[0-1]", r2="c2.example.org") == []
    assert say(at("12:05:00"), r1="c0", r2="c[1-2]") == ["demo"]
    site.clock.at = at("12:10:00")
    assert found(grafana, "by_rack.r1.*") == ["c0.", "c1."]
    assert drawn(grafana, "by_rack.*.c1.cpu.used") == {
        "by_rack.r1.c1.cpu.used": [(s, v) for s, v in EVERYTHING if s < 300],
        "by_rack.r2.c1.cpu.used": [(s, v) for s, v in EVERYTHING if s >= 300],
    }
    assert drawn(grafana, "by_rack.r2.c2.cpu.used") == {"by_rack.r2.c2.cpu.used": EVERYTHING}
    stand = site.facts.current("demo", "STANDS_IN")
    assert sorted(fact.source.key for fact in stand if fact.source) == ["c0", "c1", "c2"]
    assert say(at("12:11:00")) == ["demo"]
    assert site.facts.current("demo", "STANDS_IN") == []


def test_a_virtual_cluster_tells_its_own_racks(grafana: TestClient, site: Site) -> None:
    own = site.settings.model_copy(update={"home": site.settings.home / "racks", "racks": {}})
    clusters.save(own.clusters, Cluster("lab", details={"racks": {"left": "compute[0-1]"}}))
    tell_racks(site.facts, SimpleNamespace(update=lambda changes: None), own, site.clock.now())  # type: ignore[arg-type]
    stand = site.facts.current("lab", "STANDS_IN")
    assert sorted(f"{f.source.key} {f.target.key}" for f in stand if f.source and f.target) == [
        "compute0 left", "compute1 left",
    ]  # fmt: skip


def test_too_many_is_said(grafana: TestClient, monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.setattr(views, "MOST_SERIES", 2)
    answer = grafana.get("/render", params={"target": "by_host.*.cpu.used"})
    assert answer.status_code == 422
    assert answer.json()["what"] == "More than 2 series match."
    monkeypatch.setattr(membership, "MOST_ALLOCATIONS", 1)
    site.job(42, "ann", ["c0", "c1"], at("12:01:00"), at("12:02:00"))
    answer = grafana.get("/render", params={"target": "by_job.*.*.cpu.used", "from": "-2h"})
    assert "name a job" in answer.json()["try_next"]


def test_what_is_stored_under_such_a_name_is_not_hidden(grafana: TestClient, site: Site) -> None:
    series(site, "by_host.c0.mine", "")
    assert found(grafana, "by_host.c0.*") == ["cpu.", "disk.", "mine"]
    assert drawn(grafana, "by_host.c0.mine") == {"by_host.c0.mine": EVERYTHING}


def test_completion_and_expansion_name_whole_paths(grafana: TestClient) -> None:
    answer = grafana.get("/metrics/expand", params={"query": "by_partition.all.*.cpu.*"}).json()
    assert answer["results"] == [f"by_partition.all.c{n}.cpu.used" for n in range(3)]
    answer = grafana.get("/metrics/find", params={"query": "by_p", "format": "completer"}).json()
    assert answer["metrics"] == [{"path": "by_partition.", "name": "by_partition", "is_leaf": "0"}]


# ── listed and drawn ──────────────────────────────────────────────────────────────────────────


def listed(client: TestClient, **asked: Any) -> dict[str, Any]:
    answer = client.get("/api/metrics", params={"from": NOON.isoformat(), **asked})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_list_has_what_was_measured_and_its_newest_value(grafana: TestClient) -> None:
    told = listed(grafana, host="c0", name="cpu.used")
    assert told["total"] == 1
    row = told["series"][0]
    assert (row["path"], row["unit"], row["mtype"]) == ("servers.c0.cpu.used", "%", "gauge")
    assert row["tags"] == {"host": "c0"}
    assert row["source"], "what measured it is told"
    assert told["target"] == "by_host.c0.cpu.used"


def test_choices_are_narrowed_by_each_other(grafana: TestClient) -> None:
    def paths(**asked: Any) -> list[str]:
        return [row["path"] for row in listed(grafana, **asked)["series"]]

    assert paths(partition="debug") == ["servers.c0.cpu.used", "disk.free;host=c0;path=/scratch"]
    assert paths(partition="all", host="c[1-2]") == ["servers.c1.cpu.used", "servers.c2_example_org.cpu.used"]
    assert paths(partition="debug", host="c1") == []
    assert paths(q="FREE") == ["disk.free;host=c0;path=/scratch"]
    assert paths(name="infini*") == ["infiniband.SW1.3.xmit"]
    assert listed(grafana, partition="all", name="cpu.used")["target"] == "by_partition.all.*.cpu.used"
    assert listed(grafana, name="cpu.used")["target"] == "seriesByTag('name=cpu.used')"
    assert grafana.get("/api/metrics", params={"host": "c[0-"}).json()["where"] == "c[0-"


def test_few_are_listed_and_the_rest_counted(grafana: TestClient) -> None:
    told = listed(grafana, limit=2)
    assert (len(told["series"]), told["total"], told["names_total"]) == (2, 6, 3)
    assert {one["name"]: (one["unit"], one["series"]) for one in told["names"]} == {
        "cpu.used": ("%", 4), "disk.free": ("%", 1), "infiniband.SW1.3.xmit": ("%", 1),
    }  # fmt: skip
    groups = grafana.get("/api/metrics/groups", params={"by": "host", "limit": 1, "from": NOON.isoformat()}).json()
    assert (groups["groups"], groups["total"]) == ([{"name": "c0", "about": ""}], 4)
    groups = grafana.get("/api/metrics/groups", params={"by": "partition", "q": "AL"}).json()
    assert groups["groups"] == [{"name": "all", "about": "c[0-2]"}]


def test_a_job_is_listed_with_its_own_samples_and_drawn_while_it_ran(grafana: TestClient, site: Site) -> None:
    site.job(42, "ann", ["c0", "c1"], at("12:01:00"), at("12:02:59.5"))
    for second in range(60, 180, 10):
        sample(site, 42, "c0", NOON + timedelta(seconds=second), "0", 50.0)
    told = listed(grafana, job="42", **{"from": ""})
    assert [row["path"] for row in told["series"]] == [
        "servers.c0.cpu.used", "servers.c1.cpu.used", "disk.free;host=c0;path=/scratch", "by_job.42.c0.job.cpu",
    ]  # fmt: skip
    newest = {row["path"]: (row["value"], row["last_seen"]) for row in told["series"]}
    assert newest["servers.c0.cpu.used"] == (170.0, at("12:02:50").isoformat()), "while it was the job's"
    groups = grafana.get("/api/metrics/groups", params={"by": "job"}).json()["groups"]
    assert groups == [{"name": "42", "about": "job42 ann c0,c1"}]
    window = {"from": NOON.isoformat(), "until": (NOON + timedelta(minutes=10)).isoformat()}
    chart = grafana.get("/api/metrics/chart", params={"name": "cpu.used", "job": "42", **window}).json()
    assert [one["name"] for one in chart["series"]] == ["c0", "c1"]
    known = [t - NOON.timestamp() for t, v in zip(chart["t"], chart["series"][0]["mean"], strict=True) if v is not None]
    assert 60 <= min(known) <= 90
    assert 150 <= max(known) <= 180
    own = grafana.get("/api/metrics/chart", params={"name": "job.cpu", "job": "42", **window}).json()
    assert {value for one in own["series"] for value in one["mean"]} == {None, 50.0}
    assert (chart["over"], own["over"]) == (True, True)
    assert listed(grafana, job="42", name="job.cpu")["target"] == "by_job.42.*.job.cpu"


def test_of_many_series_the_odd_ones_are_lines_and_all_are_in_the_band(
    grafana: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "_LINES", 3)
    for number in range(10, 20):
        series(site, f"servers.n{number}.cpu.used", f"n{number}", "cpu.used")
    window = {"from": NOON.isoformat(), "until": (NOON + timedelta(minutes=10)).isoformat()}
    chart = grafana.get("/api/metrics/chart", params={"name": "cpu.used", **window}).json()
    assert (len(chart["series"]), chart["total"]) == (3, 14)
    assert len(chart["band"]["median"]) == len(chart["t"])
    assert np.nanmax([value or np.nan for value in chart["band"]["max"]]) >= 580
    monkeypatch.setattr(browse, "MOST_DRAWN", 5)
    answer = grafana.get("/api/metrics/chart", params={"name": "cpu.used", **window})
    assert answer.status_code == 422
    assert "rack" in answer.json()["try_next"]
