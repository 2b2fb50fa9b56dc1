"""Gives jobs containers of their own: one per node, from a staged image, made when the job starts there and removed
when it ends. Works for the attendant, outside the cluster, where the engine is.

Who asks is root of a node, by the socket in that node's folder: prolog and epilog (inside/ask.py). Nobody else can
reach it, and all that can be had is a container as unprivileged as the node itself, within the node's limits, sharing
its network and processes. docs/decisions/ has the ways not taken.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import QnibError, Unavailable
from qnib.settings import Settings
from qnib.terminal import cgroups, job_images, record
from qnib.terminal.engines import Container, ContainerEngine
from qnib.terminal.hosts import engine_of
from qnib.terminal.package import INSIDE
from qnib.terminal.plan import LABEL, Plan, node_names

log = logging.getLogger("qnib.attendant")

ROLE = "job"
"""Label ``qnib.role`` of these containers; ``qnib.job`` and ``qnib.node`` say whose they are."""
CAPABILITIES = ("SETUID", "SETGID", "KILL", "DAC_OVERRIDE")
"""Its first process becomes the job's user, ends tasks, and puts them into SLURM's cgroups."""
PATIENCE = 20
"""Seconds its first process has to come up."""
_ASKED = 4096
_AT_ONCE = 4


def folder(settings: Settings, name: str, host: str) -> Path:
    """Seen by a node as /run/qnib/jobs, to read: its socket, and a folder for each job with a container."""
    return record.folder(settings, name) / "jobs" / host


def container_name(plan: Plan, host: str, job: int) -> str:
    return f"{plan.container(host)}-job{job}"


def of_jobs(engine: ContainerEngine, name: str) -> list[Any]:
    """Containers of jobs; they go before the nodes whose processes they share."""
    return [found for found in engine.containers(f"{LABEL}={name}") if found.labels.get("qnib.role") == ROLE]


class Wrapper:
    """Listens for every node of one cluster, in a thread of its own."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name
        self._opening = threading.Lock()
        self._listening: dict[str, socket.socket] = {}
        self._wrapped: dict[tuple[str, int], int] = {}
        """Process of the node under which the container of (host, job) was made."""
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def look(self, cluster: Cluster) -> None:
        """Listen for nodes that came, forget those that went, and remove what a node that failed has left."""
        hosts = node_names(cluster.details["nodes"])
        for host in [host for host in self._listening if host not in hosts]:
            self._listening.pop(host).close()
        for host in hosts:
            if host not in self._listening:
                self._listening[host] = _listen(folder(self._settings, self._name, host))
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b".")
        if self._wrapped:
            self._tidy(record.plan_of(cluster))

    def _tidy(self, plan: Plan) -> None:
        with self._engine() as engine:
            for (host, job), pid in list(self._wrapped.items()):
                try:
                    alive = engine.pid(plan.container(host)) == pid
                except Unavailable:
                    alive = False
                if not alive:
                    log.info("%s of job %d: its node has failed", host, job)
                    self._end(engine, plan, host, job)

    # ── requests ──────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        while True:
            known = dict(self._listening)
            hosts = {one.fileno(): host for host, one in known.items() if one.fileno() >= 0}
            try:
                ready, _, _ = select.select([self._woken.fileno(), *hosts], [], [])
            except OSError:  # a node went just now
                continue
            for one in ready:
                if one == self._woken.fileno():
                    self._woken.recv(4096)
                else:
                    with contextlib.suppress(OSError):  # it was closed meanwhile
                        asking, _ = known[hosts[one]].accept()
                        self._pool.submit(self._answer, hosts[one], asking)

    def _answer(self, host: str, asking: socket.socket) -> None:
        with asking:
            asking.settimeout(10)
            told = ""
            try:
                _, uid, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                if uid != 0:
                    raise ValueError(f"user {uid} asked, not root")
                request = json.loads(_line(asking))
                self._do(host, request["do"], int(request["job"]), int(request["uid"]), str(request["image"]))
            except QnibError as error:
                told = f"{error.what} {error.try_next}"
            except (OSError, ValueError, KeyError, TypeError) as error:
                told = f"the request was not understood: {error}"
            if told:
                log.warning("%s: %s", host, told)
            with contextlib.suppress(OSError):
                asking.sendall(told.encode())

    def _do(self, host: str, what: str, job: int, uid: int, image: str) -> None:
        cluster = clusters.load(self._settings.clusters, self._name)
        plan = record.plan_of(cluster)
        place = folder(self._settings, self._name, host) / str(job)
        with self._engine() as engine:
            if what == "end":
                self._end(engine, plan, host, job)
                return
            if what != "begin" or job <= 0 or (uid and uid not in plan.uids.values()):
                raise ValueError(f"{what!r} for job {job} of user {uid}")
            shutil.rmtree(place, ignore_errors=True)  # of an earlier attempt of the same job
            place.mkdir(mode=0o755)
            try:
                found = job_images.find(engine, plan.blueprint, image)
                engine.remove_container(container_name(plan, host, job))
                self._begin(engine, cluster, plan, host, job, uid, found, place)
            except QnibError as error:
                (place / "trouble").write_text(f"{error.what}\n")
                engine.remove_container(container_name(plan, host, job))
                raise

    def _begin(
        self, engine: ContainerEngine, cluster: Cluster, plan: Plan, host: str, job: int, uid: int, image: str,
        place: Path,
    ) -> None:
        made = _container(self._settings, cluster, plan, host, job, uid, image, place)
        os.mkfifo(place / "ready", 0o600)
        ready = os.open(place / "ready", os.O_RDONLY | os.O_NONBLOCK)
        try:
            engine.create(made)
            engine.start(made.name)
            if not _opened(ready, PATIENCE):
                said = engine.logs(made.name, 3).strip().splitlines()
                raise Unavailable(
                    f"the container of image {image} does not come up: {said[-1] if said else 'it said nothing'}.",
                    where=made.name, try_next="the image may be for another machine.",
                )
        finally:
            os.close(ready)
        self._wrapped[host, job] = engine.pid(plan.container(host))
        log.info("%s: job %d runs in %s, from %s", host, job, made.name, image)

    def _end(self, engine: ContainerEngine, plan: Plan, host: str, job: int) -> None:
        self._wrapped.pop((host, job), None)
        engine.remove_container(container_name(plan, host, job))
        shutil.rmtree(folder(self._settings, self._name, host) / str(job), ignore_errors=True)
        log.info("%s: the container of job %d is gone", host, job)

    @contextlib.contextmanager
    def _engine(self) -> Any:
        cluster = clusters.load(self._settings.clusters, self._name)
        with self._opening:  # the first to come may have to start podman's service
            engine = engine_of(self._settings, cluster)
        try:
            yield engine
        finally:
            engine.close()


