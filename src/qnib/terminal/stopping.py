"""`down`: removes everything that carries the cluster's label, and nothing else. May be run twice."""

from __future__ import annotations

from qnib import clusters
from qnib.clock import SystemClock
from qnib.errors import Unavailable
from qnib.settings import Settings
from qnib.terminal import attendant, cgroups, neighbours, parts, record, server
from qnib.terminal.engines import ContainerEngine, installed, open_engine
from qnib.terminal.faults.written import end_all
from qnib.terminal.plan import LABEL


def down(settings: Settings, *, name: str | None = None, every: bool = False) -> list[str]:
    """Remove one cluster, or all of them; names of those that were there.

    Works from labels as well as records, so that it also removes what an `up` that was killed left behind.
    """
    removed: set[str] = set()
    anybody = False  # of any state directory
    wanted = None if every else clusters.check_name(name or settings.cluster)
    for engine in _engines(settings):
        try:
            for cluster in sorted(_present(settings, engine)):
                if wanted in (None, cluster):
                    attendant.end(settings, cluster)  # it may hold the lock, and has no time for it any more
                    with record.locked(settings, cluster):
                        remove_all(settings, engine, cluster)
                    removed.add(cluster)
            anybody |= bool(engine.networks(LABEL))
        finally:
            engine.close(end_service=not _present(settings, engine))
    # A record without containers: the machine was restarted, or the engine was emptied by hand.
    for cluster in [c.name for c in clusters.load_all(settings.clusters) if c.engine and wanted in (None, c.name)]:
        attendant.end(settings, cluster)
        cgroups.remove(cluster)
        end_all(settings, cluster, SystemClock().now().isoformat())
        record.forget(settings, cluster)
        removed.add(cluster)
    for cluster in removed:
        (settings.run / f"{cluster}.lock").unlink(missing_ok=True)
    if removed:
        if not anybody:
            neighbours.restore()
        server.refresh(settings)
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


def _engines(settings: Settings) -> list[ContainerEngine]:
    """Every engine that may hold clusters. One that no record names may be out of order without harm."""
    named = {cluster.engine for cluster in clusters.load_all(settings.clusters)} - {""}
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
