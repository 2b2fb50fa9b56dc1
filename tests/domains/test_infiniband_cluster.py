"""The virtual cluster's fabric agent brings OpenSM's own tables, and what links could be."""

from __future__ import annotations

import pytest
from tests.conftest import World

pytestmark = pytest.mark.cluster


def test_routes_of_the_virtual_cluster_are_opensms_own(world: World) -> None:
    def whole() -> bool:
        told = world.get("/api/fabric/tables")
        return bool(told["switches"] and told["known"] == told["switches"])

    world.until("a table of every switch", whole, 60)
    assert world.get("/api/fabric/tables")["faults"] == []
    (route,) = world.get("/api/fabric/routes", a="compute0", b="compute3")["routes"]
    assert route["complete"] and route["by"] == "tables", route["problem"]
    assert route["hops"][0]["port"] == "compute0/1" and route["hops"][-1]["peer"] == "compute3/1"


def test_what_the_links_could_be_is_known(world: World) -> None:
    def told() -> bool:
        found = world.get("/api/fabric/degraded")
        return bool(found["known"] == found["of"] > 0)

    world.until("what each link could be", told, 60)
    assert world.get("/api/fabric/degraded")["links"] == [], "ibsim's links all run alike"
