"""Every shipped question, asked of a graph known by heart: two leaves, four hosts, a moved cable, a bad port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.inventory.conftest import NOON

from qnib.clock import FrozenClock
from qnib.discovery import placed
from qnib.domains.container import engine, inside
from qnib.domains.network import interfaces, lldp
from qnib.domains.questions import library, read
from qnib.domains.software import loaded, packages, sets
from qnib.errors import WrongUse
from qnib.inventory.asking import bind
from qnib.inventory.facts import Facts
from qnib.inventory.graph import Graph, open_graph
from qnib.inventory.schema import instant
from qnib.model import Entity, Ref, Relation, Scalar, Snapshot
from qnib.settings import Settings, load

pytestmark = pytest.mark.engine
NOW = NOON + timedelta(hours=2)
T0, T1, T2 = NOON, NOON + timedelta(minutes=30), NOON + timedelta(minutes=40)
WIRES = [("SW1", 1, "h0"), ("SW1", 2, "h1"), ("SW2", 1, "h2"), ("SW2", 2, "h3")]


def wired(hosts: list[tuple[str, int, str]]) -> Snapshot:
    """Hosts on their leaves, and one uplink from each leaf to the spine."""
    entities, ties = [], []
    links = [(leaf, port, host, 1) for leaf, port, host in hosts] + [("SW1", 3, "SPINE", 1), ("SW2", 3, "SPINE", 2)]
    for leaf, port, device, device_port in links:
        a, b = f"{leaf}/{port}", f"{device}/{device_port}"
        for node, end, number in ((leaf, a, port), (device, b, device_port)):
            kind = "HCA" if node.startswith("h") else "SW"
            entities.append(Entity(kind, node, {"name": node}))
            entities.append(Entity("PORT", end, {"name": end, "number": number, "node": node}))
            ties.append(Relation("HAS_PORT", Ref(kind, node), Ref("PORT", end)))
            if kind == "HCA":
                ties.append(Relation("BELONGS_TO", Ref("HCA", node), Ref("Host", node)))
        ties.append(Relation("LINK", Ref("PORT", a), Ref("PORT", b), {"width": "4x", "speed": "EDR"}))
        made = Entity("CONNECTION", f"{a}--{b}", {"a": a, "b": b, "width": "4x", "speed": "EDR"})
        cable = Entity("CABLE", f"c-{b}", {"name": f"c-{b}", "identity": "inferred"})
        entities += [made, cable]
        ties += [Relation("CONNECTS", made.ref, Ref("PORT", end)) for end in (a, b)]
        ties.append(Relation("USES", made.ref, cable.ref))
    return Snapshot(entities, ties, frozenset({"LINK", "CONNECTION", "CONNECTS", "USES"}))


def job(number: int, state: str, hosts: str, since: datetime, until: datetime | None, user: str) -> list[Any]:
    told: dict[str, Scalar] = {
        "id": number, "name": f"job{number}", "state": state, "user": user, "partition": "all",
        "submit": since.isoformat(), "start": since.isoformat(), "end": until.isoformat() if until else None,
    }  # fmt: skip
    made = Entity("Job", f"{number}@1", told, since, until)
    had = {"cpus": 2, "attempt": 1}
    ends = [Relation("JOBCLIENT", made.ref, Ref("Host", host), had, since, until) for host in hosts.split()]
    return [
        made, *ends, Entity("User", user, {"name": user}),
        Relation("SUBMITTED", Ref("User", user), made.ref, {}, since),
        Relation("CHARGED_TO", made.ref, Ref("Account", "physics"), {}, since),
    ]


def split(things: list[Any]) -> Snapshot:
    return Snapshot([t for t in things if isinstance(t, Entity)], [t for t in things if isinstance(t, Relation)])


def values(at: datetime) -> Iterator[tuple[str, Ref, dict[str, Scalar]]]:
    told: dict[str, Scalar] = {"symbol_error": 40.0, "symbol_error_at": instant(at), "symbol_error_hour": 12.0}
    yield "demo", Ref("PORT", "SW2/3"), told
    yield "demo", Ref("PORT", "SW1/1"), {**told, "symbol_error_hour": 0.0}
    for host, used in (("h0", 99.0), ("h1", 0.5)):
        yield "demo", Ref("Host", host), {"cpu_used": used, "cpu_used_at": instant(at), "memory_used": used * 10}


@pytest.fixture
def recorded(facts: Facts, clock: FrozenClock) -> Facts:
    # h3's cable goes from SW2/2 to SW1/4, after a minute out of both.
    for clock.at, wires in ((T0, WIRES), (T1, WIRES[:3]), (T2, [*WIRES[:3], ("SW1", 4, "h3")])):
        facts.apply("demo", "ib", clock.at, wired(wires))
    told = {"state": "IDLE", "cpus": 4, "version": "24.11"}
    nodes = [Entity("Node", f"h{n}", {"name": f"h{n}", **told}) for n in (0, 1, 2)]
    nodes.append(Entity("Node", "h9", {"name": "h9", "state": "DOWN+DRAIN", "reason": "fan", "version": "23.11"}))
    machines = [Relation("IS", node.ref, Ref("Host", node.key)) for node in nodes]
    members = [Relation("PART_OF", node.ref, Ref("Partition", "all")) for node in nodes]
    hosts = [Entity("Host", f"h{n}", {"name": f"h{n}", "kernel": "6.1" if n else "5.10"}) for n in (0, 1, 2, 3, 9)]
    names = [Entity("Alias", "slurm:n-old", {"name": "n-old", "kind": "slurm"})]
    aliases = [
        Relation("ALIAS_OF", names[0].ref, Ref("Host", "h1"), {}, T0, T1),
        Relation("ALIAS_OF", names[0].ref, Ref("Host", "h2"), {}, T2),
    ]
    clock.at = T2
    facts.apply("demo", "names", T2, Snapshot([*hosts, *names], aliases))
    clock.at = NOW
    facts.apply("demo", "slurm", NOW, Snapshot(nodes, [*machines, *members]))
    facts.apply("demo", "jobs", NOW, split([
        *job(1, "FAILED", "h0 h3", T0, T1 + timedelta(minutes=1), "alice"),
        *job(2, "FAILED", "h0", T2, T2 + timedelta(minutes=5), "bob"),
        *job(3, "RUNNING", "h0 h2", T2 + timedelta(minutes=10), None, "alice"),
        *job(4, "RUNNING", "h1 h0", T2 + timedelta(minutes=10), None, "bob"),
        Entity("Job", "5@1", {"id": 5, "name": "wait", "state": "PENDING", "user": "bob", "reason": "Resources",
                              "submit": T2.isoformat()}),
        Entity("Attempt", "4@1#2", {"number": 2}), Relation("ATTEMPT_OF", Ref("Attempt", "4@1#2"), Ref("Job", "4@1")),
    ]))  # fmt: skip
    _software(facts, clock)
    _machines(facts, clock)
    clock.at = NOW
    return facts


@pytest.fixture
def graph(settings: Settings, recorded: Facts, clock: FrozenClock) -> Iterator[Graph]:
    opened = open_graph(settings, recorded, clock, values)
    yield opened
    opened.close()


def _settled(facts: Facts, clock: FrozenClock, source: str, host: str, at: datetime, seen: Snapshot) -> None:
    clock.at = at
    told = placed(seen, host)
    settle = loaded.settle if source == "loaded" else sets.settle
    facts.apply("demo", f"{source}@{host}", at, settle(told, facts.known("demo"), at))


def _software(facts: Facts, clock: FrozenClock) -> None:
    """Forty packages on h0 to h2; h0 got another mpi at T1, before job 1 failed there. Job 3 loads libraries."""
    base = [f"base{n}\t1\tall\tii " for n in range(40)]
    for host in ("h0", "h1", "h2"):
        seen = packages.parse_dpkg("\n".join([*base, "mpi\t4.1\tamd64\tii "]), T0)
        _settled(facts, clock, "packages", host, T0, seen)
    seen = packages.parse_dpkg("\n".join([*base[1:], "mpi\t5.0\tamd64\tii "]), T1)
    _settled(facts, clock, "packages", "h0", T1, seen)
    for host, version in (("h0", "40.1"), ("h2", "40.2")):
        text = (
            f"jobs\t1\njob\t3\nmodule\topenmpi/5\ncontainer\tapptainer\t/i/a.sif\n"
            f"library\t/usr/lib/libmpi.so.{version}\tb{version}\tmpi\nlibrary\t/usr/lib/libc.so.6\tb6\tlibc6\n"
        )
        _settled(facts, clock, "loaded", host, NOW, loaded.parse_loaded(text, NOW))


def _machines(facts: Facts, clock: FrozenClock) -> None:
    """h0 and h1 are plugged into one Ethernet switch and play in containers; h1's second link is down."""
    for number, host in enumerate(("h0", "h1")):
        mac = f"02:00:00:00:00:0{number}"
        links = [{"ifname": "eth0", "mtu": 9000 - 7500 * number, "operstate": "UP", "link_type": "ether",
                  "address": mac, "addr_info": [{"local": f"10.0.0.{number}", "prefixlen": 24, "scope": "global"}]}]
        if number:
            links.append({**links[0], "ifname": "eth1", "operstate": "DOWN", "address": "02:00:00:00:01:01",
                          "addr_info": [{"local": "10.1.0.1", "prefixlen": 24, "scope": "global"}]})
        text = json.dumps(links) + "\n/sys/class/net/eth0/speed:10000\n"
        _settled(facts, clock, "interfaces", host, T0, interfaces.parse_interfaces(text, T0))
        lines = ("chassis.mac=52:00:00:00:00:01", "chassis.name=leaf1", "chassis.Bridge.enabled=on")
        told = [f"lldp.eth0.{line}" for line in ("via=LLDP", *lines, f"port.ifname=swp{number}")]
        _settled(facts, clock, "lldp", host, T0, lldp.parse_lldp("\n".join(told), T0))
        text = f"10.0.0.9 dev eth0 lladdr 0e:00:00:00:00:0{number} REACHABLE\n" \
            f"10.0.0.{1 - number} dev eth0 lladdr 02:00:00:00:00:0{1 - number} STALE\n"
        _settled(facts, clock, "neighbours", host, T0, interfaces.parse_neighbours(text, T0))
        told = ["engine\tpodman", f"id\t{str(number) * 64}", f"name\tlab-{host}", f"image\tlab:{number}",
                "memory\t1000", "cpus\t2"]
        _settled(facts, clock, "inside", host, T0, inside.parse_inside("\n".join(told), T0))
    listed = [{"Id": "0" * 64, "Names": ["lab-h0"], "State": "running", "Image": "lab:0"}]
    _settled(facts, clock, "podman", "h9", T0, engine.parse_podman(json.dumps(listed), T0))


