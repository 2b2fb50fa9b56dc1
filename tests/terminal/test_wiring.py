"""Which cable is where, with faults that pulled or moved some."""

from __future__ import annotations

import pytest

from qnib.errors import Conflict, NotFound, WrongUse
from qnib.terminal import wiring
from qnib.terminal.blueprint import Fabric
from qnib.terminal.faults.written import Fault
from qnib.terminal.wiring import at, cables, check_free
from tests.terminal.plans import plan

PLAN = plan()
HOST = "SW1/3--compute0/1"


def fault(number: int, kind: str, target: str, value: str = "", cleared: str | None = None) -> Fault:
    return Fault(number, "2026-11-20T12:00:00+00:00", kind, target, [], cleared, value, HOST)


def test_a_cable_is_found_by_either_end() -> None:
    wired = cables(PLAN, 4, [])
    assert at("SW1/3", wired) is at("compute0/1", wired)
    assert at("SW1/3", wired).beyond("SW1/3") == "compute0/1"


def test_a_pulled_cable_is_out_until_it_is_put_back() -> None:
    assert not at("SW1/3", cables(PLAN, 4, [fault(1, "cable-out", "SW1/3")])).plugged
    assert at("SW1/3", cables(PLAN, 4, [fault(1, "cable-out", "SW1/3", cleared="later")])).plugged


def test_a_moved_cable_keeps_its_name() -> None:
    wired = cables(PLAN, 4, [fault(1, "cable-move", "SW1/3", "SW1/5"), fault(2, "cable-move", "SW1/5", "SW1/6")])
    moved = at("SW1/6", wired)
    assert (moved.name, moved.ends) == (HOST, ["SW1/6", "compute0/1"])
    with pytest.raises(NotFound):
        at("SW1/3", wired)
    assert wiring.link(moved) == 'Link "SW1"[6] "compute0"[1]'


def test_a_port_with_a_cable_is_not_free() -> None:
    wired = cables(PLAN, 4, [])
    check_free("SW1/5", PLAN, wired)
    with pytest.raises(Conflict) as taken:
        check_free("SW1/4", PLAN, wired)
    assert "SW1/5, SW1/6" in taken.value.try_next
    with pytest.raises(Conflict):  # compute3 will be there
        check_free("SW2/4", PLAN, cables(PLAN, 3, []))
    for port in ("SW1/7", "SW1/0", "compute0/2", "SW99/1"):
        with pytest.raises(NotFound):
            check_free(port, PLAN, wired)


@pytest.mark.parametrize("port", ["SW1", "SW1/", "SW1/x", "/3", 'SW1/3"; Quit', "SW1/3 "])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(WrongUse):
        at(port, cables(PLAN, 4, []))


@pytest.mark.parametrize("port", ["SW1/9", "SW3/3", "compute4/1", "nothing/1"])
def test_a_port_without_a_cable_tells_what_there_is(port: str) -> None:
    with pytest.raises(NotFound) as error:
        at(port, cables(PLAN, 4, []))
    assert "SW1" in error.value.try_next


def test_without_a_fabric_it_is_said_so() -> None:
    with pytest.raises(NotFound) as error:
        at("SW1/3", cables(plan(4, fabric=Fabric(shape="none")), 4, []))
    assert "no fabric" in error.value.try_next
