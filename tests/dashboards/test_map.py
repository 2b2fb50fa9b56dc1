"""The fabric for people: its map at any size, one part of it, and what is to be found in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.data import real
from tests.inventory.fabrics import jobs, own, take, tree

from qnib.clock import FrozenClock
from qnib.context.viewer import OPERATOR
from qnib.dashboards.fabric.folding import draw, node_set
from qnib.dashboards.fabric.found import errors_over_time, fabric_findings
from qnib.dashboards.fabric.layers import layers
from qnib.dashboards.fabric.map import fabric_links, fabric_map
from qnib.dashboards.fabric.parts import fabric_part
from qnib.dashboards.jump import hits
from qnib.dashboards.now import now_page
from qnib.engine import Engine
from qnib.errors import NotFound
from qnib.inventory import forwarding
from qnib.inventory.facts import Facts
from qnib.inventory.net import Nets
from qnib.settings import Settings

pytestmark = pytest.mark.engine
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Site:
    """What a page is made from: `Sources`, and the nets."""

    settings: Settings
    clock: FrozenClock
    engine: Engine
    facts: Facts
    nets: Nets

    def map(self, cluster: str = "lab", at: datetime | None = None, **more: Any) -> dict[str, Any]:
        return fabric_map(self, self.nets, cluster, at, **more)

    def part(self, name: str, cluster: str = "lab", at: datetime | None = None) -> dict[str, Any]:
        return fabric_part(self, self.nets, cluster, name, at)

    def count(self, port: str, **readings: int) -> None:
        """Symbol errors read at a port: ``m3=20`` is 20 at three minutes past noon."""
        device, _, number = port.rpartition("/")
        series = hash((device, number)) & 0xFFFFFFFF
        path = f"infiniband.{device}.{number}.symbol_error"
        self.engine.insert("qnib.series", [{
            "cluster": "lab", "series": series, "path": path, "name": "ib.symbol_error",
            "tags": {"node": device, "port": number}, "unit": "errors", "mtype": "counter",
            "first_seen": NOON, "last_seen": NOON,
        }])  # fmt: skip
        self.engine.insert("qnib.points", [
            {"cluster": "lab", "series": series, "time": NOON + timedelta(minutes=int(m[1:])), "told": float(n)}
            for m, n in readings.items()
        ])  # fmt: skip


@pytest.fixture
def site(opened: tuple[Engine, Settings]) -> Site:
    engine, settings = opened
    for table in ("facts", "confirmations", "events", "forwarding", "series", "points"):
        engine.run(f"TRUNCATE TABLE qnib.{table}")
    clock = FrozenClock(NOON)
    facts = Facts(engine, clock)
    return Site(settings, clock, engine, facts, Nets(engine, facts))


@pytest.fixture
def small(site: Site) -> Site:
    """The captured tree of 20 switches and 33 adapters, whole."""
    site.clock.advance(10)
    take(site.engine, site.facts, "topology", own("ibnetdiscover.whole.txt"), NOON)
    return site


@pytest.fixture
def large(site: Site) -> Site:
    """A tree of 640 hosts: 8 pods of 5 leaves with 16 hosts each; 2 middle switches a pod, 4 cores."""
    text, tables = tree(8, 5, 16, 2)
    take(site.engine, site.facts, "topology", text, NOON)
    forwarding.store(site.engine, "lab", "x", NOON, NOON, tables)
    return site


# ── the map ───────────────────────────────────────────────────────────────────────────────────


def test_a_small_fabric_is_drawn_whole(small: Site) -> None:
    told = small.map()
    assert not told["folded"] and told["opened"] == []
    assert told["counts"] == {"switches": 20, "hosts": 33, "links": 65, "down": 0, "on_route": 0}
    assert len(told["links"]) == 65 and {link["count"] for link in told["links"]} == {1}
    assert len({(node["x"], node["y"]) for node in told["nodes"]}) == len(told["nodes"]), "no two in one place"
    assert all(0 <= node["x"] <= 1 and 0 <= node["y"] <= 1 for node in told["nodes"])
    assert told["changes"] == [], "the first look at a fabric is no change"


def test_where_nothing_was_seen_nothing_is_drawn(small: Site) -> None:
    for told in (small.map("nowhere"), small.map(at=NOON - timedelta(days=1))):
        assert (told["nodes"], told["links"], told["changes"], told["folded"]) == ([], [], [], False)
    assert fabric_findings(small, "nowhere") == []


def test_a_pulled_cable_is_drawn_as_missing_and_known_before(small: Site) -> None:
    small.clock.at = NOON + timedelta(minutes=5)
    take(small.engine, small.facts, "topology", own("ibnetdiscover.out.txt"), small.clock.now())
    told = small.map()
    assert [link["id"] for link in told["links"] if link["state"] == "down"] == ["leaf1/4--n05/1"]
    assert {node["id"]: node["status"] for node in told["nodes"]}["n05"] == "critical"
    assert [change["what"] for change in told["changes"]] == ["down"]
    then = small.map(at=NOON + timedelta(minutes=1))
    assert then["counts"]["down"] == 0 and len(then["links"]) == 65


def test_a_job_lights_the_routes_its_packets_take(small: Site) -> None:
    jobs(small.facts, NOON, j7="n[00-01]")
    told = small.map(job="7@1")
    assert {link["id"] for link in told["links"] if link["on_route"]} == {"leaf0/3--n00/1", "leaf0/4--n01/1"}
    assert sum(node["mine"] for node in told["nodes"]) == 2


def test_many_hosts_are_folded_and_every_link_is_in_one_line(large: Site) -> None:
    told = large.map()
    assert told["folded"] and told["counts"]["hosts"] == 640
    names = {node["id"]: node for node in told["nodes"]}
    pod = names["leaf0.[0-4]"]
    assert (pod["count"], pod["level"]) == (5, 1)
    hosts = names["leaf0.[0-4]/hosts"]
    assert (hosts["label"], hosts["count"], hosts["hosts"]) == ("n[0-79]", 80, "n[0-79]")
    assert len(told["nodes"]) == 8 + 8 + 16 + 4, "pods, their hosts, the middle and core switches, which are few"
    assert sum(link["count"] for link in told["links"]) == told["counts"]["links"]
    assert {link["count"] for link in told["links"] if link["lower"].endswith("/hosts")} == {80}


def test_a_fabric_that_nobody_here_made_is_folded_whole(site: Site) -> None:
    """OpenSM's own look at a tree of 208 devices."""
    text = real("infiniband/osm_fattree208/ibnetdiscover.t0.txt").read_text()
    take(site.engine, site.facts, "topology", text, NOON)
    told = site.map()
    assert told["counts"] == {"switches": 80, "hosts": 128, "links": 384, "down": 0, "on_route": 0}
    assert [node["label"] for node in told["nodes"] if node["level"] == 0][:2] == ["Hca[0-15]", "Hca[16-31]"]
    assert sum(node["count"] for node in told["nodes"]) == 208
    assert sum(link["count"] for link in told["links"]) == 384
    take(site.engine, site.facts, "topology", real("infiniband/osm_fattree208/ibnetdiscover.hca2_down.txt").read_text(),
         NOON + timedelta(minutes=1))  # fmt: skip
    hurt = {node["label"]: (node["bad"], node["status"]) for node in site.map()["nodes"] if node["bad"]}
    assert hurt == {"Hca[0-15]": (1, "warn"), "Switch[0-3]": (1, "warn")}


