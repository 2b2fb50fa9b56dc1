"""The rules of paths, and what they make of a path, by command; units found as tags."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.conftest import World, serving

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("paths"), "lab") as world:
        yield world


def test_rules_are_listed_and_tried(served: World) -> None:
    rules = json.loads(served.qnib("metrics", "paths", "--json").stdout)
    assert {"path": "netdata.{host}.{chart}.{dimension*}"}.items() <= next(
        rule for rule in rules if rule["path"].startswith("netdata")
    ).items()
    told = served.qnib("metrics", "paths", "servers.n1.cpu.used", "carbon.agents.g1-a.cpuUsage", "a.b;unit=B", "--json")
    assert [(row["name"], row["unit"], row["host"]) for row in json.loads(told.stdout)] == [
        ("cpu.used", "%", "n1"), ("carbon.agents.cpuUsage", "", "g1"), ("a.b", "B", ""),
    ]  # fmt: skip


def test_a_mistake_is_told_and_the_rules_before_stay(served: World) -> None:
    folder = served.home / "rules"
    folder.mkdir()
    file = folder / "own.toml"
    file.write_text("[[path]]\npath = 'x.{host}'\nname = 'x'\nsample = 'y.n1'\n")
    told = served.qnib("metrics", "paths", "x.n1", check=False)
    assert told.returncode == 1
    assert "does not match its sample" in told.stderr
    file.write_text("[[path]]\npath = 'x.{host}'\nname = 'x'\nsample = 'x.n1'\nunit = 'W'\n")
    told = served.qnib("metrics", "paths", "x.n1", "--json")
    assert json.loads(told.stdout)[0] | {"tags": {}} == {
        "path": "x.n1", "name": "x", "tags": {}, "unit": "W", "mtype": "gauge", "host": "n1",
    }  # fmt: skip


def test_units_and_kinds_are_tags(served: World) -> None:
    now = int(time.time())
    sent = ("servers.n1.cpu.used", "sent;mtype=counter;unit=B", "servers.n1.plain")
    with socket.create_connection(("127.0.0.1", int(served.env["QNIB_CARBON__PORT"]))) as out:
        out.sendall("".join(f"{path} 5 {now}\n" for path in sent).encode())
    found: list[str] = []
    end = time.monotonic() + 30
    while len(found) < 1 and time.monotonic() < end:
        found = served.get("/tags/findSeries", expr="unit=%")
        time.sleep(0.1)
    assert found == ["cpu.used;host=n1"]
    assert served.get("/tags/findSeries", expr=["unit=B", "mtype=counter"]) == ["sent;mtype=counter;unit=B"]
    assert served.get("/tags/autoComplete/values", tag="unit") == ["%", "B"]
    assert served.get("/tags/autoComplete/tags", tagPrefix="u") == ["unit"]
