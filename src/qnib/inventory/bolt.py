"""A Neo4j server over Bolt: opened or told why not, asked within limits, its errors and values in our terms."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import neo4j
import neo4j.exceptions
import neo4j.graph
import neo4j.time

from qnib.engine import Limits
from qnib.errors import Forbidden, QnibError, TooMuch, Unavailable, WrongUse
from qnib.inventory.schema import instant
from qnib.inventory.store import Answer

OLDEST = (5, 26)
"""The release QNIB is tested with, kept up by its makers for years; those numbered by year are newer."""
TAG = "QNIB"
"""The label of every node of ours, beside that of its kind."""
HIDDEN = frozenset({"uid", "qnib", "told_by"})
CONNECT_SECONDS = 5
RETRY_SECONDS = 5
_IDLE_SECONDS = 30
_SECURITY = ".Security."
_NAMED = re.compile(r"`([^`]+)`")
_UNKNOWN = {"01N50": "kind", "01N51": "relation", "01N52": "property"}
"""What the server remarks of a query that names what it does not have."""

Unknown = list[tuple[str, str]]
"""(kind, relation or property; its name) that a query mentions and the database does not have."""


class Bolt:
    """One database of a Neo4j server. Thread-safe. Raises Unavailable when it cannot be used, and says why."""

    def __init__(self, url: str, user: str, password: str, database: str = "") -> None:
        self.url = url
        self._database = database or None
        # Remarks about people's queries are told to them, not logged.
        logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)
        self._driver = neo4j.GraphDatabase.driver(
            url, auth=(user, password), user_agent="qnib", connection_timeout=CONNECT_SECONDS,
            connection_acquisition_timeout=2 * CONNECT_SECONDS, max_transaction_retry_time=RETRY_SECONDS,
            liveness_check_timeout=_IDLE_SECONDS,
        )
        try:
            with self._reached(), self._driver.session(database=self._database) as session:
                self.version = session.run("RETURN 1").consume().server.agent.removeprefix("Neo4j/")
            numbers = tuple(map(int, re.findall(r"\d+", self.version)[:2]))
            if numbers < OLDEST:
                raise Unavailable(
                    f"Neo4j there is {self.version}; QNIB needs {'.'.join(map(str, OLDEST))} or newer.", where=url,
                    try_next="update it, or leave the setting graph.url out: the embedded graph needs no server.",
                )
        except BaseException:
            self._driver.close()
            raise

    def check(self) -> None:
        self.rows("RETURN 1")

    def close(self) -> None:
        self._driver.close()

    def rows(self, query: str, **params: Any) -> list[list[Any]]:
        """A query of ours."""
        return list(self.stream(query, **params))

    def stream(self, query: str, **params: Any) -> Iterator[list[Any]]:
        """The same, row by row, in a transaction of the server's own making: for much, and CALL IN TRANSACTIONS."""
        with self._reached(), self._driver.session(database=self._database, fetch_size=5000) as session:
            for record in session.run(query, params):
                yield list(record.values())

    def write(self, work: Callable[[neo4j.ManagedTransaction], None]) -> None:
        """`work` in one transaction: all of it or nothing. It may be called again, after a deadlock for example."""
        with self._reached(), self._driver.session(database=self._database) as session:
            session.execute_write(work)

    def read(self, query: str, params: Mapping[str, Any], limits: Limits) -> tuple[Answer, Unknown]:
        """A query of a person's, by a transaction that the server lets only read and ends after `limits.seconds`."""
        with self._reached(), _translated(query, limits):
            try:
                return self._read(query, params, limits)
            except (neo4j.exceptions.ServiceUnavailable, neo4j.exceptions.SessionExpired):
                return self._read(query, params, limits)  # a connection from before the server was started again

    def _read(self, query: str, params: Mapping[str, Any], limits: Limits) -> tuple[Answer, Unknown]:
        session = self._driver.session(
            database=self._database, default_access_mode=neo4j.READ_ACCESS, fetch_size=min(limits.rows + 1, 1000)
        )
        with session, session.begin_transaction(timeout=limits.seconds) as transaction:
            result = transaction.run(query, dict(params))
            columns, rows = list(result.keys()), list[list[Any]]()
            for record in result:
                rows.append([plain(cell) for cell in record.values()])
                if len(rows) > limits.rows:
                    break
            told = result.consume()
        unknown = [
            (_UNKNOWN[one.gql_status], name) for one in told.gql_status_objects if one.gql_status in _UNKNOWN
            for name in _NAMED.findall(one.status_description)[:1]
        ]
        if told.plan or told.profile:  # EXPLAIN and PROFILE
            plan = (told.profile or told.plan or {}).get("args", {}).get("string-representation", "")
            return Answer(["plan"], [[line] for line in plan.splitlines()], False), unknown
        return Answer(columns, rows[: limits.rows], len(rows) > limits.rows), unknown

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """What is wrong with the server or the login, as Unavailable."""
        try:
            yield
        except (neo4j.exceptions.DriverError, OSError) as error:
            raise Unavailable(
                f"Neo4j cannot be reached: {' '.join(str(error).split())[:200]}.", where=self.url,
                try_next="start it, or correct the setting graph.url.",
            ) from error
        except neo4j.exceptions.Neo4jError as error:
            code = str(error.code)
            if _SECURITY not in code:
                raise Unavailable(
                    f"Neo4j cannot do it: {error.message}", where=self.url, try_next="see Neo4j's log."
                ) from error
            said = {
                "Unauthorized": "refuses user or password",
                "AuthenticationRateLimit": "takes no login for some seconds after several wrong ones",
                "CredentialsExpired": "wants the password changed first (ALTER CURRENT USER SET PASSWORD …)",
            }.get(code.rpartition(".")[2], f"refuses: {error.message}")
            raise Unavailable(
                f"Neo4j {said}.", where=self.url,
                try_next="set QNIB_GRAPH__USER and QNIB_GRAPH__PASSWORD, or [graph] in qnib.toml.",
            ) from error


