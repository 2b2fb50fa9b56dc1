"""The server as its users meet it, without containers: two clusters, tokens, captures, errors, backup."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from qnib.server import listen
from tests.conftest import World, started, stopped

pytestmark = pytest.mark.engine

ADDRESSES = {"north": "127.0.0.2", "south": "127.0.0.3"}
TOPOLOGY = Path(__file__).parents[2] / "src/qnib/domains/infiniband/samples"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that listens for two recorded clusters on addresses of the loopback range."""
    home = tmp_path_factory.mktemp("served")
    world = stopped(home, "north")
    try:
        world.qnib("cluster", "add", "north", "--listen", ADDRESSES["north"])
        running = started(world)
        world.qnib("cluster", "add", "south", "--listen", ADDRESSES["south"])  # while the server runs
        yield running
    finally:
        world.qnib("stop")


def send(world: World, cluster: str, setting: str, line: str) -> None:
    with socket.create_connection((ADDRESSES[cluster], int(world.env[setting])), timeout=5) as wire:
        wire.sendall(line.encode())


def test_what_comes_in_on_a_clusters_network_is_that_clusters(served: World) -> None:
    now = int(time.time())
    for cluster, value in (("north", 11), ("south", 22)):
        send(served, cluster, "QNIB_CARBON__PORT", f"servers.n1.cpu.used {value} {now}\n")
        send(served, cluster, "QNIB_SYSLOG__PORT", f"<13>1 2026-11-20T10:00:00Z n1 app - - - hello {cluster}\n")

    def newest(cluster: str) -> list[float]:
        answer = served.get("/api/series", cluster=cluster, metric="cpu.used", **{"from": "-5m"})
        return [value for series in answer["series"] for value in series["mean"] if value is not None]

    assert served.until("the northern value", lambda: newest("north"), 15) == [11]
    assert served.until("the southern value", lambda: newest("south"), 15) == [22]

    def hello() -> list[str]:
        events = served.get("/api/events", cluster="south", q="hello", **{"from": "2026-11-20T09:59:00Z"})["events"]
        return [event["message"] for event in events]

    assert served.until("the southern event", hello, 15) == ["hello south"]
    names = {row["name"] for row in served.get("/api/clusters")["clusters"]}
    assert names == {"north", "south"}


@pytest.mark.parametrize(
    "path", ["/api/now", "/api/jobs", "/api/events", "/render?target=a", "/api/live", "/api/clusters"]
)
def test_a_token_is_needed_even_on_loopback(served: World, path: str) -> None:
    answer = httpx.get(served.url + path, timeout=10)
    assert answer.status_code == 401
    assert set(answer.json()) == {"what", "where", "try_next"}


@pytest.mark.parametrize(
    "path", ["/api/jobs", "/api/events", "/api/events/search?q=a", "/api/series?metric=a", "/api/senders"]
)
@pytest.mark.parametrize("start", ["0001-01-01", "-999999d", "-99999999999999w", "1"])
def test_a_time_before_all_times_means_ever(served: World, path: str, start: str) -> None:
    path, _, asked = path.partition("?")
    served.get(path, **dict(parse_qsl(asked)), **{"from": start, "until": "9999-12-31T23:59:59-14:00"})


def test_grafana_may_carry_the_token_as_header_or_password(served: World) -> None:
    form = {"target": 'aliasSub(constantLine(100), "(^.*$)", "\\1 A")', "from": "-1h", "format": "json"}
    for auth in ({"headers": {"Authorization": f"Bearer {served.token}"}}, {"auth": ("grafana", served.token)}):
        answer = httpx.post(f"{served.url}/render", data=form, timeout=10, **auth)  # type: ignore[arg-type]
        assert answer.status_code == 200
        assert answer.json()[0]["target"] == "100.0 A"


def collect(served: World, token: str, text: str, capture: str = "infiniband/topology") -> httpx.Response:
    url = f"http://{ADDRESSES['north']}:{served.env['QNIB_HTTP__PORT']}/api/collect/{capture}"
    headers = {"Authorization": f"Bearer {token}", "X-Qnib-Host": "fabric"}
    return httpx.post(url, content=text, headers=headers, timeout=10)


