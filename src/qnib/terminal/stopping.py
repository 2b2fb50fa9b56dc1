"""`down`: removes everything that carries the cluster's label, and nothing else. May be run twice."""

from __future__ import annotations

from collections.abc import Callable

from qnib import clusters
from qnib.clock import SystemClock
from qnib.clusters import Cluster
from qnib.errors import QnibError, Unavailable
from qnib.settings import Settings
from qnib.terminal import attendant, cgroups, hosts, neighbours, parts, record, server, swarm
from qnib.terminal.engines import ContainerEngine, installed, open_engine
from qnib.terminal.faults.written import end_all
from qnib.terminal.plan import LABEL

Say = Callable[[str], None]


def down(
    settings: Settings, *, name: str | None = None, every: bool = False, say: Say = lambda step: None,
) -> list[str]:
    """Remove one cluster, or all of them; names of those that were there.

    Works from labels as well as records, so that it also removes what an `up` that was killed left behind. Raises
    Unavailable, after all else is removed, for what is left on hosts that are away; the next `down` removes that.
    """
    removed: set[str] = set()
    trouble: QnibError | None = None
    anybody = False  # of any state directory
    wanted = None if every else clusters.check_name(name or settings.cluster)
    spread = {cluster.name: cluster for cluster in clusters.load_all(settings.clusters) if cluster.details.get("hosts")}
    for over in [one for one in spread.values() if wanted in (None, one.name)]:
        attendant.end(settings, over.name, count=False)
        try:
            with record.locked(settings, over.name):
                remove_from_hosts(settings, over, say)
            removed.add(over.name)
        except QnibError as error:
            trouble = trouble or error
    alone = every or wanted not in spread  # something of this machine alone is meant
    for engine in _engines(settings) if alone else []:
        try:
            for cluster in sorted(_present(settings, engine) - spread.keys()):
                if wanted in (None, cluster):
                    attendant.end(settings, cluster)  # it may hold the lock, and has no time for it any more
                    with record.locked(settings, cluster):
                        remove_all(settings, engine, cluster)
                    removed.add(cluster)
            anybody |= bool(engine.networks(LABEL))
        finally:
            engine.close(end_service=not _present(settings, engine))
    # A record without containers: the machine was restarted, or the engine was emptied by hand.
    bare = [c.name for c in clusters.load_all(settings.clusters) if c.engine and not c.details.get("hosts")]
    for cluster in [one for one in bare if wanted in (None, one)]:
        attendant.end(settings, cluster)
        cgroups.remove(cluster)
        end_all(settings, cluster, SystemClock().now().isoformat())
        record.forget(settings, cluster)
        removed.add(cluster)
    for cluster in removed:
        (settings.run / f"{cluster}.lock").unlink(missing_ok=True)
    if removed:
        if alone and not anybody:
            neighbours.restore()
        server.refresh(settings)
    if trouble is not None:
        raise trouble
    return sorted(removed)


def remove_all(settings: Settings, engine: ContainerEngine, name: str) -> None:
    """Everything of one cluster in this engine, its cgroups and its folder."""
    label = f"{LABEL}={name}"
    containers, networks, volumes = engine.containers(label), engine.networks(label), engine.volumes(label)
    strangers = [found for found in (*containers, *networks, *volumes) if not record.ours(settings, found)]
    attendant.end(settings, name, count=not strangers)
    parts.remove(engine, [found for found in containers if found not in strangers])
    for network in networks:
        if network not in strangers:
            engine.remove_network(network.name)
    for volume in volumes:
        if volume not in strangers:
            engine.remove_volume(volume.name)
    if not strangers:  # else cgroups and counts of that name are another state directory's
        cgroups.remove(name)
    end_all(settings, name, SystemClock().now().isoformat())
    record.forget(settings, name)


def remove_from_hosts(settings: Settings, cluster: Cluster, say: Say) -> None:
    """Everything of a cluster on those of its hosts that are there, and what `up` did to their swarm.

    Raises Unavailable for what is left on others, after all else is done; the record then tells which are done.
    """
    name, plan, label = cluster.name, record.plan_of(cluster), f"{LABEL}={cluster.name}"
    attendant.end(settings, name, count=False)
    notes = [note for note in cluster.details["hosts"] if not note.get("done")]
    several = hosts.several(settings, [note["address"] for note in notes], cluster.details["places"])
    left = {host.address: str(host.trouble.what) for host in several.hosts if host.trouble}
    try:
        several.on_each(lambda engine: _empty(settings, engine, label))
        first = several.hosts[0] if notes[0] is cluster.details["hosts"][0] else None
        why = swarm.remove_network(first.engine, plan.network, 0 if left else 10) if first and first.engine else ""
        swarm.undo(several, notes, plan.network, say)
        if first and first.engine and first.engine.networks(label):  # else it went with the swarm
            left[first.address] = f"network {plan.network}: {why}"
    finally:
        several.close()
    for note in notes:
        note["done"] = note["address"] not in left
    _hand_over(settings, cluster)
    if left:
        cluster.details["state"] = "leaving"
        clusters.save(settings.clusters, cluster)
        raise Unavailable(
            f"All of {name} is removed but what is on {', '.join(left)}: {next(iter(left.values()))}",
            where=", ".join(left), try_next=f"`qnib down --name {name}` again, when it is back.",
        )
    end_all(settings, name, SystemClock().now().isoformat())
    record.forget(settings, name)


def _empty(settings: Settings, engine: ContainerEngine, label: str) -> None:
    """Containers and volumes of one host."""
    parts.remove(engine, [found for found in engine.containers(label) if record.ours(settings, found)])
    for volume in engine.volumes(label):
        if record.ours(settings, volume):
            engine.remove_volume(volume.name)


def _hand_over(settings: Settings, cluster: Cluster) -> None:
    """A host that joined a swarm for this cluster, and stays because another is in it, leaves with that one."""
    for note in cluster.details["hosts"]:
        if not (note.get("done") and "joined" in note):
            continue
        for other in clusters.load_all(settings.clusters):
            theirs = [one for one in other.details.get("hosts", []) if one["address"] == note["address"]]
            if other.name != cluster.name and theirs and "joined" not in theirs[0]:
                theirs[0] |= {"joined": note["joined"], "bridge": note["bridge"]}
                clusters.save(settings.clusters, other)
                break
        del note["joined"]


def _engines(settings: Settings) -> list[ContainerEngine]:
    """Every engine that may hold clusters. One that no record names may be out of order without harm."""
    known = [cluster for cluster in clusters.load_all(settings.clusters) if not cluster.details.get("hosts")]
    named = {cluster.engine for cluster in known} - {""}
    wanted = ("podman", "docker") if settings.terminal.engine == "auto" else (settings.terminal.engine,)
    opened = []
    for engine in sorted(named | {each for each in wanted if installed(each)}) or ["auto"]:
        try:
            opened.append(open_engine(settings, engine))  # type: ignore[arg-type]
        except Unavailable:
            if engine in named or len(wanted) == 1:
                raise
    return opened


def _present(settings: Settings, engine: ContainerEngine) -> set[str]:
    """Clusters of this state directory in the engine."""
    things = [*engine.containers(LABEL), *engine.networks(LABEL), *engine.volumes(LABEL)]
    return {thing.labels[LABEL] for thing in things if record.ours(settings, thing)}
