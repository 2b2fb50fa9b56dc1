"""Loading captures and asking about the fabric, as people do it: by commands, of a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import World, serving

pytestmark = pytest.mark.engine
ASSETS = Path(__file__).parents[1] / "assets/infiniband"
WHOLE, OUT, MOVED = ("2024-03-01T08:00:00Z", "2024-03-01T08:05:00Z", "2024-03-01T08:09:00Z")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server without any cluster, and two years old captures of a fabric loaded into it."""
    home = tmp_path_factory.mktemp("loaded")
    with serving(home, "attic") as world:
        for name, at in (("whole", WHOLE), ("out", OUT), ("moved", MOVED)):
            load(world, "ibnetdiscover", f"ibnetdiscover.{name}.txt", at)
            load(world, "dump_fts", f"dump_fts.{name}.txt", at)
        load(world, "capability", "iblinkinfo.moved.txt", MOVED)
        yield world


def load(world: World, kind: str, name: str, at: str, *more: str) -> Any:
    done = world.qnib("load", kind, str(ASSETS / name), "--at", at, "--json", *more)
    return json.loads(done.stdout)[0]


def ask(world: World, *words: str) -> Any:
    return json.loads(world.qnib("fabric", *words, "--json").stdout)[0]


def test_loading_says_what_it_changed(loaded: World) -> None:
    first = load(loaded, "ibnetdiscover", "ibnetdiscover.whole.txt", WHOLE, "--cluster", "other")
    assert (first["first"], first["rejected"], first["ended"], first["cluster"]) == (True, 0, 0, "other")
    assert first["entities"] == 53 + 20 * 8 + 33 + 33 + 2 * 65
    second = load(loaded, "infiniband/topology", "ibnetdiscover.out.txt", OUT, "--cluster", "other")
    assert (second["began"], second["ended"], second["events"]) == (0, 6, 1)
    assert {"what": "ended", "kind": "LINK", "key": "leaf1/4 → n05/1"} in second["changes"]
    again = ("load", "topology", str(ASSETS / "ibnetdiscover.out.txt"), "--cluster", "other")
    assert "Nothing has changed." in loaded.qnib(*again, "--at", OUT).stdout
    late = loaded.qnib(*again, "--at", WHOLE)
    assert "changed nothing" in late.stdout