def _job3(*rows: tuple[str, str]) -> list[list[Any]]:
    start = (T2 + timedelta(minutes=10)).isoformat()
    return [[3, "job3", "alice", "RUNNING", v, f"b{v}", f"/usr/lib/libmpi.so.{v}", start] for _, v in rows]


T = instant
PACKAGES = {"base0": "base0_1_all.deb", "old": "mpi_4.1_amd64.deb", "new": "mpi_5.0_amd64.deb"}
ANSWERS: dict[str, tuple[dict[str, Any], list[list[Any]]]] = {
    "names_of_host": ({"host": "h2"}, [["slurm", "n-old", T(T2), None]]),
    "hosts_by_kernel": ({}, [["6.1", 4, "h1"], ["5.10", 1, "h0"]]),
    "names_for_two_hosts": ({}, [["n-old", "h1", T(T0), T(T1), "h2", T(T2), None]]),
    "not_heard_of": ({}, [[f"h{n}", T(T2), "names"] for n in (0, 1, 2, 3, 9)]),
    "failed_jobs_sharing_a_node": ({}, [[
        "h0", 1, "job1", "FAILED", (T1 + timedelta(minutes=1)).isoformat(), 2, "job2", "FAILED",
        (T2 + timedelta(minutes=5)).isoformat(),
    ]]),
    "jobs_on_node": ({"host": "h3"}, [
        [1, "job1", "alice", "FAILED", T(T0), T(T1 + timedelta(minutes=1)), 2],
    ]),
    "who_uses_what": ({}, [["alice", 1, 2, 4], ["bob", 1, 2, 4]]),
    "hosts_of_job": ({"job": 2}, [["h0", 1, T(T2), T(T2 + timedelta(minutes=5)), 2, None]]),
    "neighbours_of_job": ({"job": 3}, [[4, "job4", "bob", "RUNNING", "h0", T(T2 + timedelta(minutes=10)), None]]),
    "requeued_jobs": ({}, [[4, "job4", "bob", 2, "RUNNING"]]),
    "hosts_with_most_failures": ({}, [
        ["h0", 2, 2, (T2 + timedelta(minutes=5)).isoformat()], ["h3", 1, 1, (T1 + timedelta(minutes=1)).isoformat()],
    ]),
    "users_with_most_failures": ({}, [
        ["alice", 2, 1, (T1 + timedelta(minutes=1)).isoformat()],
        ["bob", 2, 1, (T2 + timedelta(minutes=5)).isoformat()],
    ]),
    "nodes_out_of_service": ({}, [["h9", "DOWN+DRAIN", "fan", None, None]]),
    "jobs_waiting_longest": ({}, [[5, "wait", "bob", None, "Resources", None, T2.isoformat()]]),
    "partition_members": ({}, [["all", 4, 12, "h0", "h9"]]),
    "slurm_versions": ({}, [["24.11", 3, "h0"], ["23.11", 1, "h9"]]),
    "jobs_of_account": ({}, [
        ["physics", "alice", 2, (T1 + timedelta(minutes=1)).isoformat()],
        ["physics", "bob", 2, (T2 + timedelta(minutes=5)).isoformat()],
    ]),
    "idle_hosts": ({}, [["h9", "DOWN+DRAIN"]]),
    "hosts_on_switch": ({"switch": "SW2"}, [
        [1, "h2", 1, "4x", "EDR", T(T0)], [3, "SPINE", 2, "4x", "EDR", T(T0)],
    ]),
    "history_of_port": ({"port": "SW2/2"}, [["SW2/2", "h3/1", "4x", "EDR", T(T0), T(T1)]]),
    "links_lost": ({}, [["SW2/2", "h3/1", T(T0), T(T1)]]),
    "links_that_flap": ({}, []),
    "link_rates": ({}, [["4x", "EDR", 6, "SPINE/1"]]),
    "links_of_switches": ({}, [["SW1", 4], ["SPINE", 2], ["SW2", 2]]),
    "moved_cables": ({}, [["c-h3/1", "inferred", "SW2/2", "h3/1", T(T1), "SW1/4", "h3/1", T(T2)]]),
    "ports_with_errors": ({}, [["SW2/3", 12.0, 40.0, T(NOW)]]),
    "jobs_on_switch": ({"switch": "SW2"}, [[3, "job3", "alice", "h2", 1]]),
    "switches_of_job": ({"job": 3}, [["SW1", 1, "h0"], ["SW2", 1, "h2"]]),
    "users_on_switch": ({"switch": "SW1"}, [["bob", 1, 2], ["alice", 1, 1]]),
    "jobs_hit_by_cable": ({}, [[T(T1), "h3", "SW2/2", "h3/1", 1, "job1", "alice", "FAILED"]]),
    "failed_jobs_by_switch": ({}, [["SW1", 2, 2]]),
    "hosts_without_fabric": ({}, [["h9", "DOWN+DRAIN"]]),
    "adapters_without_node": ({}, [["h3", "h3"]]),
    "way_between_hosts": ({"host": "h0", "other": "h1"}, [
        [step] for step in ("h0", "h0/1", "SW1/1", "SW1", "SW1/2", "h1/1", "h1")
    ]),
    "errors_on_routes_of_job": ({"job": 3}, [["SW2/3", 12.0, 40.0, T(NOW)]]),
    "busiest_hosts": ({}, [
        ["h0", 99.0, T(NOW), 3, "job3", "alice"], ["h0", 99.0, T(NOW), 4, "job4", "bob"],
        ["h1", 0.5, T(NOW), 4, "job4", "bob"],
    ]),
    "allocated_but_idle": ({}, [["h1", 0.5, T(NOW), 4, "job4", "bob", T(T2 + timedelta(minutes=10))]]),
    "versions_of_package": ({"package": "mpi"}, [["4.1", "amd64", 2, "h1"], ["5.0", "amd64", 1, "h0"]]),
    "hosts_with_package": ({"package": "mpi"}, [
        ["h0", "4.1", T(T0), T(T1)], ["h0", "5.0", T(T1), None], ["h1", "4.1", T(T0), None],
        ["h2", "4.1", T(T0), None],
    ]),
    "jobs_with_library": ({"library": "libmpi.so"}, _job3(("h0", "40.1"), ("h2", "40.2"))),
    "libraries_in_two_builds": ({}, [["libmpi.so", 2, "b40.1", "b40.2"]]),
    "jobs_with_module": ({"module": "openmpi"}, [["openmpi/5", 3, "job3", "alice", "RUNNING"]]),
    "changes_before_end": ({"job": 1}, [
        [T(T1), "h0", "came", PACKAGES["new"]], [T(T1), "h0", "went", PACKAGES["old"]],
        [T(T1), "h0", "went", PACKAGES["base0"]], [T(T1), "h3", "cable out", "SW2/2--h3/1"],
    ]),
    "hosts_behind_ethernet_switch": ({"switch": "leaf1"}, [
        ["swp0", "h0", "eth0", 10000, "up", T(T0)], ["swp1", "h1", "eth0", 10000, "up", T(T0)],
    ]),
    "ethernet_switches": ({}, [["leaf1", "52:00:00:00:00:01", "", 2]]),
    "interfaces_by_speed": ({}, [[10000, 1500, 1, "h1/eth0"], [10000, 9000, 1, "h0/eth0"]]),
    "interfaces_down": ({}, [["h1", "eth1", "10.1.0.1/24", "02:00:00:00:01:01"]]),
    "unknown_neighbours": ({}, [
        ["0e:00:00:00:00:00", "10.0.0.9", 1, "h0/eth0"], ["0e:00:00:00:00:01", "10.0.0.9", 1, "h1/eth0"],
    ]),
    "address_of_two": ({}, [["10.0.0.9", 2, "0e:00:00:00:00:00", "0e:00:00:00:00:01"]]),
    "jobs_behind_ethernet_switch": ({"switch": "52:00:00:00:00:01"}, [
        [3, "job3", "alice", "h0"], [4, "job4", "bob", "h0"], [4, "job4", "bob", "h1"],
    ]),
    "containers_near_their_memory": ({}, [["lab-h0", "h0", 990.0, 1000, "lab:0"]]),
    "images_in_use": ({}, [["lab:0", "podman", 1, "lab-h0"], ["lab:1", "podman", 1, "lab-h1"]]),
    "container_of_host": ({"host": "h0"}, [["lab-h0", "podman", "lab:0", 1000, 2.0, "h9", T(T0), None]]),
    "jobs_in_containers": ({}, [
        [3, "job3", "alice", "apptainer", "/i/a.sif", "h0"], [3, "job3", "alice", "apptainer", "/i/a.sif", "h2"],
    ]),
}  # fmt: skip