def test_a_group_is_opened_by_any_of_its_members(large: Site) -> None:
    told = large.map(open_=["leaf0.3"])
    names = {node["id"] for node in told["nodes"]}
    assert {f"leaf0.{n}" for n in range(5)} | {f"leaf0.{n}/hosts" for n in range(5)} <= names
    assert told["opened"] == [{"name": "leaf0.3", "label": "leaf0.[0-4]"}]
    told = large.map(open_=["n5"])  # a host opens its switch's pod, and its switch's hosts
    names = {node["id"] for node in told["nodes"]}
    assert {f"n{n}" for n in range(16)} <= names and "leaf0.1/hosts" in names and "n16" not in names
    assert sum(link["count"] for link in told["links"]) == told["counts"]["links"]


def test_a_device_asked_about_is_drawn_beside_its_group(large: Site) -> None:
    told = large.map(out=["leaf0.3", "n5"])
    names = {node["id"] for node in told["nodes"]}
    assert {"leaf0.3", "leaf0.[0-2,4]", "n5"} <= names and told["opened"] == []
    assert {node["label"] for node in told["nodes"] if node["kind"] == "HCA"} >= {"n[0-4,6-47,64-79]", "n[48-63]"}


def test_switches_are_put_in_runs_where_too_few_are_alike(large: Site) -> None:
    boxes = draw(layers(large, "lab"), most=3).boxes
    assert [len(box.members) for box in boxes if box.level == 2] == [6, 6, 4], "eight pods are too many, so runs"
    assert sorted(box.name for box in boxes if box.level == 3) == ["core0.[0-1]", "core1.[0-1]"], "two planes are not"
    assert node_set(("MF0;a[1", "MF0;b")) == "MF0;a[1 and 1 more", "a name that no node set can hold"


