"""Searching events as programs and people do it, over HTTP and on the command line, against a server of its own."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.conftest import World, serving

pytestmark = pytest.mark.engine
LINES = 40


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that has taken in some lines by syslog and a job by `qnib load`."""
    home = tmp_path_factory.mktemp("served")
    with serving(home, "lab") as world:
        now = datetime.now(UTC)
        start = now - timedelta(minutes=30)
        (home / "sacct.txt").write_text(
            "JobIDRaw|JobID|User|Group|Account|Partition|State|Submit|Start|End|ExitCode|NodeList|NNodes|NCPUS|JobName\n"
            f"42|42|herbert|docker|physics|odd|COMPLETED|{start:%Y-%m-%dT%H:%M:%S}|{start:%Y-%m-%dT%H:%M:%S}"
            f"|{now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}|0:0|compute3|1|2|PingPong\n"
        )
        world.qnib("load", "sacct", str(home / "sacct.txt"))
        lines = [
            f"<3>1 {now - timedelta(minutes=20, seconds=-n):%Y-%m-%dT%H:%M:%SZ} compute{n % 4} kernel - - - "
            f"Out of memory: Killed process {n}" for n in range(LINES)
        ]  # fmt: skip
        lines.append(
            f"<15>1 {now - timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ} compute1 sshd - - - "
            "session <img src=x onerror=alert(1)> =cmd|' /C calc'!A0 \x1b[31mred"
        )
        send(world, *lines)
        world.until("all lines", lambda: search(world, "host:compute[0-3]")["total"] == LINES + 1, 20)
        yield world


