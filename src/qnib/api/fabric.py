"""The fabric: its map, links and parts; the way between two hosts, who shares it, who may be to blame, what is not as
it should.

Times are as everywhere: ``now``, ``-1h``, epoch seconds or ISO 8601; none is now.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from qnib.api.read import moment
from qnib.api.viewer import Seeing, scope
from qnib.context.known import iso
from qnib.context.latest import newest
from qnib.dashboards.fabric.folding import MOST_SWITCHES
from qnib.dashboards.fabric.found import fabric_findings, verdict_told
from qnib.dashboards.fabric.map import fabric_links, fabric_map
from qnib.dashboards.fabric.parts import fabric_part
from qnib.dashboards.jobs import find_job
from qnib.errors import WrongUse
from qnib.inventory import forwarding
from qnib.inventory.degraded import degraded as find_degraded
from qnib.inventory.net import Nets
from qnib.inventory.planned import compare
from qnib.inventory.routes import faults, routes
from qnib.inventory.sharing import candidates, links_of_job, sharing
from qnib.inventory.verdicts import DAY
from qnib.inventory.verdicts import verdict as find_verdict

router = APIRouter()

At = Annotated[str, Query(description="As it was then; default: now.")]
Most = Annotated[int, Query(ge=2, le=500, description="Switches of a level beyond which they are drawn in groups.")]
Names = Annotated[str, Query(description="Names with commas between them.")]
_making = threading.Lock()


class Plan(BaseModel):
    plan: str
    at: str = ""
    cluster: str = ""


def _asked(request: Request, viewer: Any, cluster: str, at: str = "") -> tuple[Any, str, datetime | None]:
    """The parts, the cluster meant, and the time asked about (None: now)."""
    parts, name = scope(request, viewer, cluster)
    return parts, name, moment(at, parts.clock.now(), "at") if at not in {"", "now"} else None


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _nets(request: Request) -> Nets:
    """The fabrics as arrays; made when first asked for."""
    state = request.app.state
    with _making:
        if not hasattr(state, "nets"):
            state.nets = Nets(state.qnib.engine, state.qnib.facts)
    nets: Nets = state.nets
    return nets


@router.get("/api/fabric")
def drawn(
    request: Request, viewer: Seeing, at: At = "", job: str = "", fold: Most = MOST_SWITCHES,
    opened: Annotated[Names, Query(alias="open")] = "", out: Names = "", cluster: str = "",
) -> dict[str, Any]:
    """The map: boxes with places, links between them with traffic and errors, what changed lately. Hosts and switches
    that are alike are drawn as one where there are many: `open` opens the groups of these, `out` draws these alone."""
    parts, name, when = _asked(request, viewer, cluster, at)
    found = fabric_map(
        parts, _nets(request), name, when, job=find_job(parts, name, job).key if job else None, most=fold,
        open_=_names(opened), out=_names(out),
    )
    return {**found, "newest": iso(newest(parts, name))}


@router.get("/api/fabric/links")
def links(
    request: Request, viewer: Seeing, at: At = "", job: str = "", of: str = "", within: str = "", q: str = "",
    limit: Annotated[int, Query(ge=1, le=5000)] = 200, fold: Most = MOST_SWITCHES,
    opened: Annotated[Names, Query(alias="open")] = "", out: Names = "", cluster: str = "",
) -> dict[str, Any]:
    """Links one by one, those in trouble first: all, those `of` a device, those of one line of the map (`within`, with
    the map's own `fold`, `open` and `out`), those whose name or cable holds `q`."""
    parts, name, when = _asked(request, viewer, cluster, at)
    return fabric_links(
        parts, _nets(request), name, when, job=find_job(parts, name, job).key if job else None, of=of, within=within,
        text=q, limit=limit, most=fold, open_=_names(opened), out=_names(out),
    )


@router.get("/api/fabric/part")
def one_part(request: Request, viewer: Seeing, name: str, at: At = "", cluster: str = "") -> dict[str, Any]:
    """A switch, adapter, port, link or cable: what it is, what it was joined with when, whose jobs go through it."""
    parts, own, when = _asked(request, viewer, cluster, at)
    return fabric_part(parts, _nets(request), own, name, when)


@router.get("/api/fabric/findings")
def findings(request: Request, viewer: Seeing, at: At = "", cluster: str = "") -> dict[str, Any]:
    """Links that are down, ports with errors in the hour before, and whether port or cable is to blame."""
    parts, name, when = _asked(request, viewer, cluster, at)
    return {"findings": fabric_findings(parts, name, when)}


@router.get("/api/fabric/routes")
def between(request: Request, viewer: Seeing, a: str, b: str, at: At = "", cluster: str = "") -> dict[str, Any]:
    """The way from host or port `a` to `b`, link by link, and the jobs whose routes cross any of its links."""
    _, name, when = _asked(request, viewer, cluster, at)
    nets = _nets(request)
    found = routes(nets, name, a, b, when)
    links = {hop.link for route in found for hop in route.hops}
    return {"routes": [route.told() for route in found], "jobs": sharing(nets, name, links, when)}


@router.get("/api/fabric/sharing")
def shared(
    request: Request, viewer: Seeing, job: str = "", link: str = "", at: At = "", cluster: str = ""
) -> dict[str, Any]:
    """Jobs whose routes cross the links of a job (id or key), or a link (``SW1/3--compute2/1``, or a port of it)."""
    _, name, when = _asked(request, viewer, cluster, at)
    nets = _nets(request)
    if bool(job) == bool(link):
        raise WrongUse("Name a job or a link.", where=request.url.path, try_next="give ?job=42 or ?link=SW1/3.")
    if job:
        held, links, by = links_of_job(nets, name, job, when)
        return {
            "job": held.told(), "links": links, "by": by, "jobs": sharing(nets, name, links, when, without=held.key)
        }
    net = nets.at(name, when)
    place = net.find_port(link)
    known = net.link_at(*place) if place else None
    links = [known.name if known else link]
    if links[0] not in {one.name for one in net.links}:
        raise WrongUse(f"{link} is no link that is up.", where=name, try_next="name a port of it, like SW1/3.")
    return {"job": None, "links": links, "by": "", "jobs": sharing(nets, name, links, when)}


@router.get("/api/fabric/candidates")
def suspects(
    request: Request, viewer: Seeing, port: str, time: str = "", before: float = 600, cluster: str = ""
) -> dict[str, Any]:
    """Jobs that may have to do with an error at a port at `time`, ranked by route and time. `before`: seconds that a
    job may have ended earlier."""
    parts, name, when = _asked(request, viewer, cluster, time)
    if not 0 < before <= 7 * 86_400:
        raise WrongUse("That many seconds make no sense.", where="before", try_next="give 1 to 604800.")
    now = when or parts.clock.now()
    found, about = candidates(_nets(request), name, port, now, timedelta(seconds=before))
    return {"time": now.isoformat(), "about": about, "candidates": [one.told() for one in found]}


@router.get("/api/fabric/verdict")
def blame(
    request: Request, viewer: Seeing, port: str, since: str = "", until: str = "", cluster: str = ""
) -> dict[str, Any]:
    """Is it the port or the cable? From connections and error counters between `since` (default: a day) and `until`;
    with the moments at which errors were counted."""
    parts, name, end = _asked(request, viewer, cluster, until)
    last = end or parts.clock.now()
    first = moment(since, parts.clock.now(), "since") if since else last - DAY
    if first >= last:
        raise WrongUse("The window ends before it starts.", where=f"since={since} until={until}", try_next="swap them.")
    return verdict_told(find_verdict(parts.engine, name, port, first, last), parts, name, first, last)


@router.get("/api/fabric/degraded")
def degraded(request: Request, viewer: Seeing, at: At = "", cluster: str = "") -> dict[str, Any]:
    """Links that run below what both their ends can do, or below most links of their kind."""
    parts, name, when = _asked(request, viewer, cluster, at)
    return find_degraded(parts.facts, name, when).told()


@router.post("/api/fabric/planned")
def planned(request: Request, viewer: Seeing, asked: Plan) -> dict[str, Any]:
    """The wiring beside a plan: missing, extra, swapped and moved cables."""
    parts, name, when = _asked(request, viewer, asked.cluster, asked.at)
    return compare(parts.facts, name, asked.plan, when).told()


@router.get("/api/fabric/tables")
def tables(request: Request, viewer: Seeing, at: At = "", cluster: str = "") -> dict[str, Any]:
    """What is known of the forwarding tables, and what is wrong with them: loops and dead ends."""
    parts, name, when = _asked(request, viewer, cluster, at)
    net = _nets(request).at(name, when)
    since = forwarding.since(parts.engine, name, when)
    return {
        "switches": int(net.connected.sum()),
        "known": int((net.known & net.connected).sum()),
        "since": since.isoformat() if since else None,
        "faults": faults(net),
    }
