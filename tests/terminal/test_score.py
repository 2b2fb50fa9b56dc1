"""What counts as found, as rightly found, and as a false alarm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from qnib.terminal.faults.kinds import KINDS
from qnib.terminal.faults.score import CAUSES, score
from qnib.terminal.faults.written import Fault

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def fault(number: int, kind: str, target: str, ends: list[str], began: float = 0, cleared: float | None = 30,
          value: str = "") -> Fault:  # fmt: skip
    cable = "SW1/3--compute0/1" if "compute0/1" in ends or target == "compute0" else "SW2/3--compute2/1"
    return Fault(number, at(began), kind, target, ends, at(cleared) if cleared is not None else None, value, cable)


def event(seconds: float, kind: str, *entities: str, host: str = "") -> dict[str, Any]:
    return {"time": at(seconds), "kind": kind, "entities": list(entities), "fields": {}, "host": host}


OUT = fault(1, "cable-out", "SW1/3", ["SW1/3", "compute0/1"])


def test_the_first_word_counts_and_its_entity() -> None:
    told = score([OUT], [
        event(2, "link.down", "PORT:SW1/3", "PORT:compute0/1"), event(3, "finding.link_down", "PORT:SW1/3"),
        event(31, "link.up", "PORT:SW1/3"),
    ])  # fmt: skip
    assert told.rows() == [
        {"kind": "cable-out", "injected": 1, "found": 1, "right entity": 1, "median s": 2.0, "slowest s": 2.0},
    ]
    assert not told.missed and not told.false_alarms


def test_another_ports_trouble_is_no_finding_but_an_alarm() -> None:
    told = score([OUT], [event(2, "link.down", "PORT:SW2/3", "PORT:compute2/1")])
    assert told.missed == [OUT] and len(told.false_alarms) == 1


def test_what_was_said_before_or_long_after_does_not_count() -> None:
    told = score([OUT], [event(-1, "link.down", "PORT:SW1/3"), event(200, "link.down", "PORT:SW1/3")])
    assert told.missed == [OUT] and len(told.false_alarms) == 2
    still_open = fault(1, "cable-out", "SW1/3", ["SW1/3", "compute0/1"], cleared=None)
    assert score([still_open], [event(200, "link.down", "PORT:SW1/3")]).missed == []


def test_errors_at_the_wrong_end_are_found_but_not_rightly() -> None:
    bad = fault(1, "port-bad", "SW1/3", ["SW1/3", "compute0/1"])
    told = score([bad], [event(5, "finding.symbol_errors", "PORT:compute0/1")])
    assert (told.lines[0].found, told.lines[0].rightly) == (1, 0)


def test_a_cable_is_known_by_where_it_was_first_seen_and_a_node_set_by_its_nodes() -> None:
    bad = fault(1, "cable-bad", "SW1/3", ["SW1/3", "compute0/1"])
    down = fault(2, "daemon-stop", "compute0", [])
    told = score([bad, down], [
        event(5, "finding.port_or_cable", "CABLE:cable SW1/3--compute0/1@1763632800"),
        event(9, "node.silent", "Node:compute[0-1]"),
    ])  # fmt: skip
    assert [line.rightly for line in told.lines] == [1, 1] and not told.false_alarms


def test_a_dead_node_explains_its_link() -> None:
    told = score([fault(1, "node-down", "compute0", [])], [event(1, "link.down", "PORT:SW1/3", "PORT:compute0/1")])
    assert told.lines[0].rightly == 1 and not told.false_alarms


def test_what_cannot_be_recognised_is_said_to_be_so() -> None:
    row = score([fault(1, "node-slow", "compute0", [])], []).rows()[0]
    assert row["found"] is None and row["injected"] == 1
    assert CAUSES.keys() <= KINDS.keys()


def test_a_wrong_word_about_an_ailing_node_is_a_false_alarm() -> None:
    told = score([fault(1, "node-slow", "compute0", [])], [event(3, "finding.disk_full", "Host:compute0")])
    assert len(told.false_alarms) == 1


def test_errors_are_told_again_within_the_hour_when_their_port_comes_back() -> None:
    bad = fault(1, "cable-bad", "SW1/3", ["SW1/3", "compute0/1"])
    again = [event(5, "finding.symbol_errors", "PORT:SW1/3"), event(900, "finding.symbol_errors", "PORT:SW1/3")]
    assert score([bad], again).false_alarms == []
    assert len(score([bad], [*again, event(4000, "finding.symbol_errors", "PORT:SW1/3")]).false_alarms) == 1
