"""Degraded links, and wiring beside its plan, on the captured tree."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.inventory.conftest import NOON
from tests.inventory.fabrics import own, take

from qnib.clock import FrozenClock
from qnib.engine import Engine
from qnib.errors import WrongUse
from qnib.inventory.degraded import degraded
from qnib.inventory.facts import Facts
from qnib.inventory.planned import compare

pytestmark = pytest.mark.engine


@pytest.fixture
def wired(engine: Engine, facts: Facts, clock: FrozenClock) -> Facts:
    clock.advance(10)
    take(engine, facts, "topology", own("ibnetdiscover.whole.txt"), NOON)
    return facts


def test_a_shortfall_all_links_share_is_told_once(wired: Facts, engine: Engine) -> None:
    """ibsim's ports could do 12x HDR, and run at 4x EDR."""
    take(engine, wired, "capability", own("iblinkinfo.whole.txt"), NOON)
    found = degraded(wired, "lab")
    assert found.links == [] and (found.known, found.of) == (65, 65)
    assert "4x EDR" in found.everywhere and "12x HDR" in found.everywhere


def test_a_link_that_trained_slower_than_the_others(wired: Facts, engine: Engine, clock: FrozenClock) -> None:
    at = NOON + timedelta(minutes=9)
    clock.at = at
    take(engine, wired, "topology", own("ibnetdiscover.moved.txt"), at)
    take(engine, wired, "capability", own("iblinkinfo.moved.txt"), at)
    (found,) = degraded(wired, "lab").links
    assert (found.a, found.b, found.width, found.speed) == ("leaf1/7", "n05/1", "4x", "QDR")
    assert (found.could, found.usual) == ("", "4x EDR"), "its ends said they could do no more than QDR"
    assert found.share == round(10.0 / 25.78125, 3)
    assert degraded(wired, "lab", NOON).links == []


def test_a_lane_that_is_lost(wired: Facts, engine: Engine, clock: FrozenClock) -> None:
    """One link runs at 1x where 4x is possible; the others do all they can."""
    at = NOON + timedelta(minutes=1)
    clock.at = at
    info = own("iblinkinfo.whole.txt").replace(" Could be 53.125 Gbps", "").replace("Could be 12X", "")
    marked = "\n".join(
        line.replace("4X ", "1X ").replace("( )", "( Could be 4X)").replace("()", "(Could be 4X)")
        if '"n05"' in line else line for line in info.split("\n")
    )  # fmt: skip
    assert marked != info
    text = own("ibnetdiscover.whole.txt").split("\n")
    text = [line.replace("4xEDR", "1xEDR") if '# "n05" lid' in line else line for line in text]
    take(engine, wired, "topology", "\n".join(text), at)
    take(engine, wired, "capability", marked, at)
    report = degraded(wired, "lab")
    (found,) = report.links
    assert (found.a, found.could, found.share) == ("leaf1/4", "4x EDR", 0.25)
    assert report.everywhere == ""


def test_nothing_told_is_nothing_known(wired: Facts) -> None:
    found = degraded(wired, "lab")
    assert (found.links, found.known, found.everywhere) == ([], 0, "")


# ── planned ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["tree.topo", "ibnetdiscover.whole.txt", "ibnetdiscover-p.whole.txt"])
def test_wired_as_planned(wired: Facts, name: str) -> None:
    found = compare(wired, "lab", own(name))
    assert found.as_planned and (found.links, found.right) == (65, 65)
    assert (found.absent, found.unplanned) == ([], [])


def test_a_cable_out_and_a_cable_elsewhere(wired: Facts, engine: Engine, clock: FrozenClock) -> None:
    plan = own("tree.topo")
    for name, minutes in (("out", 5), ("moved", 9)):
        clock.at = NOON + timedelta(minutes=minutes)
        take(engine, wired, "topology", own(f"ibnetdiscover.{name}.txt"), clock.at)
    out = compare(wired, "lab", plan, NOON + timedelta(minutes=6))
    assert out.missing == [("leaf1/4", "n05/1")] and not out.extra and out.right == 64
    moved = compare(wired, "lab", plan)
    assert not moved.missing and not moved.extra and not moved.as_planned
    assert moved.moved == [{
        "planned": ("leaf1/4", "n05/1"), "found": ("leaf1/7", "n05/1"),
        "sentence": "n05/1 is joined with leaf1/7, planned is leaf1/4.",
    }]  # fmt: skip


def test_two_cables_swapped(wired: Facts) -> None:
    """The plan has n00 and n07 in each other's place."""
    plan = own("tree.topo").replace('"n00"', '"?"').replace('"n07"', '"n00"').replace('"?"', '"n07"')
    found = compare(wired, "lab", plan)
    assert not found.missing and not found.extra and not found.moved
    (swap,) = found.swapped
    assert set(swap["found"]) == {("leaf0/3", "n00/1"), ("leaf1/6", "n07/1")}
    assert set(swap["planned"]) == {("leaf0/3", "n07/1"), ("leaf1/6", "n00/1")}


def test_what_the_plan_has_more_and_less(wired: Facts) -> None:
    plan = own("tree.topo").replace('"n31"', '"n32"')
    found = compare(wired, "lab", plan)
    assert (found.absent, found.unplanned) == (["n32"], ["n31"])
    assert [row["found"] for row in found.moved] == [("leaf7/6", "n31/1")]


def test_renamed_devices_are_the_same_by_their_guid(wired: Facts) -> None:
    plan = own("ibnetdiscover.whole.txt").replace('"n05"', '"old-name"')
    assert compare(wired, "lab", plan).as_planned


@pytest.mark.parametrize("text", ["", "hello\n", "# nothing\n"])
def test_what_is_no_plan(wired: Facts, text: str) -> None:
    with pytest.raises(WrongUse):
        compare(wired, "lab", text)