def test_links_in_trouble_come_first_and_a_line_of_the_map_is_told_link_by_link(large: Site) -> None:
    line = next(link for link in large.map()["links"] if link["lower"] == "leaf0.[0-4]")
    told = fabric_links(large, large.nets, "lab", within=line["id"])
    assert told["total"] == line["count"]
    assert {link["b"] for link in told["links"]} <= {"mid0.0", "mid0.1", *(f"leaf0.{n}" for n in range(5))}
    assert fabric_links(large, large.nets, "lab", of="leaf0.3")["total"] == 18
    assert fabric_links(large, large.nets, "lab", text="LEAF0.3/1--", limit=5)["total"] == 1
    assert len(fabric_links(large, large.nets, "lab", limit=5)["links"]) == 5
    assert fabric_links(large, large.nets, "lab", within="nothing")["total"] == 0


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def test_every_name_of_a_part_finds_it(small: Site) -> None:
    link = small.part("leaf1/4")["links"][0]
    for name, kind, key in (
        ("leaf1", "switch", "leaf1"), ("SW:leaf1", "switch", "leaf1"), ("n05", "adapter", "n05"),
        ("leaf1/4", "port", "leaf1/4"), ("PORT:n05/1", "port", "n05/1"), ("leaf1/4--n05/1", "link", "leaf1/4--n05/1"),
        (link["cable"], "cable", link["cable"]),
    ):  # fmt: skip
        told = small.part(name)
        assert (told["kind"], told["name"]) == (kind, key)
    assert small.part("n05/1")["ports"] == ["n05/1", "leaf1/4"], "the port asked about comes first"
    with pytest.raises(NotFound, match="No part of the fabric"):
        small.part("leaf99")


def test_a_switch_tells_its_hosts_links_and_the_jobs_through_it(small: Site) -> None:
    hosts = small.part("leaf1")["hosts"]
    jobs(small.facts, NOON, j7="n[00,05]", j8="n[00-01]")
    told = small.part("leaf1")
    assert "n05" not in {job["id"] for job in told["jobs"]} and [job["id"] for job in told["jobs"]] == [7]
    assert hosts.startswith("n[") and len(told["links"]) == len(told["history"])
    assert {spec["title"] for spec in told["panels"]} >= {"Data by port", "Symbol errors by port"}


