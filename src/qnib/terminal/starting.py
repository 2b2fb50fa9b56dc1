"""`up`: from nothing to a cluster on which three `srun` in a row came back, or back to nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from qnib import clusters
from qnib.clock import Clock, SystemClock
from qnib.clusters import Cluster
from qnib.errors import Conflict, Unavailable
from qnib.settings import Settings
from qnib.terminal import (
    attendant,
    cgroups,
    counting,
    flags,
    hosts,
    image,
    interrupts,
    job_images,
    login,
    memory,
    neighbours,
    package,
    parts,
    placing,
    readiness,
    record,
    server,
    services,
    spreading,
)
from qnib.terminal.blueprint import Blueprint
from qnib.terminal.engines import ContainerEngine, open_engine
from qnib.terminal.engines.several import Several
from qnib.terminal.plan import HOME_LABEL, LABEL, Plan, free_subnet, host_routes, node_names
from qnib.terminal.stopping import remove_all, remove_from_hosts

Say = Callable[[str], None]

_SUBNETS_TRIED = 4


def up(
    settings: Settings, blueprint: Blueprint | None = None, *, name: str | None = None, nodes: int = 4,
    engine: Literal["auto", "podman", "docker"] | None = None, demo: bool = False, dense: bool = False,
    with_login: bool = False, accounting: bool = False, rest: bool = False, over: Sequence[str] = (),
    say: Say = lambda step: None, clock: Clock | None = None,
) -> Cluster:
    """Start a cluster and return its record when it is ready; `say` is told each step.

    Without a `blueprint` it has `nodes` alike, as the settings say; `demo`, `with_login`, `accounting` and `rest` are
    added to it, and with `over` it is spread over the Docker engines at these addresses. Raises Conflict when a cluster
    of that name is there, Unavailable or NotAllowed when something it needs is missing. Whatever is raised, Ctrl-C and
    SIGTERM included, nothing of the cluster is left behind.
    """
    blueprint = flags.added(
        blueprint or flags.alike(settings, nodes, dense=dense), demo=demo, login=with_login, accounting=accounting,
        rest=rest,
    )
    blueprint = flags.spread(blueprint, over, engine)
    if blueprint.services.login:
        login.check_tools()
    wanted = clusters.check_name(name or blueprint.name or settings.cluster)
    for trouble in [] if blueprint.hosts else memory.enough(blueprint):
        say(trouble)
    with record.locked(settings, wanted), interrupts.alike():
        _refuse_other_hosts(settings, wanted, bool(blueprint.hosts), say)
        opened = _open(settings, engine, blueprint)
        try:
            _refuse_second(settings, opened, wanted)
            tag = _image(settings, opened, blueprint, say)
            job_images.ensure(settings, opened, blueprint, say)
            _refuse_second(settings, opened, wanted)  # building takes a minute, in which somebody else may have come
            try:
                return _start(settings, opened, wanted, blueprint, tag, say, clock or SystemClock())
            except BaseException:
                say("removing what was begun")
                with interrupts.ignored():
                    _remove(settings, opened, wanted, say)
                    server.refresh(settings)
                raise
        finally:
            opened.close()


def _open(
    settings: Settings, engine: Literal["auto", "podman", "docker"] | None, blueprint: Blueprint,
) -> ContainerEngine:
    if not blueprint.hosts:
        return open_engine(settings, engine)
    places = placing.blocks(blueprint.count, [host.share for host in blueprint.hosts])
    return hosts.several(settings, [host.address for host in blueprint.hosts], places)


def _image(settings: Settings, engine: ContainerEngine, blueprint: Blueprint, say: Say) -> str:
    if isinstance(engine, Several):
        engine.check_all_present()
        return spreading.image_everywhere(settings, engine, blueprint, say)
    return image.ensure(settings, engine, blueprint, say)


def _remove(settings: Settings, engine: ContainerEngine, name: str, say: Say) -> None:
    if not isinstance(engine, Several):
        remove_all(settings, engine, name)
    elif begun := clusters.find(settings.clusters, name):
        remove_from_hosts(settings, begun, say)


def _refuse_other_hosts(settings: Settings, name: str, several: bool, say: Say) -> None:
    """A cluster of that name over several hosts, or one on this machine where several hosts are wanted, is a conflict;
    what an `up` over several hosts left behind when it was killed is swept away."""
    known = clusters.find(settings.clusters, name)
    if known is None or not (known.details.get("hosts") or several):
        return
    if known.details.get("hosts") and known.details.get("state") == "starting":
        remove_from_hosts(settings, known, say)
        return
    raise Conflict(
        f"Cluster {name!r} is there already{', or part of it' if known.details.get('state') == 'leaving' else ''}.",
        where=", ".join(one["address"] for one in known.details.get("hosts", [])) or known.engine or known.gateway,
        try_next=f"`qnib status`, or `qnib down --name {name}` first, or give another --name.",
    )


def _refuse_second(settings: Settings, engine: ContainerEngine, name: str) -> None:
    """A running cluster of that name is a conflict; the remains of one that never got ready are swept away."""
    found = engine.containers(f"{LABEL}={name}")
    known = clusters.find(settings.clusters, name)
    ready = known is not None and known.details.get("state") == "ready"
    if known is not None and not known.engine:
        raise Conflict(f"{name!r} is a real cluster's name.", where=known.gateway, try_next="give another --name.")
    if found and ready:
        raise Conflict(
            f"Cluster {name!r} is there already, with {len(found)} containers.", where=engine.name,
            try_next=f"`qnib status`, or `qnib down --name {name}` first, or give another --name.",
        )
    found += [*engine.networks(f"{LABEL}={name}"), *engine.volumes(f"{LABEL}={name}")]
    stranger = next((thing for thing in found if not record.ours(settings, thing)), None)
    if stranger:
        raise Conflict(
            f"Another state directory has a cluster {name!r} on this machine.",
            where=stranger.labels.get(HOME_LABEL, engine.name), try_next="choose another --name.",
        )
    if found or ready:
        remove_all(settings, engine, name)


def _start(
    settings: Settings, engine: ContainerEngine, name: str, blueprint: Blueprint, tag: str, say: Say, clock: Clock,
) -> Cluster:
    began = time.monotonic()
    rung = cgroups.DENSE if blueprint.dense else cgroups.choose(engine.cgroup_driver())
    say(f"limits: {rung.name} ({rung.sentence})")
    nodes, there = blueprint.count, engine if isinstance(engine, Several) else None
    plan = _plan(engine, name, blueprint) if there else _claim_network(settings, engine, name, blueprint)
    gateway = hosts.this_machine([host.address for host in there.hosts]) if there else plan.gateway
    # Of other machines' tables we know nothing.
    if not there and (changed := neighbours.make_room(len([*plan.services, *plan.beside, *plan.places(nodes)]))):
        say(changed)
    cluster = Cluster(
        name=name, gateway=gateway, ingest_token=secrets.token_urlsafe(24), engine=engine.name,
        created=clock.now().isoformat(),
        details={
            "state": "starting", "subnet": str(plan.subnet), "network": plan.network, "nodes": nodes, "first": nodes,
            "blueprint": blueprint.model_dump(mode="json"), "rung": rung.name, "image": tag,
            "racks": blueprint.racks,
            # Hosts hide their containers' addresses: there the token alone has to do.
            "jobs_from": "" if there else plan.address("controller"),
        },
    )
    _note_place(settings, engine, cluster, plan)
    jobs_url = record.jobs_url(cluster)
    record.write_files(settings, plan, rung, nodes, jobs_url)
    if blueprint.services.login:
        cluster.details["ssh_port"] = login.prepare(settings, plan)
    cluster.details |= services.prepare(settings, plan, rung, jobs_url)
    clusters.save(settings.clusters, cluster)
    if there:
        spreading.prepare(settings, there, cluster, plan, say)
    interrupts.at_once(lambda volume: engine.create_volume(volume, record.labels(settings, name)), plan.volumes)
    try:
        if not there:  # else the attendant begins it on each host
            counting.start(plan)
    except Unavailable as error:  # a cluster all the same
        say(f"the fabric carries no traffic, and other clusters are not kept away: {error.what} ({error.try_next})")

    say("starting the controller")
    parts.create_and_start(engine, parts.build(settings, cluster, ["controller"], tag))
    # podman makes the bridge with its first container: from here on the gateway's address exists.
    if trouble := server.refresh(settings):
        say(trouble)
    rest = parts.build(settings, cluster, [*plan.services[1:], *plan.places(nodes)], tag)
    beside = parts.build(settings, cluster, plan.beside, tag)
    interrupts.at_once(engine.create, [*rest, *beside])
    readiness.await_controller(engine, plan)
    say(f"starting the fabric and {nodes} nodes" if plan.has_fabric else f"starting {nodes} nodes")
    interrupts.at_once(engine.start, [container.name for container in rest])
    cluster.details["ready"] = readiness.await_ready(engine, plan, nodes, say)
    parts.limit_rates(engine, plan, node_names(nodes))
    if blueprint.services.login:
        readiness.await_login(engine, plan)
    if beside:
        # Only now: what nobody waits for takes no time from what everybody does.
        say(f"starting {' and '.join(plan.beside)}, which are not waited for")
        interrupts.at_once(engine.start, [container.name for container in beside])
        services.begin(settings, plan)
    cluster.details["ready_at"] = clock.now().isoformat()
    if blueprint.jobs != "none":
        say("submitting the first jobs")
        _start_jobs(engine, plan)
    cluster.details["state"] = "ready"
    cluster.details["seconds"] = round(time.monotonic() - began, 2)
    clusters.save(settings.clusters, cluster)
    attendant.start(settings, name)
    return cluster


def _note_place(settings: Settings, engine: ContainerEngine, cluster: Cluster, plan: Plan) -> None:
    """What the record says of where the containers are, and where the package is that they run."""
    blueprint, tag = plan.blueprint, cluster.details["image"]
    if isinstance(engine, Several):
        spreading.check_listening(settings, cluster.name, cluster.gateway)
        cluster.details |= {
            "package": f"{plan.network}-package", "places": engine.places, "hosts": spreading.check(engine, blueprint),
        }
    else:
        made = package.ensure(settings, engine.name, tag, toolbox=bool(blueprint.images))
        cluster.details["package"] = str(made)


def _claim_network(settings: Settings, engine: ContainerEngine, name: str, blueprint: Blueprint) -> Plan:
    """A plan with a subnet of its own, and the network made. Two clusters starting at once may want the same one."""
    tried: list[str] = []
    while True:
        plan = _plan(engine, name, blueprint, tried)
        try:
            with interrupts.held():
                engine.create_network(plan.network, str(plan.subnet), plan.gateway, record.labels(settings, name))
        except Unavailable:
            tried.append(str(plan.subnet))
            if len(tried) == _SUBNETS_TRIED:
                raise
        else:
            return plan


def _plan(engine: ContainerEngine, name: str, blueprint: Blueprint, tried: Sequence[str] = ()) -> Plan:
    taken = [*engine.subnets(), *host_routes(Path("/proc/net/route").read_text()), *tried]
    return Plan(name, free_subnet(taken), blueprint, blueprint.count)


def _start_jobs(engine: ContainerEngine, plan: Plan) -> None:
    """The loop that submits jobs lives in the controller and ends with it."""
    program = {"demo": "loop.py", "people": "people.py"}[plan.blueprint.jobs]
    loop = f"{package.INSIDE}/qnib/terminal/workloads/{program}"
    start = (
        f"setsid nohup nice -n 5 python3 {loop} --partition {plan.whole} </dev/null >/var/log/qnib-jobs.log 2>&1 & "
        "for i in $(seq 100); do [ -n \"$(squeue -h -t running -o %A)\" ] && exit 0; sleep 0.1; done; "
        "cat /var/log/qnib-jobs.log; exit 1"
    )
    status, told = engine.run_inside(plan.container("controller"), ["bash", "-c", start])
    if status:
        raise Unavailable(
            f"The first job did not start: {told.strip()[-200:] or 'no reason was given'}.",
            where=plan.container("controller"), try_next="run `qnib up` without --demo to look around by hand.",
        )
