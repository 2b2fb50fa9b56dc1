"""How each kind of fault is done to a running cluster, and undone."""

from __future__ import annotations

import re
from collections.abc import Callable

from qnib.errors import Conflict, Unavailable
from qnib.terminal import cgroups, parts, rates, wiring
from qnib.terminal.faults.kinds import daemon, rate, share, span
from qnib.terminal.faults.scene import Scene
from qnib.terminal.faults.written import Fault

Action = Callable[[Scene, Fault], None]


# ── the fabric ────────────────────────────────────────────────────────────────────────────────


def _pull(scene: Scene, fault: Fault) -> None:
    cable = wiring.at(fault.target, scene.cables())
    if not cable.plugged:
        raise Conflict(
            f"The cable between {cable.a} and {cable.b} is out already.", where=scene.cluster.name,
            try_next="`qnib fault list` shows what is injected, `qnib fault clear` puts it back.",
        )
    scene.command_fabric([wiring.unlink(cable)])


def _put_back(scene: Scene, fault: Fault) -> None:
    cable = next((c for c in scene.cables(without=fault) if c.name == fault.cable), None)
    if cable is not None and cable.plugged:  # else its node is gone, or something else keeps it out
        scene.command_fabric([wiring.link(cable)])


def _move(scene: Scene, fault: Fault) -> None:
    cable = wiring.at(fault.target, scene.cables())
    wiring.check_free(fault.value, scene.plan, scene.cables())
    moved = wiring.Cable(cable.name, fault.value, cable.beyond(fault.target))
    scene.command_fabric([wiring.unlink(cable), wiring.link(moved)] if cable.plugged else [])


def _move_back(scene: Scene, fault: Fault) -> None:
    now = scene.cable_named(fault.cable)
    before = next(c for c in scene.cables(without=fault) if c.name == fault.cable)
    for end in set(before.ends) - set(now.ends):
        wiring.check_free(end, scene.plan, scene.cables())
    if now.plugged:
        scene.command_fabric([wiring.unlink(now), wiring.link(before)])


def _narrow(scene: Scene, fault: Fault) -> None:
    _set_width(scene, fault.target, "1")


def _widen(scene: Scene, fault: Fault) -> None:
    _set_width(scene, fault.target, "3")


def _set_width(scene: Scene, port: str, width: str) -> None:
    """By the ordinary tool, at the switch's end of the link: 1 is 1X, 3 is 1X or 4X."""
    cable = wiring.at(port, scene.cables())
    device, number = wiring.parts(cable.a)
    told = scene.run("fabric", "dump_fts")
    lids = re.findall(rf"^0x([0-9a-f]+) .*'{re.escape(device)}'\)?\s*$", told, re.MULTILINE)
    if not lids:
        raise Unavailable(f"OpenSM knows no {device}.", where="dump_fts", try_next="look whether its links are up.")
    scene.run("fabric", "ibportstate", str(int(lids[0], 16)), str(number), "width", width)


def _written(scene: Scene, fault: Fault) -> None:
    """The attendant makes the errors for as long as the fault is written down."""


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────


def _slow(scene: Scene, fault: Fault) -> None:
    cpus = parts.cpus_of(scene.plan, fault.target) * share(fault.value)
    cgroups.set_cpus(scene.rung, scene.plan.name, fault.target, cpus)


def _quick(scene: Scene, fault: Fault) -> None:
    cgroups.set_cpus(scene.rung, scene.plan.name, fault.target, parts.cpus_of(scene.plan, fault.target))


def _throttle(scene: Scene, fault: Fault) -> None:
    rates.limit(scene.engine, scene.plan, fault.target, rate(fault.value))


def _unthrottle(scene: Scene, fault: Fault) -> None:
    rates.limit(scene.engine, scene.plan, fault.target, scene.plan.group(fault.target).rate)


def _kill(scene: Scene, fault: Fault) -> None:
    scene.engine.kill(scene.plan.container(fault.target))
    if scene.plan.has_fabric:  # a dead machine's link goes down
        cable = wiring.at(f"{fault.target}/1", scene.cables())
        if cable.plugged:
            scene.command_fabric([wiring.unlink(cable)])


def _revive(scene: Scene, fault: Fault) -> None:
    scene.engine.start(scene.plan.container(fault.target))
    parts.limit_rates(scene.engine, scene.plan, [fault.target])
    if scene.plan.has_fabric:
        _put_back(scene, fault)


_FULL = "/tmp/qnib-disk-full"  # noqa: S108 - in the node's container


def _fill(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", f"dd if=/dev/zero of={_FULL} bs=64k 2>&1 | grep -q 'No space left'")


def _unfill(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "rm", "-f", _FULL)


def _stop(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", f"pkill -STOP {daemon(fault.value)}")


def _continue(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", f"pkill -CONT {daemon(fault.value)} || true")


def _skew(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "bash", scene.script("skew.sh"), str(span(fault.value)))


def _unskew(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "bash", scene.script("skew.sh"), "0")


def _leak(scene: Scene, fault: Fault) -> None:
    grows, limit = max(1, rate(fault.value) >> 20), scene.plan.group(fault.target).memory
    scene.start_beside(fault.target, f"python3 {scene.script('leak.py')} --rate {grows} --limit {limit}")


def _unleak(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", "pkill -f inside/[l]eak.py || true")


ACTIONS: dict[str, tuple[Action, Action]] = {
    "cable-out": (_pull, _put_back),
    "cable-move": (_move, _move_back),
    "cable-bad": (_written, _written),
    "port-bad": (_written, _written),
    "link-width": (_narrow, _widen),
    "link-rate": (_throttle, _unthrottle),
    "node-slow": (_slow, _quick),
    "node-down": (_kill, _revive),
    "disk-full": (_fill, _unfill),
    "daemon-stop": (_stop, _continue),
    "clock-skew": (_skew, _unskew),
    "memory-leak": (_leak, _unleak),
}
"""Inject and undo, by kind."""