def ask(graph: Graph, facts: Facts, name: str, given: dict[str, Any], at: datetime | None = None) -> list[list[Any]]:
    question = library()[name][1]
    return graph.cypher(
        question.cypher, bind(question.cypher, given, facts=facts, cluster="demo", at=at, question=question), at=at
    ).rows


def test_every_question_has_its_answer(graph: Graph, facts: Facts) -> None:
    wrong = {}
    for name, (given, answer) in ANSWERS.items():
        found = ask(graph, facts, name, given)
        if sorted(map(str, found)) != sorted(map(str, answer)):
            wrong[name] = found
    assert not wrong, "\n".join(f"{n}: {w}" for n, w in wrong.items())


@pytest.mark.parametrize("database", ["neo4j"])
def test_both_databases_say_it_in_the_same_order(
    graph: Graph, recorded: Facts, clock: FrozenClock, tmp_path: Path
) -> None:
    kuzu = open_graph(load(home=tmp_path / "kuzu"), recorded, clock, values)
    said = {name: (ask(graph, recorded, name, given), ask(kuzu, recorded, name, given))
            for name, (given, _) in ANSWERS.items()}  # fmt: skip
    kuzu.close()
    assert not {name: both for name, both in said.items() if both[0] != both[1]}


def test_the_library_is_large_documented_and_tested() -> None:
    assert len(library()) >= 30
    below = {"history_of_cables", "package_sets", "changes_of_software"}
    untested = library().keys() - ANSWERS.keys() - below
    assert not untested
    for owner, question in library().values():
        mentioned = {p.name for p in question.params}
        assert all(f"${name}" in question.cypher or "$route_ports" in question.cypher for name in mentioned)
        assert question.why.endswith("."), question.name
        assert question.ask.endswith("?"), (owner, question.name)


