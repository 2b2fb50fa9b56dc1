"""What can be made to go wrong, and how it is undone: one declaration each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qnib.errors import Conflict, Unavailable, WrongUse
from qnib.terminal import cgroups, parts, rates, wiring
from qnib.terminal.blueprint import octets_a_second, seconds
from qnib.terminal.faults.scene import Scene
from qnib.terminal.faults.written import Fault


@dataclass(frozen=True, slots=True)
class Kind:
    """`target`: what it happens to. `value`: its meaning for people, empty where it takes none; `default` may be empty,
    then one must be given. `check` raises WrongUse for a value that is none."""

    name: str
    target: Literal["port", "node"]
    about: str
    inject: Callable[[Scene, Fault], None]
    undo: Callable[[Scene, Fault], None]
    value: str = ""
    default: str = ""
    check: Callable[[str], object] = str


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
        wiring.check_free(end, scene.plan, [c for c in scene.cables() if c.name != fault.cable])
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


def _nothing(scene: Scene, fault: Fault) -> None:
    """The attendant makes the errors for as long as the fault is written down."""


def _errors_a_second(value: str) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = 0
    if not 0 < rate <= 10_000:
        raise WrongUse(f"{value!r} is no number of errors a second.", where="the value", try_next="such as 5.")
    return rate


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────


def _slow(scene: Scene, fault: Fault) -> None:
    cpus = scene.plan.group(fault.target).cpus * _share(fault.value)
    cgroups.set_cpus(scene.rung, scene.plan.name, fault.target, cpus)


def _quick(scene: Scene, fault: Fault) -> None:
    cgroups.set_cpus(scene.rung, scene.plan.name, fault.target, scene.plan.group(fault.target).cpus)


def _share(value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", value)
    if not found or not 1 <= float(found[1]) < 100:
        raise WrongUse(f"{value!r} is no share.", where="the value", try_next="from 1% to 99%, such as 25%.")
    return float(found[1]) / 100


def _rate(value: str) -> int:
    try:
        return int(str(octets_a_second(value)))
    except ValueError as error:
        raise WrongUse(f"{value!r} is no rate.", where="the value", try_next=f"{error}.") from error


def _throttle(scene: Scene, fault: Fault) -> None:
    rates.limit(scene.engine, scene.plan, fault.target, _rate(fault.value))


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


_DAEMONS = {"slurmd": "-x slurmd", "munged": "-x munged", "agent": "-f [q]nib.agent"}


def _daemon(value: str) -> str:
    if value not in _DAEMONS:
        known = ", ".join(_DAEMONS)
        raise WrongUse(f"{value!r} is no daemon of a node.", where="the value", try_next=f"one of {known}.")
    return _DAEMONS[value]


def _stop(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", f"pkill -STOP {_daemon(fault.value)}")


def _continue(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", f"pkill -CONT {_daemon(fault.value)}")


def _span(value: str) -> int:
    try:
        return int(float(str(seconds(value.lstrip("+-") or "0s"))) * (-1 if value.startswith("-") else 1))
    except ValueError as error:
        raise WrongUse(f"{value!r} is no span.", where="the value", try_next=f"{error}.") from error


def _skew(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "bash", scene.script("skew.sh"), str(_span(fault.value)))


def _unskew(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "bash", scene.script("skew.sh"), "0")


def _leak(scene: Scene, fault: Fault) -> None:
    rate, limit = max(1, _rate(fault.value) >> 20), scene.plan.group(fault.target).memory
    scene.start_beside(fault.target, f"python3 {scene.script('leak.py')} --rate {rate} --limit {limit}")


def _unleak(scene: Scene, fault: Fault) -> None:
    scene.run(fault.target, "sh", "-c", "pkill -f inside/[l]eak.py || true")


KINDS = {kind.name: kind for kind in (
    Kind("cable-out", "port", "The cable at a port is pulled out", _pull, _put_back),
    Kind("cable-move", "port", "One end of the cable at a port is plugged into another port", _move, _move_back,
         "the free port it goes to", ""),
    Kind("cable-bad", "port", "The cable damages bits: symbol errors at both its ends, wherever it is plugged in",
         _nothing, _nothing, "errors a second", "5", _errors_a_second),
    Kind("port-bad", "port", "The port damages bits: symbol errors there, whatever cable is in it",
         _nothing, _nothing, "errors a second", "5", _errors_a_second),
    Kind("link-width", "port", "The link at a port comes up with one lane of four", _narrow, _widen),
    Kind("link-rate", "node", "The node's network gives less, each way", _throttle, _unthrottle, "rate", "1KB/s",
         _rate),
    Kind("node-slow", "node", "The node gives its jobs only a share of its cores", _slow, _quick, "share", "25%",
         _share),
    Kind("node-down", "node", "The node dies at once, as if its plug was pulled", _kill, _revive),
    Kind("disk-full", "node", "The node's /tmp is filled to the last octet", _fill, _unfill),
    Kind("daemon-stop", "node", "A daemon of the node hangs", _stop, _continue, "slurmd, munged or agent", "slurmd",
         _daemon),
    Kind("clock-skew", "node", "The clock of the node's daemons is wrong", _skew, _unskew, "by how much", "10m", _span),
    Kind("memory-leak", "node", "A process on the node grows until little memory is left", _leak, _unleak,
         "megabytes a second", "16MB/s", _rate),
)}
