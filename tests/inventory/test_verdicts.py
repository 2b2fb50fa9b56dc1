"""Port or cable? Histories as people make them when they look for a fault, with the part that is to be found."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.inventory.conftest import NOON
from tests.inventory.fabrics import own, take

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.errors import NotFound
from qnib.inventory.facts import Facts
from qnib.inventory.verdicts import Period, judge, verdict


def period(number: int, cable: str, a: str, b: str, errors: int, *, watched: float = 600, maybe: str = "") -> Period:
    began = NOON + timedelta(minutes=15 * number)
    return Period(f"{a}--{b}", cable, a, b, began, began + timedelta(minutes=10), maybe, {a: errors}, watched)


BAD = period(0, "C", "SW1/1", "n1/1", 100)


@pytest.mark.parametrize(
    ("history", "guilty", "part"),
    [
        ([BAD], "unknown", ""),
        # one end moved, and the errors with it
        ([BAD, period(1, "C", "SW1/2", "n1/1", 90)], "cable", "C"),
        # … and another cable at the first port is clean, at the far end, too
        ([BAD, period(1, "C", "SW1/2", "n1/1", 90), period(1, "D", "SW1/1", "n2/1", 0)], "cable", "C"),
        ([BAD, period(1, "C", "SW1/2", "n2/1", 90), period(1, "D", "SW1/1", "n1/1", 0)], "cable", "C"),
        # one end moved, and the errors are gone: they were the port's
        ([BAD, period(1, "C", "SW1/2", "n1/1", 0)], "port", "SW1/1"),
        # another cable and another host, and the errors stay
        ([BAD, period(1, "D", "SW1/1", "n2/1", 80)], "port", "SW1/1"),
        ([BAD, period(1, "D", "SW1/2", "n1/1", 80)], "port", "n1/1"),
        # another cable in the same place
        ([BAD, period(1, "D", "SW1/1", "n1/1", 0)], "cable", "C"),
        # the errors go on with another cable in the same place: one of the two ports, and nobody knows which
        ([BAD, period(1, "D", "SW1/1", "n1/1", 95)], "unknown", ""),
        # reseated: perhaps the same cable, and clean: it, or how it sat
        ([BAD, period(1, "D", "SW1/1", "n1/1", 0, maybe="C")], "cable", "C"),
        # moved, but watched for too short a time to tell
        ([BAD, period(1, "C", "SW1/2", "n1/1", 0, watched=5)], "unknown", ""),
        # both ends moved: it is the cable
        ([BAD, period(1, "C", "SW2/5", "n7/1", 70)], "cable", "C"),
    ],
)  # fmt: skip
def test_what_the_errors_follow(history: list[Period], guilty: str, part: str) -> None:
    found = judge("SW1/1", history)
    assert (found.guilty, found.part) == (guilty, part), found.sentence
    assert len(found.evidence) == len(history) and found.advice
    assert abs(sum(one.probability for one in found.suspects) - 1) < 0.01
    if guilty == "unknown":
        assert found.sentence.startswith("Not enough evidence")
        assert "Move the cable's end" in found.advice or "another cable" in found.advice
    else:
        assert found.confidence >= 0.7


def test_more_evidence_makes_it_surer() -> None:
    one = judge("SW1/1", [BAD, period(1, "C", "SW1/2", "n1/1", 90)])
    two = judge("SW1/1", [BAD, period(1, "C", "SW1/2", "n1/1", 90), period(2, "D", "SW1/3", "n1/1", 0)])
    assert two.confidence > one.confidence


def test_no_errors_is_no_verdict() -> None:
    found = judge("SW1/1", [period(0, "C", "SW1/1", "n1/1", 3)])
    assert (found.guilty, found.sentence) == ("none", "3 errors were counted at SW1/1 in 600 s.")
    unwatched = judge("SW1/1", [period(0, "C", "SW1/1", "n1/1", 0, watched=0)])
    assert "was not watched" in unwatched.sentence and unwatched.confidence == 0


# ── from the record ───────────────────────────────────────────────────────────────────────────


def count(engine: Engine, port: str, readings: dict[int, int]) -> None:
    """Symbol errors of a port by minute."""
    node, _, number = port.partition("/")
    path = f"infiniband.{node}.{number}.symbol_error"
    series = hash(path) & 0xFFFFFFFF
    times = {NOON + timedelta(minutes=minute): value for minute, value in readings.items()}
    engine.insert("qnib.series", [{
        "cluster": "lab", "series": series, "path": path, "name": "ib.symbol_error",
        "tags": {"node": node, "port": number}, "unit": "errors", "mtype": "counter", "host": "",
        "first_seen": NOON, "last_seen": NOON,
    }])  # fmt: skip
    engine.insert("qnib.points", [
        {"cluster": "lab", "series": series, "time": time, "told": value} for time, value in times.items()
    ])  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize(("follow", "guilty"), [(True, "cable"), (False, "port")])
def test_a_cable_that_was_moved_in_a_captured_fabric(
    engine: Engine, facts: Facts, clock: FrozenClock, follow: bool, guilty: str
) -> None:
    """n05's cable was moved from leaf1/4 to leaf1/7; the errors went along, or did not."""
    for table in ("points", "series"):
        engine.run(f"TRUNCATE TABLE qnib.{table}")
    clock.at = NOON + timedelta(minutes=40)
    for name, minutes in (("whole", 0), ("out", 10), ("moved", 12)):
        take(engine, facts, "topology", own(f"ibnetdiscover.{name}.txt"), NOON + timedelta(minutes=minutes))
    count(engine, "leaf1/4", {0: 0, 3: 20, 6: 45, 9: 70, 13: 4000, 30: 4000})
    count(engine, "leaf1/7", {0: 0, 9: 0, 13: 0, 20: 40 * follow, 30: 90 * follow})
    start, end = NOON - timedelta(hours=1), datetime.max.replace(tzinfo=NOON.tzinfo, year=2100)
    found = verdict(engine, "lab", "leaf1/4", start, end)
    assert found.guilty == guilty, found.sentence
    assert found.part == ("leaf1/4" if guilty == "port" else found.periods[0].cable)
    first = next(one for one in found.periods if one.a == "leaf1/4")
    assert first.errors["leaf1/4"] == 70, "what came while it was unplugged is nobody's"
    assert verdict(engine, "lab", "leaf0/3", start, end).guilty == "none"
    with pytest.raises(NotFound):
        verdict(engine, "lab", "leaf1/8", start, end)
