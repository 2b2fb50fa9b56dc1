"""Which hosts are not like the others: over a record known by heart, and over ten thousand hosts."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from tests.inventory.conftest import NOON

from qnib.clock import FrozenClock
from qnib.domains.network.interfaces import parse_interfaces
from qnib.domains.software import loaded, packages, sets
from qnib.inventory.differs import Difference, Differing, differs
from qnib.inventory.facts import Facts
from qnib.model import HERE, Entity, Ref, Relation, Snapshot

pytestmark = pytest.mark.engine
HOSTS = [f"h{n}" for n in range(4)]
BASE = [f"lib{n} 1.{n}" for n in range(30)]


def placed(snapshot: Snapshot, host: str) -> Snapshot:
    from qnib.discovery import placed as real

    return real(snapshot, host)


def tell(facts: Facts, clock: FrozenClock, source: str, host: str, snapshot: Snapshot) -> None:
    told = placed(snapshot, host)
    facts.apply("demo", f"{source}@{host}", clock.at, sets.settle(told, facts.known("demo"), clock.at))
    clock.advance(1)


def dpkg(*lines: str) -> Snapshot:
    return packages.parse_dpkg("".join("{}\t{}\tamd64\tii \n".format(*line.split()) for line in lines), NOON)


def job_on(facts: Facts, clock: FrozenClock, hosts: list[str]) -> None:
    made = Entity("Job", "7@1", {"id": 7, "start": clock.at.isoformat(), "nodes": ",".join(hosts)}, clock.at)
    facts.apply("demo", "jobs", clock.at, Snapshot([made]))
    clock.advance(1)


def library(facts: Facts, clock: FrozenClock, host: str, *lines: str) -> None:
    text = "jobs\t1\njob\t7\n" + "".join(f"{line}\n" for line in lines)
    told = placed(loaded.parse_loaded(text, clock.at), host)
    facts.apply("demo", f"loaded@{host}", clock.at, loaded.settle(told, facts.known("demo"), clock.at))
    clock.advance(1)


def shown(found: Differing) -> list[str]:
    def one(row: Difference) -> str:
        usual = f"{row.usual.value} on {','.join(row.usual.hosts)}" if row.usual else "?"
        return f"{row.aspect} {row.item}: {usual} | " + " | ".join(
            f"{other.value} on {','.join(other.hosts)}" for other in row.others
        )

    return [one(row) for row in found.differences]


@pytest.fixture
def alike(facts: Facts, clock: FrozenClock) -> Iterator[Facts]:
    for host in HOSTS:
        tell(facts, clock, "packages", host, dpkg(*BASE))
    yield facts


def test_no_differences_is_an_answer_with_what_was_compared(alike: Facts) -> None:
    found = differs(alike, "demo", HOSTS)
    assert (found.differences, found.count, found.odd) == ([], 0, [])
    assert [(one.aspect, one.items, one.hosts, one.unknown) for one in found.compared] == [("packages", 30, HOSTS, [])]
    assert "kernel and system" in found.untold and "loaded libraries" not in found.untold, "nobody asked about a job"


def test_the_odd_one_is_named_with_what_it_has(alike: Facts, clock: FrozenClock) -> None:
    before = clock.at - timedelta(seconds=1)
    tell(alike, clock, "packages", "h2", dpkg("lib0 2.0", *BASE[2:], "extra 1"))
    found = differs(alike, "demo", HOSTS)
    assert shown(found) == [
        "packages extra: not installed on h0,h1,h3 | 1 on h2",
        "packages lib0: 1.0 on h0,h1,h3 | 2.0 on h2",
        "packages lib1: 1.1 on h0,h1,h3 | not installed on h2",
    ]
    assert (found.odd, found.count, found.compared[0].differences) == (["h2"], 3, 3)
    assert differs(alike, "demo", HOSTS, before).count == 0, "as it was then"
    assert differs(alike, "demo", HOSTS, clock.at).count == 3
    tell(alike, clock, "packages", "h2", dpkg(*BASE))
    assert differs(alike, "demo", HOSTS).count == 0, "put right"


def test_hosts_of_which_nothing_is_known_are_not_alike(alike: Facts) -> None:
    found = differs(alike, "demo", [*HOSTS, "h9"])
    assert found.compared[0].unknown == ["h9"] and found.count == 0
    assert differs(alike, "demo", ["h8", "h9"]).compared == []


def test_what_was_told_long_ago_is_said_to_be_old(alike: Facts, clock: FrozenClock) -> None:
    early = clock.at
    clock.advance(4 * 3600)
    for host in HOSTS[:3]:
        tell(alike, clock, "packages", host, dpkg(*BASE))
    (one,) = differs(alike, "demo", HOSTS).compared
    assert (one.silent, one.hosts, one.unknown) == (["h3"], HOSTS, [])
    assert one.oldest == early - timedelta(seconds=1)
    assert differs(alike, "demo", HOSTS, early).compared[0].silent == [], "of an earlier time nothing is said"


def test_a_tie_is_decided_by_the_cluster_or_by_nobody(alike: Facts, clock: FrozenClock) -> None:
    tell(alike, clock, "packages", "h2", dpkg(*BASE, "extra 1"))
    (row,) = differs(alike, "demo", ["h1", "h2"]).differences
    assert row.usual is None, "the cluster's other hosts are not known to be there"
    alike.apply("demo", "names", clock.at, Snapshot([Entity("Host", host) for host in HOSTS]))
    found = differs(alike, "demo", ["h1", "h2"])
    assert shown(found) == ["packages extra: not installed on h1 | 1 on h2"]
    assert found.differences[0].of_cluster and found.odd == ["h2"]
    tell(alike, clock, "packages", "h3", dpkg(*BASE, "extra 1"))
    (row,) = differs(alike, "demo", HOSTS).differences
    assert row.usual is None and [one.hosts for one in row.others] == [["h2", "h3"], ["h0", "h1"]]


def test_libraries_by_version_path_or_build(alike: Facts, clock: FrozenClock) -> None:
    job_on(alike, clock, HOSTS)
    for host in HOSTS:
        odd = host == "h3"
        library(
            alike, clock, host,
            f"library\t/usr/lib/libmpi.so.{40 + odd}\tb1\t",
            f"library\t{'/opt' if odd else '/usr'}/lib/libz.so.1\tb2\t",
            f"library\t/usr/lib/libm.so.6\tb{3 + odd}\t", "module\tgcc/12", *(["module\topenmpi/5"] if odd else []),
        )
    found = differs(alike, "demo", HOSTS, None, "7@1")
    assert shown(found) == [
        "libraries libm.so: build b3 on h0,h1,h2 | build b4 on h3",
        "libraries libmpi.so: 40 on h0,h1,h2 | 41 on h3",
        "libraries libz.so: /usr/lib on h0,h1,h2 | /opt/lib on h3",
        "modules openmpi: not loaded on h0,h1,h2 | 5 on h3",
    ]
    ended = clock.at
    for host in HOSTS:
        told = placed(loaded.parse_loaded("jobs\t0\n", clock.at), host)
        alike.apply("demo", f"loaded@{host}", clock.at, loaded.settle(told, alike.known("demo"), clock.at))
        clock.advance(1)
    assert differs(alike, "demo", HOSTS, None, "7@1").compared[-1].aspect == "packages", "it has ended"
    found = differs(alike, "demo", HOSTS, ended, "7@1")
    assert {one.aspect for one in found.compared} == {"packages", "libraries", "modules"}, "as it was at its end"


def test_machines_ports_interfaces_and_containers(facts: Facts, clock: FrozenClock) -> None:
    entities, relations = [], []
    for number, host in enumerate(HOSTS):
        odd = number == 1
        entities += [
            Entity("Host", host, {"kernel": "6.2" if odd else "6.1", "os": "Debian 13"}),
            Entity("Node", host, {"version": "24.11.5", "cpus": 4, "memory": (1 if odd else 2) << 30}),
            Entity("HCA", host), Entity("Container", f"c{number}", {"image": "a:2" if odd else "a:1", "cpus": 2.0}),
            Entity("CONNECTION", f"SW/{number}--{host}/1", {
                "a": f"SW/{number}", "b": f"{host}/1", "width": "1x" if odd else "4x", "speed": "EDR",
            }),
        ]  # fmt: skip
        relations += [
            Relation("IS", Ref("Node", host), Ref("Host", host)),
            Relation("BELONGS_TO", Ref("HCA", host), Ref("Host", host)),
            Relation("RUNS_IN", Ref("Host", host), Ref("Container", f"c{number}")),
        ]  # fmt: skip
    facts.apply("demo", "all", clock.at, Snapshot(entities, relations))
    clock.advance(1)
    for number, host in enumerate(HOSTS[:3]):
        text = (
            f'[{{"ifname":"eth0","mtu":{1500 if number == 1 else 9000},"operstate":"UP","link_type":"ether",'
            f'"address":"02:00:00:00:00:0{number}"}}]\n/sys/class/net/eth0/speed:10000\n'
        )
        tell(facts, clock, "interfaces", host, parse_interfaces(text, clock.at))
    found = differs(facts, "demo", HOSTS)
    assert shown(found) == [
        "kernel kernel: 6.1 on h0,h2,h3 | 6.2 on h1",
        "resources memory: 2048 MiB on h0,h2,h3 | 1024 MiB on h1",
        "ports port 1: 4x EDR on h0,h2,h3 | 1x EDR on h1",
        "interfaces eth0 MTU: 9000 on h0,h2 | 1500 on h1",
        "container image: a:1 on h0,h2,h3 | a:2 on h1",
    ]
    unknown = {one.aspect: one.unknown for one in found.compared if one.unknown}
    assert unknown == {"interfaces": ["h3"]} and found.odd == ["h1"]
    assert {one.aspect for one in found.compared} == {
        "kernel", "slurm", "resources", "ports", "interfaces", "container",
    }  # fmt: skip


def test_ten_thousand_hosts_of_six_hundred_packages(facts: Facts, clock: FrozenClock) -> None:
    """Not six million statements but some twelve thousand; and the odd ones among them are found in a moment."""
    base = dpkg(*(f"package{n} 1.{n}" for n in range(600)))
    odd = dpkg(*(f"package{n} 1.{n}" for n in range(599)), "package599 9")
    hosts = [f"n{number}" for number in range(10_000)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    for number, host in enumerate(hosts):
        seen = odd if number in (17, 4711) else base
        told = sets.settle(placed(seen, host), facts.known("big"), NOON)
        if number > 20:
            assert len(told.entities) <= 1 and len(told.relations) <= 2, "told once, a set is only pointed to"
        if number < 20 or number == 4711:
            facts.apply("big", f"packages@{host}", NOON, told)
    # The others in one go: what is measured is the record, not ten thousand inserts.
    digest = next(one.key for one in base.entities if one.kind == "SoftwareSet")
    rest = [Relation("HAS_SOFTWARE", Ref("Host", host), Ref("SoftwareSet", digest), {"what": "packages"})
            for number, host in enumerate(hosts) if number >= 20 and number != 4711]
    facts.apply("big", "rest", NOON, Snapshot([], rest))
    settled = time.process_time() - began
    rows = facts._engine.rows("SELECT count() AS n FROM qnib.facts WHERE cluster = 'big'")[0]["n"]
    began = time.process_time()
    found = differs(facts, "big", hosts)
    seconds = time.process_time() - began
    print(f"10,000 hosts: {rows} facts, {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) >> 10} MiB more,"
          f" told in {settled:.1f} s of CPU, compared in {seconds:.2f} s")
    assert rows < 12_000
    assert [(row.item, [other.hosts for other in row.others]) for row in found.differences] == [
        ("package599", [["n17", "n4711"]]),
    ]  # fmt: skip
    assert HERE not in str(found.odd)


def test_the_record_of_sets_lasts(facts: Facts, clock: FrozenClock) -> None:
    """A set nobody has any more is still what it was, and is no news when it comes back."""
    tell(facts, clock, "packages", "h0", dpkg(*BASE))
    early: datetime = clock.at
    clock.advance(3600)
    tell(facts, clock, "packages", "h0", dpkg("other 1"))
    assert len(facts.current("demo", "SoftwareSet")) == 2
    assert not [fact for fact in facts.current("demo", "HOLDS") if fact.silent], "nobody has to tell of it again"
    assert len(facts.relations("demo", "HOLDS", NOON - timedelta(days=900))) == 31, "and it held at any time"
    from qnib.inventory.between import between

    told = between(facts._engine, "demo", early, clock.at)
    assert told.counts == {"HAS_SOFTWARE": {"began": 1, "ended": 1}}