def test_cables_have_a_history(graph: Graph, facts: Facts) -> None:
    rows = ask(graph, facts, "history_of_cables", {})
    assert [row[2:] for row in rows if row[0] == "c-h3/1"] == [
        ["SW2/2", "h3/1", T(T0), T(T1)], ["SW1/4", "h3/1", T(T2), None],
    ]  # fmt: skip


def test_sets_of_packages_and_what_they_add(graph: Graph, facts: Facts) -> None:
    (usual, odd) = ask(graph, facts, "package_sets", {})
    assert (usual[1:], odd[1:2], odd[3:]) == ([41, "", 0, 2, "h1"], [40], [3, 1, "h0"])
    base = odd[2]
    assert [fact.key for fact in facts.current("demo", "SoftwareSet") if fact.key == base]
    assert ask(graph, facts, "changes_of_software", {}) == [
        [T(T1), "h0", "base0", "1", "lacks", base], [T(T1), "h0", "mpi", "4.1", "lacks", base],
        [T(T1), "h0", "mpi", "5.0", "has", base],
    ]  # fmt: skip


def test_shapes_that_graph_databases_get_wrong(graph: Graph, database: str) -> None:
    """What releases of the database lost rows of (docs/decisions/0005): the gate for another one."""
    chain = (
        "MATCH (s:SW {cluster: 'demo', name: 'SW1'})-[:HAS_PORT]->(p:PORT)-[l:LINK]-(q:PORT)<-[:HAS_PORT]-(a:HCA)"
        "-[:BELONGS_TO]->(h:Host)<-[c:JOBCLIENT]-(j:Job)<-[:SUBMITTED]-(u:User) "
        "WHERE l.until IS NULL AND c.until IS NULL RETURN u.name, j.id, h.key ORDER BY j.id, h.key"
    )
    assert graph.cypher(chain).rows == [["alice", 3, "h0"], ["bob", 4, "h0"], ["bob", 4, "h1"]]
    two_kinds = (
        "MATCH (s:SW)-[:HAS_PORT]->(p:PORT)-[l:LINK]-(q:PORT)<-[:HAS_PORT]-(d) WHERE l.until IS NULL "
        "RETURN s.key, d.key ORDER BY s.key, d.key"
    )
    assert graph.cypher(two_kinds).rows == [
        ["SPINE", "SW1"], ["SPINE", "SW2"], ["SW1", "SPINE"], ["SW1", "h0"], ["SW1", "h1"], ["SW1", "h3"],
        ["SW2", "SPINE"], ["SW2", "h2"],
    ]  # fmt: skip
    sums = "MATCH (j:Job)-[c:JOBCLIENT]->(h:Host {key: 'h0'}) RETURN h.key, count(DISTINCT j.key), sum(c.cpus)"
    if database == "kuzu":  # it answers null, and so is not asked
        with pytest.raises(WrongUse, match="distinct first"):
            graph.cypher(sums)
    else:
        assert graph.cypher(sums).rows == [["h0", 4, 8]]


