"""The machine that runs a cluster's containers is watched by the same agent as they are, as one more host of that
cluster: its CPU, memory, network and disks, and which of the containers stand on it.

Each cluster has an agent of its own there: whatever a cluster consists of is in its own inventory, and the agent tells
only of that cluster's containers. The machine is no node, so nothing that adds up nodes counts it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time

from qnib.clusters import Cluster
from qnib.settings import Settings
from qnib.terminal import record
from qnib.terminal.plan import LABEL, Plan, node_names

DOMAINS = ("host", "container")
"""The rest would tell of every cluster's jobs at once: a machine sees the processes of all its containers."""
AGAIN = 30.0
"""Seconds until an agent that ended is started again."""


def host_name(plan: Plan) -> str:
    """What the machine is called in the inventory: its short name, unless a host of the cluster has the same."""
    name = os.uname().nodename.split(".")[0]
    return f"{name}-machine" if name in {*plan.services, *node_names(plan.capacity)} else name


class Machine:
    """The agent's process. It ends with whoever started it, however that ends."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name
        self._agent: subprocess.Popen[bytes] | None = None
        self._due = 0.0

    def keep(self, cluster: Cluster) -> None:
        """See that the agent runs."""
        if (self._agent and self._agent.poll() is None) or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + AGAIN
        # A job's own container has the name of its node and is none: it has no label of a host.
        environment = {"QNIB_LABELS": f"{LABEL}={self._name} qnib.host"}
        if cluster.engine == "podman":
            environment["CONTAINERS_CONF"] = str(self._settings.run / "containers.conf")
        file = record.write_agent(
            self._settings, cluster, host_name(record.plan_of(cluster)), "node", log_socket="", only=list(DOMAINS),
            environment=environment,
        )
        program = [sys.executable, "-P", "-m", "qnib.agent", str(file)]
        if setpriv := shutil.which("setpriv"):
            program = [setpriv, "--pdeathsig", "TERM", *program]
        self._agent = subprocess.Popen(program, stdin=subprocess.DEVNULL, cwd="/", process_group=0)
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._agent.pid, 10)

    def end(self) -> None:
        if self._agent is None:
            return
        self._agent.terminate()
        try:
            self._agent.wait(3)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
