"""What the flags of `qnib up` make of a blueprint, or in the place of one."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from qnib.errors import WrongUse
from qnib.settings import Settings
from qnib.terminal.blueprint import Blueprint, Nodes
from qnib.terminal.plan import check_count


def alike(settings: Settings, nodes: int, *, dense: bool = False) -> Blueprint:
    """So many nodes, all as the settings say. Raises WrongUse for a number that is none."""
    told = settings.terminal
    one = Nodes(count=check_count(nodes, dense=dense), cpus=told.node_cpus, memory=told.node_memory)
    return Blueprint(nodes=[one], **({"fidelity": "dense"} if dense else {}))


def added(blueprint: Blueprint, *, demo: bool, **services: bool) -> Blueprint:
    """`blueprint` with the demo's jobs and with services by name. Raises WrongUse where the demo could not run."""
    if demo:
        if not any(partition.nodes == "all" for partition in blueprint.partitions):
            raise WrongUse(
                "The demo's jobs need a partition with all nodes.", where="--demo",
                try_next='give the blueprint one with nodes = "all".',
            )
        if left := blueprint.without_account:
            raise WrongUse(
                f"Of the demo's users {', '.join(left)} could submit no job: no account lists them.", where="--demo",
                try_next="list them in an account of the blueprint.",
            )
        blueprint = blueprint.model_copy(update={"jobs": "demo"})
    asked = {name: True for name, wanted in services.items() if wanted}
    return blueprint.model_copy(update={"services": blueprint.services.model_copy(update=asked)})


def spread(blueprint: Blueprint, over: Sequence[str], engine: str | None) -> Blueprint:
    """With these hosts, if any are named; checked with all that was added. Raises WrongUse for what cannot be."""
    if not (over or blueprint.hosts):
        return blueprint
    if engine == "podman":
        raise WrongUse(
            "Over several hosts a cluster needs Docker.", where="--engine podman", try_next="leave it out, or --hosts.",
        )
    told = blueprint.model_dump(mode="json")
    if over:
        told["hosts"] = [{"address": address} for address in over]
    try:
        return Blueprint.model_validate(told)
    except ValidationError as error:
        raise WrongUse(
            f"{error.errors()[0]['msg'].removeprefix('Value error, ')}.", where="--hosts",
            try_next="write the engines' addresses with commas: --hosts ssh://a,tcp://b:2376",
        ) from error
