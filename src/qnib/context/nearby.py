"""What else happened around an event, near it in time and near it in the graph; and in one sentence whose it is.

Near are its host, the other hosts of its jobs, the switches the host hung on with what hangs there, and the switches
one hop further; all as they were at the moment of the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from qnib.clock import micros
from qnib.context.joined import Around, job_row
from qnib.context.known import Sources, fold
from qnib.domains.paths import natural
from qnib.errors import NotFound
from qnib.inventory import whereabouts
from qnib.inventory.distance import APART, Distances
from qnib.inventory.fabric import Wiring, wiring
from qnib.monitoring.events import EVENT_COLUMNS, event_row
from qnib.monitoring.syslog import SEVERITIES
from qnib.nodes import unfold

MOST = 60
"""Events told of each group, those nearest in time first."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TROUBLE = SEVERITIES[:4]
_WHERE = (
    "cluster = {cluster:String} AND time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}"
    " AND id != {id:UInt64}"
)


@dataclass(frozen=True, slots=True)
class Failing:
    """A switch with trouble near the event. `ports`: of which it was told; `whole`: of itself, or of several ports."""

    switch: str
    ports: tuple[str, ...]
    hops: int
    whole: bool


def nearby(sources: Sources, cluster: str, number: int, time: datetime | None, minutes: float) -> dict[str, Any]:
    """The event with this id (`time`: about when, which finds it quicker), the sentence, and groups of other events
    within `minutes` before and after it. Raises NotFound."""
    row = _find(sources, cluster, number, time)
    at, span = row["time"], timedelta(minutes=minutes)
    event = Around(sources, cluster, [row]).shown(row)
    around = event["around"]
    found = wiring(sources.facts, cluster, at)
    known = whereabouts.names(sources.engine, sources.facts, cluster)
    plugged = whereabouts.plugged(sources.engine, sources.facts, cluster)
    moments = (micros(at), micros(at - span))  # what failed just now had been there just before
    about = _about(row["entities"], found)
    host = around["host"] if row["host"] else ""
    switches = about.switches or around["switches"] or sorted(
        {one for moment in moments for one in plugged.switches(host, moment)}, key=natural
    )  # fmt: skip
    hosts = sorted({*about.hosts, *([host] if host else [])}, key=natural)
    jobs = around["jobs"] or ([] if host else _jobs_on(sources, cluster, hosts, at))
    beside = {
        switch: sorted({name for moment in moments for name in plugged.hosts(switch, moment)}, key=natural)
        for switch in switches
    }
    further = sorted(
        {other for one in switches for other in found.beside.get(one, ()) if other in set(found.switches)}
        - set(switches), key=natural,
    )  # fmt: skip
    window = {"cluster": cluster, "start": at - span, "end": at + span, "id": row["id"], "at": at}
    failing = _failing(sources, window, [row], found, hosts, switches)
    of_jobs = sorted({name for job in jobs for name in unfold(str(job["nodes"]))}, key=natural)

    def lines(names: Iterable[str]) -> list[str]:
        spoken = {name for one in names for _, _, name in known.of.get(one, [(0, 0, one)])}
        return sorted(spoken)

    wanted: list[tuple[str, str, str, dict[str, Any]]] = []
    if hosts:
        refs = [f"{kind}:{name}" for name in hosts for kind in ("Host", "Node")]
        wanted.append(("host", f"On {fold(hosts)}", _OF, {"hosts": lines(hosts), "refs": refs}))
    for job in jobs:
        refs = [f"Job:{job['key']}", f"Job:{job['id']}"]
        others = sorted(set(unfold(str(job["nodes"]))) - set(hosts), key=natural)
        condition = f"({_OF} OR job = {{number:String}})" if others else "job = {number:String}"
        wanted.append((
            "job", f"Of job {job['id']}", condition, {"hosts": lines(others), "refs": refs, "number": str(job["id"])},
        ))  # fmt: skip
    for name, members in beside.items():
        others = sorted(set(members) - set(hosts) - set(of_jobs), key=natural)
        wanted.append(("switch", f"On switch {name}", f"({_OF} OR {_PORTS})", {
            "hosts": lines(others), "refs": [f"SW:{name}", *(f"Node:{one}" for one in others)],
            "ports": [f"PORT:{name}/"],
        }))  # fmt: skip
    if further:
        title = f"One hop further, on {', '.join(further[:6])}" + " …" * (len(further) > 6)
        wanted.append(("further", title, f"({_OF} OR {_PORTS})", {
            "hosts": [], "refs": [f"SW:{name}" for name in further], "ports": [f"PORT:{name}/" for name in further],
        }))  # fmt: skip
    groups: list[dict[str, Any]] = []
    told: set[str] = set()
    for near, title, condition, params in wanted:
        events = [one for one in _events(sources, condition, window | params) if one["id"] not in told]
        told |= {one["id"] for one in events}
        groups.append({"near": near, "title": title, "events": events})
    rest = [one for one in _events(sources, "(kind != '' OR severity IN {bad:Array(String)})",
                                   window | {"bad": list(SEVERITIES[:5])}) if one["id"] not in told]
    groups.append({"near": "time", "title": "Elsewhere, of what matters", "events": rest})
    return {
        "event": event,
        "sentence": sentence(hosts, jobs, switches, failing), "minutes": minutes, "hosts": fold(hosts),
        "jobs": jobs, "switches": [{"name": name, "hosts": fold(members)} for name, members in beside.items()],
        "failing": failing and {"switch": failing.switch, "hops": failing.hops, "ports": list(failing.ports)},
        "groups": [group for group in groups if group["events"]],
    }


