"""Octets along routes: what OpenSM really dumped, and what ports then count."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qnib.clock import FrozenClock
from qnib.settings import Settings
from qnib.terminal import attendant, carrier, counting
from qnib.terminal.carrier import Load, carry, parse_routes
from qnib.terminal.counting import Sent
from qnib.terminal.exchange import Here
from qnib.terminal.faults.written import Fault
from qnib.terminal.inside import carry as inside
from qnib.terminal.wiring import Cable, cables
from tests.terminal.plans import plan

DUMP = (Path(__file__).parent / "opensm-lfts.dump").read_text()
"""OpenSM's of four nodes on two leaves under two spines."""
ROUTES = parse_routes(DUMP)
WIRED = cables(plan(), 4, [])


def carried(*flows: tuple[str, str, int], wired: list[Cable] = WIRED, capacity: float = 4e9) -> Load:
    """What two seconds with these flows bring."""
    sent = {(source, target): Sent(octets, octets // 1500) for source, target, octets in flows}
    return carry(sent, ROUTES, wired, capacity=capacity, seconds=2)


def test_the_dump_names_every_device() -> None:
    assert {"SW1", "SW2", "SPINE1", "SPINE2", "compute0", "compute3", "fabric"} <= ROUTES.lids.keys()
    assert set(ROUTES.ports) == {"SW1", "SW2", "SPINE1", "SPINE2"}


@pytest.mark.parametrize("broken", [DUMP[:900], "0x0001 001 # Switch portguid 0x1: 'a'\n1 lids dumped\n", ""])
def test_half_a_dump_is_none(broken: str) -> None:
    with pytest.raises(ValueError, match=r"cut short|before any switch"):
        parse_routes(broken)


def test_neighbours_on_a_leaf_use_two_links() -> None:
    load = carried(("compute0", "compute1", 10_000))
    assert load.lost == 0
    assert {port: (c.get("xmit_data", 0), c.get("rcv_data", 0)) for port, c in load.grown.items()} == {
        "compute0/1": (10_000, 0), "SW1/3": (0, 10_000), "SW1/4": (10_000, 0), "compute1/1": (0, 10_000),
    }  # fmt: skip


def test_the_way_to_another_leaf_goes_over_the_spine_that_opensm_chose() -> None:
    load = carried(("compute0", "compute2", 10_000))
    spine = ROUTES.ports["SW1"][ROUTES.lids["compute2"]]
    assert load.grown[f"SW1/{spine}"]["xmit_data"] == 10_000
    assert load.grown[f"SPINE{spine}/1"]["rcv_data"] == 10_000
    assert load.grown[f"SPINE{spine}/2"]["xmit_data"] == 10_000
    assert sum(c.get("xmit_data", 0) for c in load.grown.values()) == 4 * 10_000


def test_what_finds_no_way_is_lost_and_counted() -> None:
    out = cables(plan(), 4, [Fault(1, "", "cable-out", "SW1/3", [], cable="SW1/3--compute0/1")])
    assert carried(("compute0", "compute1", 500), wired=out) == Load({}, 500)
    assert carried(("compute0", "nobody", 700)).lost == 700


def test_a_link_with_more_than_it_carries_waits() -> None:
    calm = carried(("compute0", "compute1", 1000), capacity=1000)
    hot = carried(("compute0", "compute1", 8000), capacity=1000)
    assert all("xmit_wait" not in counters for counters in calm.grown.values())
    # Four times as much as fits: three quarters of the time.
    assert hot.grown["SW1/4"]["xmit_wait"] == int(2 * 0.75 * 1000 / carrier.TICK)
    assert "xmit_wait" not in hot.grown["compute1/1"], "who receives does not wait"


def test_the_kernels_large_packets_are_cut_to_the_fabrics() -> None:
    sent = {("compute0", "compute1"): Sent(65_536, 1)}
    load = carry(sent, ROUTES, WIRED, capacity=4e9, seconds=1)
    assert load.grown["compute0/1"]["xmit_packets"] == 32


# ── in the fabric's container ─────────────────────────────────────────────────────────────────


def test_counters_go_on_from_what_they_are() -> None:
    now = {("SW1", 3): {"xmit_data": 7, "symbol_error": 1}}
    told = inside.commands({"SW1/3": {"xmit_data": 400, "symbol_error": 3}}, now)
    assert told == [
        'PerformanceSet "SW1"[3] PortCountersExtended.PortXmitData=107',
        'PerformanceSet "SW1"[3] PortCounters.PortXmitData=107',
        'PerformanceSet "SW1"[3] PortCounters.SymbolErrorCounter=4',
    ]


def test_short_counters_stop_at_their_end_and_long_ones_wrap() -> None:
    now = {("SW1", 3): {"xmit_data": (1 << 64) - 1, "symbol_error": 65_530, "link_error_recovery": 255}}
    grown = {"SW1/3": {"xmit_data": 8, "symbol_error": 30, "link_error_recovery": 1}, "SW9/1": {"xmit_data": 4}}
    values = [line.rpartition("=")[2] for line in inside.commands(grown, now)]
    assert values == ["1", "1", "65535", "255"], "a port that is not there is passed over"


# ── the attendant ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def attending(tmp_path: Path) -> attendant.Attendant:
    clock = FrozenClock(datetime(2026, 11, 20, tzinfo=UTC))
    return attendant.Attendant(Settings(home=tmp_path), "demo", clock, Here(tmp_path))


def test_a_bad_cable_hurts_both_its_ends_and_a_bad_port_itself(attending: attendant.Attendant) -> None:
    faults = [
        Fault(1, "", "cable-bad", "SW1/3", [], value="10", cable="SW1/3--compute0/1"),
        Fault(2, "", "port-bad", "SW2/3", [], value="10"),
    ]
    found = attending._errors(faults, WIRED, 100)
    assert set(found) == {"SW1/3", "compute0/1", "SW2/3"}
    assert all(600 < counters["symbol_error"] < 1400 for counters in found.values())
    moved = cables(plan(), 4, [Fault(3, "", "cable-move", "SW1/3", [], value="SW1/5", cable="SW1/3--compute0/1")])
    assert set(attending._errors(faults[:1], moved, 100)) == {"SW1/5", "compute0/1"}
    out = cables(plan(), 4, [Fault(3, "", "cable-out", "SW1/3", [], cable="SW1/3--compute0/1")])
    assert attending._errors(faults[:1], out, 100) == {}, "no link, no bits to damage"


def test_little_is_kept_until_it_is_more(attending: attendant.Attendant, tmp_path: Path) -> None:
    for _ in range(3):
        attending._add({"SW1/3": {"xmit_data": 6000, "xmit_packets": 3}})
        attending._hand_over(plan())
    told = json.loads((tmp_path / "traffic.json").read_text())
    assert told == {"SW1/3": {"xmit_data": 18_000, "xmit_packets": 9}}
    attending._add({"SW1/4": {"symbol_error": 1}})
    attending._hand_over(plan())
    assert json.loads((tmp_path / "traffic.json").read_text()) == told, "not before the last was taken"
    (tmp_path / "traffic.json").unlink()
    attending._hand_over(plan())
    assert json.loads((tmp_path / "traffic.json").read_text()) == {"SW1/4": {"symbol_error": 1}}


def test_a_file_of_the_containers_that_is_none_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keys")
    (tmp_path / "opensm-lfts.dump").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic"):
        Here(tmp_path).routes(plan())


def test_frames_heads_are_counted_as_interfaces_do() -> None:
    assert counting.ETHERNET == 14
