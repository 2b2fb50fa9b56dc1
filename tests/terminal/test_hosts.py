"""Several hosts without any: addresses, who gets which node, what is refused before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from qnib import terminal
from qnib.errors import Conflict, Unavailable, WrongUse
from qnib.settings import Settings, Terminal
from qnib.terminal import hosts, placing, spreading
from qnib.terminal.addresses import parse
from qnib.terminal.blueprint import MOST_HOSTS, Blueprint
from qnib.terminal.engines.several import Host, Several
from tests.terminal.fake import FakeEngine


@pytest.mark.parametrize(("text", "told"), [
    ("local", ("unix", "/var/run/docker.sock", "", "", 0)),
    ("/run/podman/podman.sock", ("unix", "/run/podman/podman.sock", "", "", 0)),
    ("unix:///run/d.sock", ("unix", "/run/d.sock", "", "", 0)),
    ("ssh://n1", ("ssh", "/var/run/docker.sock", "n1", "", 0)),
    ("ssh://ann@n1:2222/run/d.sock", ("ssh", "/run/d.sock", "n1", "ann", 2222)),
    ("tcp://10.0.0.3", ("tcp", "", "10.0.0.3", "", 2376)),
    ("tcp://n2:4243", ("tcp", "", "n2", "", 4243)),
])  # fmt: skip
def test_addresses(text: str, told: tuple[str, str, str, str, int]) -> None:
    found = parse(text)
    assert (found.kind, found.path, found.host, found.user, found.port) == told


@pytest.mark.parametrize("text", [
    "", "n1", "http://n1", "ssh://", "ssh://-oProxyCommand=id", "ssh://-x@n1", "ssh://ann:secret@n1", "tcp://ann@n1",
    "tcp://n1/path", "tcp://n1:no", "unix://n1/path", "tcp://n1?x=1",
])  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="no engine's address"):
        parse(text)


def test_blocks_follow_each_other_in_proportion() -> None:
    assert placing.blocks(7, [1, 1, 1]) == [0, 0, 0, 1, 1, 2, 2]
    assert placing.blocks(1, [1, 5]) == [1]
    for count in range(1, 40):
        found = placing.blocks(count, [5, 2, 1])
        assert len(found) == count and found == sorted(found)
        assert all(abs(found.count(place) - count * share / 8) < 1 for place, share in enumerate([5, 2, 1]))


def test_nodes_to_come_go_where_fewest_are() -> None:
    assert placing.more([0, 0, 0, 1], 4, [3, 1]) == [0, 0, 0, 1, 0, 0, 0, 1]
    assert placing.more([0, 0, 0], 2, [1, 1]) == [0, 0, 0, 1, 1]


def test_a_blueprint_names_each_host_once() -> None:
    found = Blueprint.model_validate({"hosts": [{"address": "local", "share": 3}, {"address": "tcp://n2"}]})
    assert [(host.address, host.share) for host in found.hosts] == [("local", 3), ("tcp://n2", 1)]
    many = [{"address": f"tcp://n{number}"} for number in range(MOST_HOSTS + 1)]
    for wrong in ([{"address": "local"}] * 2, [{"address": "n2"}], many):
        with pytest.raises(ValidationError):
            Blueprint.model_validate({"hosts": wrong})
    with pytest.raises(ValidationError, match="230 nodes"):
        Blueprint.model_validate({"nodes": [{"count": 240}], "hosts": [{"address": "local"}]})


def test_wrong_words_are_refused_before_anything(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(WrongUse, match="no engine's address"):
        terminal.up(settings, over=["n1"])
    with pytest.raises(WrongUse, match="Docker"):
        terminal.up(settings, over=["local"], engine="podman")
    with pytest.raises(WrongUse, match="login"):
        terminal.up(settings, over=["local"], with_login=True)
    assert not (tmp_path / "clusters").exists()


def test_a_host_that_is_away_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnib.terminal.engines.remote.shutil.which", lambda name: f"/usr/bin/{name}")
    settings = Settings(home=tmp_path, terminal=Terminal(certificates=str(tmp_path)))
    gone = hosts.reach(settings, str(tmp_path / "none.sock"))
    assert gone.engine is None and gone.trouble and "does not answer" in gone.trouble.what
    bare = hosts.reach(settings, "tcp://127.0.0.1:1")
    assert bare.trouble and "ca.pem is missing" in bare.trouble.what
    with pytest.raises(Unavailable, match="is away"):
        _ = gone.there


def test_what_is_done_to_a_container_is_done_on_its_host() -> None:
    first, second = FakeEngine(), FakeEngine()
    both = Several([Host("a", first), Host("b", second)], [0, 1, 1])  # type: ignore[arg-type]
    for name in ("controller", "fabric", "compute0", "compute1", "compute2"):
        both.run_inside(f"qnib-compute7-{name}", ["true"])  # a cluster may be called so
    assert [name for name, _ in first.ran] == [f"qnib-compute7-{n}" for n in ("controller", "fabric", "compute0")]
    assert [name for name, _ in second.ran] == ["qnib-compute7-compute1", "qnib-compute7-compute2"]
    both.create_volume("home", {"qnib": "x"})
    assert [found.name for found in both.volumes("qnib=x")] == ["home"] and second.volumes_there
    both.hosts[1] = Host("b", None)
    assert both.containers("qnib") == [] and len(both.present) == 1
    with pytest.raises(Unavailable, match="away"):
        both.start("qnib-compute7-compute1")


def test_two_clusters_do_not_send_to_one_address(tmp_path: Path) -> None:
    from qnib import clusters

    settings = Settings(home=tmp_path)
    clusters.save(settings.clusters, clusters.Cluster("one", gateway="10.0.0.1"))
    spreading.check_listening(settings, "one", "10.0.0.1")
    spreading.check_listening(settings, "two", "10.0.0.2")
    with pytest.raises(Conflict, match="'one'"):
        spreading.check_listening(settings, "two", "10.0.0.1")


def test_this_machines_address_is_one_it_has() -> None:
    found = hosts.this_machine(["local", "tcp://127.0.0.1"])
    assert found == "127.0.0.1"
    with socket.socket() as bound:
        bound.bind((found, 0))
