"""Stands by a running cluster: carries its traffic through the fabric, makes the errors of bad cables and ports, sees
to faults that begin or end by themselves, starts a service again that died, and keeps the agent that watches this
machine. One small process per cluster, started by `up` and ended by `down`.

    python3 -m qnib.terminal NAME
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TextIO

from qnib import clusters
from qnib.clock import Clock, SystemClock
from qnib.clusters import Cluster
from qnib.errors import NotFound, QnibError
from qnib.settings import Settings, config_file
from qnib.settings import load as load_settings
from qnib.terminal import carrier, counting, record, services, wiring, wrapping
from qnib.terminal.carrier import Grown, Routes
from qnib.terminal.counting import Sent
from qnib.terminal.exchange import Exchange, exchange
from qnib.terminal.faults import written
from qnib.terminal.machine import Machine
from qnib.terminal.plan import Plan

log = logging.getLogger("qnib.attendant")

BEAT = 2.0
"""Seconds between two looks."""
LEAST = 16 << 10
"""Octets a port must have carried before its counters are moved: what the fabric's own packets count between reading
and setting a counter is less, so that none ever goes back."""
RECOVERY = 20
"""So many symbol errors make a link recover once."""


class Attendant:
    def __init__(self, settings: Settings, name: str, clock: Clock, exchanging: Exchange) -> None:
        self._settings, self._name, self._clock = settings, name, clock
        self._exchange = exchanging
        self._before: dict[tuple[str, str], Sent] = {}
        self._at = self._counted = time.monotonic()
        self._waiting: Grown = {}
        self._dice = random.Random(name)  # noqa: S311 - which octet breaks is no secret
        self._owed: dict[str, float] = {}
        self._machine = Machine(settings, name)
        self._wrapper: wrapping.Wrapper | None = None
        self.told: dict[str, Any] = {"carried": 0, "lost": 0, "trouble": ""}

    def beat(self) -> bool:
        """Do what is due; False when the cluster is gone."""
        try:
            cluster = clusters.load(self._settings.clusters, self._name)
        except NotFound:
            return False
        if cluster.details.get("state") != "ready":
            return True
        self.told["trouble"] = ""
        if not cluster.details.get("hosts"):  # else it is not this machine that the cluster stands on
            with self._noting("agent of this machine"):
                self._machine.keep(cluster)
        self._wrap(cluster)
        self._faults(cluster)
        with self._noting("services"):
            services.revive(self._settings, cluster)
        if record.plan_of(cluster).has_fabric:
            span, self._at = time.monotonic() - self._at, time.monotonic()
            wired, known = self._wired(cluster)
            self._add(self._errors(known, wired, span))
            with self._noting("traffic"):
                self._carry(cluster, wired)
            with self._noting("counters"):
                self._hand_over(record.plan_of(cluster))
        return True

    def close(self) -> None:
        self._machine.end()
        self._exchange.close()

    @contextlib.contextmanager
    def _noting(self, doing: str) -> Iterator[None]:
        """What fails now is told, and tried again at the next beat."""
        try:
            yield
        except (QnibError, ValueError, OSError) as error:
            what = error.what if isinstance(error, QnibError) else str(error)
            log.warning("%s: %s", doing, what)
            self.told["trouble"] = self.told["trouble"] or f"{doing}: {what}"

    def _wrap(self, cluster: Cluster) -> None:
        """Where jobs may ask for an image, listen for them."""
        if record.plan_of(cluster).blueprint.images:
            with self._noting("containers of jobs"):
                self._wrapper = self._wrapper or wrapping.Wrapper(self._settings, self._name)
                self._wrapper.look(cluster)

    # ── faults that begin and end by themselves ───────────────────────────────────────────────

    def _faults(self, cluster: Cluster) -> None:
        from qnib.terminal.faults import inject as faults  # which needs the whole terminal

        now = self._clock.now()
        # Each by itself: one that cannot be done must not keep the others from it.
        for fault in reversed(faults.due(self._settings, self._name, cluster.created, now)):
            with self._noting(f"end of fault {fault.id}"):
                faults.clear(self._settings, fault.id, name=self._name, clock=self._clock, patience=0)
                log.info("cleared fault %d, %s of %s", fault.id, fault.kind, fault.target)
        coming = record.plan_of(cluster).blueprint.faults
        if not coming:
            return
        done = {fault.coming for fault in written.every(self._settings, self._name) if fault.time >= cluster.created}
        ready = datetime.fromisoformat(cluster.details["ready_at"])
        for number, one in enumerate(coming):
            if number in done or now < ready + timedelta(seconds=one.after):
                continue
            with self._noting(f"{one.kind} of {one.target}, as the blueprint says"):
                faults.inject(
                    self._settings, one.kind, one.target, one.value, name=self._name, lasts=one.lasts, coming=number,
                    clock=self._clock, patience=0,
                )
                log.info("injected %s into %s, as the blueprint says", one.kind, one.target)

    # ── traffic and errors ────────────────────────────────────────────────────────────────────

    def _wired(self, cluster: Cluster) -> tuple[list[wiring.Cable], list[written.Fault]]:
        """The wiring as it is, and the faults that made it so."""
        known = written.open_ones(self._settings, self._name, cluster.created)
        return wiring.cables(record.plan_of(cluster), cluster.details["nodes"], known), known

    def _carry(self, cluster: Cluster, wired: list[wiring.Cable]) -> None:
        plan, nodes = record.plan_of(cluster), cluster.details["nodes"]
        now, total = time.monotonic(), self._exchange.counted(plan)
        self.told["traffic"] = dict(self._exchange.traffic)
        names = {plan.address(host): host for host in [f"compute{number}" for number in range(nodes)]}
        sent = {}
        for (source, target), there in total.items():
            before = self._before.get((source, target), Sent(0, 0))
            if there.octets < before.octets:  # a host that came back counts from 0
                before = Sent(0, 0)
            if there.octets > before.octets and source in names and target in names:
                sent[names[source], names[target]] = Sent(there.octets - before.octets, there.packets - before.packets)
        if sent:
            capacity = plan.blueprint.fabric.capacity
            span = max(now - self._counted, 0.1)
            load = carrier.carry(sent, self._routes(plan), wired, capacity=capacity, seconds=span)
            self.told["carried"] += sum(flow.octets for flow in sent.values()) - load.lost
            self.told["lost"] += load.lost
            self._add(load.grown)
        self._before, self._counted = total, now  # only now: what could not be carried is carried at the next beat

    def _routes(self, plan: Plan) -> Routes:
        return carrier.parse_routes(self._exchange.routes(plan))

    def _errors(self, faults: list[written.Fault], wired: list[wiring.Cable], span: float) -> Grown:
        """What bad cables and ports damaged in `span` seconds."""
        found: Grown = {}
        for fault in faults:
            if fault.kind not in ("cable-bad", "port-bad"):
                continue
            cable = next((c for c in wired if c.name == fault.cable), None) if fault.kind == "cable-bad" else next(
                (c for c in wired if fault.target in c.ends), None
            )
            if cable is None or not cable.plugged:
                continue  # without a link there is nothing to damage
            ports = cable.ends if fault.kind == "cable-bad" else [fault.target]
            for port in ports:
                owed = self._owed.get(port, 0.0) + float(fault.value) * span * self._dice.uniform(0.7, 1.3)
                whole = int(owed)
                self._owed[port] = owed - whole
                if whole:
                    counters = found.setdefault(port, {})
                    counters["symbol_error"] = counters.get("symbol_error", 0) + whole
                    if self._dice.random() < whole / RECOVERY:
                        counters["link_error_recovery"] = counters.get("link_error_recovery", 0) + 1
        return found

    def _add(self, grown: Grown) -> None:
        for port, counters in grown.items():
            mine = self._waiting.setdefault(port, {})
            for counter, amount in counters.items():
                mine[counter] = mine.get(counter, 0) + amount

    def _hand_over(self, plan: Plan) -> None:
        """Leave what has grown for the fabric's container, once it has taken the last."""
        told = {
            port: counters for port, counters in self._waiting.items()
            if counters.keys() - _DATA or sum(counters.get(name, 0) for name in ("xmit_data", "rcv_data")) >= LEAST
        }
        if told and self._exchange.leave(plan, told):
            for port in told:
                del self._waiting[port]


