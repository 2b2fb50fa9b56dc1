"""What a person may ask of the graph: reading clauses only, and no files, extensions or settings.

The databases themselves refuse to write in a read-only transaction; this refuses what is no writing to them but would
still reach beyond the graph: Neo4j's LOAD CSV reads the server's files and fetches addresses, its procedures look at
settings and end other people's queries. What cannot be told apart for certain is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from qnib.errors import Forbidden, WrongUse

_FIRST = frozenset({"MATCH", "OPTIONAL", "WITH", "UNWIND", "RETURN", "CALL", "EXPLAIN", "PROFILE"})
_NEVER = frozenset({
    "ALTER", "ATTACH", "BEGIN", "CHECKPOINT", "COMMENT", "COMMIT", "COPY", "CREATE", "DELETE", "DETACH",
    "DROP", "EXPORT", "FORCE", "FOREACH", "IMPORT", "INSERT", "INSTALL", "LOAD", "MACRO", "MERGE", "REMOVE",
    "ROLLBACK", "SET", "UNINSTALL", "UPDATE", "USE",
})
KUZU_CALLS = frozenset({"show_tables", "table_info", "show_connection", "db_version"})
NEO4J_CALLS = frozenset({
    "db.labels", "db.relationshiptypes", "db.propertykeys", "db.schema.visualization", "db.schema.nodetypeproperties",
    "db.schema.reltypeproperties", "dbms.components",
})
_SPACES = frozenset({
    "date", "datetime", "duration", "localdatetime", "localtime", "time", "point", "vector.similarity",
})
"""Namespaces of functions that only compute; plugins bring others, which may do anything."""
# Text, comments and quoted names hold no clauses.
_SKIP = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`|//[^\r\n]*|/\*.*?\*/""", re.DOTALL
)
_CLAUSE = re.compile(r"\b(?:RETURN|WITH|MATCH|UNWIND|WHERE|ORDER\s+BY)\b", re.IGNORECASE)
_AGGREGATE = re.compile(r"\b(?:count|sum|min|max|avg|collect)\s*\(\s*(distinct\b)?", re.IGNORECASE)
_WORD = re.compile(r"(?<![.\w$:])[A-Za-z_]\w*(?!\s*:(?!:))")
_CALL = re.compile(r"(?<![.\w$:])CALL\b\s*([\w.]*)\s*(.?)", re.IGNORECASE)
_FUNCTION = re.compile(r"((?:(?:\w+|``)\s*\.\s*)*)(\w+|``)\s*\(")


def check_reading(query: str, params: Collection[str] = (), calls: Collection[str] = ()) -> None:
    """Raises NotAllowed for a query that could change something or look outside, WrongUse for none at all, and for
    one that names a parameter which is not given: to the database that is null, and the answer silently nothing.

    `calls`: the procedures that may be called, in small letters.
    """
    if "\\u" in query.lower():  # Neo4j reads these before anything else, in keywords, too
        raise Forbidden(
            "A query cannot have characters by number (\\u…).", where=" ".join(query.split())[:120],
            try_next="write the character itself, or give the text as a parameter.",
        )
    bare = _bare(query).strip().rstrip(";").rstrip()
    words = [word.upper() for word in re.findall(r"[A-Za-z_]\w*", bare)[:1]]
    if not words:
        raise WrongUse("There is no query.", try_next="try 'MATCH (n:Host) RETURN n.name'.")
    if ";" in bare:
        raise WrongUse("That is more than one query.", where=query[:120], try_next="ask one at a time.")
    refused = [word.upper() for word in _WORD.findall(bare) if word.upper() in _NEVER]
    if words[0] not in _FIRST:
        refused.insert(0, words[0])
    for name, then in _CALL.findall(bare):
        if name.lower() not in calls and (name or then not in ("{", "(")):  # those begin a query inside this one
            refused.append(f"CALL {name}".rstrip())
    for space, name in _FUNCTION.findall(bare):
        told = re.sub(r"\s", "", space).rstrip(".").lower()
        if name == "``" or (told and told not in _SPACES and f"{told}.{name}".lower() not in calls):
            refused.append(f"the function {told}.{name}")
    if refused:
        raise Forbidden(
            f"The graph is only read here; {refused[0]} is not allowed.", where=" ".join(query.split())[:120],
            try_next="use MATCH … RETURN; a name that is a keyword stands in backticks.",
        )
    missing = sorted(set(re.findall(r"\$(\w+)", bare)) - set(params))
    if missing:
        raise WrongUse(
            f"The query has parameters that are not given: {', '.join(missing)}.",
            where=" ".join(query.split())[:120], try_next="give each as --param name=value.",
        )


def _bare(query: str) -> str:
    """`query` with nothing in its texts and quoted names, and without comments."""
    return _SKIP.sub(lambda found: " " if found[0][0] == "/" else f" {found[0][0] * 2} ", query)


def check_sums(query: str) -> None:
    """Raises WrongUse for what Kuzu answers with null where it should sum up: docs/decisions/0005."""
    for clause in _CLAUSE.split(_bare(query)):
        if len({bool(distinct) for distinct in _AGGREGATE.findall(clause)}) > 1:
            raise WrongUse(
                "The graph cannot count DISTINCT things beside other sums in one step.",
                where=" ".join(clause.split())[:120],
                try_next="make them distinct first: WITH DISTINCT a, b RETURN count(a), max(b).",
            )
