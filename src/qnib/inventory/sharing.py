"""Which jobs' traffic crosses which links: jobs that share one with a host, a route or a job, and candidates for an
error that a port showed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from qnib.clock import TICK
from qnib.domains.paths import natural
from qnib.errors import NotFound
from qnib.inventory import jobs
from qnib.inventory.fact import Fact
from qnib.inventory.net import Net, Nets
from qnib.inventory.routes import Traffic, between
from qnib.inventory.spans import connections_of, overlapping

BEFORE = timedelta(minutes=10)
"""How long before an error a job may have ended and still be a candidate: counters are read now and then."""
MOST_LINKS = 50
MOST_PORTS = 2048
"""Ports of one job whose routes are followed."""


@dataclass(slots=True)
class Held:
    """A job in a window, and the hosts it had there."""

    key: str
    began: datetime
    until: datetime | None
    hosts: list[str]
    about: dict[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        return {
            "job": self.key, "id": self.about.get("id"), "name": self.about.get("name"), "user": self.about.get("user"),
            "hosts": self.hosts, "began": self.began.isoformat(),
            "until": self.until.isoformat() if self.until else None,
        }  # fmt: skip


def jobs_within(nets: Nets, cluster: str, start: datetime, end: datetime) -> list[Held]:
    """Jobs that had hosts at some time in [start, end], in order of their beginning."""
    found: dict[str, Held] = {}
    for tie in overlapping(nets.engine, cluster, "JOBCLIENT", start, end):
        if not tie.source or not tie.target:
            continue
        job = found.setdefault(tie.source.key, Held(tie.source.key, tie.began, tie.until, []))
        job.hosts.append(tie.target.key)
        job.began = min(job.began, tie.began)
        job.until = None if job.until is None or tie.until is None else max(job.until, tie.until)
    for key, fact in jobs.known(nets.engine, cluster, list(found)).items():
        found[key].about = dict(fact.properties)
    for job in found.values():
        job.hosts = sorted(set(job.hosts), key=natural)
    return sorted(found.values(), key=lambda job: (job.began, job.key))


def find_job(nets: Nets, cluster: str, name: str, at: datetime) -> Held:
    """The job of that key or id that ran at `at`, or else the last one before. Raises NotFound."""
    before = [fact for fact in jobs.called(nets.engine, cluster, name) if _began(fact) <= at]
    if not before:
        raise NotFound(f"No job {name} is known.", where=f"cluster {cluster}", try_next="`qnib job list` lists them.")
    job = max(before, key=_began)
    began = _began(job)
    had = jobs_within(nets, cluster, began, max(began, min(at, job.until or at)))
    return next((one for one in had if one.key == job.key), _alone(job))


def _began(job: Fact) -> datetime:
    """When it began to run, or was submitted: of a job from accounting the record begins when it had ended."""
    told = job.properties.get("start") or job.properties.get("submit")
    return min(datetime.fromisoformat(str(told)), job.began) if told else job.began


def _alone(job: Fact) -> Held:
    return Held(job.key, job.began, job.until, [], dict(job.properties))


def ports_of(net: Net, hosts: Iterable[str]) -> list[tuple[int, int]]:
    return [port for host in hosts for port in net.ports_of.get(host, ())][:MOST_PORTS]


def traffic(net: Net, job: Held) -> Traffic:
    """What the routes between a job's hosts use."""
    return between(net, ports_of(net, job.hosts))


# ── jobs that share links ─────────────────────────────────────────────────────────────────────


def sharing(
    nets: Nets, cluster: str, links: Iterable[str], at: datetime | None = None, *, without: str = ""
) -> list[dict[str, Any]]:
    """Jobs running at `at` whose hosts' routes cross one of these links, most shared links first.

    `links` by name (``SW1/3--compute2/1``), `without`: the key of a job that is left out.
    """
    net = nets.at(cluster, at)
    moment = at or nets.facts.now()
    wanted = set(links)
    mask = np.array([link.name in wanted for link in net.links], np.bool_)
    found = []
    for job in jobs_within(nets, cluster, moment, moment):
        if job.key == without or (job.until is not None and job.until <= moment):
            continue
        used = traffic(net, job)
        shared = np.flatnonzero(mask & (used.pairs > 0))
        if len(shared):
            order = shared[np.argsort(-used.pairs[shared], kind="stable")]
            found.append({
                **job.told(), "links": [net.links[one].name for one in order[:MOST_LINKS]], "shared": len(shared),
                "pairs": int(used.pairs[order[0]]), "of_pairs": used.of, "by": used.by,
            })  # fmt: skip
    return sorted(found, key=lambda row: (-row["shared"], -row["pairs"], row["job"]))


