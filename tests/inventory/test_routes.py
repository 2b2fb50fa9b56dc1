"""Routes by OpenSM's own tables, by shortest ways without them, and by tables that are wrong."""

from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pytest
from tests.inventory.conftest import NOON
from tests.inventory.fabrics import jobs, own, take, tree

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.errors import NotFound, WrongUse
from qnib.inventory import forwarding
from qnib.inventory.facts import Facts
from qnib.inventory.net import Nets
from qnib.inventory.routes import between, faults, follow, routes
from qnib.inventory.sharing import candidates, links_of_job, ports_of, sharing
from qnib.model import Entity, Snapshot, Table

pytestmark = pytest.mark.engine


@pytest.fixture
def nets(engine: Engine, facts: Facts) -> Nets:
    engine.run("TRUNCATE TABLE qnib.forwarding")
    return Nets(engine, facts)


@pytest.fixture
def wired(nets: Nets, clock: FrozenClock) -> Nets:
    """The captured tree: 8 leaves of 4 hosts, and OpenSM's tables."""
    clock.advance(10)
    take(nets.engine, nets.facts, "topology", own("ibnetdiscover.whole.txt"), NOON)
    take(nets.engine, nets.facts, "tables", own("dump_fts.whole.txt"), NOON)
    return nets


def expected(a: str, b: str) -> list[str]:
    """The ports of the way from a to b, read from the dump's text alone."""
    tables: dict[str, dict[int, int]] = {}
    name = ""
    for line in own("dump_fts.whole.txt").splitlines():
        if head := re.search(r"\((\S+)\):$", line):
            name = head[1]
        elif entry := re.match(r"0x(\w{4}) (\d{3})", line):
            tables.setdefault(name, {})[int(entry[1], 16)] = int(entry[2])
    ends: dict[tuple[str, int], str] = {}
    lids: dict[str, int] = {}
    for block in own("ibnetdiscover.whole.txt").split("\n\n"):
        head = re.search(r'^(?:Switch|Ca)\t\d+ "[^"]*"\s+# "([^"]*)"', block, re.MULTILINE)
        if not head:
            continue
        for row in re.finditer(r'^\[(\d+)\].*?# (?:lid (\d+) lmc 0 )?"([^"]*)" lid', block, re.MULTILINE):
            ends[head[1], int(row[1])] = row[3]
            if row[2]:
                lids[head[1]] = int(row[2])
    way, here, port = [f"{a}/1"], ends[a, 1], 0
    while here != b:
        port = tables[here][lids[b]]
        way.append(f"{here}/{port}")
        here = ends[here, port]
    return way


@pytest.mark.parametrize(
    ("a", "b", "links"), [("n00", "n01", 2), ("n00", "n05", 4), ("n00", "n31", 6), ("n17", "n02", 6)]
)
def test_a_route_is_opensms_own(wired: Nets, a: str, b: str, links: int) -> None:
    (route,) = routes(wired, "lab", a, b)
    assert route.complete and not route.problem
    assert [hop.port for hop in route.hops] == expected(a, b)
    assert len(route.hops) == links
    assert route.by == "tables" and {hop.by for hop in route.hops[1:]} == {"table"} and route.hops[0].by == "adapter"
    assert route.hops[-1].peer == f"{b}/1" == route.target
    assert all(hop.cable.startswith("cable ") and "--" in hop.link for hop in route.hops)
    assert route.tables_since == NOON


def test_ports_hosts_and_what_is_none(wired: Nets) -> None:
    assert routes(wired, "lab", "n00/1", "n31")[0].hops == routes(wired, "lab", "n00", "n31")[0].hops
    with pytest.raises(NotFound):
        routes(wired, "lab", "n00", "n99")
    with pytest.raises(WrongUse):
        routes(wired, "lab", "n00", "n00")
    with pytest.raises(WrongUse):
        routes(wired, "lab", "leaf0/1", "n01")


def test_without_tables_a_shortest_way_and_it_says_so(wired: Nets) -> None:
    wired.engine.run("TRUNCATE TABLE qnib.forwarding")
    (route,) = routes(Nets(wired.engine, wired.facts), "lab", "n00", "n31")
    assert route.complete and route.by == "shortest" and len(route.hops) == 6
    assert {hop.by for hop in route.hops[1:]} == {"shortest"}
    assert route.tables_since is None


