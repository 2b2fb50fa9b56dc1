"""Turns a plan into containers: what each role mounts, may do and is limited to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from qnib.clusters import Cluster
from qnib.settings import Settings
from qnib.terminal import cgroups, login, rates, record, services, topology, wrapping
from qnib.terminal.cgroups import Rung
from qnib.terminal.engines import CAPABILITIES, Container, ContainerEngine, Found
from qnib.terminal.interrupts import at_once
from qnib.terminal.package import INSIDE
from qnib.terminal.plan import Plan
from qnib.terminal.slurm_conf import node_line

_MEMORY = {host: size << 20 for host, size in {
    "controller": 384, "fabric": 192, "login": 512, "database": 384, "rest": 128,
}.items()}
_THREADS = 256
"""Threads a dense node may have: an MPI rank and what serves it take about thirty."""
_CPUS = dict.fromkeys(_MEMORY, 1.0)
CAPABILITIES_OF = {"login": (*CAPABILITIES, *login.CAPABILITIES), "rest": services.CAPABILITIES}


def cpus_of(plan: Plan, host: str) -> float:
    """Cores a host may use: no more than this machine has, if it is to be on it."""
    own = sum(plan.group(node).cpus for node in plan.living_in(host)) if role_of(host) == "dense" else None
    wanted = own or (_CPUS[host] if host in _CPUS else plan.group(host).cpus)
    return wanted if plan.blueprint.hosts else min(wanted, float(os.cpu_count() or 1))


def role_of(host: str) -> str:
    return host if host in _MEMORY else "dense" if host.startswith("dense") else "node"


def memory_of(plan: Plan, host: str) -> int:
    """Octets a host may use."""
    if role_of(host) == "dense":
        asked = sum(plan.group(node).memory for node in plan.living_in(host)) << 20
        return min(asked, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if host in _MEMORY:
        return _MEMORY[host] * (3 if plan.dense else 1)  # its tables are those of a thousand nodes
    return plan.group(host).memory << 20


def build(settings: Settings, cluster: Cluster, hosts: Iterable[str], image: str) -> list[Container]:
    """The containers of these hosts, with their files and cgroups made on this machine."""
    plan, rung = record.plan_of(cluster), record.rung_of(cluster)
    return [_container(settings, cluster, plan, rung, host, image) for host in hosts]


def _container(settings: Settings, cluster: Cluster, plan: Plan, rung: Rung, host: str, image: str) -> Container:
    role = role_of(host)
    memory = memory_of(plan, host)
    cpus = cpus_of(plan, host)
    home = record.folder(settings, plan.name)
    agent = record.write_agent(settings, cluster, host, "node" if role in ("login", "dense") else role)
    binds = [
        (cluster.details["package"], INSIDE, "ro"),
        (str(agent), "/etc/qnib/agent.json", "ro"),
    ]
    # What a container cannot know of itself; its agent tells it with the limits it sees.
    environment = {"QNIB_CONTAINER": plan.container(host), "QNIB_IMAGE": image, "QNIB_RUNG": rung.name}
    if role == "fabric":
        binds += [(str(home / "etc" / name), f"/etc/qnib/{name}", "ro") for name in ("fabric.topology", "fabric.start")]
        binds += [(str(record.fabric_folder(settings, plan.name)), "/run/fabric", "rw")]
        environment |= {f"QNIB_{name.upper()}": str(value) for name, value in topology.size(plan).items()}
    elif role not in services.HOSTS:
        binds += [(str(home / "etc" / name), f"/etc/qnib/{name}", "ro") for name in ("munge.key", "passwd", "group")]
        binds += [(plan.home_volume, "/home", "rw")]
    if role in ("controller", "login", "dense"):
        binds += [(str(home / "etc" / name), f"/etc/qnib/{name}", "ro") for name in ("slurm.conf", "cgroup.conf")]
    ports: dict[int, int] = {}
    if role == "login":
        binds += login.binds(settings, plan.name)
        ports[cluster.details["ssh_port"]] = login.PORT
    if role == "node" and plan.blueprint.images:
        jobs = wrapping.folder(settings, plan.name, host)
        jobs.mkdir(parents=True, exist_ok=True, mode=0o755)
        binds.append((str(jobs), "/run/qnib/jobs", "ro"))
    if role == "node":
        environment |= {"QNIB_CONTROLLER": plan.address("controller"), "QNIB_NODE": node_line(plan, host)}
        if plan.blueprint.hosts and cluster.details["places"][plan.number(host)]:
            environment["QNIB_OWN_HOMES"] = "1"
    if role == "dense":
        environment |= {"QNIB_NODES": " ".join(plan.living_in(host))}
    binds += services.binds(settings, plan, host)
    environment |= services.environment(plan, host)
    if role == "rest":
        ports[cluster.details["rest_port"]] = services.REST_PORT
    files: dict[str, Path] = {}
    if plan.blueprint.hosts:  # which see nothing of this machine: files are copied, no folder is shared, volumes stay
        files = {inside: Path(source) for source, inside, _ in binds if Path(source).is_file()}
        binds = [bind for bind in binds if not bind[0].startswith("/")]
    limits: dict[str, float] = {"memory": memory, "cpus": cpus}
    parent = ""
    if rung.jobs_limited:
        # The wall stands around the cgroup that holds the container and its jobs' cgroups alike.
        cgroups.make(rung, plan.name, host, memory=memory, cpus=cpus, slurmd=role == "node")
        parent = cgroups.parent(plan.name, host)
        limits = {}
        binds += cgroups.binds(rung, plan.name, host)
    return Container(
        name=plan.container(host), image=image, hostname=host, network=plan.network, address=plan.address(host),
        command=["/usr/bin/tini", "-g", "--", "/bin/bash", f"{INSIDE}/qnib/terminal/inside/{role}.sh"],
        labels={**record.labels(settings, plan.name), "qnib.role": role, "qnib.host": host},
        binds=binds, files=files, hosts=plan.hosts(),
        environment=environment, cgroup_parent=parent, own_cgroup_namespace=rung is not cgroups.V2,
        memory=int(limits.get("memory", 0)), cpus=limits.get("cpus", 0),
        processes=_THREADS * len(plan.living_in(host)) if role == "dense" else 0,
        scratch=plan.group(host).scratch << 20 if role == "node" else 0, ports=ports,
        capabilities=CAPABILITIES_OF.get(role, CAPABILITIES),
    )


def limit_rates(engine: ContainerEngine, plan: Plan, hosts: Iterable[str]) -> None:
    """Hold the networks of nodes to what the blueprint says; done last, since a slow one takes minutes to register."""
    for host in hosts:
        if rate := plan.group(host).rate:
            rates.limit(engine, plan, host, rate)


def remove(engine: ContainerEngine, containers: Iterable[Found]) -> None:
    """Remove containers: those of jobs first, which share what belongs to nodes."""
    there = list(containers)
    jobs = [found.name for found in there if found.labels.get("qnib.role") == wrapping.ROLE]
    at_once(engine.remove_container, jobs)
    at_once(engine.remove_container, [found.name for found in there if found.name not in jobs])


def create_and_start(engine: ContainerEngine, containers: Iterable[Container]) -> None:
    def both(container: Container) -> None:
        engine.create(container)
        engine.start(container.name)

    at_once(both, containers)