def test_a_cable_remembers_where_it_was(small: Site) -> None:
    small.clock.at = NOON + timedelta(minutes=5)
    take(small.engine, small.facts, "topology", own("ibnetdiscover.out.txt"), small.clock.now())
    unplugged = small.part("leaf1/4")
    assert unplugged["links"][0]["state"] == "down" and unplugged["jobs"] == []
    small.clock.at = NOON + timedelta(minutes=9)
    take(small.engine, small.facts, "topology", own("ibnetdiscover.moved.txt"), small.clock.now())
    cable = small.part("leaf1/7")["links"][0]["cable"]
    told = small.part(cable)
    assert [(row["a"], row["until"] is None) for row in told["history"]] == [("leaf1/7", True), ("leaf1/4", False)]
    assert told["ports"] == ["leaf1/7", "n05/1"]
    then = small.part(cable, at=NOON + timedelta(minutes=1))
    assert [row["a"] for row in then["history"]] == ["leaf1/4"] and then["history"][0]["until"] is None
    assert small.part("leaf1/4")["history"][0]["until"] is not None, "a port where nothing is plugged any more"


def test_one_jumps_to_a_port_but_not_by_a_letter(small: Site) -> None:
    found = hits(small, OPERATOR, "lab", "leaf1/")
    assert {hit["kind"] for hit in found} == {"PORT"} and found[0]["url"].startswith("/fabric?show=leaf1")
    assert "PORT" not in {hit["kind"] for hit in hits(small, OPERATOR, "lab", "leaf1")}
    assert "SW" in {hit["kind"] for hit in hits(small, OPERATOR, "lab", "leaf1")}


def test_pages_are_found_by_their_names(small: Site) -> None:
    assert [(hit["label"], hit["url"]) for hit in hits(small, OPERATOR, "lab", "sourc")] == [("Sources", "/sources")]


# ── findings ──────────────────────────────────────────────────────────────────────────────────


def moved(site: Site) -> None:
    """The cable of leaf1/4 goes to leaf1/7, and its errors with it."""
    for minute, name in ((5, "out"), (9, "moved")):
        site.clock.at = NOON + timedelta(minutes=minute)
        take(site.engine, site.facts, "topology", own(f"ibnetdiscover.{name}.txt"), site.clock.now())
    site.clock.at = NOON + timedelta(minutes=15)
    site.count("leaf1/4", m1=0, m2=20, m4=60, m10=60)
    site.count("leaf1/7", m10=0, m12=30, m14=70)


def test_errors_that_moved_along_are_a_finding_about_the_cable(small: Site) -> None:
    assert fabric_findings(small, "lab") == []
    moved(small)
    (found,) = fabric_findings(small, "lab")
    assert found["name"] == "port_or_cable" and found["about"].startswith("CABLE:cable leaf1/4--n05/1@")
    assert "It is the cable" in found["sentence"] and "Replace the cable between leaf1/7" in found["advice"]
    assert now_page(small, OPERATOR, "lab")["findings"] == [found], "the first page says it, too"
    early = fabric_findings(small, "lab", NOON + timedelta(minutes=3))
    assert [one["name"] for one in early] == ["symbol_errors"], "then nobody could tell"
    assert "Move the cable's end" in early[0]["advice"] or "another cable" in early[0]["advice"]


def test_errors_are_told_when_they_came(small: Site) -> None:
    moved(small)
    told = errors_over_time(small, "lab", ["leaf1/4", "leaf1/7"], NOON, NOON + timedelta(minutes=15))
    assert [(one["port"], one["time"][14:16], one["count"]) for one in told] == [
        ("leaf1/4", "02", 20), ("leaf1/4", "04", 40), ("leaf1/7", "12", 30), ("leaf1/7", "14", 40),
    ]  # fmt: skip
    assert small.map()["links"] and {
        link["id"]: link["errors"] for link in small.map()["links"] if link["errors"]
    } == {"leaf1/7--n05/1": 70.0}
