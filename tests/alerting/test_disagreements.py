"""Two sources that contradict each other: one event with both things, once, and one when they agree again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.context.conftest import NOON, Site

from qnib.alerting import Disagreements
from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.inventory.facts import Facts
from qnib.model import Entity, Ref, Relation
from qnib.monitoring import events
from qnib.settings import load

pytestmark = pytest.mark.engine


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings, clock = load(home=tmp_path), FrozenClock(NOON - timedelta(hours=1))
    engine = open_engine(settings, clock)
    yield Site(settings, clock, engine, Facts(engine, clock))
    engine.close()


def looked(site: Site, watch: Disagreements, times: int = 3) -> list[dict[str, Any]]:
    """Events there are after so many looks, the oldest first."""
    for _ in range(times):
        watch.look(site.cluster)
        site.clock.advance(5)
    found = events.search(
        site.engine, site.cluster, NOON - timedelta(hours=3), NOON + timedelta(hours=3), kind="fact.*"
    )["events"]
    return sorted(found, key=lambda row: str(row["time"]))


def alias(name: str, host: str, until: datetime | None = None) -> tuple[Entity, Relation]:
    kind, _, plain = name.partition(":")
    return (
        Entity("Alias", name, {"name": plain, "kind": kind}),
        Relation("ALIAS_OF", Ref("Alias", name), Ref("Host", host), until=until),
    )


def test_a_name_that_means_two_hosts_is_told_once_and_when_it_is_over(site: Site) -> None:
    site.hosts(NOON - timedelta(hours=1), "compute3", "compute4")
    site.tell(site.clock.now(), *alias("hca:node-x", "compute3"), by="infiniband.topology@fabric")
    watch = Disagreements(site)
    assert looked(site, watch) == []
    site.tell(site.clock.now(), *alias("slurm:node-x", "compute4"), by="slurm.nodes@control")
    told = looked(site, watch, 4)
    assert [(row["kind"], row["severity"], row["entities"]) for row in told] == [
        ("fact.contradiction", "warning", ["Host:compute3", "Host:compute4"])
    ]
    assert told[0]["message"] == (
        "the name node-x means compute3 as hca of infiniband.topology@fabric,"
        " but compute4 as slurm of slurm.nodes@control"
    )
    assert told[0]["hint"]
    assert len(looked(site, Disagreements(site))) == 1, "a new start does not tell it again"
    site.tell(site.clock.now(), *alias("slurm:node-x", "compute4", until=site.clock.now()), by="slurm.nodes@control")
    told = looked(site, watch, 4)
    assert [row["kind"] for row in told] == ["fact.contradiction", "fact.agreed"]
    assert told[1]["entities"] == ["Host:compute3", "Host:compute4"]


def test_an_adapter_described_as_another_host_is_a_contradiction(site: Site) -> None:
    site.hosts(NOON - timedelta(hours=1), "compute3", "compute4")
    site.tell(site.clock.now(), *alias("hca:compute3", "compute4"), by="fabric")
    told = looked(site, Disagreements(site))
    assert [row["entities"] for row in told] == [["Host:compute3", "Host:compute4"]]


def test_two_cables_cannot_be_in_one_port(site: Site) -> None:
    links = [("SW1/3", "c1/1"), ("SW1/3", "c2/1"), ("SW1/4", "c4/1")]
    for number, (a, b) in enumerate(links):
        site.tell(site.clock.now(), Entity("CONNECTION", f"{a}--{b}", {"a": a, "b": b}), by=f"source {number}")
    told = looked(site, Disagreements(site))
    assert [row["entities"] for row in told] == [["PORT:SW1/3", "PORT:c1/1", "PORT:c2/1"]]
    assert "source 0 and source 1" in told[0]["message"]


@pytest.mark.parametrize(
    ("second", "contradicts"),
    [
        ("SW1/4--c2/1", False), ("SW3/3--c1/2", False),  # a splitter cable has one device in common
        ("SW9/4--c2/1", True),
    ],
)  # fmt: skip
def test_one_cable_cannot_be_in_two_places(site: Site, second: str, contradicts: bool) -> None:
    for number, key in enumerate(("SW1/3--c1/1", second)):
        a, _, b = key.partition("--")
        site.tell(
            site.clock.now(), Entity("CONNECTION", key, {"a": a, "b": b}),
            Relation("USES", Ref("CONNECTION", key), Ref("CABLE", "SN77")), by=f"source {number}",
        )  # fmt: skip
    told = looked(site, Disagreements(site))
    assert [row["fields"]["finding"] for row in told] == ["cable"] * contradicts


def samples(site: Site, job: int, host: str) -> None:
    site.engine.insert("qnib.job_samples", [{
        "cluster": site.cluster, "job": job, "step": "batch", "task": "0", "host": host, "metric": "job.cpu",
        "time": site.clock.now(), "value": 100.0,
    }])  # fmt: skip


def test_processes_of_a_job_where_the_scheduler_knows_of_none(site: Site) -> None:
    site.hosts(NOON - timedelta(hours=1), "c1", "c2")
    start = site.clock.now()
    key = f"42@{int(start.timestamp())}"
    site.tell(
        start, Entity("Job", key, {"id": 42}, since=start),
        Relation("JOBCLIENT", Ref("Job", key), Ref("Host", "c1"), since=start), by="slurm.jobs@control",
    )  # fmt: skip
    watch = Disagreements(site)
    samples(site, 42, "c1")
    assert looked(site, watch) == [], "where the job is, its processes are"
    samples(site, 42, "c2")
    told = looked(site, watch)
    assert [row["entities"] for row in told] == [[f"Job:{key}", "Host:c2"]]
    assert told[0]["message"] == "c2 runs processes of job 42, which by the scheduler is on c1"
    site.clock.advance(70)
    assert [row["kind"] for row in looked(site, watch)] == ["fact.contradiction", "fact.agreed"]


def test_a_scheduler_that_is_silent_contradicts_nobody(site: Site) -> None:
    site.hosts(NOON - timedelta(hours=1), "c1")
    samples(site, 7, "c1")
    assert looked(site, Disagreements(site)) == []


def test_what_was_seen_once_is_no_contradiction(site: Site) -> None:
    site.hosts(NOON - timedelta(hours=1), "a", "b")
    watch = Disagreements(site)
    site.tell(site.clock.now(), *alias("hca:n", "a"), by="one")
    site.tell(site.clock.now(), *alias("slurm:n", "b"), by="other")
    assert looked(site, watch, 1) == []
    site.tell(site.clock.now(), *alias("hca:n", "a", until=site.clock.now()), by="one")
    assert looked(site, watch, 3) == []
