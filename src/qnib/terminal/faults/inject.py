"""Injects faults and clears them."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

from qnib.clock import Clock, SystemClock
from qnib.errors import Conflict, NotFound, QnibError, WrongUse
from qnib.settings import Settings
from qnib.terminal import wiring
from qnib.terminal.faults import written
from qnib.terminal.faults.actions import ACTIONS
from qnib.terminal.faults.kinds import KINDS, Kind
from qnib.terminal.faults.scene import Scene, entered
from qnib.terminal.faults.written import Fault

PATIENCE = 10.0
"""Seconds to wait for another command; the process beside the cluster is busy with it for a moment now and then."""


def inject(
    settings: Settings, kind: str, target: str, value: str = "", *, name: str | None = None,
    lasts: float | None = None, coming: int | None = None, clock: Clock | None = None, patience: float = PATIENCE,
) -> Fault:
    """Make `target` fail, and write it down. `value` is the kind's own measure (empty: its default), `lasts` seconds.

    Raises WrongUse for a kind or value that is none, NotFound for a target that is not there, Conflict when the same
    is injected already, Unavailable when this machine cannot do it.
    """
    wanted = kind_of(kind)
    value = wanted.valued(value)
    with entered(settings, name or settings.cluster, patience) as scene:
        fault = Fault(
            max((known.id for known in scene.known), default=0) + 1, (clock or SystemClock()).now().isoformat(),
            kind, target, [], value=value, lasts=lasts, coming=coming,
        )
        _place(scene, wanted, fault)
        try:
            ACTIONS[kind][0](scene, fault)
        except BaseException:
            with contextlib.suppress(QnibError):  # half done is undone; why it failed is what is told
                ACTIONS[kind][1](scene, fault)
            raise
        written.write(settings, scene.cluster.name, [*scene.known, fault])
        return fault


def _place(scene: Scene, kind: Kind, fault: Fault) -> None:
    """See that the target is there and not failing so already; what it is about is noted in the fault."""
    if kind.target == "node":
        scene.check_node(fault.target)
        if scene.plan.has_fabric:
            fault.cable = wiring.at(f"{fault.target}/1", scene.cables()).name
    else:
        cable = wiring.at(fault.target, scene.cables())
        fault.cable, fault.ends = cable.name, cable.ends
    for other in scene.open:
        same_cable = fault.cable and other.cable == fault.cable and kind.name.startswith("cable-")
        if other.kind == fault.kind and fault.kind != "cable-move" and (other.target == fault.target or same_cable):
            about = f"The cable between {fault.ends[0]} and {fault.ends[1]}" if same_cable else other.target
            what = "is out already" if fault.kind == "cable-out" else f"has {fault.kind} already"
            raise Conflict(
                f"{about} {what}.", where=f"fault {other.id}",
                try_next=f"`qnib fault clear {other.id}` undoes it, `qnib fault list` shows all.",
            )


def clear(
    settings: Settings, number: int | None = None, *, name: str | None = None, clock: Clock | None = None,
    patience: float = PATIENCE,
) -> list[Fault]:
    """Undo one fault, or all that are open, the last first; those undone. Raises NotFound for one that is not open,
    and what kept the first from being undone, after all others were."""
    trouble: QnibError | None = None
    with entered(settings, name or settings.cluster, patience) as scene:
        undo = [fault for fault in reversed(scene.open) if number in (None, fault.id)]
        if number is not None and not undo:
            raise NotFound(
                f"There is no open fault {number}.", where=scene.cluster.name,
                try_next="`qnib fault list` shows them.",
            )
        for fault in undo:
            try:
                ACTIONS[fault.kind][1](scene, fault)
            except QnibError as error:
                trouble = trouble or error
                continue
            fault.cleared = (clock or SystemClock()).now().isoformat()
            written.write(settings, scene.cluster.name, scene.known)  # one by one: the next may fail to be undone
    if trouble is not None:
        raise trouble
    return undo[::-1]


def due(settings: Settings, name: str, created: str, now: datetime) -> list[Fault]:
    """Open faults whose time is over."""
    return [
        fault for fault in written.open_ones(settings, name, created)
        if fault.lasts is not None and now >= datetime.fromisoformat(fault.time) + timedelta(seconds=fault.lasts)
    ]


def kind_of(name: str) -> Kind:
    if name not in KINDS:
        raise WrongUse(f"There is no fault {name!r}.", where="the kind", try_next=f"one of {', '.join(KINDS)}.")
    return KINDS[name]
