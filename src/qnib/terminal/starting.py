"""`up`: from nothing to a cluster on which three `srun` in a row came back, or back to nothing."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from qnib import clusters
from qnib.clock import Clock, SystemClock
from qnib.clusters import Cluster
from qnib.errors import Conflict, NotFound, Unavailable
from qnib.settings import Settings
from qnib.terminal import (
    attendant,
    cgroups,
    counting,
    flags,
    hosts,
    image,
    job_images,
    login,
    memory,
    neighbours,
    package,
    parts,
    placing,
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

PATIENCE = 60
"""Seconds the nodes have to register and to answer; half a second more for each of them."""

DENSE_STEP = 60
"""Nodes of the steps that prove a dense cluster ready: one over a thousand takes two cores half a minute."""

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
    with record.locked(settings, wanted), _sigterm_as_interrupt():
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
                with _uninterrupted():
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
    elif any(cluster.name == name for cluster in clusters.load_all(settings.clusters)):  # else nothing was begun
        remove_from_hosts(settings, clusters.load(settings.clusters, name), say)


def _refuse_other_hosts(settings: Settings, name: str, several: bool, say: Say) -> None:
    """A cluster of that name over several hosts, or one on this machine where several hosts are wanted, is a conflict;
    what an `up` over several hosts left behind when it was killed is swept away."""
    known = next((cluster for cluster in clusters.load_all(settings.clusters) if cluster.name == name), None)
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
    try:
        known = clusters.load(settings.clusters, name)
    except NotFound:
        ready = False
    else:
        ready = known.details.get("state") == "ready"
        if not known.engine:
            raise Conflict(
                f"{name!r} is a real cluster's name.", where=known.gateway, try_next="give another --name.",
            )
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
    for volume in [plan.home_volume, *([plan.database_volume] if blueprint.services.accounting else [])]:
        engine.create_volume(volume, record.labels(settings, name))
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
    parts.at_once(engine.create, [*rest, *beside])
    _await_controller(engine, plan)
    say(f"starting the fabric and {nodes} nodes" if plan.has_fabric else f"starting {nodes} nodes")
    parts.at_once(engine.start, [container.name for container in rest])
    cluster.details["ready"] = await_ready(engine, plan, nodes, say)
    parts.limit_rates(engine, plan, node_names(nodes))
    if blueprint.services.login:
        _await_login(engine, plan)
    if beside:
        # Only now: what nobody waits for takes no time from what everybody does.
        say(f"starting {' and '.join(plan.beside)}, which are not waited for")
        parts.at_once(engine.start, [container.name for container in beside])
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


def _await_controller(engine: ContainerEngine, plan: Plan) -> None:
    """Until slurmctld answers: nodes that ask for their configuration before that only have to ask again."""
    wait = "for i in $(seq 200); do scontrol ping 2>/dev/null | grep -q ' is UP' && exit 0; sleep 0.05; done; exit 1"
    status, _ = engine.run_inside(plan.container("controller"), ["bash", "-c", wait])
    if status:
        raise Unavailable(
            "The controller does not answer.", where=_tail(engine, plan, "controller"),
            try_next="run `qnib up` again; a machine that is short of memory or very busy is the usual cause.",
        )


def _await_login(engine: ContainerEngine, plan: Plan) -> None:
    """Until sshd listens; by then it has long done so."""
    wait = "for i in $(seq 200); do [ -e /run/sshd.pid ] && exit 0; sleep 0.05; done; exit 1"
    if engine.run_inside(plan.container("login"), ["bash", "-c", wait])[0]:
        raise Unavailable(
            "The login node's sshd does not start.", where=_tail(engine, plan, "login"),
            try_next="run `qnib up` again.",
        )


def await_ready(engine: ContainerEngine, plan: Plan, nodes: int, say: Say) -> dict[str, Any]:
    """Until SLURM runs steps on all nodes and OpenSM has routed the fabric; what it took, in milliseconds."""
    script, patience = f"{package.INSIDE}/qnib/terminal/inside/ready.sh", PATIENCE + nodes // 2
    steps = min(nodes, DENSE_STEP) if plan.dense else nodes
    command = ["bash", script, str(nodes), str(patience), plan.whole, str(steps)]
    say(f"waiting for SLURM to run a step on {'every node' if steps == nodes else f'{steps} nodes'}, three times")
    status, output = engine.run_inside(plan.container("controller"), command)
    told = [line.split() for line in output.splitlines() if line.strip()]
    if status:
        present = next((set(words[1:]) for words in told if words[0] == "missing"), None)
        missing = [host for host in node_names(nodes) if present is not None and host not in present]
        if missing:
            raise Unavailable(
                f"Of {nodes} nodes {len(missing)} did not register within {patience} s: {', '.join(missing)}.",
                where=_tail(engine, plan, missing[0]),
                try_next="run `qnib up` again; with fewer --nodes if this machine is short of memory.",
            )
        raise Unavailable(
            f"All nodes registered, but steps over all of them failed for {patience} s "
            f"(the last: {' '.join(told[-1]) if told else 'none'}).",
            where=plan.container("controller"), try_next="run `qnib up` again when this machine is less busy.",
        )
    if not plan.has_fabric:
        return _numbers(told, say)
    wait = "for i in $(seq 100); do grep -q 'SUBNET UP' /var/log/opensm.log && exit 0; sleep 0.1; done; exit 1"
    if engine.run_inside(plan.container("fabric"), ["bash", "-c", wait])[0]:
        raise Unavailable(
            "OpenSM did not bring the fabric up.", where=_tail(engine, plan, "fabric"), try_next="run `qnib up` again.",
        )
    return _numbers(told, say)


def _numbers(told: list[list[str]], say: Say) -> dict[str, Any]:
    if any(words[0] == "slow" for words in told):
        say("steps take longer than a second here: this machine is busy with other work")
    numbers = {words[0]: int(words[1]) for words in told if words[0] in ("registered", "ready")}
    return {**numbers, "srun": [int(words[1]) for words in told if words[0] == "srun"]}


def await_nodes(engine: ContainerEngine, plan: Plan, hosts: list[str]) -> None:
    """Until SLURM has run a step on each of these nodes. Raises Unavailable naming those that did not come."""
    names, step = ",".join(hosts), f"srun --quiet --mpi=none -p {plan.whole}"
    script = (
        f"for i in $(seq {PATIENCE * 5}); do "
        f"[ $(sinfo -h -N -p {plan.whole} -n {names} -t idle -o %N | sort -u | wc -l) -eq {len(hosts)} ] && "
        f"timeout 10 {step} -N {len(hosts)} -w {names} -J ready true && exit 0; sleep 0.2; done; "
        f"sinfo -h -N -p {plan.whole} -n {names} -t idle -o %N | sort -u; exit 1"
    )
    status, told = engine.run_inside(plan.container("controller"), ["bash", "-c", script])
    if status:
        missing = [host for host in hosts if host not in told.split()] or hosts
        raise Unavailable(
            f"Of {len(hosts)} new nodes {len(missing)} did not take work within {PATIENCE} s: {', '.join(missing)}.",
            where=_tail(engine, plan, missing[0]), try_next="scale again, by fewer nodes if memory is short.",
        )


def _tail(engine: ContainerEngine, plan: Plan, host: str) -> str:
    """The container and the last thing it said."""
    name = plan.container(host)
    lines = engine.logs(name, 5).strip().splitlines()
    return f"{name}, which said last: {lines[-1].strip()}" if lines else name


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """`kill` and Ctrl-C take the same way out."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: signals are someone else's business
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C does not stop the tidying."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