def sentence(
    hosts: Sequence[str], jobs: Sequence[dict[str, Any]], switches: Sequence[str], failing: Failing | None
) -> str:
    """``Job PingPong of herbert (group docker, partition odd) on compute3, one hop from the failing switch SW1``."""
    place = f" on {fold(hosts)}" if hosts else ""
    if len(jobs) == 1:
        told = f"{_job(jobs[0], 'Job ')}{place}"
    elif jobs:
        several = [_job(job) for job in jobs[:3]]
        more = f" and {len(jobs) - 3} more" if len(jobs) > 3 else ""
        last = more or f" and {several.pop()}"
        told = f"Jobs {', '.join(several)}{last}{place}"
    elif hosts:
        told = f"No job{place} then"
    else:
        told = "No host and no job is known for it"
    if failing is not None:
        what = f"the failing switch {failing.switch}" if failing.whole else f"{failing.ports[0]}, in trouble"
        told += f", {_far(failing.hops)} {what}" if failing.hops != APART else f"; {failing.switch} was failing"
    elif switches:
        told += f", on switch {' and '.join(switches)}" if hosts else f"; it concerns switch {' and '.join(switches)}"
    return told


# ── inside ────────────────────────────────────────────────────────────────────────────────────

_OF = "(host IN {hosts:Array(String)} OR hasAny(entities, {refs:Array(String)}))"
_PORTS = "arrayExists(ref -> arrayExists(port -> startsWith(ref, port), {ports:Array(String)}), entities)"


@dataclass(frozen=True, slots=True)
class _About:
    hosts: list[str]
    switches: list[str]


def _about(entities: Sequence[str], found: Wiring) -> _About:
    """Hosts and switches an event names, also by an adapter or a port of theirs."""
    hosts: dict[str, None] = {}
    switches: dict[str, None] = {}
    known = set(found.switches)
    for ref in entities:
        kind, _, key = ref.partition(":")
        device = key.rpartition("/")[0] if kind == "PORT" else key
        if kind == "Host":
            hosts[key] = None
        elif kind in ("PORT", "SW", "HCA"):
            if device in known or kind == "SW":
                switches[device] = None
            elif device in found.host_of:
                hosts[found.host_of[device]] = None
    return _About(list(hosts), list(switches))


