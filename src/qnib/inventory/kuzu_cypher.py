"""Kuzu's Cypher and ours: people's spelling in its words, its values and errors in ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from qnib.engine import Limits
from qnib.errors import Forbidden, TooMuch, WrongUse
from qnib.inventory.schema import instant

_OTHERWISE = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`|//[^\r\n]*|/\*.*?\*/)|(?<![.\w])type(?P<type>\s*\()"""
    r"""|\b(?:shortestPath|(?P<all>allShortestPaths))\s*\(\s*(?P<from>\([^()]*\)\s*<?-\s*\[[^][*]*)\*"""
    r"""(?P<steps>[^][]*\]\s*->?\s*\([^()]*\))\s*\)""",
    re.DOTALL | re.IGNORECASE,
)


def spelt(query: str) -> str:
    """The few things of Cypher that Kuzu has under another name: shortestPath((a)-[*..9]-(b)) and type(r)."""

    def said(found: re.Match[str]) -> str:
        if found["text"]:
            return found["text"]
        if found["type"]:
            return f"label{found['type']}"
        return f"{found['from']}* {'ALL ' if found['all'] else ''}SHORTEST {found['steps']}"

    return _OTHERWISE.sub(said, query)


def plain(cell: Any) -> Any:
    """A value as JSON has it; nodes and relations without the database's own numbers and the columns that are ours."""
    if isinstance(cell, list):
        return [plain(one) for one in cell]
    if isinstance(cell, dict):
        return _thing(cell)
    if isinstance(cell, Decimal):  # a sum of whole numbers
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    return instant(cell) if isinstance(cell, datetime) else cell


def _ids(cell: dict[str, Any]) -> dict[str, str]:
    """What ties nodes and relations of one answer together; it means nothing in the next."""
    names = {"@from": "_src", "@to": "_dst"} if "_src" in cell else {"@id": "_id"}
    return {name: f"{cell[key]['table']}.{cell[key]['offset']}" for name, key in names.items() if key in cell}


def _thing(cell: dict[str, Any]) -> dict[str, Any]:
    """A node, a relation, a path, or a map that a query made."""
    if "_nodes" in cell:
        return {"nodes": plain(cell["_nodes"]), "relations": plain(cell["_rels"])}
    if "_label" in cell:
        kept = {key: value for key, value in cell.items() if not key.startswith("_") and key not in ("uid", "told_by")}
        return {"label": cell["_label"], **_ids(cell), **{k: plain(v) for k, v in kept.items() if v is not None}}
    return {key: plain(value) for key, value in cell.items()}


@contextmanager
def translated(query: str, limits: Limits) -> Iterator[None]:
    """Kuzu's RuntimeErrors in our words."""
    try:
        yield
    except RuntimeError as error:
        text, where = str(error), " ".join(query.split())[:120]
        if "Interrupted" in text:
            raise TooMuch(
                f"The query took longer than {limits.seconds:g} s.", where=where,
                try_next="start from one entity by its key, or walk fewer steps.",
            ) from error
        if "read-only transaction" in text:
            raise Forbidden(
                "The graph is only read here; it is made from the facts.", where=where, try_next="use MATCH … RETURN.",
            ) from error
        raise WrongUse(
            f"The query is not valid: {text.splitlines()[0]}", where=where,
            try_next="names that are keywords, like `end` or `IN`, stand in backticks.",
        ) from error
