"""A package and a library on one node of a running cluster: named within seconds."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SOON = 15.0
"""Seconds within which a package that was installed by hand is named."""
NODES = [f"compute{n}" for n in range(4)]
BUILD = """set -e
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/share/qnib-tiny; echo $0 >$d/usr/share/qnib-tiny/version
printf '%s\\n' 'Package: qnib-tiny' "Version: $0" 'Architecture: all' 'Maintainer: nobody <nobody@localhost>' \\
    'Description: none' >$d/DEBIAN/control
dpkg-deb --build $d $d.deb >/dev/null; dpkg -i $d.deb >/dev/null; rm -rf $d $d.deb
"""
"""Makes a package of the version given, and installs it."""
LIBRARY = """set -e
mkdir -p /opt/app/lib; cp /usr/lib/*/libnuma.so.1.0.0 /opt/app/lib/libsolver.so.1.$0
ln -sf libsolver.so.1.$0 /opt/app/lib/libsolver.so.1
"""


def inside(world: World, host: str, *command: str, user: str = "") -> str:
    as_user = ["--user", user] if user else []
    return world.qnib("exec", "--name", world.name, *as_user, host, "--", *command).stdout


def compare(world: World, **params: str) -> dict[str, Any]:
    answer: dict[str, Any] = world.get("/api/differs", **params)
    return answer


def exceptions(answer: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """(aspect, item, hosts, value) of all that is not as usual."""
    rows = [(row, one) for row in answer["differences"] for one in row["others"]]
    return {(row["aspect"], row["item"], one["hosts"], one["value"]) for row, one in rows}


@pytest.fixture(scope="module")
def told(world: World) -> World:
    """The world, once every node has told of its packages, interfaces and container."""

    def all_known() -> bool:
        answer = compare(world, hosts="compute[0-3]")
        full = {one["aspect"] for one in answer["compared"] if one["count"] == 4}
        return full >= {"packages", "kernel", "slurm", "resources", "ports", "interfaces", "container"}

    world.until("what there is to compare", all_known, 60)
    return world


def test_nodes_of_one_image_do_not_differ(told: World) -> None:
    answer = compare(told, hosts="compute[0-3]")
    assert exceptions(answer) == set()
    assert answer["sentence"].startswith("No differences between the 4 hosts in ")
    assert next(one["items"] for one in answer["compared"] if one["aspect"] == "packages") > 100


def test_what_the_nodes_tell_is_in_the_graph(told: World) -> None:
    def ask(query: str) -> list[list[Any]]:
        rows: list[list[Any]] = told.post("/api/graph/cypher", query=query, cluster=told.name)["rows"]
        return rows

    # The machine below may be in a container itself.
    inside_of = ask("MATCH (h:Host)-[:RUNS_IN]->(c:Container) WHERE c.cluster = $cluster "
                    "AND c.name STARTS WITH 'qnib-' "
                    "RETURN h.key, c.name, c.engine, c.image, c.memory, c.cpus ORDER BY h.key")
    assert [row[0] for row in inside_of] == [*NODES, "controller", "fabric"]
    for host, name, engine, image, memory, cpus in inside_of:
        assert name == f"qnib-{told.name}-{host}" and engine == "podman" and "qnib/slurm:" in image
        assert memory > 0 and cpus > 0
    sets = ask("MATCH (s:SoftwareSet)<-[t:HAS_SOFTWARE]-(h:Host) WHERE s.cluster = $cluster AND t.until IS NULL "
               "RETURN s.key, s.size, count(h.key)")
    assert len(sets) == 1 and sets[0][2] == 6, "six containers of one image have one set of packages"
    seen = ask("MATCH (i:Interface)-[s:SEES]->(a:Alias)-[:ALIAS_OF]->(h:Host) WHERE i.cluster = $cluster "
               "RETURN i.host, h.key, i.mtu, i.speed")
    assert any(host == "compute0" and other == "controller" for host, other, _, _ in seen), "by its MAC address"


def test_a_package_on_one_node_is_named_within_seconds(told: World) -> None:
    began = datetime.now(UTC)
    wanted = {("packages", "qnib-tiny", "compute2", "1.0")}
    try:
        inside(told, "compute2", "bash", "-c", BUILD, "1.0")
        start = time.monotonic()
        told.until("the package", lambda: exceptions(compare(told, hosts="compute[0-3]")) == wanted, SOON)
        took = [round(time.monotonic() - start, 1)]
        said = told.qnib("node", "differs", "compute[0-3]", "--cluster", told.name).stdout
        assert said.startswith("compute2 differs from the other 3: 1 difference in packages.")
        (event,) = told.get("/api/events", kind="software.changed", **{"from": began.isoformat()})["events"]
        assert event["host"] == "compute2" and "qnib-tiny 1.0 is new" in event["message"]

        inside(told, "compute0", "bash", "-c", BUILD, "1.0")
        inside(told, "compute1", "bash", "-c", BUILD, "1.0")
        inside(told, "compute2", "bash", "-c", BUILD, "2.0")
        start = time.monotonic()
        wanted = {("packages", "qnib-tiny", "compute2", "2.0"), ("packages", "qnib-tiny", "compute3", "not installed")}
        told.until("another version", lambda: exceptions(compare(told, hosts="compute[0-3]")) == wanted, SOON)
        took.append(round(time.monotonic() - start, 1))
        then = compare(told, hosts="compute[0-3]", at=began.isoformat())
        assert exceptions(then) == set(), "before anybody touched it they were alike"
    finally:
        for host in ("compute0", "compute1", "compute2"):
            inside(told, host, "dpkg", "--purge", "qnib-tiny")
    start = time.monotonic()
    told.until("all alike again", lambda: not exceptions(compare(told, hosts="compute[0-3]")), SOON)
    print(f"seconds until seen: {took}, alike again {time.monotonic() - start:.1f}")


def test_a_library_of_a_running_job_on_one_node(told: World) -> None:
    for host in NODES:
        inside(told, host, "bash", "-c", LIBRARY, "2" if host == "compute1" else "1")
    run = ("srun -N4 --mem=20 env LD_PRELOAD=/opt/app/lib/libsolver.so.1 LOADEDMODULES=solver/1:gcc/12 "
           "python3 -c 'import time; time.sleep(45)'")
    number = inside(told, "controller", "sbatch", "--parsable", "-N4", "--oversubscribe", "--mem=20", "-o", "/dev/null",
                    "-D", "/home/alice", "--wrap", run, user="alice").strip()
    wanted = {("libraries", "libsolver.so", "compute1", "1.2")}

    def seen() -> Any:
        try:
            answer = compare(told, job=number)
        except AssertionError:  # it is not known yet, or has no nodes
            return None
        known = {one["aspect"]: one["count"] for one in answer["compared"]}
        return answer if known.get("libraries") == 4 and exceptions(answer) == wanted else None

    answer = told.until("the library", seen, 90)
    assert {one["aspect"] for one in answer["compared"]} >= {"libraries", "modules", "packages"}
    assert answer["sentence"] == "compute1 differs from the other 3: 1 difference in loaded libraries."
    rows = told.qnib("graph", "ask", "jobs_with_library", "--param", "library=libsolver.so", "--json", "--cluster",
                     told.name).stdout
    assert {row["version"] for row in _rows(rows)} == {"1.1", "1.2"}

    told.until("its end", lambda: next(
        job for job in told.get("/api/jobs")["jobs"] if str(job["id"]) == number)["state"] == "COMPLETED", 90)
    assert exceptions(compare(told, job=number)) == wanted, "as it was when it ended"


def _rows(text: str) -> list[dict[str, Any]]:
    told = json.loads(text)
    if isinstance(told, dict):
        return [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
    rows: list[dict[str, Any]] = told
    return rows
