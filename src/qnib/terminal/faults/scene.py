"""Where a fault happens: the cluster, its engine and its wiring, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import NotFound, Unavailable
from qnib.settings import Settings
from qnib.terminal import fabric, package, record, wiring
from qnib.terminal.cgroups import Rung
from qnib.terminal.engines import ContainerEngine
from qnib.terminal.faults.written import Fault, every
from qnib.terminal.hosts import engine_of
from qnib.terminal.plan import Plan, node_names
from qnib.terminal.wiring import Cable


@dataclass(slots=True)
class Scene:
    settings: Settings
    cluster: Cluster
    plan: Plan
    rung: Rung
    engine: ContainerEngine
    known: list[Fault]
    """All faults ever of this name."""

    @property
    def open(self) -> list[Fault]:
        """Open faults of the present cluster; those of an earlier one ended with it."""
        return [fault for fault in self.known if not fault.cleared and fault.time >= self.cluster.created]

    @property
    def nodes(self) -> list[str]:
        return node_names(self.cluster.details["nodes"])

    def cables(self, without: Fault | None = None) -> list[Cable]:
        """The wiring as open faults leave it, or would without one of them."""
        faults = [fault for fault in self.open if fault is not without]
        return wiring.cables(self.plan, self.cluster.details["nodes"], faults)

    def cable_named(self, name: str) -> Cable:
        return next(cable for cable in self.cables() if cable.name == name)

    def check_node(self, host: str) -> None:
        if self.plan.dense:
            raise Unavailable(
                f"{host} shares its container with other nodes, which would fail with it.", where=self.cluster.name,
                try_next="start a cluster without --dense to make a node fail.",
            )
        if host not in self.nodes:
            raise NotFound(
                f"{self.cluster.name} has no node {host!r}.", where="the target",
                try_next=f"use {self.nodes[0]} … {self.nodes[-1]}.",
            )

    def run(self, host: str, *command: str) -> str:
        """What a command in a host's container printed. Raises Unavailable when it fails."""
        container = self.plan.container(host)
        status, told = self.engine.run_inside(container, command)
        if status:
            raise Unavailable(
                f"{command[0]!r} failed on {host}: {told.strip()[-200:] or f'status {status}'}.", where=container,
                try_next="`qnib status` shows whether it runs.",
            )
        return told

    def start_beside(self, host: str, command: str) -> None:
        """Leave a shell command running in a host's container."""
        quietly = f"setsid nohup {command} </dev/null >/var/log/qnib-fault.log 2>&1 &"
        self.run(host, "bash", "-c", f"PYTHONPATH={package.INSIDE} {quietly} exit 0")

    def script(self, name: str) -> str:
        """The path, inside, of one of our scripts."""
        return f"{package.INSIDE}/qnib/terminal/inside/{name}"

    def command_fabric(self, commands: Sequence[str]) -> None:
        fabric.command(self.engine, self.plan, commands)


@contextmanager
def entered(settings: Settings, name: str, patience: float) -> Iterator[Scene]:
    """Hold the cluster's lock and its engine for one change. Raises Conflict while another command changes it."""
    with record.locked(settings, name, patience):
        cluster = clusters.load(settings.clusters, name)
        plan, rung = record.plan_of(cluster), record.rung_of(cluster)
        engine = engine_of(settings, cluster)
        try:
            yield Scene(settings, cluster, plan, rung, engine, every(settings, name))
        finally:
            engine.close()
