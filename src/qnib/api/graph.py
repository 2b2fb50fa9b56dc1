"""The graph over HTTP: Cypher now or at another time, the shipped questions, what changed, what a failure means."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from qnib.api.viewer import Seeing, must_see, scope
from qnib.context.known import fold
from qnib.domains import all_domains
from qnib.domains.questions import library
from qnib.engine import Limits
from qnib.errors import NotFound
from qnib.inventory.asking import FILLED, bind
from qnib.inventory.between import between
from qnib.inventory.blast import blast
from qnib.inventory.schema import newest_columns
from qnib.model import PropertyType, Question, Ref

router = APIRouter(prefix="/api/graph")


class Asked(BaseModel):
    query: str = ""
    question: str = ""
    """Name of a shipped question, in place of a query."""
    params: dict[str, Any] = Field(default_factory=dict)
    at: datetime | None = None
    cluster: str = ""


@router.post("/cypher")
def cypher(request: Request, viewer: Seeing, asked: Asked) -> dict[str, Any]:
    """Run one read-only Cypher query within the limits of the settings. `at`: what held then."""
    parts = request.app.state.qnib
    cluster = asked.cluster or parts.settings.cluster
    must_see(viewer, cluster)
    bounds = parts.settings.engine
    question = _shipped(asked.question) if asked.question else None
    query = question.cypher if question else asked.query
    params = bind(query, asked.params, facts=parts.facts, cluster=cluster, at=asked.at, question=question)
    started = time.monotonic()
    answer = parts.graph.cypher(
        query, params, at=asked.at, limits=Limits(seconds=bounds.query_seconds, rows=bounds.query_rows)
    )
    return {
        "columns": answer.columns,
        "rows": answer.rows,
        "truncated": answer.truncated,
        "at": (asked.at or parts.clock.now()).isoformat(),
        "elapsed_ms": round((time.monotonic() - started) * 1000, 1),
    }


def _shipped(name: str) -> Question:
    if name not in library():
        raise NotFound(
            f"There is no question {name!r}.", where="the library of questions",
            try_next=f"known: {', '.join(sorted(library()))}.",
        )
    return library()[name][1]


@router.get("/questions")
def questions(request: Request, viewer: Seeing) -> dict[str, Any]:
    """The questions QNIB ships, by domain."""
    must_see(viewer, request.app.state.qnib.settings.cluster)
    return {
        "questions": [
            {
                "name": q.name, "ask": q.ask, "why": q.why, "cypher": q.cypher, "domain": owner,
                "params": [{"name": p.name, "about": p.about, "kind": p.kind, "type": p.type} for p in q.params],
            }
            for owner, q in library().values()
        ]
    }  # fmt: skip


@router.get("/schema")
def schema(request: Request, viewer: Seeing) -> dict[str, Any]:
    """Kinds of entity and relation with their properties: what a query may name."""
    must_see(viewer, request.app.state.qnib.settings.cluster)
    newest = newest_columns(all_domains())
    return {
        "entities": [
            {
                "name": kind.name, "about": kind.description, "key": kind.key, "domain": domain.name,
                "properties": [*_typed(kind.properties), *newest.get(kind.name, ())],
            }
            for domain in all_domains() for kind in domain.entities
        ],
        "relations": [
            {
                "name": tie.name, "about": tie.description, "source": tie.source, "target": tie.target,
                "domain": domain.name, "properties": _typed(tie.properties),
            }
            for domain in all_domains() for tie in domain.relations
        ],
        "of_all": ["key", "cluster", "since", "until", "confirmed", "told_by"],
        "filled": list(FILLED),
    }  # fmt: skip


def _typed(properties: Mapping[str, PropertyType]) -> list[str]:
    return list(properties)


@router.get("/neighbours")
def neighbours(
    request: Request, viewer: Seeing, entity: str, cluster: str = "", at: datetime | None = None
) -> dict[str, Any]:
    """What is tied to an entity (``Host:compute0``), with the interval of each tie."""
    parts, name = scope(request, viewer, cluster)
    found = parts.graph.neighbours(name, Ref.parse(entity), at=at)
    return {"entity": entity, "neighbours": [{**row, "ref": str(row["ref"])} for row in found]}


@router.get("/changes")
def changes(
    request: Request, viewer: Seeing, since: datetime, until: datetime | None = None, kind: str = "", cluster: str = ""
) -> dict[str, Any]:
    """What began, changed and ended between two times, by kind; and what was learnt then of the time before."""
    parts, name = scope(request, viewer, cluster)
    end = until or parts.clock.now()
    found = between(parts.engine, name, since, end, tuple(kind.split(",")) if kind else ())
    return {"since": since.isoformat(), "until": end.isoformat(), "counts": found.counts, "rows": found.rows}


@router.get("/blast")
def blast_radius(
    request: Request, viewer: Seeing, entity: str, cluster: str = "", at: datetime | None = None
) -> dict[str, Any]:
    """What fails with a switch, port, cable, adapter or host: hosts, jobs, users."""
    parts, name = scope(request, viewer, cluster)
    found = blast(parts.facts, name, Ref.parse(entity), at)
    return {
        "entity": entity, "links": found.links, "lost": found.lost, "nodes": fold(found.lost), "users": found.users,
        "jobs": [{**job, "nodes": fold(job["hosts"])} for job in found.jobs],
        "rerouted": [{**job, "nodes": fold(job["all_hosts"])} for job in found.rerouted],
    }  # fmt: skip


@router.post("/rebuild")
def rebuild(request: Request, viewer: Seeing) -> dict[str, Any]:
    """Make the graph again from the facts."""
    parts, _ = scope(request, viewer, "")
    started = time.monotonic()
    facts = parts.graph.rebuild()
    return {"facts": facts, "elapsed_ms": round((time.monotonic() - started) * 1000, 1)}