@contextmanager
def _translated(query: str, limits: Limits) -> Iterator[None]:
    """What the server says of a person's query, in our words."""
    try:
        yield
    except neo4j.exceptions.Neo4jError as error:
        code, said = str(error.code), (error.message or "").strip()
        if _SECURITY in code:
            raise
        raise _meaning(code, said.splitlines()[0] if said else code, " ".join(query.split())[:120], limits) from error


def _meaning(code: str, said: str, where: str, limits: Limits) -> QnibError:
    if code.endswith("AccessMode"):
        return Forbidden(
            "The graph is only read here; it is made from the facts.", where=where, try_next="use MATCH … RETURN."
        )
    if "TimedOut" in code or code.endswith("Transaction.Terminated"):
        return TooMuch(
            f"The query took longer than {limits.seconds:g} s.", where=where,
            try_next="start from one entity by its key, or walk fewer steps.",
        )
    if "OutOfMemory" in code:
        return TooMuch(
            "The query needs more memory than Neo4j may give it.", where=where,
            try_next="ask for less at once: a LIMIT before collect() or ORDER BY, one cluster, fewer steps.",
        )
    if code.startswith(("Neo.ClientError.Statement", "Neo.ClientError.Procedure")):
        return WrongUse(
            f"The query is not valid: {said}", where=where,
            try_next="names that are keywords, like `end` or `IN`, stand in backticks.",
        )
    return Unavailable(f"Neo4j did not answer the query: {said}", where=where, try_next="ask again; see its log.")


def kind_of(node: neo4j.graph.Node) -> str:
    """The kind of a node of ours; of others the first of their labels."""
    told = str(node.get("uid", "")).split("/", 2)
    return told[1] if TAG in node.labels and len(told) == 3 else min(node.labels - {TAG}, default="")


def plain(cell: Any) -> Any:
    """A value as JSON has it; nodes and relations without the properties that are ours alone."""
    if isinstance(cell, list):
        return [plain(one) for one in cell]
    if isinstance(cell, dict):
        return {key: plain(value) for key, value in cell.items()}
    if isinstance(cell, neo4j.graph.Node | neo4j.graph.Relationship | neo4j.graph.Path):
        return _thing(cell)
    if isinstance(cell, neo4j.time.DateTime):
        return _time(cell.to_native())
    return cell if cell is None or isinstance(cell, bool | int | float | str) else _text(cell)


def _thing(cell: neo4j.graph.Node | neo4j.graph.Relationship | neo4j.graph.Path) -> dict[str, Any]:
    if isinstance(cell, neo4j.graph.Path):
        return {"nodes": [plain(one) for one in cell.nodes], "relations": [plain(one) for one in cell.relationships]}
    told = {name: plain(value) for name, value in cell.items() if name not in HIDDEN}
    if isinstance(cell, neo4j.graph.Node):
        return {"label": kind_of(cell), "@id": cell.element_id, **told}
    source, target = (node.element_id if node else None for node in cell.nodes)
    return {"label": cell.type, "@from": source, "@to": target, **told}


def _text(cell: Any) -> str:
    """Dates, durations and places as Cypher writes them."""
    return str(cell.iso_format()) if hasattr(cell, "iso_format") else str(cell)


def _time(native: datetime) -> str | None:
    return instant(native.astimezone(UTC) if native.tzinfo else native)
