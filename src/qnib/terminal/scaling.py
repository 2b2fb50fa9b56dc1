"""`scale`: adds nodes at the end, or drains and removes them from the end; the fabric follows."""

from __future__ import annotations

from collections.abc import Callable

from qnib import clusters
from qnib.clusters import Cluster
from qnib.errors import Conflict, WrongUse
from qnib.settings import Settings
from qnib.terminal import cgroups, fabric, neighbours, parts, placing, record, topology
from qnib.terminal.engines import ContainerEngine
from qnib.terminal.engines.several import Several
from qnib.terminal.faults import written
from qnib.terminal.faults.inject import PATIENCE
from qnib.terminal.hosts import engine_of
from qnib.terminal.plan import LABEL, Plan, node_names
from qnib.terminal.readiness import await_nodes
from qnib.terminal.shapes import Link

Say = Callable[[str], None]


def scale(
    settings: Settings, nodes: int, *, name: str | None = None, patience: float = 300, say: Say = lambda step: None,
) -> Cluster:
    """Make the cluster have so many nodes; its record. Nodes to remove get no new jobs and may finish theirs.

    Raises Conflict when they are still busy after `patience` seconds: then nothing is removed and the nodes
    take jobs again.
    """
    wanted = name or settings.cluster
    with record.locked(settings, wanted, PATIENCE):
        cluster = clusters.load(settings.clusters, wanted)
        plan = record.plan_of(cluster)
        if plan.dense:
            raise WrongUse(
                "A dense cluster keeps the nodes it was started with.", where=wanted,
                try_next="`qnib down`, then start one of another size.",
            )
        plan.check_count(nodes)
        engine = engine_of(settings, cluster)
        try:
            before = cluster.details["nodes"]
            if nodes > before:
                _grow(settings, engine, cluster, before, nodes, say)
            elif nodes < before:
                _shrink(settings, engine, cluster, before, nodes, patience, say)
        finally:
            engine.close()
        return cluster


def _grow(
    settings: Settings, engine: ContainerEngine, cluster: Cluster, before: int, nodes: int, say: Say,
) -> None:
    plan = record.plan_of(cluster)
    added = node_names(nodes)[before:]
    if isinstance(engine, Several):
        _place(settings, engine, cluster, nodes)
    elif changed := neighbours.make_room(len(plan.services) + len(plan.beside) + nodes):
        say(changed)
    say(f"starting {len(added)} nodes")
    try:
        parts.create_and_start(engine, parts.build(settings, cluster, added, cluster.details["image"]))
        fabric.command(engine, plan, topology.plug(_difference(plan, nodes, before)))
        say("waiting for the new nodes to take work")
        await_nodes(engine, plan, added)
        parts.limit_rates(engine, plan, added)
    except BaseException:
        say("removing the new nodes again")
        _remove(engine, plan, added)
        fabric.command(engine, plan, topology.unplug(_difference(plan, nodes, before)))
        raise
    _keep(settings, cluster, nodes)


def _shrink(
    settings: Settings, engine: ContainerEngine, cluster: Cluster, before: int, nodes: int, patience: float, say: Say,
) -> None:
    plan = record.plan_of(cluster)
    leaving = node_names(before)[nodes:]
    names = ",".join(leaving)
    _refuse_faulty(settings, cluster, leaving, _difference(plan, before, nodes), topology.links(plan, nodes))
    say(f"draining {len(leaving)} nodes")
    drain = f"scontrol update nodename={names} state=drain reason='qnib scale'"
    busy = f"squeue -h -w {names} -t running,completing,suspended -o %A | sort -un"
    script = (
        f"{drain} && for i in $(seq {int(patience * 5) + 1}); do [ -z \"$({busy})\" ] && exit 0; sleep 0.2; done; "
        f"{busy}; "
        f"scontrol update nodename={names} state=resume; exit 1"
    )
    try:
        status, told = engine.run_inside(plan.container("controller"), ["bash", "-c", script])
    except BaseException:
        engine.run_inside(plan.container("controller"), ["scontrol", "update", f"nodename={names}", "state=resume"])
        raise
    if status:
        raise Conflict(
            f"Jobs still run on the nodes to remove: {' '.join(told.split()) or 'unknown'}.", where=names,
            try_next="wait for them, or `qnib exec controller -- scancel JOB`, then scale again.",
        )
    say(f"removing {len(leaving)} nodes")
    _remove(engine, plan, leaving)
    fabric.command(engine, plan, topology.unplug(_difference(plan, before, nodes)))
    _keep(settings, cluster, nodes)


def _refuse_faulty(settings: Settings, cluster: Cluster, leaving: list[str], cables: list[Link], staying: list[Link],
) -> None:
    """What was made to fail is put right before it goes: nobody could undo it afterwards."""
    names = {"--".join(link.ends) for link in cables}
    known = written.open_ones(settings, cluster.name, cluster.created)
    gone = {link.device for link in cables} - {link.device for link in staying}
    if concerned := [
        fault for fault in known
        if fault.target in leaving or fault.cable in names or fault.value.partition("/")[0] in gone
    ]:
        first = concerned[0]
        raise Conflict(
            f"{first.target} is made to fail ({first.kind}) and would go with the nodes.", where=f"fault {first.id}",
            try_next=f"`qnib fault clear {first.id}`, then scale again.",
        )


def _difference(plan: Plan, more: int, fewer: int) -> list[Link]:
    """Cables that the larger cluster has and the smaller has not."""
    there = set(topology.links(plan, fewer))
    return [link for link in topology.links(plan, more) if link not in there]


def _remove(engine: ContainerEngine, plan: Plan, hosts: list[str]) -> None:
    leaving = {plan.container(host) for host in hosts}
    # What is on a host that is away is not listed, and stays until it is back and the name is needed, or `down`.
    present = engine.containers(f"{LABEL}={plan.name}")
    parts.remove(engine, [c for c in present if c.name in leaving or c.labels.get("qnib.node") in hosts])
    # A record that stays would make SLURM wait for the node, and keep its old address for a new one.
    for host in hosts:
        engine.run_inside(plan.container("controller"), ["scontrol", "delete", f"nodename={host}"])
        cgroups.remove(plan.name, host)


def _place(settings: Settings, engine: Several, cluster: Cluster, nodes: int) -> None:
    """Hosts for the new nodes; written down before anything is started on them."""
    # The swarm holds the addresses of a host that is away for it, and a node has its address for good.
    engine.check_all_present()
    shares = [note["share"] for note in cluster.details["hosts"]]
    before = cluster.details["places"][: cluster.details["nodes"]]
    engine.places = cluster.details["places"] = placing.more(before, nodes - len(before), shares)
    clusters.save(settings.clusters, cluster)
    for host in node_names(nodes)[len(before):]:  # remains on a host that was away when its node was removed
        engine.remove_container(record.plan_of(cluster).container(host))


def _keep(settings: Settings, cluster: Cluster, nodes: int) -> None:
    for host in node_names(cluster.details["nodes"])[nodes:]:
        (record.folder(settings, cluster.name) / "etc" / f"agent-{host}.json").unlink(missing_ok=True)
    cluster.details["nodes"] = nodes
    if "places" in cluster.details:
        cluster.details["places"] = cluster.details["places"][:nodes]
    clusters.save(settings.clusters, cluster)