def test_one_switch_without_a_table(wired: Nets) -> None:
    wired.engine.run("ALTER TABLE qnib.forwarding DELETE WHERE switch LIKE 'core%' SETTINGS mutations_sync = 1")
    (route,) = routes(wired, "lab", "n00", "n31")
    assert route.complete and route.by == "tables, then shortest"
    assert [hop.by for hop in route.hops] == ["adapter", "table", "table", "shortest", "table", "table"]


def test_a_switch_without_a_link_needs_no_table(wired: Nets) -> None:
    """Switches that were taken out are still in the record: nobody said that they are gone."""
    wired.facts.apply("lab", "other", NOON, Snapshot([Entity("SW", "shelf", {"name": "shelf"})]))
    net = wired.at("lab")
    assert net.switches == 21 and net.all_known
    assert between(net, ports_of(net, ["n00", "n31"])).by == "tables"


def test_after_a_cable_moved_the_route_is_another_and_the_past_is_the_old_one(wired: Nets, clock: FrozenClock) -> None:
    for name, minutes in (("out", 5), ("moved", 9)):
        at = NOON + timedelta(minutes=minutes)
        clock.at = at
        take(wired.engine, wired.facts, "topology", own(f"ibnetdiscover.{name}.txt"), at)
        take(wired.engine, wired.facts, "tables", own(f"dump_fts.{name}.txt"), at)
        if name == "out":
            with pytest.raises(NotFound):
                routes(wired, "lab", "n00", "n05")
    assert routes(wired, "lab", "n00", "n05")[0].hops[-1].port == "leaf1/7"
    (then,) = routes(wired, "lab", "n00", "n05", NOON + timedelta(minutes=1))
    assert then.complete and then.hops[-1].port == "leaf1/4"


# ── tables that are wrong ─────────────────────────────────────────────────────────────────────


def rewrite(nets: Nets, switch: str, lid: int, port: int) -> None:
    """One entry of a table, as if it had been dumped a minute later."""
    tables = forwarding.read(nets.engine, "lab")
    changed = tables[switch].copy()
    changed[lid] = port
    tables[switch] = changed
    told = [Table(name, ports.tobytes()) for name, ports in tables.items()]
    at = NOON + timedelta(minutes=1)
    forwarding.store(nets.engine, "lab", "infiniband.tables@fabric", at, nets.facts.now(), told)


def lid_of(nets: Nets, host: str) -> int:
    net = nets.at("lab")
    return net.lid_at[net.ports_of[host][0]]


def test_a_loop_is_told_with_its_switches(wired: Nets) -> None:
    way = routes(wired, "lab", "n00", "n31")[0]
    mid, core = way.hops[2].port, way.hops[3].port
    lid = lid_of(wired, "n31")
    rewrite(wired, core.partition("/")[0], lid, int(way.hops[2].peer.partition("/")[2]))  # back where it came from
    (route,) = routes(wired, "lab", "n00", "n31")
    assert not route.complete
    assert route.problem == f"loop: {mid.partition('/')[0]} → {core.partition('/')[0]} → {mid.partition('/')[0]}"
    net = wired.at("lab")
    found = {(row["switch"], row["problem"]) for row in faults(net)}
    assert {(mid.partition("/")[0], "loop"), (core.partition("/")[0], "loop")} == found
    used = between(net, ports_of(net, ["n00", "n31"]))
    assert used.lost == 1, "and the way back is fine"


@pytest.mark.parametrize(("port", "words"), [(255, "has no port for LID"), (8, "is not connected"), (3, "an adapter")])
def test_a_dead_end_is_told_with_its_place(wired: Nets, port: int, words: str) -> None:
    rewrite(wired, "leaf0", lid_of(wired, "n31"), port)
    (route,) = routes(wired, "lab", "n01", "n31")
    assert not route.complete and route.problem.startswith("dead end") and words in route.problem
    assert faults(wired.at("lab")) == [
        {"lid": lid_of(wired, "n31"), "target": "n31/1", "switch": "leaf0", "problem": "dead end"}
    ]


def test_the_captured_tables_have_no_faults(wired: Nets) -> None:
    assert faults(wired.at("lab")) == []


# ── many at once ──────────────────────────────────────────────────────────────────────────────