def ingest_token(served: World, cluster: str) -> str:
    token: str = json.loads((served.home / "clusters" / cluster / "cluster.json").read_text())["ingest_token"]
    return token


def test_a_capture_becomes_facts_and_a_picture(served: World) -> None:
    text = sorted(TOPOLOGY.glob("topology.*.txt"))[0].read_text()
    assert collect(served, ingest_token(served, "north"), text).status_code == 202
    served.until("the fabric's links", lambda: served.get("/api/fabric", cluster="north")["links"], 15)
    assert served.get("/api/fabric", cluster="south")["nodes"] == []


def test_nonsense_is_refused_or_counted(served: World) -> None:
    assert collect(served, "guess", "x").status_code == 401
    assert collect(served, ingest_token(served, "north"), "x", "infiniband/nothing").status_code == 404

    def rejects() -> int:
        count: int = served.get("/api/health")["rejects"]
        return count

    before = rejects()
    assert collect(served, ingest_token(served, "north"), "this is no topology\n").status_code == 202
    send(served, "north", "QNIB_CARBON__PORT", "one two three four\n")
    served.until("both in the rejects", lambda: rejects() >= before + 2, 15)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/jobs/4711", 404),
        ("/api/nodes/nobody", 404),
        ("/api/events?from=yesterdayish", 400),
        ("/api/series?metric=cpu.used&from=-1h&until=-2h", 400),
        ("/api/jobs?limit=0", 400),
        ("/api/nothing", 404),
    ],
)
def test_errors_have_one_shape(served: World, path: str, status: int) -> None:
    answer = httpx.get(served.url + path, headers={"Authorization": f"Bearer {served.token}"}, timeout=10)
    assert answer.status_code == status
    assert set(answer.json()) == {"what", "where", "try_next"}


def test_people_only_read_the_graph(served: World) -> None:
    for query in ("CREATE (:Host {key: 'x'})", "MATCH (h:Host) DETACH DELETE h", "nonsense"):
        done = served.qnib("graph", "cypher", query, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "try next" in done.stderr


def test_a_second_server_says_who_is_there(served: World) -> None:
    done = served.qnib("serve", check=False)
    assert done.returncode == 1
    assert "running already" in done.stderr


def test_a_taken_port_is_one_clear_message(served: World, tmp_path: Path) -> None:
    env = served.env | {"QNIB_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "qnib", "serve"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_backup_comes_back_in_another_home(served: World, tmp_path: Path) -> None:
    served.qnib("backup", str(tmp_path / "copy"))
    again = served.qnib("backup", str(tmp_path / "copy"), check=False)
    assert "exists" in again.stderr, "a backup never overwrites another"
    other = World(tmp_path / "other", "north", served.env | {"QNIB_HOME": str(tmp_path / "other")}, "", "")
    other.qnib("restore", str(tmp_path / "copy"))
    code = (
        "from qnib.settings import load; from qnib.clock import SystemClock; from qnib.engine.chdb import open_engine\n"
        "print(open_engine(load(), SystemClock()).rows('SELECT count() AS n FROM qnib.points')[0]['n'])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=other.env, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2


def test_settings_say_where_they_come_from(served: World) -> None:
    rows: list[dict[str, Any]] = json.loads(served.qnib("settings", "show", "--json").stdout)
    origin = {row["name"]: row["origin"] for row in rows}
    assert origin["http.port"] == "QNIB_HTTP__PORT"
    assert origin["spool.keep_seconds"] == "default"


def test_short_answers_do_not_wait_for_an_acknowledgement() -> None:
    """asyncio sets TCP_NODELAY only where the listening socket names its protocol."""

    async def accepted() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def heard(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as listening:
            async with await asyncio.start_server(heard, sock=listening):
                with socket.create_connection(listening.getsockname()):
                    return await told

    assert asyncio.run(accepted())
