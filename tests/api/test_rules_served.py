"""Rules, patterns, reclassifying and jobs from the log as their users meet them: command, URL, health."""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import World, serving

pytestmark = pytest.mark.engine
RULE = """
[[rule]]
name = "pump_slow"
match = 'pump (?P<pump>\\d+) is slow'
kind = "cooling.pump"
severity = "warning"
sample = "pump 3 is slow"
expect = { pump = "3" }
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("rules"), "c1") as world:
        yield world


def say(world: World, *messages: str, app: str = "bmc") -> None:
    """Lines of now; returns when they are stored."""
    before = world.get("/api/events", **{"from": "-1d"})["total"]
    stamp = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with socket.create_connection(("127.0.0.1", int(world.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
        wire.sendall("".join(f"<30>1 {stamp} rack1 {app} - - - {one}\n" for one in messages).encode())
    world.until("stored", lambda: world.get("/api/events", **{"from": "-1d"})["total"] == before + len(messages), 20)


def test_from_unknown_lines_to_a_rule_of_the_site_and_back_in_time(served: World) -> None:
    say(served, *(f"pump {n} is slow" for n in range(5)), "valve 1 is open")
    told = served.get("/api/events/patterns")
    assert [(row["template"], row["count"], row["new"]) for row in told["patterns"]] == [
        ("pump <*> is slow", 5, True), ("valve <*> is open", 1, True),
    ]  # fmt: skip
    shown = served.qnib("events", "patterns").stdout
    assert "pump <*> is slow" in shown and "6 of 6 lines are known to no rule: 2 patterns, 2 of them new." in shown
    rows = list(csv.DictReader(io.StringIO(served.qnib("events", "patterns", "--csv").stdout)))
    assert [row["count"] for row in rows] == ["5", "1"]
    number = told["patterns"][0]["pattern"]
    found = json.loads(served.qnib("events", "search", f"pattern:{number}", "--json").stdout)
    assert len(found) == 5

    (served.home / "rules").mkdir()
    (served.home / "rules/site.toml").write_text(RULE)
    health = served.get("/api/health")["rules"]
    assert (health["site"], health["trouble"]) == (1, "")
    say(served, "pump 9 is slow")
    assert [e["kind"] for e in served.get("/api/events", rule="pump_slow")["events"]] == ["cooling.pump"]
    out = served.qnib("events", "reclassify", "--from", "-1h").stdout
    assert "done: 7 of 7 events looked at" in out and "5 changed" in out
    assert served.get("/api/events", kind="cooling.pump")["total"] == 6
    assert [row["template"] for row in served.get("/api/events/patterns")["patterns"]] == ["valve <*> is open"]
    again = json.loads(served.qnib("events", "reclassify", "--from", "-1h", "--json").stdout)
    assert (again["state"], again["changed"]) == ("done", 0)
    assert json.loads(served.qnib("events", "reclassify", "--status", "--json").stdout) == again


def test_a_mistake_is_told_by_health_and_command(served: World) -> None:
    (served.home / "rules").mkdir(exist_ok=True)
    file = served.home / "rules/site.toml"
    file.write_text(RULE)
    assert served.get("/api/health")["rules"]["trouble"] == ""
    file.write_text(RULE.replace("pump (?P", "pump ((?P"))
    assert f"{file}:2" in served.get("/api/health")["rules"]["trouble"]
    refused = served.qnib("events", "rules", check=False)
    assert refused.returncode == 1 and "pattern is wrong" in refused.stderr
    names = [row["name"] for row in served.get("/api/events/rules")["rules"]]
    assert names[0] == "pump_slow" and "oom_kill" in names, "the rules before are in force"
    file.write_text(RULE)
    assert served.qnib("events", "rules").stdout.strip().endswith(f"1 of the site's own in {file.parent}.")


def test_jobs_of_the_log(served: World) -> None:
    say(
        served, "_slurm_rpc_submit_batch_job: JobId=42 InitPrio=1 usec=376",
        "sched: Allocate JobId=42 NodeList=compute[0-3] #CPUs=4 Partition=all", "_job_complete: JobId=42 WEXITSTATUS 3",
        app="slurmctld",
    )  # fmt: skip
    (row,) = json.loads(served.qnib("events", "jobs", "--json").stdout)
    assert (row["job"], row["state"], row["nodes"], row["exit_code"]) == (42, "FAILED", "compute[0-3]", 3)

    def number() -> Any:
        series = served.get("/api/series", metric="slurm.submit_time", **{"from": "-5m"})
        return series["unit"] == "us" and [v for one in series["series"] for v in one["mean"] if v is not None]

    deadline = time.monotonic() + 20
    while not number():
        assert time.monotonic() < deadline
    assert number() == [376.0]


def test_bad_questions_are_answered(served: World) -> None:
    assert served.qnib("events", "reclassify", check=False).returncode == 2
    wrong = served.qnib("events", "patterns", "--from", "yesterday", check=False)
    assert wrong.returncode == 2 and "no time" in wrong.stderr
    assert Path(served.home / "rules").is_dir()
