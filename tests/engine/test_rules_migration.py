"""Events an older version stored, brought to the shape in which rules can be applied anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.engine.chdb import open_engine
from qnib.engine.migrate import shipped
from qnib.model import EventRule
from qnib.monitoring.known import Known
from qnib.monitoring.reclassify import Reclassify
from qnib.monitoring.rulebook import Rulebook
from qnib.settings import Settings

pytestmark = pytest.mark.engine
NOW, DAY = datetime(2026, 11, 20, 12, tzinfo=UTC), timedelta(days=1)
SECOND = EventRule(
    "fan speed", r"fan (?P<place>\d+) slow: (?P<rpm>\d+) rpm", "host.fan_slow", severity="err",
    sample="fan 3 slow: 2 rpm",
)  # fmt: skip
SAID = "kind, severity, CAST(fields, 'Map(String, String)') AS fields"


def test_events_of_an_older_version_can_be_reclassified(tmp_path: Path) -> None:
    """What rules once said of them goes; the severity stays as it was told then, the sender's own fields stay."""
    settings, clock = Settings(home=tmp_path), FrozenClock(NOW)
    engine = open_engine(settings, clock, migrations=shipped()[:3])
    engine.insert("qnib.events", [{
        "cluster": "demo", "id": 1, "time": NOW, "received": NOW, "host": "c0", "app": "bmc", "severity": "warning",
        "listener": "syslog/tcp", "message": "fan 3 slow: 200 rpm", "kind": "host.fan", "rules": ["fan"],
        "fields": {"a@1.slot": "2", "msgid": "x", "fan": "3"}, "hint": "Look.",
    }])  # fmt: skip
    engine.close()
    engine = open_engine(settings, clock)
    try:
        job = Reclassify(clock, engine, Rulebook(clock, engine, rules=[SECOND]), Known(clock, engine, settings.series))
        assert job.run("demo", NOW - DAY, NOW + DAY).changed == 1
        told = engine.rows(f"SELECT said, {SAID} FROM qnib.events")[0]
        assert (told["said"], told["severity"], told["kind"]) == ("warning", "err", "host.fan_slow")
        assert told["fields"] == {"a@1.slot": "2", "msgid": "x", "place": "3", "rpm": "200"}
        assert job.run("demo", NOW - DAY, NOW + DAY).changed == 0
    finally:
        engine.close()
