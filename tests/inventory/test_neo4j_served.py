"""`qnib serve --graph`: the whole server with its graph in a Neo4j, as its operator starts and asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.api.test_server import TOPOLOGY
from tests.conftest import World, free_ports, stopped
from tests.inventory.neo4j_server import Server

pytestmark = pytest.mark.engine
PORTS = "MATCH (:PORT)-[l:LINK]->(p:PORT) WHERE p.cluster = $cluster AND l.until IS NULL RETURN count(p) AS links"


@pytest.fixture
def idle(neo4j: Server, tmp_path: Path) -> Iterator[World]:
    """Ready to be served, with the password in the environment."""
    world = stopped(tmp_path, "north")
    world = replace(world, env=world.env | {"QNIB_GRAPH__PASSWORD": neo4j.password})
    yield world
    world.qnib("stop")


def test_served_with_its_graph_in_neo4j(neo4j: Server, idle: World) -> None:
    idle.qnib("cluster", "add", "north", "--listen", "127.0.0.4")
    idle.qnib("serve", "--background", "--graph", neo4j.url)
    told = json.loads(idle.qnib("status", "--json").stdout)
    served = replace(idle, url=told["url"], token=told["token"])
    ((version,),) = neo4j.run("CALL dbms.components() YIELD versions RETURN versions[0]")
    assert served.get("/api/health")["graph"] == f"Neo4j {version} at {neo4j.url}"
    assert f"Neo4j {version}" in idle.qnib("status").stdout
    for file in (Path(f"/proc/{told['pid']}/cmdline"), served.home / "run/server.log"):
        assert neo4j.password not in file.read_text()
    token = json.loads((served.home / "clusters/north/cluster.json").read_text())["ingest_token"]
    answer = httpx.post(
        f"http://127.0.0.4:{served.env['QNIB_HTTP__PORT']}/api/collect/infiniband/topology",
        content=sorted(TOPOLOGY.glob("topology.*.txt"))[0].read_text(), timeout=10,
        headers={"Authorization": f"Bearer {token}", "X-Qnib-Host": "fabric"},
    )  # fmt: skip
    assert answer.status_code == 202

    def links() -> int:
        done = served.qnib("graph", "cypher", PORTS, "--cluster", "north", "--param", "cluster=north", "--json")
        count: int = json.loads(done.stdout)[0]["links"]
        return count

    count = served.until("the links", links, 20)
    assert neo4j.run(PORTS, cluster="north") == [[count]], "it is there"
    rows = json.loads(served.qnib("graph", "ask", "links_of_switches", "--json").stdout)
    assert rows
    done = served.qnib("graph", "cypher", "MATCH (n) DETACH DELETE n", check=False)
    assert "only read" in done.stderr
    assert links() == count
    served.qnib("stop")
    served.qnib("serve", "--background", "--graph", neo4j.url)
    assert links() == count


def test_what_is_wrong_is_said_at_the_start(neo4j: Server, idle: World) -> None:
    done = idle.qnib("serve", "--graph", f"bolt://127.0.0.1:{free_ports(1)[0]}", check=False)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    done = idle.qnib("serve", "--graph", neo4j.url.replace("//", "//neo4j:secret@"), check=False)
    assert done.returncode == 2
    assert "not part of the address" in done.stderr
    wrong = replace(idle, env=idle.env | {"QNIB_GRAPH__PASSWORD": "wrong", "QNIB_GRAPH__URL": neo4j.url})
    done = wrong.qnib("serve", check=False)
    assert "refuses user or password" in done.stderr
    shown = wrong.qnib("settings", "show", "--json").stdout
    assert neo4j.url in shown
    assert '"wrong"' not in shown
