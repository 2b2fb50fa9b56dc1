"""Lists of packages from files, and which hosts differ: as people do it, by commands, of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qnib.domains import all_domains
from tests.conftest import World, serving

pytestmark = pytest.mark.engine
SAMPLES = {domain.name: domain.folder / "samples" for domain in all_domains()}
EARLY, LATE = "2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server without any cluster; four hosts' packages, of which n3 has another version since the later time."""
    home = tmp_path_factory.mktemp("differs")
    with serving(home, "lab") as world:
        usual = SAMPLES["software"] / "dpkg.query.txt"
        odd = home / "odd.txt"
        odd.write_text(usual.read_text().replace("libssl3t64\t3.5.9", "libssl3t64\t3.0.1"))
        for number in range(4):
            world.qnib("load", "dpkg", str(usual), "--host", f"n{number}", "--at", EARLY)
        world.qnib("load", "dpkg", str(odd), "--host", "n3", "--at", LATE)
        yield world


def test_the_one_that_differs_is_named(loaded: World) -> None:
    said = loaded.qnib("node", "differs", "n[0-3]").stdout
    assert said.startswith("n3 differs from the other 3: 1 difference in packages.")
    assert "Bring them to one version" in said and "not known of any: kernel and system" in said
    rows = loaded.qnib("node", "differs", "n[0-3]", "--csv").stdout.splitlines()
    assert rows == [
        "aspect,item,hosts,value,usual,usual_hosts",
        "packages,libssl3t64,n3,3.0.1-1~deb13u1,3.5.9-1~deb13u1,n[0-2]",
    ]  # fmt: skip
    (answer,) = json.loads(loaded.qnib("node", "differs", "n[0-3]", "--json").stdout)
    assert answer["difference_count"] == 1 and answer["findings"][0]["severity"] == "warn"


def test_an_earlier_time_and_hosts_nobody_told_of(loaded: World) -> None:
    said = loaded.qnib("node", "differs", "n[0-3],n9", "--at", "2026-03-01T08:30:00Z").stdout
    assert said.startswith("No differences between the 5 hosts in 10 packages. Not everything is known of n9.")
    assert "n[0-3]; not known: n9" in said


@pytest.mark.parametrize(
    ("params", "status", "what"),
    [
        ({}, 400, "Name a job or hosts."), ({"hosts": "n["}, 400, "is no set of nodes"),
        ({"hosts": "x[0-3]"}, 404, "Nothing is known of x[0-3]."), ({"job": "7"}, 404, "No job '7' is known."),
        ({"hosts": "n0", "at": "soon"}, 400, "'soon' is no time."),
    ],
)
def test_errors_are_told_in_words(loaded: World, params: dict[str, str], status: int, what: str) -> None:
    answer = httpx.get(
        f"{loaded.url}/api/differs", params=params, headers={"Authorization": f"Bearer {loaded.token}"}, timeout=30
    )
    assert answer.status_code == status and what in answer.json()["what"]
    assert httpx.get(f"{loaded.url}/api/differs", params=params, timeout=30).status_code == 401


def test_a_capture_that_names_no_machine_wants_one(loaded: World) -> None:
    done = loaded.qnib("load", "dpkg", str(SAMPLES["software"] / "dpkg.query.txt"), check=False)
    assert done.returncode and "--host compute3" in done.stderr


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("rpm", "software/rpm.query"), ("modules", "software/modules.lmod"), ("lldp", "network/lldp.two"),
        ("lldpctl", "network/lldp.keyvalue"), ("interfaces", "network/interfaces.node"),
        ("neighbours", "network/neighbours.arp"), ("podman", "container/podman.both"),
        ("docker", "container/docker.inspect"), ("system", "host/system.debian"),
    ],
)
def test_captures_of_all_three_are_taken_from_files(loaded: World, kind: str, file: str) -> None:
    domain, name = file.split("/")
    path: Path = SAMPLES[domain] / f"{name}.txt"
    (answer,) = json.loads(
        loaded.qnib("load", kind, str(path), "--host", "m1", "--cluster", f"c{kind}", "--json").stdout
    )
    assert (answer["rejected"], answer["first"]) == (0, True)
    assert answer["began"] > 0
