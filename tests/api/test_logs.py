"""Log files by the command line, who sends, what is sent on: as an operator sees it, on a real server."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.conftest import World, free_ports, serving
from tests.data import real

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server without any cluster, whose events go on to a syslog port where nobody listens."""
    home = tmp_path_factory.mktemp("logs")
    json_lines, away = free_ports(2)
    config = home / "qnib.toml"
    config.write_text(f'[[mirror.events]]\nto = "syslog://127.0.0.1:{away}"\n')
    with serving(home, "lab", QNIB_CONFIG=str(config), QNIB_JSON_LINES__PORT=str(json_lines)) as world:
        yield world


def test_a_file_is_loaded_and_once_only(served: World, tmp_path: Path) -> None:
    file = tmp_path / "slurmctld.log"
    file.write_bytes(real("logs/umhpc_slurmctld_2022-06.log").read_bytes())
    first = served.qnib("load", "slurmctld", str(file), "--host", "ctl").stdout
    assert "9827 events; none rejected." in first
    again = json.loads(served.qnib("load", "slurmctld", str(file), "--host", "ctl", "--json").stdout)
    assert [(told["events"], told["known"], told["new"]) for told in again] == [(9827, 9827, 0)]
    june = {"from": "2022-06-01T00:00:00Z", "until": "2022-07-01T00:00:00Z"}
    found = served.get("/api/events", **june, host="ctl", own="true")
    assert found["total"] == 9827


def test_the_files_own_time_gives_the_year(served: World, tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_text("Dec 31 23:59:59 old app: last year\nJan  1 00:00:01 old app: this year\n")
    at = datetime(2019, 3, 1, tzinfo=UTC).timestamp()
    os.utime(file, (at, at))
    said = served.qnib("load", "syslog", str(file)).stdout
    assert "2018 to 2019" in said and "From 2018-12-31T23:59:59+00:00 to 2019-01-01T00:00:01+00:00." in said


def test_what_is_asked_wrongly_is_told(served: World, tmp_path: Path) -> None:
    file = tmp_path / "dmesg"
    file.write_text("[ 1.0] a\n")
    said = served.qnib("load", "kmsg", str(file), check=False)
    assert said.returncode == 2 and "--host compute3" in said.stderr
    said = served.qnib("load", "syslog", str(file), "--zone", "Mars/Olympus", check=False)
    assert said.returncode == 2 and "Mars/Olympus" in said.stderr
    kinds = {row["kind"] for row in json.loads(served.qnib("load", "--json").stdout)}
    assert {"syslog", "slurmctld", "opensm", "kmsg", "json", "slurm/sacct"} <= kinds


def say(served: World, document: dict[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(json.dumps(document).encode(), ("127.0.0.1", int(served.env["QNIB_JSON_LINES__PORT"])))


def test_hostile_text_does_nothing_to_a_terminal(served: World) -> None:
    document = {"host": "evil", "message": "\x1b[2J\x1b]0;x\x07<script>alert(1)</script>"}
    say(served, document)
    served.until("the event", lambda: served.get("/api/events", host="evil")["events"], 30)
    said = served.qnib("events", "search", "host:evil").stdout
    assert "\x1b" not in said and "\x07" not in said
    assert r"\x1b[2J\x1b]0;x\x07<script>alert(1)</script>" in said
    (row,) = [r for r in json.loads(served.qnib("events", "senders", "--json").stdout) if r["host"] == "evil"]
    assert (row["sender"], row["listener"], row["events"], row["rejects"]) == ("127.0.0.1", "json/udp", 1, 0)
    assert abs(row["skew"]) < 5


def test_on_the_servers_own_port_elasticsearch_has_a_folder(served: World) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    assert httpx.get(f"{served.url}/elasticsearch/", headers=headers).json()["version"]["number"].startswith("8.")
    assert "text/html" in httpx.get(f"{served.url}/", headers=headers).headers["content-type"]
    document = {"message": "by HTTP", "host": "h"}
    answer = httpx.post(f"{served.url}/elasticsearch/logs/_doc", json=document, headers=headers)
    assert answer.status_code == 201
    served.until("the event", lambda: served.get("/api/events", host="h")["events"], 30)


def test_a_mirror_that_is_away_is_told(served: World) -> None:
    def told() -> bool:
        (state,) = served.get("/api/health")["mirror"]
        return bool(state["trouble"] and state["waiting"] and state["lag"] > 0)

    say(served, {"host": "h", "message": "to be sent on"})
    served.until("the mirror's trouble", told, 30)
    said = served.qnib("events", "mirror").stdout
    assert "syslog://127.0.0.1:" in said and "refused" in said.lower()