def _find(sources: Sources, cluster: str, number: int, time: datetime | None) -> dict[str, Any]:
    where, params = "cluster = {cluster:String} AND id = {id:UInt64}", {"cluster": cluster, "id": number}
    if time is not None:
        where += " AND time >= {start:DateTime64(6, 'UTC')} AND time <= {end:DateTime64(6, 'UTC')}"
        params |= {"start": time - timedelta(seconds=1), "end": time + timedelta(seconds=1)}
    rows = sources.engine.rows(f"SELECT {EVENT_COLUMNS}, job FROM qnib.events WHERE {where} LIMIT 1", params)
    if not rows:
        raise NotFound(
            f"There is no event {number}{' at that time' if time else ''}.", where=f"cluster {cluster}",
            try_next="`qnib events search --json` shows ids and times.",
        )
    return rows[0]


def _jobs_on(sources: Sources, cluster: str, hosts: Sequence[str], at: datetime) -> list[dict[str, Any]]:
    """The jobs that ran on any of these hosts at that moment."""
    engine, moment = sources.engine, micros(at)
    keys = {
        job for job, _, since, until in whereabouts.allocations(engine, cluster, moment, moment, hosts=hosts)
        if since <= moment < until
    } if hosts else set()  # fmt: skip
    known = whereabouts.job_facts(engine, cluster, keys)
    return [job_row(key, told) for key, told in sorted(known.items())]


def _events(sources: Sources, condition: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    rows = sources.engine.rows(
        f"SELECT * FROM (SELECT {EVENT_COLUMNS} FROM qnib.events WHERE {_WHERE} AND {condition}"
        f" ORDER BY abs(dateDiff('microsecond', time, {{at:DateTime64(6, 'UTC')}})) LIMIT {MOST}) ORDER BY time, id",
        params,
    )
    return [event_row(row) for row in rows]


def _failing(
    sources: Sources, window: dict[str, Any], own: Sequence[dict[str, Any]], found: Wiring, hosts: Sequence[str],
    switches: Sequence[str],
) -> Failing | None:
    """Of the switches with trouble in the window the one nearest to the hosts."""
    rows = sources.engine.rows(
        f"SELECT entities FROM qnib.events WHERE {_WHERE} AND severity IN {{bad:Array(String)}}"
        " AND arrayExists(ref -> startsWith(ref, 'SW:') OR startsWith(ref, 'PORT:'), entities)"
        f" ORDER BY abs(dateDiff('microsecond', time, {{at:DateTime64(6, 'UTC')}})) LIMIT 200",
        {**window, "bad": list(_TROUBLE)},
    )
    known = set(found.switches)
    ports: dict[str, set[str]] = {}
    whole: set[str] = set()
    for row in [*rows, *(one for one in own if one["severity"] in _TROUBLE)]:
        named = [ref.partition(":")[2] for ref in row["entities"] if ref.startswith("PORT:")]
        devices = {port.rpartition("/")[0] for port in named}
        for port in named:
            if (switch := port.rpartition("/")[0]) in known:
                ports.setdefault(switch, set()).add(port)
        for ref in row["entities"]:
            kind, _, key = ref.partition(":")
            if kind == "SW" and key in known:
                ports.setdefault(key, set())
                if key not in devices:
                    whole.add(key)
    if not ports:
        return None
    distances = Distances(found)
    start = tuple(found.switches.index(name) for name in switches if name in known) or tuple(
        {number for host in hosts for number in distances.switches_of(host)}
    )
    far = distances.from_switches(start) if start else None

    def hops(switch: str) -> int:
        way = int(far[found.switches.index(switch)]) if far is not None else APART
        return way + 1 if way != APART and hosts else way

    order = sorted(ports, key=lambda one: (hops(one) == APART, hops(one), one not in whole, -len(ports[one]), one))
    nearest = order[0]
    several = nearest in whole or len(ports[nearest]) > 1
    return Failing(nearest, tuple(sorted(ports[nearest], key=natural)), hops(nearest), several)


def _job(job: dict[str, Any], before: str = "") -> str:
    about = [f"{name} {job[name]}" for name in ("group", "partition") if job.get(name)]
    name = job["name"] or job["id"]
    of = f" of {job['user']}" if job["user"] else ""
    return f"{before}{name}{of}" + (f" ({', '.join(about)})" if about else "")


def _far(hops: int) -> str:
    word = _NUMBERS[hops] if hops < len(_NUMBERS) else str(hops)
    return f"{word} hop{'' if hops == 1 else 's'} from"
