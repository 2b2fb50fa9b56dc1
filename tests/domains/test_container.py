"""Containers from the engine's side and from inside: forms, limits, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.domains.golden import AT
from tests.domains.test_identity import Record

from qnib.domains.container import engine, inside
from qnib.domains.container.collect import CAPTURES
from qnib.domains.container.happened import events
from qnib.model import Change, Entity, Ref

SAMPLES = Path(engine.__file__).parent / "samples"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def test_a_list_and_inspect_tell_of_the_same_containers() -> None:
    both = {one.key: one.properties for one in engine.parse_podman(sample("podman.both"), AT).entities}
    listed = engine.parse_podman(sample("podman.ps"), AT)
    inspected = {one.key: one.properties for one in engine.parse_docker(sample("docker.inspect"), AT).entities}
    assert both.keys() == {one.key for one in listed.entities} == inspected.keys()
    web = both["fda7e63b6254"]
    assert (web["memory"], web["cpus"], web["processes"]) == (64 << 20, 0.5, 100)
    assert "memory" not in both["4c6125ba23d9"], "no limit is none of zero"
    for one in listed.entities:
        assert {name: both[one.key][name] for name in one.properties} == dict(one.properties)
    assert {**inspected["fda7e63b6254"], "engine": ""} == {**web, "engine": ""}


def test_only_a_list_says_that_there_are_no_others() -> None:
    assert engine.parse_podman(sample("podman.both"), AT).complete
    alone = engine.parse_docker(sample("docker.inspect"), AT)
    assert alone.partial and not alone.complete
    none = engine.parse_podman("[]\n", AT)
    assert none.complete and not none.entities


def test_docker_lists_an_object_a_line() -> None:
    line = {"ID": "a" * 64, "Names": "web", "Image": "lab/base:1", "State": "running", "CreatedAt": "2026-11-26"}
    text = "\n".join(json.dumps({**line, "ID": letter * 64}) for letter in "ab")
    seen = engine.parse_docker(text, AT)
    assert [one.key for one in seen.entities] == ["a" * 12, "b" * 12] and seen.complete


def test_only_known_hosts_run_in_containers() -> None:
    record = Record()
    seen = engine.parse_podman(sample("podman.both"), AT)
    assert not any(tie.kind == "RUNS_IN" for tie in engine.settle(seen, record, AT).relations)
    record.held[Ref("Host", "web1")] = Entity("Host", "web1")
    inside_of = [tie for tie in engine.settle(seen, record, AT).relations if tie.kind == "RUNS_IN"]
    assert [(tie.source.key, tie.target.key) for tie in inside_of] == [("web1", "fda7e63b6254")]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "nothing of an engine"), ("podman: not found", "no JSON of an engine: 'podman"), ("[1]", "no container: 1"),
     ('[{"Names": "x"}]', "no container"),
     ('[{"Id": "a", "HostConfig": {}, "Created": "yesterday"}]', "no time of an engine: 'yesterday'")],
)
def test_what_is_no_engines_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        engine.parse_podman(text, AT)


def test_what_a_container_knows_of_itself(tmp_path: Path) -> None:
    for folder, name, text in (("memory", "memory.usage_in_bytes", "5\n"), ("memory", "memory.stat",
                               "hierarchical_memory_limit 536870912\n"), ("cpu", "cpu.cfs_quota_us", "150000\n"),
                               ("cpu", "cpu.cfs_period_us", "100000\n"), ("pids", "pids.max", "2048\n")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    controllers = ("memory", "cpu", "pids")
    mountinfo = "".join(f"30 1 0:2 / {tmp_path}/{name} rw - cgroup cgroup rw,{name}\n" for name in controllers)
    mountinfo += f"84 75 254:0 /x/overlay-containers/{'c' * 64}/userdata/hostname /etc/hostname rw - ext4 d rw\n"
    told = inside.look(mountinfo, {"container": "podman", "QNIB_IMAGE": "lab/base:1", "QNIB_CONTAINER": "lab-n1"})
    seen = inside.parse_inside(told, AT)
    assert [(one.key, dict(one.properties)) for one in seen.entities] == [("c" * 12, {
        "engine": "podman", "name": "lab-n1", "image": "lab/base:1", "memory": 512 << 20, "cpus": 1.5,
        "processes": 2048, "hostname": "{host}", "state": "running",
    })]  # fmt: skip
    assert [str(tie.source) for tie in seen.relations] == ["Host:{host}"]


def test_limits_on_cgroup_v2(tmp_path: Path) -> None:
    for name, text in (("memory.current", "5"), ("memory.max", "1048576"), ("memory.stat", "file 1\n"),
                       ("cpu.max", "50000 100000\n"), ("pids.max", "max\n")):
        (tmp_path / name).write_text(text)
    assert inside.limits({"unified": str(tmp_path)}) == {"memory": 1 << 20, "cpus": 0.5}
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert inside.limits({"unified": str(tmp_path)}) == {}


@pytest.mark.parametrize(("text", "said"), [("", "no engine"), ("engine\tpodman\nmemory\tmuch\n", "line 2"),
                                            ("engine\tpodman\ncolour\tred\n", "line 2"), ("engine\t\n", "line 1")])
def test_what_no_agent_told_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        inside.parse_inside(text, AT)


def test_containers_that_come_go_and_change_are_told() -> None:
    def container(**told: object) -> Entity:
        return Entity("Container", "c1", {"name": "web", "state": "running", "image": "a:1", "memory": 1, **told})  # type: ignore[arg-type]

    def told(change: Change) -> list[str]:
        return [f"{one.kind}: {one.message}" for one in events([change], Record(), AT)]

    assert told(Change("began", container())) == ["container.start: container web runs, from image a:1"]
    assert told(Change("began", container(state="created"))) == []
    assert told(Change("ended", container())) == ["container.stop: container web is gone"]
    assert told(Change("changed", container(state="exited"), container())) == ["container.stop: container web exited"]
    assert told(Change("changed", container(memory=2), container())) == [
        "container.changed: container web changed: memory 1 → 2"
    ]


@pytest.mark.parametrize("labels, told", [
    ("", ""), ("qnib=lab qnib.host", " --filter label=qnib=lab --filter label=qnib.host"),
])  # fmt: skip
def test_an_agent_may_tell_of_some_containers_only(tmp_path: Path, labels: str, told: str) -> None:
    engine = tmp_path / "podman"
    engine.write_text('#!/bin/sh\necho "$@"\n')
    engine.chmod(0o755)
    capture = next(one for one in CAPTURES if one.name == "podman")
    done = subprocess.run(
        capture.command, env={"PATH": f"{tmp_path}:/usr/bin:/bin", "QNIB_LABELS": labels}, capture_output=True,
        text=True, check=True,
    )
    assert done.stdout.splitlines()[0] == f"ps --all --no-trunc{told} --format json"
