"""Waits until a cluster, or a part of it, does what it is for; conditions are watched where they come true, inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qnib.errors import Unavailable
from qnib.terminal import package
from qnib.terminal.engines import ContainerEngine
from qnib.terminal.plan import Plan, node_names

Say = Callable[[str], None]

PATIENCE = 60
"""Seconds the nodes have to register and to answer; half a second more for each of them."""

DENSE_STEP = 60
"""Nodes of the steps that prove a dense cluster ready: one over a thousand takes two cores half a minute."""


def await_controller(engine: ContainerEngine, plan: Plan) -> None:
    """Until slurmctld answers: nodes that ask for their configuration before that only have to ask again."""
    if not _comes_true(engine, plan, "controller", "scontrol ping 2>/dev/null | grep -q ' is UP'"):
        raise Unavailable(
            "The controller does not answer.", where=_tail(engine, plan, "controller"),
            try_next="run `qnib up` again; a machine that is short of memory or very busy is the usual cause.",
        )


def await_login(engine: ContainerEngine, plan: Plan) -> None:
    """Until sshd listens; by then it has long done so."""
    if not _comes_true(engine, plan, "login", "[ -e /run/sshd.pid ]"):
        raise Unavailable(
            "The login node's sshd does not start.", where=_tail(engine, plan, "login"),
            try_next="run `qnib up` again.",
        )


def await_ready(engine: ContainerEngine, plan: Plan, nodes: int, say: Say) -> dict[str, Any]:
    """Until SLURM runs steps on all nodes and OpenSM has routed the fabric; what it took, in milliseconds."""
    script, patience = f"{package.INSIDE}/qnib/terminal/inside/ready.sh", PATIENCE + nodes // 2
    steps = min(nodes, DENSE_STEP) if plan.dense else nodes
    command = ["bash", script, str(nodes), str(patience), plan.whole, str(steps)]
    say(f"waiting for SLURM to run a step on {'every node' if steps == nodes else f'{steps} nodes'}, three times")
    status, output = engine.run_inside(plan.container("controller"), command)
    told = [line.split() for line in output.splitlines() if line.strip()]
    if status:
        present = next((set(words[1:]) for words in told if words[0] == "missing"), None)
        missing = [host for host in node_names(nodes) if present is not None and host not in present]
        if missing:
            raise Unavailable(
                f"Of {nodes} nodes {len(missing)} did not register within {patience} s: {', '.join(missing)}.",
                where=_tail(engine, plan, missing[0]),
                try_next="run `qnib up` again; with fewer --nodes if this machine is short of memory.",
            )
        raise Unavailable(
            f"All nodes registered, but steps over all of them failed for {patience} s "
            f"(the last: {' '.join(told[-1]) if told else 'none'}).",
            where=plan.container("controller"), try_next="run `qnib up` again when this machine is less busy.",
        )
    if not plan.has_fabric:
        return _numbers(told, say)
    if not _comes_true(engine, plan, "fabric", "grep -q 'SUBNET UP' /var/log/opensm.log", pause=0.1):
        raise Unavailable(
            "OpenSM did not bring the fabric up.", where=_tail(engine, plan, "fabric"), try_next="run `qnib up` again.",
        )
    return _numbers(told, say)


def _numbers(told: list[list[str]], say: Say) -> dict[str, Any]:
    if any(words[0] == "slow" for words in told):
        say("steps take longer than a second here: this machine is busy with other work")
    numbers = {words[0]: int(words[1]) for words in told if words[0] in ("registered", "ready")}
    return {**numbers, "srun": [int(words[1]) for words in told if words[0] == "srun"]}


def await_nodes(engine: ContainerEngine, plan: Plan, hosts: list[str]) -> None:
    """Until SLURM has run a step on each of these nodes. Raises Unavailable naming those that did not come."""
    names, step = ",".join(hosts), f"srun --quiet --mpi=none -p {plan.whole}"
    script = (
        f"for i in $(seq {PATIENCE * 5}); do "
        f"[ $(sinfo -h -N -p {plan.whole} -n {names} -t idle -o %N | sort -u | wc -l) -eq {len(hosts)} ] && "
        f"timeout 10 {step} -N {len(hosts)} -w {names} -J ready true && exit 0; sleep 0.2; done; "
        f"sinfo -h -N -p {plan.whole} -n {names} -t idle -o %N | sort -u; exit 1"
    )
    status, told = engine.run_inside(plan.container("controller"), ["bash", "-c", script])
    if status:
        missing = [host for host in hosts if host not in told.split()] or hosts
        raise Unavailable(
            f"Of {len(hosts)} new nodes {len(missing)} did not take work within {PATIENCE} s: {', '.join(missing)}.",
            where=_tail(engine, plan, missing[0]), try_next="scale again, by fewer nodes if memory is short.",
        )


def _comes_true(engine: ContainerEngine, plan: Plan, host: str, test: str, pause: float = 0.05) -> bool:
    """Whether a test of the shell succeeds on a host within about ten seconds."""
    wait = f"for i in $(seq {round(10 / pause)}); do {test} && exit 0; sleep {pause}; done; exit 1"
    return engine.run_inside(plan.container(host), ["bash", "-c", wait])[0] == 0


def _tail(engine: ContainerEngine, plan: Plan, host: str) -> str:
    """The container and the last thing it said."""
    name = plan.container(host)
    lines = engine.logs(name, 5).strip().splitlines()
    return f"{name}, which said last: {lines[-1].strip()}" if lines else name
