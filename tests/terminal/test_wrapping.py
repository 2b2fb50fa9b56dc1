"""Containers of jobs: what is asked for, by whom, and what is refused; with an engine in memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import NotFound, WrongUse
from qnib.settings import Settings
from qnib.terminal import hosts, job_images, wrapping
from qnib.terminal.blueprint import Blueprint, Image
from qnib.terminal.engines import CAPABILITIES
from qnib.terminal.inside import wrapped
from qnib.terminal.plan import Plan
from qnib.terminal.wrapping import Wrapper
from tests.terminal.fake import FakeEngine
from tests.terminal.test_cluster import until

OLD = Image(name="old", system="debian12", packages=["openmpi-bin"])
BLUEPRINT = Blueprint(images=[OLD, Image(name="brought")])


class Engine(FakeEngine):
    """Its containers say that they are up, as wrapped.py does."""

    def start(self, name: str) -> None:
        super().start(name)
        made = next(container for container in self.made if container.name == name)
        place = next((source for source, inside, _ in made.binds if inside == "/run/qnib/job"), "")
        if place:
            os.close(os.open(f"{place}/ready", os.O_WRONLY))

    def remove_container(self, name: str) -> None:
        self.there.pop(name, None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    made.images_there.add(job_images.tag(OLD))
    monkeypatch.setattr(hosts, "open_engine", lambda settings, wanted=None: made)
    return made


@pytest.fixture
def lab(tmp_path: Path, engine: Engine) -> Iterator[Settings]:
    settings = Settings(home=tmp_path)
    (tmp_path / "package" / "toolbox").mkdir(parents=True)
    (tmp_path / "package" / "toolbox" / "loader").write_text("ld.so")
    cluster = Cluster(
        name="lab", gateway="10.213.7.1", engine="podman", details={
            "subnet": "10.213.7.0/24", "blueprint": BLUEPRINT.model_dump(mode="json"), "first": 4, "nodes": 2,
            "rung": "node-limits", "package": str(tmp_path / "package"), "state": "ready",
        },
    )  # fmt: skip
    clusters.save(settings.clusters, cluster)
    wrapper = Wrapper(settings, "lab")
    wrapper.look(cluster)
    yield settings


def ask(settings: Settings, host: str, **request: Any) -> str:
    """What is answered; empty: done."""
    place = os.open(wrapping.folder(settings, "lab", host), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(f"/proc/self/fd/{place}/ask")
        asked.sendall(json.dumps(request).encode() + b"\n")
        told = asked.makefile().read()
    os.close(place)
    return told


def test_a_job_gets_a_container_and_loses_it(lab: Settings, engine: Engine) -> None:
    assert ask(lab, "compute1", do="begin", job=7, uid=2001, image="old") == ""
    assert [one.name for one in wrapping.of_jobs(engine, "lab")] == ["qnib-lab-compute1-job7"]
    made = engine.made[-1]
    assert (made.image, made.join) == (job_images.tag(OLD), "qnib-lab-compute1")
    assert set(made.capabilities) <= set(CAPABILITIES)
    assert (made.labels["qnib.job"], made.labels["qnib.node"]) == ("7", "compute1")
    # Limited by its node where SLURM limits nothing.
    assert made.memory == 512 << 20
    assert ask(lab, "compute1", do="end", job=7, uid=2001, image="") == ""
    assert not wrapping.of_jobs(engine, "lab")
    assert not (wrapping.folder(lab, "lab", "compute1") / "7").exists()


def test_what_a_container_sees_of_this_machine(lab: Settings, engine: Engine) -> None:
    ask(lab, "compute0", do="begin", job=7, uid=2001, image="old")
    writable = [(source, inside) for source, inside, mode in engine.made[-1].binds if mode == "rw"]
    place = wrapping.folder(lab, "lab", "compute0") / "7"
    assert writable == [("qnib-lab-home", "/home"), (str(place), "/run/qnib/job")]


@pytest.mark.parametrize("request_", [
    {"do": "begin", "job": 7, "uid": 0, "image": "absent"},
    {"do": "begin", "job": 7, "uid": 2001, "image": "../slurm:latest"},
    {"do": "begin", "job": 7, "uid": 4711, "image": "old"},
    {"do": "begin", "job": -7, "uid": 2001, "image": "old"},
    {"do": "begin", "job": "../7", "uid": 2001, "image": "old"},
    {"do": "exec", "job": 7, "uid": 2001, "image": "old"},
    {"do": "begin"},
])  # fmt: skip
def test_what_is_refused(lab: Settings, engine: Engine, request_: dict[str, Any]) -> None:
    assert ask(lab, "compute0", **request_)
    assert not engine.made


def test_the_job_is_told_which_images_there_are(lab: Settings) -> None:
    told = ask(lab, "compute0", do="begin", job=7, uid=2001, image="absent")
    assert "no image 'absent'" in told and "brought, old" in told
    assert "no image 'absent'" in (wrapping.folder(lab, "lab", "compute0") / "7" / "trouble").read_text()


def test_a_user_is_not_answered(lab: Settings, engine: Engine) -> None:
    """Not even one who finds the socket open."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    socket_ = wrapping.folder(lab, "lab", "compute0") / "ask"
    assert socket_.stat().st_mode & 0o077 == 0
    place = os.open(socket_.parent, os.O_PATH)
    socket_.chmod(0o666)
    asked = (
        "import os, socket\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\n"
        f"s.connect('/proc/self/fd/{place}/ask')\n"
        "print(s.makefile().read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False, pass_fds=[place], timeout=20,
    )
    os.close(place)
    assert "asked, not root" in done.stdout, done.stderr


