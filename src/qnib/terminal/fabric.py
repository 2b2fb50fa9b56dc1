"""Plugs and unplugs cables of a running cluster's fabric by commanding its simulator."""

from __future__ import annotations

from collections.abc import Sequence

from qnib.errors import Unavailable
from qnib.terminal.engines import ContainerEngine
from qnib.terminal.plan import Plan


def command(engine: ContainerEngine, plan: Plan, commands: Sequence[str]) -> None:
    """Give ibsim commands and wait until it has carried them out. Raises Unavailable when it does not answer."""
    if not commands:
        return
    # ibsim answers `Attached` with a list of its clients: once that is there, all before it is done.
    script = (
        "log=/run/fabric/ibsim.log; pgrep -x ibsim >/dev/null || exit 1; exec 9>/run/fabric/lock; flock 9; "
        "before=$(grep -c 'Client' $log); printf '%s\\n' \"$@\" Attached >/run/fabric/commands; "
        "for i in $(seq 100); do [ $(grep -c 'Client' $log) -gt $before ] && exit 0; sleep 0.05; done; exit 1"
    )
    container = plan.container("fabric")
    status, told = engine.run_inside(container, ["bash", "-c", script, "ibsim", *commands])
    if status:
        raise Unavailable(
            f"The fabric's simulator does not answer{': ' + told.strip() if told.strip() else ''}.", where=container,
            try_next=f"`qnib down --name {plan.name}`, then `qnib up --name {plan.name}`.",
        )
