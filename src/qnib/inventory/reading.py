"""What a person may ask of the graph: reading clauses only, and no files, extensions or settings.

The database itself refuses to write in a read-only transaction; this refuses what is no writing to it but would
still reach beyond the graph.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from qnib.errors import Forbidden, WrongUse

_FIRST = frozenset({"MATCH", "OPTIONAL", "WITH", "UNWIND", "RETURN", "CALL", "EXPLAIN", "PROFILE"})
_NEVER = frozenset({
    "ALTER", "ATTACH", "BEGIN", "CHECKPOINT", "COMMENT", "COMMIT", "COPY", "CREATE", "DELETE", "DETACH",
    "DROP", "EXPORT", "FORCE", "IMPORT", "INSTALL", "LOAD", "MACRO", "MERGE", "REMOVE", "ROLLBACK", "SET",
    "UNINSTALL", "UPDATE", "USE",
})
_CALLS = frozenset({"show_tables", "table_info", "show_connection", "db_version"})
# Text, comments and quoted names hold no clauses.
_SKIP = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`|//[^\n]*|/\*.*?\*/""", re.DOTALL
)
_CLAUSE = re.compile(r"\b(?:RETURN|WITH|MATCH|UNWIND|WHERE|ORDER\s+BY)\b", re.IGNORECASE)
_AGGREGATE = re.compile(r"\b(?:count|sum|min|max|avg|collect)\s*\(\s*(distinct\b)?", re.IGNORECASE)
_WORD = re.compile(r"(?<![.\w$:])[A-Za-z_]\w*(?!\s*:(?!:))")


def check_reading(query: str, params: Collection[str] = ()) -> None:
    """Raises NotAllowed for a query that could change something or look outside, WrongUse for none at all, and for
    one that names a parameter which is not given: to the database that is null, and the answer silently nothing."""
    bare = _SKIP.sub(" '' ", query).strip().rstrip(";").rstrip()
    words = [word.upper() for word in re.findall(r"[A-Za-z_]\w*", bare)[:1]]
    if not words:
        raise WrongUse("There is no query.", try_next="try 'MATCH (n:Host) RETURN n.name'.")
    if ";" in bare:
        raise WrongUse("That is more than one query.", where=query[:120], try_next="ask one at a time.")
    refused = [word.upper() for word in _WORD.findall(bare) if word.upper() in _NEVER]
    if words[0] not in _FIRST:
        refused.insert(0, words[0])
    calls = re.findall(r"\bCALL\s+(\w+)", bare, re.IGNORECASE)
    refused += [f"CALL {name}" for name in calls if name.lower() not in _CALLS]
    if refused:
        raise Forbidden(
            f"The graph is only read here; {refused[0]} is not allowed.", where=" ".join(query.split())[:120],
            try_next="use MATCH … RETURN; a name that is a keyword stands in backticks.",
        )
    for clause in _CLAUSE.split(bare):
        if len({bool(distinct) for distinct in _AGGREGATE.findall(clause)}) > 1:
            # Kuzu answers null where it should sum up: docs/decisions/0005.
            raise WrongUse(
                "The graph cannot count DISTINCT things beside other sums in one step.",
                where=" ".join(clause.split())[:120],
                try_next="make them distinct first: WITH DISTINCT a, b RETURN count(a), max(b).",
            )
    missing = sorted(set(re.findall(r"\$(\w+)", bare)) - set(params))
    if missing:
        raise WrongUse(
            f"The query has parameters that are not given: {', '.join(missing)}.",
            where=" ".join(query.split())[:120], try_next="give each as --param name=value.",
        )
