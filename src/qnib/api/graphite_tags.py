"""Graphite's HTTP API, the part about tags: which there are, which values they have, which series bear them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from qnib.api.graphite import Question
from qnib.errors import NotFound, WrongUse
from qnib.monitoring.graphite import find

_MOST = 10_000
"""Tags, values or series in one answer."""

router = APIRouter()


@router.api_route("/tags/autoComplete/tags", methods=["GET", "POST"])
async def complete_tags(question: Question) -> list[str]:
    """Names of tags that go on from the expressions given."""
    limit = question.number("limit", 100, _MOST)
    return await run_in_threadpool(
        find.complete_tags, question.parts.engine, question.cluster, question.all("expr", "expr[]"),
        question.one("tagPrefix"), limit,
    )  # fmt: skip


@router.api_route("/tags/autoComplete/values", methods=["GET", "POST"])
async def complete_values(question: Question) -> list[str]:
    """Values of one tag among the series the expressions leave."""
    if not question.one("tag"):
        raise WrongUse("No tag is named.", where="tag", try_next="send tag=host .")
    limit = question.number("limit", 100, _MOST)
    return await run_in_threadpool(
        find.complete_values, question.parts.engine, question.cluster, question.all("expr", "expr[]"),
        question.one("tag"), question.one("valuePrefix"), limit,
    )  # fmt: skip


@router.get("/tags")
async def all_tags(question: Question) -> list[dict[str, str]]:
    """Every tag there is; ``filter=``: whose names match a regular expression from their start."""
    found = await run_in_threadpool(find.tags, question.parts.engine, question.cluster, question.one("filter"), _MOST)
    return [{"tag": tag} for tag in found]


@router.api_route("/tags/findSeries", methods=["GET", "POST"])
async def find_series(question: Question) -> list[str]:
    """Paths of the series that match all expressions."""
    expressions = question.all("expr", "expr[]")
    if not expressions:
        raise WrongUse("No expression is given.", where="expr", try_next="send expr=name=cpu.used .")
    rows = await run_in_threadpool(find.by_tags, question.parts.engine, question.cluster, expressions)
    return [find.tagged_path(row) for row in rows]


@router.post("/tags/tagSeries")
async def tag_series(question: Question) -> str:
    """The name of a series as it is kept: tags are learnt from the points themselves, so nothing is to be done."""
    return _canonical(question.one("path"))


@router.post("/tags/tagMultiSeries")
async def tag_several(question: Question) -> list[str]:
    """The names of several series as they are kept."""
    return [_canonical(path) for path in question.all("path", "path[]")]


def _canonical(path: str) -> str:
    if not path:
        raise WrongUse("No path is given.", where="path", try_next="send path=disk.used;host=a .")
    name, *tags = path.split(";")
    return ";".join([name, *sorted(tags)])


@router.get("/tags/{tag}")
async def one_tag(question: Question, tag: str) -> dict[str, Any]:
    """A tag's values, each with how many series have it; ``filter=``: values that match from their start."""
    found = await run_in_threadpool(
        find.values, question.parts.engine, question.cluster, tag, question.one("filter"), _MOST
    )
    if not found and not question.one("filter"):
        raise NotFound(f"No series has the tag {tag!r}.", where=f"/tags/{tag}", try_next="`/tags` lists them.")
    return {"tag": tag, "values": [{"value": value, "count": count} for value, count in found]}