def test_a_question_about_the_past(graph: Graph, facts: Facts) -> None:
    then = T0 + timedelta(minutes=10)
    assert [row[1] for row in ask(graph, facts, "hosts_on_switch", {"switch": "SW2"}, then)] == ["h2", "h3", "SPINE"]
    found = ask(graph, facts, "ports_with_errors", {}, then)
    assert found == [["SW2/3", 12.0, 40.0, T(then)]], "values are those of the time that is asked about"


def test_a_parameter_takes_the_type_the_question_wants(graph: Graph, facts: Facts) -> None:
    assert ask(graph, facts, "hosts_of_job", {"job": "2"}) == ask(graph, facts, "hosts_of_job", {"job": 2})
    with pytest.raises(WrongUse, match="not given: switch"):
        ask(graph, facts, "hosts_on_switch", {})
    with pytest.raises(WrongUse, match="those of a"):
        bind("RETURN $route_ports", {}, facts=facts, cluster="demo", at=None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[question]]\nname = 'a'", "ask, cypher, why"),
        ("[[question]]\nname = 'a'\nask='b'\ncypher='c'\nwhy='d'\nparams=[{name='x', type='date'}]", "params"),
        ("[[question]]\nname = 'a'\nask='b'\ncypher='c'\nwhy='d'\nwhat=1", "what"),
        ("[[question", "not TOML"),
    ],
)
def test_a_file_of_questions_that_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "questions.toml").write_text(text)
    with pytest.raises(WrongUse, match=said):
        list(read(tmp_path / "questions.toml"))
