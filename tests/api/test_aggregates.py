"""Events counted and events posted, against a server of its own, as programs and people do it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.conftest import serving, stopped

pytestmark = pytest.mark.engine


def test_lines_become_a_series_of_their_count(tmp_path: Path) -> None:
    declared = json.dumps({
        "ssh": {"query": 'app:sshd "Failed password"', "interval": 10, "by": ["host"]},
        "posted": {"query": "kind:graphite.event", "interval": 10},
    })  # fmt: skip
    with serving(tmp_path, "lab", QNIB_AGGREGATES=declared) as world:
        before = datetime.now(UTC) - timedelta(seconds=60)
        lines = "".join(
            f"<38>1 {before:%Y-%m-%dT%H:%M:%SZ} c{n % 2} sshd - - - Failed password for a from 10.0.0.{n} port 1 ssh2\n"
            for n in range(5)
        )
        with socket.create_connection(("127.0.0.1", int(world.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
            wire.sendall(lines.encode())
        event = {"what": "new kernel", "tags": ["kernel", "rack3"], "when": before.timestamp(), "data": "6.12"}
        answer = httpx.post(f"{world.url}/events/", json=event, headers={"Authorization": f"Bearer {world.token}"})
        assert (answer.status_code, answer.text) == (200, "")

        def counted(target: str) -> dict[str, float]:
            told = world.get("/render", target=target, **{"from": "-5min"}, format="json")
            return {one["target"]: sum(value or 0 for value, _ in one["datapoints"]) for one in told}

        wanted = {"events.ssh;host=c0": 3, "events.ssh;host=c1": 2}
        world.until("the counts", lambda: counted("seriesByTag('name=events.ssh')") == wanted, 30)
        world.until("the count", lambda: counted("events.posted") == {"events.posted": 1}, 30)
        rows = json.loads(world.qnib("events", "aggregates", "--json").stdout)
        assert [(row["series"], row["known"], row["trouble"]) for row in rows] == [
            ("events.ssh", 2, ""), ("events.posted", 1, "")
        ]  # fmt: skip
        health = world.get("/api/health")["aggregates"]
        assert (health["count"], health["trouble"]) == (2, "")
        assert "events.ssh" in world.qnib("events", "aggregates").stdout
        told = world.qnib("events", "aggregates", "--backfill", "ssh", "--since", "-1h").stdout
        assert "intervals of ssh" in told
        assert world.qnib("events", "aggregates", "--backfill", "no", check=False).returncode == 1
        found = json.loads(world.qnib("events", "search", "tag:rack3", "--json").stdout)
        assert [(one["kind"], one["message"]) for one in found] == [("graphite.event", "new kernel: 6.12")]
        [again] = world.get("/events/get_data", tags="kernel rack3")
        assert (again["what"], again["data"], again["tags"]) == ("new kernel", "6.12", ["kernel", "rack3"])
        assert world.get(f"/events/{again['id']}/")["what"] == "new kernel"
        picture = httpx.get(
            f"{world.url}/render", headers={"Authorization": f"Bearer {world.token}"},
            params={"target": "events.posted", "format": "svg", "title": "Posted", "tz": "Europe/Berlin"},
        )  # fmt: skip
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert ">Posted</text>" in picture.text


def test_a_wrong_query_keeps_the_server_from_starting(tmp_path: Path) -> None:
    declared = json.dumps({"ssh": {"query": "severity>=awful"}})
    env = stopped(tmp_path, "lab", QNIB_AGGREGATES=declared).env
    ended = subprocess.run(
        [sys.executable, "-m", "qnib", "serve"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "aggregates.ssh.query" in ended.stderr
    assert "awful" in ended.stderr
    assert "Traceback" not in ended.stderr
