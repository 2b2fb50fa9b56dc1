"""The graph as people ask it, by commands of a running server that holds captures of one day in 2024."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.test_fabric import MOVED, OUT, WHOLE, loaded
from tests.conftest import World

pytestmark = pytest.mark.engine
__all__ = ["loaded"]
BEFORE, BETWEEN, AFTER = "2024-03-01T08:01:00Z", "2024-03-01T08:06:00Z", "2024-03-01T08:10:00Z"


def ask(world: World, *words: str) -> Any:
    return json.loads(world.qnib("graph", *words, "--json").stdout)


def test_a_shipped_question_now_and_then(loaded: World) -> None:
    names = [row["name"] for row in ask(loaded, "questions")]
    assert len(names) >= 30
    then = {row["switch"]: row["links"] for row in ask(loaded, "ask", "links_of_switches", "--at", BEFORE)}
    out = {row["switch"]: row["links"] for row in ask(loaded, "ask", "links_of_switches", "--at", BETWEEN)}
    assert [then[name] - out[name] for name in then if then[name] != out[name]] == [1], "one switch lost one link"
    leaf = next(name for name in then if then[name] != out[name])
    hosts = ask(loaded, "ask", "hosts_on_switch", "--param", f"switch={leaf}", "--at", BEFORE)
    assert len(hosts) == then[leaf]


def test_an_unknown_question_names_the_known_ones(loaded: World) -> None:
    done = loaded.qnib("graph", "ask", "nonsense", check=False)
    assert done.returncode != 0
    assert "hosts_on_switch" in done.stderr


def test_what_changed_between_two_captures(loaded: World) -> None:
    rows = ask(loaded, "changes", "--since", BEFORE, "--until", BETWEEN,
               "--kind", "CONNECTION")  # fmt: skip
    assert [(row["what"], row["time"]) for row in rows] == [("ended", OUT)]
    rows = ask(loaded, "changes", "--since", BETWEEN, "--until", AFTER, "--kind", "CONNECTION")
    assert [(row["what"], row["time"]) for row in rows] == [("began", MOVED)]
    assert rows[0]["key"] not in WHOLE


def test_blast_neighbours_and_rebuild(loaded: World) -> None:
    blast = json.loads(loaded.qnib("graph", "blast", "SW:leaf1", "--at", BEFORE, "--json").stdout)
    assert blast["lost"]
    assert blast["jobs"] == []
    found = {row["relation"] for row in ask(loaded, "neighbours", "SW:leaf1", "--at", BEFORE)}
    assert found == {"HAS_PORT"}
    before = ask(loaded, "cypher", "MATCH (p:PORT) RETURN count(p) AS n")
    assert "Made again from" in loaded.qnib("graph", "rebuild").stdout
    assert ask(loaded, "cypher", "MATCH (p:PORT) RETURN count(p) AS n") == before


def test_a_query_that_writes_is_forbidden_not_unauthorised(loaded: World) -> None:
    """401 would make a browser ask for a password, and the UI for its token."""
    answer = httpx.post(
        f"{loaded.url}/api/graph/cypher", json={"query": "MATCH (n:Host) DELETE n"},
        headers={"Authorization": f"Bearer {loaded.token}"}, timeout=30,
    )  # fmt: skip
    assert (answer.status_code, "www-authenticate" in answer.headers) == (403, False)
