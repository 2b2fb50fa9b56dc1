"""The shipped event rules as the engine runs them: every pattern compiles there and finds what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.domains import all_domains
from qnib.domains.events import load_rules
from qnib.engine.chdb import open_engine
from qnib.engine.values import literal
from qnib.monitoring.rules import event_columns, hits, matched
from qnib.settings import load

pytestmark = pytest.mark.engine


def test_every_rule_finds_its_sample(tmp_path: Path) -> None:
    rules = [rule for domain in all_domains() for rule in load_rules(domain)]
    numbered = dict(enumerate(rules, 1))
    engine = open_engine(load(home=tmp_path), FrozenClock(datetime(2026, 11, 20, tzinfo=UTC)))
    try:
        lines = [(rule.sample, rule.app.split(",")[0] or "other", "compute1", "") for rule in rules]
        found = engine.rows(
            f"SELECT *, {event_columns(numbered)} FROM (SELECT *, {matched(numbered)} FROM ("
            f"SELECT *, {hits(rules)} AS hits FROM ("
            f"SELECT line[1] AS message, line[2] AS app, line[3] AS host, line[4] AS pid"
            f" FROM (SELECT arrayJoin({literal(lines)}) AS line))))"
        )
    finally:
        engine.close()
    assert len(found) == len(rules)
    by_line = {(row["message"], row["app"]): row for row in found}
    for rule in rules:
        row = by_line[rule.sample, rule.app.split(",")[0] or "other"]
        assert rule.name in row["rules"], rule.name
        fields = dict(pair.values() if isinstance(pair, dict) else pair for pair in reversed(row["rule_fields"]))
        assert set(rule.expect.items()) <= set(fields.items()), rule.name