def links_of_job(nets: Nets, cluster: str, name: str, at: datetime | None = None) -> tuple[Held, list[str], str]:
    """A job, the links that the routes between its hosts use, and by what is known of them."""
    job = find_job(nets, cluster, name, at or nets.facts.now())
    net = nets.at(cluster, at)
    used = traffic(net, job)
    return job, [net.links[one].name for one in np.flatnonzero(used.pairs)], used.by


# ── candidates for an error ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that may have to do with an error. `score` from 0 to 1 is route times time."""

    job: dict[str, Any]
    score: float
    route: float
    """1: a host of its own is at the port; else the share of its hosts' routes that cross the link, from 0.5 up."""
    when: float
    """1: it ran at that time; falls to 0 within `BEFORE` of its end."""
    sentence: str

    def told(self) -> dict[str, Any]:
        return asdict(self)


def candidates(
    nets: Nets, cluster: str, port: str, time: datetime, before: timedelta = BEFORE
) -> tuple[list[Candidate], dict[str, Any]]:
    """Jobs whose routes crossed the port's link about `time`, the likeliest first; and what was known of the link.

    A link that was down then is looked at as it was last up. Raises NotFound for a port that was never connected.
    """
    when, net = time, nets.at(cluster, time)
    place = net.find_port(port)
    if place is None or net.link_at(*place) is None:
        epoch = datetime.fromtimestamp(0, time.tzinfo)
        last = connections_of(nets.engine, cluster, [port], epoch, time)
        if not last or last[-1].until is None:
            raise NotFound(
                f"Nothing was plugged into {port} then, nor before.", where=f"cluster {cluster}",
                try_next="name a port like SW1/3; `qnib graph ask history_of_cables` lists what was where.",
            )  # fmt: skip
        when = last[-1].until - TICK
        net = nets.at(cluster, when)
        place = net.find_port(port)
    if place is None or (link := net.link_at(*place)) is None:
        raise NotFound(f"{port} is not known then.", where=f"cluster {cluster}", try_next="name a later time.")
    number = int(net.link[place])
    own = {host for device in (net.number[link.a], net.number[link.b]) if (host := net.host_of.get(device))}
    found = [
        one for job in jobs_within(nets, cluster, time - before, time)
        if (one := _candidate(net, job, number, own, time, before)) is not None
    ]
    about = {
        "port": port, "link": link.name, "cable": link.cable, "up": when == time, "wiring_of": when.isoformat(),
        "hosts": sorted(own, key=natural), "by": "tables" if net.all_known else "shortest" if not net.known.any()
        else "tables, then shortest", "tables_since": net.since.isoformat() if net.since else None,
    }  # fmt: skip
    return sorted(found, key=lambda one: (-one.score, one.job["began"], one.job["job"])), about


def _candidate(
    net: Net, job: Held, link: int, own: set[str], time: datetime, before: timedelta
) -> Candidate | None:
    here = own & set(job.hosts)
    used = traffic(net, job) if len(job.hosts) > 1 else None
    crossed = int(used.pairs[link]) if used else 0
    if not here and not crossed:
        return None
    route = 1.0 if here else 0.5 + 0.5 * _share(crossed, used.of if used else 0)
    ended = job.until is not None and job.until < time
    gap = (time - job.until) / before if job.until is not None and ended else 0.0
    when = max(0.0, 1.0 - gap)
    how = f"its host {', '.join(sorted(here))} is at this link" if here else (
        f"{crossed} of {used.of if used else 0} routes between its hosts cross this link"
    )  # fmt: skip
    ran = f"it ended {_seconds(time - job.until)} before" if ended and job.until else "it ran then"
    return Candidate(job.told(), round(route * when, 3), round(route, 3), round(when, 3), f"{how}; {ran}.")


def _share(crossed: int, of: int) -> float:
    return min(1.0, crossed / of) if of else 0.0


def _seconds(gap: timedelta) -> str:
    return f"{gap.total_seconds():.0f} s"