def test_many_routes_at_once_are_the_same_as_one_by_one(wired: Nets) -> None:
    net = wired.at("lab")
    hosts = [f"n{number:02d}" for number in (0, 1, 5, 13, 17, 31)]
    used = between(net, ports_of(net, hosts))
    counted: dict[str, int] = {}
    for a in hosts:
        for b in hosts:
            if a != b:
                for hop in routes(wired, "lab", a, b)[0].hops:
                    counted[hop.link] = counted.get(hop.link, 0) + 1
    assert {net.links[one].name: int(used.pairs[one]) for one in np.flatnonzero(used.pairs)} == counted
    assert (used.of, used.lost, used.by) == (30, 0, "tables")


def test_jobs_that_share_a_link(wired: Nets) -> None:
    jobs(wired.facts, NOON, j1="n[00,31]", j2="n[00-01]", j3="n[08-09]", j4="n[01,30]", j5="n12")
    held, links, by = links_of_job(wired, "lab", "1")
    assert (held.key, by) == ("1@1", "tables") and len(links) >= 6
    found = {row["id"]: row["links"] for row in sharing(wired, "lab", links, without="1@1")}
    assert found[2] == ["leaf0/3--n00/1"], "they meet at the host they share"
    ways = {b: {hop.link for hop in routes(wired, "lab", *b)[0].hops} for b in (("n01", "n30"), ("n30", "n01"))}
    common = set(links) & set().union(*ways.values())
    assert set(found.get(4, ())) == common
    assert 3 not in found and 5 not in found
    with pytest.raises(NotFound):
        links_of_job(wired, "lab", "99")


def test_candidates_for_an_error_by_route_and_time(wired: Nets, clock: FrozenClock) -> None:
    way = routes(wired, "lab", "n00", "n31")[0]
    port = way.hops[2].port  # between a middle switch and a core
    jobs(wired.facts, NOON, j1="n[00,31]", j2="n[00-01]", j3="n[08-09]")
    clock.at = NOON + timedelta(minutes=5)
    jobs(wired.facts, clock.at, j2="n[00-01]")  # the others have ended
    found, about = candidates(wired, "lab", port, NOON + timedelta(minutes=2))
    assert [one.job["id"] for one in found] == [1] and found[0].when == 1.0
    assert about["link"] == way.hops[2].link and about["by"] == "tables" and about["up"]
    later, _ = candidates(wired, "lab", port, NOON + timedelta(minutes=10))
    assert [(one.job["id"], one.when) for one in later] == [(1, 0.5)], "five of ten minutes after its end"
    assert candidates(wired, "lab", port, NOON + timedelta(minutes=30))[0] == []
    at_host, _ = candidates(wired, "lab", "n00/1", NOON + timedelta(minutes=6))
    assert [one.job["id"] for one in at_host] == [2, 1]
    assert at_host[0].score == 1.0 and "is at this link" in at_host[0].sentence


def test_candidates_for_a_link_that_is_down(wired: Nets, clock: FrozenClock) -> None:
    jobs(wired.facts, NOON, j1="n[04-05]", j2="n[20-21]")
    clock.at = NOON + timedelta(minutes=5)
    take(wired.engine, wired.facts, "topology", own("ibnetdiscover.out.txt"), clock.at)
    found, about = candidates(wired, "lab", "leaf1/4", NOON + timedelta(minutes=6))
    assert [one.job["id"] for one in found] == [1]
    assert not about["up"] and about["link"] == "leaf1/4--n05/1"
    with pytest.raises(NotFound):
        candidates(wired, "lab", "leaf1/8", NOON)


def test_jobs_come_and_go_and_the_net_stays(wired: Nets) -> None:
    before = wired.at("lab")
    jobs(wired.facts, NOON, j1="n[00,31]")
    assert wired.at("lab") is before
    take(wired.engine, wired.facts, "topology", own("ibnetdiscover.out.txt"), NOON + timedelta(minutes=1))
    assert wired.at("lab") is not before


def test_a_large_tree_and_its_tables(nets: Nets, clock: FrozenClock) -> None:
    """1,000 hosts: each route arrives within six links."""
    text, tables = tree(pods=5, leaves=10, hosts=20, cores=10)
    clock.advance(10)
    take(nets.engine, nets.facts, "topology", text, NOON)
    assert len(forwarding.store(nets.engine, "lab", "t", NOON, nets.facts.now(), tables)) == 5 * 20 + 100
    net = nets.at("lab")
    ends = {host: ports[0] for host, ports in net.ports_of.items()}
    assert len(ends) == 1000
    for number in range(0, 1000, 10):
        route = follow(net, ends["n3"], ends[f"n{number}"])
        assert route.complete and len(route.hops) in (2, 4, 6) and route.by == "tables"
    assert faults(net) == []