def test_what_a_failed_node_leaves_is_removed(lab: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = Wrapper(lab, "lab")
    cluster = clusters.load(lab.clusters, "lab")
    wrapper.look(cluster)
    ask(lab, "compute0", do="begin", job=7, uid=2001, image="old")
    wrapper.look(cluster)
    assert wrapping.of_jobs(engine, "lab"), "the node is as it was"
    monkeypatch.setattr(engine, "pid", lambda name: 2)
    wrapper.look(cluster)
    assert until(lambda: not wrapping.of_jobs(engine, "lab"), 5)


# ── images ────────────────────────────────────────────────────────────────────────────────────


def test_an_image_that_was_to_be_brought_is_missed_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as error:
        job_images.ensure(Settings(home=tmp_path), FakeEngine(), Blueprint(images=[Image(name="brought")]), print)
    assert "qnib images add brought" in error.value.try_next


def test_the_tag_follows_the_packages() -> None:
    more = OLD.model_copy(update={"packages": ["openmpi-bin", "vim"]})
    assert len({job_images.tag(OLD), job_images.tag(more), job_images.tag(Image(name="old"))}) == 3


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(WrongUse, match="no image"):
        job_images.add(settings, "mine", tmp_path / "text")
    with pytest.raises(WrongUse, match="no name"):
        job_images.add(settings, "../mine", tmp_path / "text")
    assert tarfile.is_tarfile(tmp_path / "text") is False


# ── inside ────────────────────────────────────────────────────────────────────────────────────


def test_a_task_goes_where_the_one_that_asked_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only into cgroups of a job, and only into those of its own node."""
    node, job = "/qnib-lab/compute0/in", "slurm_compute0/uid_2001/job_7/step_0/task_0"
    told = tmp_path / "cgroup"
    told.write_text(
        f"4:memory:{node}/{job}\n3:cpu,cpuacct:{node}/libpod-1\n2:freezer:/qnib-lab/compute1/in/{job}\n1:name=systemd:/\n"
    )
    place = tmp_path / "memory" / job
    place.mkdir(parents=True)
    real = open

    def opened(file: Any, *mode: Any) -> Any:
        return real(told if str(file) == "/proc/42/cgroup" else file, *mode)

    monkeypatch.setattr("builtins.open", opened)
    wrapped.join(node, 42, str(tmp_path))
    assert (place / "cgroup.procs").read_text() == str(os.getpid())
    told.write_text(f"0::{node}/libpod-1\n")
    with pytest.raises(wrapped.Refused):
        wrapped.join(node, 42, str(tmp_path))


def test_the_plan_counts_its_users() -> None:
    made = Plan("lab", IPv4Network("10.213.7.0/24"), BLUEPRINT, 4)
    assert made.uids["alice"] == 2001 and made.uids["john"] == 2101


@pytest.fixture
def task(tmp_path: Path) -> Iterator[tuple[socket.socket, int]]:
    """A running shell that wrapped.py serves where SLURM has no cgroups: the socket to it, and what it prints."""
    if os.geteuid():
        pytest.skip("only root can become the user who asks")
    ours, theirs = socket.socketpair()
    printed, printing = os.pipe()
    served = os.fork()
    if served == 0:
        ours.close()
        os.close(printed)
        wrapped.serve(theirs, os.geteuid(), "lab/image:1", "")
        os._exit(0)
    theirs.close()
    script = "trap 'echo got it; exit 3' TERM; echo in $QNIB_JOB_IMAGE; while :; do sleep 0.05; done"
    text = json.dumps({
        "words": ["sh", "-c", script], "environment": {"PATH": os.environ["PATH"]}, "cwd": str(tmp_path), "umask": 0o22,
        "files": [1],
    }).encode()  # fmt: skip
    socket.send_fds(ours, [struct.pack("I", len(text))], [printing])
    os.close(printing)
    ours.sendall(text)
    assert ours.recv(4) == b"\0\0\0\0"
    assert os.read(printed, 100) == b"in lab/image:1\n"
    yield ours, printed
    ours.close()
    os.close(printed)
    os.waitpid(served, 0)


def test_signals_reach_a_task_and_its_status_comes_back(task: tuple[socket.socket, int]) -> None:
    ours, printed = task
    ours.send(bytes([signal.SIGTERM]))
    assert os.read(printed, 100) == b"got it\n"
    assert os.waitstatus_to_exitcode(struct.unpack("i", ours.recv(4))[0]) == 3


def test_a_task_ends_with_the_one_that_asked(task: tuple[socket.socket, int]) -> None:
    ours, printed = task
    ours.close()
    assert os.read(printed, 100) == b"", "its output is closed: nothing of it is left"


def test_another_users_request_is_refused() -> None:
    ours, theirs = socket.socketpair()
    wrapped.serve(theirs, os.geteuid() + 1, "lab/image:1", "")
    length = struct.unpack("I", ours.recv(4))[0]
    assert b"another user's job" in ours.recv(length)