def test_what_cannot_be_loaded(loaded: World, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("ibnetdiscover: command not found\n")
    for words, status in (
        (("ibnetdiscover", str(tmp_path / "odd.txt")), 2), (("nothing", str(tmp_path / "odd.txt")), 1),
        (("ibnetdiscover", str(tmp_path / "none.txt")), 1), (("ibnetdiscover",), 2),
        (("ibnetdiscover", str(ASSETS / "tree.topo"), "--at", "yesterday"), 2),
        (("ibnetdiscover", str(ASSETS / "tree.topo"), "--cluster", "No/Cluster"), 2),
    ):  # fmt: skip
        done = loaded.qnib("load", *words, check=False)
        assert done.returncode == status, f"{words}: {done.stdout} {done.stderr}"
        assert "try next" in done.stderr and "Traceback" not in done.stderr
    assert "command not found" in loaded.qnib("load", "ibnetdiscover", str(tmp_path / "odd.txt"), check=False).stderr


def test_a_route_now_and_then(loaded: World) -> None:
    (route,) = ask(loaded, "route", "n00", "n05")["routes"]
    assert route["complete"] and route["by"] == "tables" and route["hops"][-1]["port"] == "leaf1/7"
    (then,) = ask(loaded, "route", "n00", "n05", "--at", "2024-03-01T08:01:00Z")["routes"]
    assert then["hops"][-1]["port"] == "leaf1/4"
    assert then["hops"][-1]["cable"] == route["hops"][-1]["cable"], "the same cable, inferred"
    text = loaded.qnib("fabric", "route", "n00", "n05").stdout
    assert "leaf1/7" in text and "4 links, by tables" in text and "No job shares" in text
    assert loaded.qnib("fabric", "route", "n00", "nobody", check=False).returncode == 1
    tables = ask(loaded, "tables")
    assert (tables["switches"], tables["known"], tables["faults"]) == (20, 20, [])


def test_degraded_and_planned(loaded: World) -> None:
    (link,) = ask(loaded, "degraded")["links"]
    assert (link["a"], link["speed"], link["usual"]) == ("leaf1/7", "QDR", "4x EDR")
    done = loaded.qnib("fabric", "planned", str(ASSETS / "tree.topo"), check=False)
    assert done.returncode == 1 and "planned is leaf1/4" in done.stdout
    fine = loaded.qnib("fabric", "planned", str(ASSETS / "tree.topo"), "--at", "2024-03-01T08:01:00Z")
    assert "All 65 links are as planned." in fine.stdout


def test_jobs_candidates_and_verdict_where_nothing_ran(loaded: World) -> None:
    assert ask(loaded, "sharing", "--link", "leaf0/1")["jobs"] == []
    assert loaded.qnib("fabric", "sharing", "--job", "7", check=False).returncode == 1
    found = ask(loaded, "candidates", "leaf1/4", "--time", "2024-03-01T08:06:00Z")
    assert found["candidates"] == [] and not found["about"]["up"] and found["about"]["link"] == "leaf1/4--n05/1"
    verdict = ask(loaded, "verdict", "leaf1/4", "--since", "2024-03-01T00:00:00Z", "--until", "2024-03-02T00:00:00Z")
    assert verdict["guilty"] == "none" and "was not watched" in verdict["sentence"]
    assert len(verdict["periods"]) == 2, "where the cable was, and where it went"


def test_the_map_now_and_then(loaded: World) -> None:
    now, then = loaded.get("/api/fabric"), loaded.get("/api/fabric", at="2024-03-01T08:06:00Z")
    assert now["counts"] == {"switches": 20, "hosts": 33, "links": 65, "down": 0, "on_route": 0}
    assert then["counts"]["down"] == 1 and not now["folded"] and then["at"].startswith("2024-03-01T08:06")
    few = loaded.get("/api/fabric", fold=3, open="leaf1")
    assert few["folded"] and "leaf1" in {node["id"] for node in few["nodes"]}
    assert [one["name"] for one in few["opened"]] == ["leaf1"]
    assert sum(link["count"] for link in few["links"]) <= 65
    odd = httpx.get(f"{loaded.url}/api/fabric?fold=1", headers={"Authorization": f"Bearer {loaded.token}"}, timeout=10)
    assert odd.status_code == 400 and odd.json()["try_next"]


def test_links_and_parts_by_command(loaded: World) -> None:
    rows = json.loads(loaded.qnib("fabric", "links", "--of", "leaf1", "--json").stdout)
    assert {row["a"] for row in rows} | {row["b"] for row in rows} >= {"leaf1", "n05"} and len(rows) == 6
    assert "65 links" in loaded.qnib("fabric", "links", "--limit", "3").stdout
    part = ask(loaded, "show", "leaf1/7", "--at", "2024-03-01T08:12:00Z")
    assert (part["kind"], part["ports"], part["links"][0]["speed"]) == ("port", ["leaf1/7", "n05/1"], "QDR")
    assert part["about"]["could run at"].endswith("QDR"), "what its ends said they could do"
    text = loaded.qnib("fabric", "show", part["links"][0]["cable"]).stdout
    assert "leaf1/7" in text and "leaf1/4" in text, "a cable and where it was"
    odd = loaded.qnib("fabric", "show", "leaf99", check=False)
    assert odd.returncode == 1 and "No part of the fabric" in odd.stderr


@pytest.mark.parametrize(
    "path", ["?fold=9", "links", "part?name=leaf1", "findings", "routes?a=n00&b=n01", "sharing?link=leaf0/1",
             "candidates?port=leaf0/1", "verdict?port=leaf0/1", "degraded", "tables"],
)  # fmt: skip
def test_a_token_is_needed(loaded: World, path: str) -> None:
    assert httpx.get(f"{loaded.url}/api/fabric/{path}".replace("/?", "?"), timeout=10).status_code == 401
    answer = httpx.post(f"{loaded.url}/api/load/infiniband/topology", content=b"x", timeout=10)
    assert answer.status_code == 401


def errors(world: World, folder: Path, at: str, **symbols: int) -> None:
    """Load an answer of ibqueryerrors of that time: symbol errors by port of leaf1."""
    rows = "".join(f"   GUID 0x200005 port {port[1:]}: [SymbolErrorCounter == {n}]\n" for port, n in symbols.items())
    (folder / "errors.txt").write_text(f'Errors for 0x200005 "leaf1"\n{rows}')
    done = world.qnib("load", "ibqueryerrors", str(folder / "errors.txt"), "--at", at, "--json")
    assert json.loads(done.stdout)[0]["numbers"] == len(symbols)


def test_errors_that_moved_along_with_a_cable_are_the_cables(loaded: World, tmp_path: Path) -> None:
    """Counters are loaded like any capture; the cable was moved from leaf1/4 to leaf1/7 at 08:05."""
    for minute, at4, at7 in ((1, 0, 0), (2, 20, 0), (4, 60, 0), (10, 60, 0), (12, 60, 30), (14, 60, 70)):
        errors(loaded, tmp_path, f"2024-03-01T08:{minute:02}:00Z", p4=at4, p7=at7)
    window = ("--since", "2024-03-01T00:00:00Z", "--until", "2024-03-02T00:00:00Z")

    def told() -> Any:
        found = ask(loaded, "verdict", "leaf1/4", *window)
        return found if sum(sum(one["errors"].values()) for one in found["periods"]) == 130 else None

    found = loaded.until("all errors", told, 30)
    assert found["guilty"] == "cable" and found["part"].startswith("cable leaf1/4--n05/1@")
    assert "Replace the cable between leaf1/7 and n05/1" in found["advice"]
    assert [(one["port"], one["time"][14:16], one["count"]) for one in found["errors"]] == [
        ("leaf1/4", "02", 20), ("leaf1/4", "04", 40), ("leaf1/7", "12", 30), ("leaf1/7", "14", 40),
    ]  # fmt: skip
    findings = json.loads(loaded.qnib("fabric", "findings", "--at", "2024-03-01T08:15:00Z", "--json").stdout)
    assert [(one["name"], one["about"][:6]) for one in findings] == [("port_or_cable", "CABLE:")]
    assert json.loads(loaded.qnib("fabric", "findings", "--json").stdout) == [], "today nothing is counted any more"
    (tmp_path / "odd.txt").write_text("# Port counters: Lid 999 port 1 (CapMask: 0x1300)\nSymbolErrorCounter:....3\n")
    done = loaded.qnib("load", "perfquery", str(tmp_path / "odd.txt"), "--at", WHOLE, check=False)
    assert done.returncode == 2 and "port 1 at LID 999" in done.stderr


def test_standard_input(loaded: World) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qnib", "load", "opensm-subnet", "-", "--cluster", "piped", "--at", WHOLE, "--json"],
        env=loaded.env, input=(ASSETS / "opensm-subnet.whole.lst").read_text(), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[0]["began"] > 100
