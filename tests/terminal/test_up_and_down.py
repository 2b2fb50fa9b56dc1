"""What `up` leaves behind when it fails or is stopped: nothing. On an engine in memory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib import clusters, terminal
from qnib.clock import FrozenClock
from qnib.errors import Conflict, NotAllowed, NotFound, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import (
    attendant,
    engines,
    image,
    record,
    stopping,
)
from qnib.terminal.blueprint import Blueprint, Coming, Fabric
from qnib.terminal.exchange import Here
from qnib.terminal.faults.inject import due
from tests.terminal.fake import FakeEngine, in_place

NAME = f"unit{os.getpid()}"
"""The engine is in memory, cgroups are the machine's own: somebody's `demo` must not be touched."""

READY = "registered 600\nsrun 400 0\nsrun 390 0\nsrun 380 0\nready 1900\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cluster=NAME)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    made = FakeEngine()
    made.images_there.add(image.tag(Blueprint()))
    made.answer = lambda name, command: (0, READY if "ready.sh" in " ".join(command) else "")
    return in_place(made, monkeypatch, tmp_path)


def nothing_is_left(engine: FakeEngine, settings: Settings) -> bool:
    return not (engine.there or engine.networks_there or engine.volumes_there or clusters.load_all(settings.clusters))


def test_up_makes_a_cluster_and_down_removes_it(engine: FakeEngine, settings: Settings) -> None:
    said: list[str] = []
    cluster = terminal.up(settings, nodes=3, say=said.append)
    hosts = ("compute0", "compute1", "compute2", "controller", "fabric")
    assert sorted(engine.there) == [f"qnib-{NAME}-{host}" for host in hosts]
    assert all(found.state == "running" for found in engine.there.values())
    assert clusters.load(settings.clusters, NAME).details["state"] == "ready"
    assert cluster.gateway.startswith("10.213.") and cluster.gateway.endswith(".1")
    assert cluster.details["ready"]["srun"] == [400, 390, 380]
    assert any("limits: node-limits" in step for step in said)
    assert terminal.status(settings)["state"] == "ready"
    assert terminal.down(settings) == [NAME]
    assert nothing_is_left(engine, settings)
    assert not (settings.clusters / NAME).exists()
    assert terminal.down(settings) == []


def test_secrets_reach_containers_as_files_only_root_reads(engine: FakeEngine, settings: Settings) -> None:
    cluster = terminal.up(settings, nodes=1)
    for container in engine.made:
        assert cluster.ingest_token not in str(container)
        assert not any("cluster.json" in source for source, _, _ in container.binds)
        config = next(Path(source) for source, inside, _ in container.binds if inside == "/etc/qnib/agent.json")
        assert config.stat().st_mode & 0o777 == 0o400
        assert json.loads(config.read_text())["token"] == cluster.ingest_token
    key = settings.clusters / NAME / "etc/munge.key"
    assert key.stat().st_mode & 0o777 == 0o400
    first = key.read_bytes()
    terminal.down(settings)
    terminal.up(settings, nodes=1)
    assert key.read_bytes() != first


def test_a_second_up_of_the_same_name_is_refused_and_harmless(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=1)
    before = dict(engine.there)
    with pytest.raises(Conflict, match="there already"):
        terminal.up(settings, nodes=1)
    assert engine.there == before


def test_another_state_directorys_cluster_is_left_alone(engine: FakeEngine, settings: Settings, tmp_path: Path) -> None:
    terminal.up(settings, nodes=1)
    other = Settings(home=tmp_path / "other", cluster=NAME)
    with pytest.raises(Conflict, match="Another state directory"):
        terminal.up(other, nodes=1)
    assert terminal.down(other, every=True) == []
    assert len(engine.there) == 3


def test_remains_of_a_killed_up_are_swept_away(engine: FakeEngine, settings: Settings) -> None:
    engine.create_volume(f"qnib-{NAME}-home", record.labels(settings, NAME))
    terminal.up(settings, nodes=1)
    assert len(engine.there) == 3


@pytest.mark.parametrize("what", ["network", "volume", "create", "start"])
@pytest.mark.parametrize("error", [Unavailable("the engine broke"), KeyboardInterrupt()])
def test_whatever_fails_nothing_is_left(
    what: str, error: BaseException, engine: FakeEngine, settings: Settings
) -> None:
    def fail(doing: str, name: str) -> None:
        if doing == what and not name.endswith("controller"):
            raise error

    engine.before = fail
    with pytest.raises(type(error)):
        terminal.up(settings, nodes=2)
    assert nothing_is_left(engine, settings)
    assert engine.closed


def test_sigterm_takes_the_same_way_out_as_ctrl_c(engine: FakeEngine, settings: Settings) -> None:
    def stop(doing: str, name: str) -> None:
        if doing == "start":
            os.kill(os.getpid(), signal.SIGTERM)

    engine.before = stop
    with pytest.raises(KeyboardInterrupt):
        terminal.up(settings, nodes=1)
    assert nothing_is_left(engine, settings)


def test_a_node_that_never_registers_is_named(engine: FakeEngine, settings: Settings) -> None:
    def answer(name: str, command: Sequence[str]) -> tuple[int, str]:
        return (1, "missing compute0 compute2\n") if "ready.sh" in " ".join(command) else (0, "")

    engine.answer = answer
    with pytest.raises(Unavailable) as error:
        terminal.up(settings, nodes=4)
    assert "2 did not register" in error.value.what
    assert "compute1, compute3" in error.value.what
    assert "last word" in error.value.where
    assert nothing_is_left(engine, settings)


def test_steps_that_are_slow_but_work_are_ready_with_a_word(engine: FakeEngine, settings: Settings) -> None:
    slow = "registered 600\nsrun 2400 0\nsrun 2390 0\nsrun 2380 0\nslow 60000\nready 60001\n"
    engine.answer = lambda name, command: (0, slow if "ready.sh" in " ".join(command) else "")
    said: list[str] = []
    terminal.up(settings, nodes=1, say=said.append)
    assert any("busy" in step for step in said)


def test_only_one_command_changes_a_cluster_at_a_time(engine: FakeEngine, settings: Settings) -> None:
    with record.locked(settings, NAME), pytest.raises(Conflict, match="Another command"):
        terminal.up(settings, nodes=1)


@pytest.mark.parametrize("name", ["Demo", "1x", "a_b", "../x", "x" * 40])
def test_names_that_are_none(name: str, engine: FakeEngine, settings: Settings) -> None:
    with pytest.raises(WrongUse):
        terminal.up(settings, name=name)
    assert not engine.there


def test_a_taken_subnet_is_skipped(engine: FakeEngine, settings: Settings) -> None:
    refused: list[str] = []

    def busy(doing: str, name: str) -> None:
        if doing == "network" and not refused:
            refused.append(name)
            raise Unavailable("subnet is in use")

    engine.before = busy
    cluster = terminal.up(settings, nodes=1)
    assert refused and cluster.details["subnet"]
    two = terminal.up(settings, name="two", nodes=1)
    assert two.details["subnet"] != cluster.details["subnet"]


def test_scale_plugs_in_and_out(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=2)
    engine.ran.clear()
    assert terminal.scale(settings, 3).details["nodes"] == 3
    told = " ".join(word for _, command in engine.ran for word in command)
    assert 'ReLink "SW2"[3]' in told and 'ReLink "SPINE1"[2]' in told
    engine.ran.clear()
    terminal.scale(settings, 1)
    told = " ".join(word for _, command in engine.ran for word in command)
    assert "state=drain" in told and "delete nodename=compute2" in told and 'Unlink "SW2"[3]' in told
    assert sorted(engine.there) == [f"qnib-{NAME}-compute0", f"qnib-{NAME}-controller", f"qnib-{NAME}-fabric"]


def test_scaling_down_busy_nodes_names_the_jobs(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=2)
    engine.answer = lambda name, command: (1, "41\n42\n") if "state=drain" in " ".join(command) else (0, "")
    with pytest.raises(Conflict, match="41 42"):
        terminal.scale(settings, 1, patience=0)
    assert len(engine.there) == 4


def test_a_new_node_that_does_not_come_is_removed_again(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=2)
    engine.answer = lambda name, command: (1, "compute2\n") if "srun" in " ".join(command) else (0, "")
    with pytest.raises(Unavailable, match="compute3"):
        terminal.scale(settings, 4)
    assert f"qnib-{NAME}-compute3" not in engine.there
    assert clusters.load(settings.clusters, NAME).details["nodes"] == 2


def test_faults_are_ground_truth(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=4)
    fault = terminal.fault_inject(settings, "cable-out", "SW1/3")
    assert (fault.id, fault.ends) == (1, ["SW1/3", "compute0/1"])
    with pytest.raises(Conflict, match="out already"):
        terminal.fault_inject(settings, "cable-out", "compute0/1")
    terminal.fault_inject(settings, "cable-out", "SW2/4")
    with pytest.raises(NotFound, match="no open fault 9"):
        terminal.fault_clear(settings, 9)
    assert [f.id for f in terminal.fault_clear(settings, 1)] == [1]
    assert [f.id for f in terminal.fault_clear(settings)] == [2]
    assert terminal.fault_clear(settings) == []
    terminal.fault_inject(settings, "cable-out", "SW1/1")
    terminal.down(settings)
    # The history of a cluster outlives it, with no fault left open.
    assert [bool(f.cleared) for f in terminal.fault_list(settings, NAME)] == [True, True, True]


def test_faults_that_cannot_be(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=4)
    wrong = [
        ("cable-melt", "SW1/3", "", "no fault"), ("cable-out", "SW1/3", "5", "takes no value"),
        ("cable-bad", "SW1/3", "many", "no number"), ("cable-move", "SW1/3", "", "needs a value"),
        ("node-slow", "compute1", "200%", "no share"), ("clock-skew", "compute1", "soon", "no span"),
        ("daemon-stop", "compute1", "cron", "no daemon"), ("link-rate", "compute1", "fast", "no rate"),
        ("cable-out", "SW1", "", "no port"),
    ]  # fmt: skip
    for kind, target, value, said in wrong:
        with pytest.raises(WrongUse, match=said):
            terminal.fault_inject(settings, kind, target, value)
    with pytest.raises(NotFound, match="no node 'compute9'"):
        terminal.fault_inject(settings, "node-down", "compute9")
    with pytest.raises(Unavailable, match="limited by the engine"):
        terminal.fault_inject(settings, "node-slow", "compute1")
    assert terminal.fault_list(settings, NAME) == []


def test_a_dead_node_pulls_its_link_down_and_comes_back_with_it(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=4)
    terminal.fault_inject(settings, "node-down", "compute0")
    assert engine.there[f"qnib-{NAME}-compute0"].state == "exited"
    assert 'Unlink "SW1"[3]' in str(engine.ran[-1])
    terminal.fault_inject(settings, "cable-move", "SW1/4", "SW1/5")
    assert 'Link "SW1"[5] "compute1"[1]' in str(engine.ran[-1])
    with pytest.raises(Conflict, match="plugged in"):
        terminal.fault_inject(settings, "cable-move", "SW2/3", "SW2/4")
    terminal.fault_clear(settings)
    assert engine.there[f"qnib-{NAME}-compute0"].state == "running"
    assert 'Link "SW1"[4] "compute1"[1]' in str(engine.ran) and 'Link "SW1"[3] "compute0"[1]' in str(engine.ran[-1])


def test_what_is_made_to_fail_does_not_go_with_its_node(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=4)
    terminal.fault_inject(settings, "cable-bad", "SW2/4")
    with pytest.raises(Conflict, match="made to fail"):
        terminal.scale(settings, 3)
    terminal.fault_clear(settings)
    assert terminal.scale(settings, 3).details["nodes"] == 3


def test_faults_end_by_themselves_when_their_time_is_over(engine: FakeEngine, settings: Settings) -> None:
    clock = FrozenClock(datetime(2026, 11, 20, tzinfo=UTC))
    cluster = terminal.up(settings, nodes=4, clock=clock)
    fault = terminal.fault_inject(settings, "cable-out", "SW1/3", lasts=30, clock=clock)
    assert due(settings, NAME, cluster.created, clock.now()) == []
    clock.advance(31)
    assert due(settings, NAME, cluster.created, clock.now()) == [fault]


def test_one_fault_that_cannot_be_undone_does_not_keep_others(
    engine: FakeEngine, settings: Settings, request: pytest.FixtureRequest
) -> None:
    clock = FrozenClock(datetime(2026, 11, 20, tzinfo=UTC))
    terminal.up(settings, nodes=4, clock=clock)
    terminal.fault_inject(settings, "disk-full", "compute1", lasts=1, clock=clock)
    terminal.fault_inject(settings, "cable-out", "SW1/3", lasts=1, clock=clock)
    engine.answer = lambda name, command: (1, "gone") if name.endswith("compute1") else (0, "")
    clock.advance(2)
    attending = attendant.Attendant(settings, NAME, clock, Here(settings.home))
    request.addfinalizer(attending.close)
    assert attending.beat()
    assert [bool(fault.cleared) for fault in terminal.fault_list(settings, NAME)] == [False, True]
    assert "compute1" in attending.told["trouble"]
    terminal.fault_inject(settings, "cable-out", "SW1/4", clock=clock)
    with pytest.raises(Unavailable, match="compute1"):
        terminal.fault_clear(settings)
    assert [bool(fault.cleared) for fault in terminal.fault_list(settings, NAME)] == [False, True, True]


def test_an_action_that_fails_half_way_is_undone_and_not_written_down(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=4)
    engine.answer = lambda name, command: (1, "") if name.endswith("fabric") else (0, "")
    with pytest.raises(Unavailable, match="simulator"):
        terminal.fault_inject(settings, "node-down", "compute1")
    assert engine.there[f"qnib-{NAME}-compute1"].state == "running"
    assert terminal.fault_list(settings, NAME) == []


def test_what_another_state_directory_has_under_that_name_is_not_removed(
    engine: FakeEngine, settings: Settings, tmp_path: Path
) -> None:
    other = Settings(home=tmp_path / "other", cluster=NAME)
    terminal.up(other, nodes=1)
    stopping.remove_all(settings, engine, NAME)
    assert len(engine.there) == 3


def test_down_ends_what_stands_by_before_it_asks_for_the_lock(
    engine: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.up(settings, nodes=1)
    held = record.locked(settings, NAME)
    held.__enter__()
    monkeypatch.setattr(attendant, "end", lambda *_, **__: held.__exit__(None, None, None))
    assert terminal.down(settings) == [NAME]


def test_the_attendant_injects_and_clears_what_the_blueprint_says(
    engine: FakeEngine, settings: Settings, request: pytest.FixtureRequest
) -> None:
    clock = FrozenClock(datetime(2026, 11, 20, tzinfo=UTC))
    coming = Coming(after=60, kind="cable-out", target="SW1/3", lasts=30)
    terminal.up(settings, Blueprint(faults=[coming], fabric=Fabric(hosts=2)), clock=clock)
    attending = attendant.Attendant(settings, NAME, clock, Here(settings.home))
    request.addfinalizer(attending.close)
    for seconds, there in ((30, []), (31, [False]), (29, [False]), (2, [True]), (120, [True])):
        clock.advance(seconds)
        assert attending.beat()
        assert [bool(fault.cleared) for fault in terminal.fault_list(settings, NAME)] == there
    terminal.down(settings)
    assert not attending.beat(), "it ends with its cluster"


def test_hosts_and_users_that_are_not_there(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=2)
    with pytest.raises(NotFound, match="no host 'compute2'"):
        terminal.execute(settings, "compute2", ["true"])
    with pytest.raises(NotFound, match="no user 'mallory'"):
        terminal.execute(settings, "controller", ["true"], user="mallory")
    with pytest.raises(NotFound, match="no cluster 'other'"):
        terminal.execute(settings, "controller", ["true"], name="other")


def test_no_engine_tells_what_to_install(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable) as error:
        terminal.up(settings)
    assert "apt-get install podman" in error.value.try_next


def test_without_rights_sudo_is_advised(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotAllowed) as error:
        engines.open_engine(settings)
    assert "sudo" in error.value.try_next