_DATA = frozenset(("xmit_data", "rcv_data", "xmit_packets", "rcv_packets"))


# ── its life ──────────────────────────────────────────────────────────────────────────────────


def start(settings: Settings, name: str) -> None:
    folder, file = record.folder(settings, name), config_file()
    environment = {**os.environ, "QNIB_HOME": str(settings.home.resolve())}
    if file is not None:
        environment["QNIB_CONFIG"] = str(file.resolve())
    with (folder / "attendant.log").open("ab") as out:
        # Neither from nor in the folder somebody happens to stand in: what lies there is not ours to import.
        subprocess.Popen(
            [sys.executable, "-P", "-m", "qnib.terminal", name], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, cwd="/", env=environment,
        )


def end(settings: Settings, name: str, *, count: bool = True) -> None:
    """End it, and the `count`; harmless where there is none."""
    if count:
        counting.end(name)
    pid = _running(settings, name)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while _running(settings, name) == pid:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def state(settings: Settings, name: str) -> dict[str, Any]:
    """What it last told: ``running``, ``carried`` and ``lost`` octets, ``trouble`` (a sentence, or empty), and of a
    cluster over several hosts ``traffic``: by host ``counted``, or why not."""
    file = record.folder(settings, name) / "attendant.json"
    told = json.loads(file.read_text()) if file.is_file() else {}
    return {"running": _running(settings, name) is not None, **told}


def _running(settings: Settings, name: str) -> int | None:
    """The process that holds the lock, by what it wrote into it."""
    lock = record.folder(settings, name) / "attendant.lock"
    try:
        with lock.open("r+") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(held.read() or 0) or None
            return None
    except (FileNotFoundError, ValueError):
        return None


def _locked(lock: TextIO) -> bool:
    """Take the lock; somebody who only looks whether it is taken holds it for a moment."""
    deadline = time.monotonic() + 1
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings, name = load_settings(), sys.argv[1]
    folder = record.folder(settings, name)
    with (folder / "attendant.lock").open("a+") as lock:
        if not _locked(lock):
            return  # another stands by already
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        made = Attendant(settings, name, SystemClock(), exchange(settings, name))
        with contextlib.closing(made) as attendant:
            while attendant.beat() and folder.is_dir():
                part = folder / "attendant.part"
                part.write_text(json.dumps(attendant.told))
                part.replace(folder / "attendant.json")
                time.sleep(BEAT)