def _container(
    settings: Settings, cluster: Cluster, plan: Plan, host: str, job: int, uid: int, image: str, place: Path,
) -> Container:
    rung, etc = record.rung_of(cluster), record.folder(settings, plan.name) / "etc"
    parent = cgroups.parent(plan.name, host) if rung.jobs_limited else ""
    toolbox, package = f"{INSIDE}/toolbox", Path(cluster.details["package"])
    loader = (package / "toolbox" / "loader").read_text()
    return Container(
        name=container_name(plan, host, job), image=image, hostname=host, join=plan.container(host),
        command=[
            f"{toolbox}/lib/{loader}", "--library-path", f"{toolbox}/lib", f"{toolbox}/bin/python3", "-ISB",
            f"{INSIDE}/qnib/terminal/inside/wrapped.py", str(uid), image, parent,
        ],
        labels={
            **record.labels(settings, plan.name), "qnib.role": ROLE, "qnib.node": host, "qnib.job": str(job),
            "qnib.cluster": plan.name,
        },
        binds=[
            (str(package), INSIDE, "ro"), (plan.home_volume, "/home", "rw"), (str(place), "/run/qnib/job", "rw"),
            *((str(etc / name), f"/etc/qnib/{name}", "ro") for name in ("passwd", "group")),
            *(cgroups.binds(rung, plan.name, host) if parent else ()),
        ],
        cgroup_parent=parent, own_cgroup_namespace=rung is not cgroups.V2,
        memory=0 if parent else plan.group(host).memory << 20, cpus=0 if parent else plan.group(host).cpus,
        scratch=plan.group(host).scratch << 20, capabilities=CAPABILITIES,
    )


def _listen(place: Path) -> socket.socket:
    """A socket in a folder, whatever the length of its path. Only root may speak to it."""
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    (place / "ask").unlink(missing_ok=True)
    made, there = socket.socket(socket.AF_UNIX), os.open(place, os.O_PATH | os.O_DIRECTORY)
    try:
        made.bind(f"/proc/self/fd/{there}/ask")
        (place / "ask").chmod(0o600)
    finally:
        os.close(there)
    made.listen(16)
    made.setblocking(False)
    return made


def _opened(fifo: int, patience: float) -> bool:
    """Whether somebody opened the other end (and closed it again) in time."""
    watched = select.poll()
    watched.register(fifo, select.POLLIN | select.POLLHUP)
    return bool(watched.poll(patience * 1000))


def _line(asking: socket.socket) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        part = asking.recv(_ASKED)
        text += part
        if not part or len(text) > _ASKED:
            raise ValueError("it is no line")
    return text