def send(world: World, *lines: str) -> None:
    with socket.create_connection(("127.0.0.1", int(world.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
        wire.sendall("".join(f"{line}\n" for line in lines).encode())


def search(world: World, q: str, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = world.get("/api/events/search", q=q, **params)
    return answer


def test_a_search_gives_events_counts_over_time_and_facets(served: World) -> None:
    answer = search(
        served, '"out of memory" host:compute[0-3] severity>=err', histogram=60, facets="host,severity,user", limit=5
    )
    assert answer["total"] == LINES
    assert len(answer["events"]) == 5
    assert sum(answer["histogram"]["critical"]) == LINES
    assert answer["facets"]["host"]["folded"] == "compute[0-3]"
    assert answer["facets"]["user"]["values"] == [{"value": "herbert", "count": LINES // 4}]
    assert answer["query"] == '"out of memory" host:compute[0-3] severity>=err'


def test_the_job_of_a_bare_kernel_line_is_found_by_host_and_time(served: World) -> None:
    for q in ("user:herbert kernel OR user:herbert memory", "job:42 memory", "partition:odd memory"):
        found = search(served, q)["events"]
        assert {event["host"] for event in found} == {"compute3"}, q
    assert found[0]["around"]["jobs"][0]["name"] == "PingPong"
    around = served.get("/api/events/around", id=found[0]["id"], time=found[0]["time"])
    assert around["sentence"] == "Job PingPong of herbert (group docker, partition odd) on compute3"


@pytest.mark.parametrize(
    "path",
    [
        "search?q=host:",
        "search?q=nofield:x",
        "search?q=severity:loud",
        "search?facets=shoe",
        "export?q=%28",
        "tail?q=%22",
        "export?format=xml",
        "around?id=x",
        "around?id=99999999999999999999999",
        "tail?q=severity:loud",
        "search?q=time>=soon",
    ],
)
def test_wrong_questions_get_one_shape_of_error(served: World, path: str) -> None:
    answer = httpx.get(
        f"{served.url}/api/events/{path}", headers={"Authorization": f"Bearer {served.token}"}, timeout=10
    )
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"what", "where", "try_next"}


@pytest.mark.parametrize("path", ["search", "export", "tail", "around?id=1", "language"])
def test_nobody_searches_without_the_token(served: World, path: str) -> None:
    assert httpx.get(f"{served.url}/api/events/{path}", timeout=10).status_code == 401


def export(served: World, **params: Any) -> httpx.Response:
    return httpx.get(
        f"{served.url}/api/events/export",
        params=params,
        headers={"Authorization": f"Bearer {served.token}"},
        timeout=30,
    )


def test_an_export_is_bounded_and_says_what_it_leaves_out(served: World) -> None:
    answer = export(served, q="memory", limit=7)
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert len(rows) == 7
    assert answer.headers["x-qnib-total"] == str(LINES)
    assert answer.headers["x-qnib-cut"] == str(LINES - 7)
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)


def test_csv_is_for_spreadsheets_that_calculate_nothing(served: World) -> None:
    answer = export(served, q="session", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 1
    assert "<img src=x" in rows[0]["message"]
    whole = list(csv.DictReader(io.StringIO(export(served, q="job:42 memory", format="csv").text)))
    assert {(row["jobs"], row["users"], row["host"]) for row in whole} == {("42", "herbert", "compute3")}
    send(served, f"<13>1 {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} sheet app - - - =1+1")
    served.until("the formula", lambda: search(served, "host:sheet")["total"], 15)
    assert next(csv.DictReader(io.StringIO(export(served, q="host:sheet", format="csv").text)))["message"] == "'=1+1"


def test_the_command_line_says_the_same(served: World) -> None:
    table = served.qnib("events", "search", "user:herbert memory", "--since", "1h").stdout
    assert "42 (herbert)" in table
    lines = served.qnib("events", "search", "--jsonl", "severity>=err", "out of memory").stdout.splitlines()
    assert len(lines) == LINES
    assert len(json.loads(served.qnib("events", "search", "--json", "memory").stdout)) == LINES
    cut = served.qnib("events", "search", "--csv", "--limit", "3", "memory")
    assert len(cut.stdout.splitlines()) == 4
    assert f"{LINES - 3} older events" in cut.stderr
    facets = served.qnib("events", "search", "memory", "--facets", "host,user").stdout
    assert "herbert" in facets
    assert "hosts: compute[0-3]" in facets
    wrong = served.qnib("events", "search", "host:", check=False)
    assert wrong.returncode != 0
    assert "at character 6" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert "\x1b[31m" not in served.qnib("events", "search", "session").stdout, "a line must not steer the terminal"
    assert "host:compute[0-7]" in served.qnib("events", "fields").stdout
    event = json.loads(served.qnib("events", "search", "--json", "--limit", "1", "job:42 memory").stdout)[0]
    around = served.qnib("events", "around", event["id"], "--time", event["time"]).stdout
    assert "Job PingPong of herbert (group docker, partition odd) on compute3" in around


def test_a_tail_tells_what_matches_and_only_what_is_new(served: World) -> None:
    env = {**served.env, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "qnib", "events", "tail", "--json", "app:tailed -dull"], env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        seen: list[dict[str, Any]] = []
        assert running.stdout is not None
        out = running.stdout
        reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in out), daemon=True)
        reader.start()
        number = iter(range(1000))

        def one_more() -> bool:
            """Lines go on until the tail, which takes a moment to begin, has told one."""
            send(
                served,
                *(
                    f"<13>1 {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} c1 {app} - - - {text} {next(number)}"
                    for app, text in (("tailed", "wanted"), ("tailed", "dull"), ("other", "wanted"))
                ),
            )
            return len(seen) >= 3

        served.until("three lines", one_more, 30)
        running.terminate()
        reader.join(10)
    assert all(event["app"] == "tailed" and event["message"].startswith("wanted") for event in seen)
    ids = [event["id"] for event in seen]
    assert len(ids) == len(set(ids)), "each once"
    numbers = [int(event["message"].split()[-1]) for event in seen]
    assert numbers == sorted(numbers)
    assert numbers == list(range(numbers[0], numbers[-1] + 1, 3)), "none left out"


def test_grafana_gets_the_events_of_a_query_as_annotations(served: World) -> None:
    answer = served.get("/events/get_data", query="user:herbert memory", **{"from": "-1h", "until": "now"})
    assert len(answer) == LINES // 4
    assert answer[0]["what"]
    assert "compute3" in answer[0]["tags"]
    assert served.get("/events/get_data", tags="kernel compute3 memory", **{"from": "-1h"}) == []
