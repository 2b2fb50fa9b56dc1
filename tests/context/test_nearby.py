"""What else happened around an event, in time and in the graph, and the sentence that says whose it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from qnib.context.nearby import nearby
from qnib.errors import NotFound
from qnib.model import Entity
from tests.context.conftest import NOON, Site, at

pytestmark = pytest.mark.engine
HOUR = timedelta(hours=1)


def around(site: Site, message: str, minutes: float = 2) -> dict[str, Any]:
    found = next(row for row in site.search("").events(1000) if row["message"] == message)
    return nearby(site, site.cluster, int(found["id"]), None, minutes)


def told(answer: dict[str, Any], near: str) -> list[str]:
    return [row["message"] for group in answer["groups"] if group["near"] == near for row in group["events"]]


@pytest.fixture
def lab(site: Site) -> Site:
    """Two leaf switches and a spine; herbert's job on compute3 and compute4, ann's beside it on compute1."""
    site.hosts(NOON - HOUR, "compute1", "compute3", "compute4")
    site.link(NOON - HOUR, "compute1", "SW1", 1)
    site.link(NOON - HOUR, "compute3", "SW1", 3)
    site.link(NOON - HOUR, "compute4", "SW2", 4)
    for leaf, port in (("SW1", 1), ("SW2", 2)):
        site.tell(NOON - HOUR, Entity("SW", "SPINE", {"name": "SPINE"}), Entity(
            "CONNECTION", f"{leaf}/20--SPINE/{port}", {"a": f"{leaf}/20", "b": f"SPINE/{port}"},
        ), by="fabric")  # fmt: skip
    site.job(42, "herbert", ["compute3", "compute4"], at("12:00:00"), at("12:10:00"), name="PingPong")
    site.job(43, "ann", ["compute1"], at("12:00:00"), at("12:10:00"), name="gemm")
    site.line(at("12:05:00"), "compute3", "mlx5_core: port error")
    return site


def test_a_bare_kernel_line_beside_a_failing_switch_says_whose_it_is(lab: Site) -> None:
    lab.line(at("12:04:50"), "", "SW1 lost its fan", kind="fabric.fan", lane="fabric", entities=["SW:SW1"])
    answer = around(lab, "mlx5_core: port error")
    assert answer["sentence"] == (
        "Job PingPong of herbert (group docker, partition odd) on compute3, one hop from the failing switch SW1"
    )
    assert answer["failing"] == {"switch": "SW1", "hops": 1, "ports": []}
    assert answer["switches"] == [{"name": "SW1", "hosts": "compute[1,3]"}]


def test_the_distance_to_a_failing_switch_is_counted_in_links(lab: Site) -> None:
    lab.line(at("12:04:50"), "", "spine in trouble", kind="fabric.fan", entities=["SW:SPINE"])
    assert around(lab, "mlx5_core: port error")["sentence"].endswith("compute3, two hops from the failing switch SPINE")


def test_one_bad_port_is_not_a_failing_switch(lab: Site) -> None:
    lab.line(at("12:04:50"), "", "errors", kind="finding.port_errors", entities=["PORT:SW1/9"])
    assert around(lab, "mlx5_core: port error")["sentence"].endswith("on compute3, one hop from SW1/9, in trouble")


def test_what_is_long_ago_or_harmless_is_no_failing_switch(lab: Site) -> None:
    lab.line(at("12:01:00"), "", "old trouble", kind="fabric.fan", entities=["SW:SW1"])
    lab.line(at("12:04:50"), "", "only news", severity="notice", kind="link.up", entities=["SW:SW1"])
    answer = around(lab, "mlx5_core: port error")
    assert answer["failing"] is None
    assert answer["sentence"] == "Job PingPong of herbert (group docker, partition odd) on compute3, on switch SW1"


def test_other_events_are_grouped_by_how_near_they_are(lab: Site) -> None:
    lab.line(at("12:05:10"), "compute3", "same host")
    lab.line(at("12:05:20"), "compute4", "same job, other host")
    lab.line(at("12:05:20"), "control", "job named", fields={"job": "42"})
    lab.line(at("12:05:30"), "compute1", "same switch")
    lab.line(at("12:05:40"), "", "port of the switch", entities=["PORT:SW1/9"], severity="notice")
    lab.line(at("12:05:50"), "", "spine", entities=["PORT:SPINE/1"], severity="notice")
    lab.line(at("12:05:55"), "elsewhere", "far away and bad")
    lab.line(at("12:05:56"), "elsewhere", "far away and dull", severity="info")
    lab.line(at("12:08:00"), "compute3", "too late")
    answer = around(lab, "mlx5_core: port error")
    assert told(answer, "host") == ["same host"]
    assert set(told(answer, "job")) == {
        "same job, other host", "job named",
    }  # fmt: skip
    assert told(answer, "switch") == ["same switch", "port of the switch"]
    assert told(answer, "further") == ["spine"]
    assert told(answer, "time") == ["far away and bad"]
    assert "too late" in told(around(lab, "mlx5_core: port error", minutes=5), "host")


def test_an_event_about_a_port_concerns_whoever_is_behind_it(lab: Site) -> None:
    ends = ["PORT:SW1/3", "PORT:compute3 mlx5_0/1", "SW:SW1", "HCA:compute3 mlx5_0"]
    lab.line(at("12:06:00"), "", "link went", kind="link.down", lane="fabric", entities=ends)
    answer = around(lab, "link went")
    assert answer["hosts"] == "compute3"
    assert [job["id"] for job in answer["jobs"]] == [42]
    assert answer["sentence"].startswith("Job PingPong of herbert (group docker, partition odd) on compute3")
    assert "mlx5_core: port error" in told(answer, "host")


def test_a_link_that_is_gone_still_says_who_hung_there(site: Site) -> None:
    site.hosts(NOON - HOUR, "c1")
    site.link(NOON - HOUR, "c1", "SW1", 3, until=at("12:05:00"))
    site.line(at("12:05:02"), "c1", "after the link went")
    assert around(site, "after the link went")["sentence"] == "No job on c1 then, on switch SW1"


def test_a_shared_node_names_all_jobs(site: Site) -> None:
    for number in range(1, 6):
        site.job(number, f"user{number}", ["c1"], at("12:00:00"), None, told=at("12:01:00"))
    site.line(at("12:05:00"), "c1", "x")
    assert around(site, "x")["sentence"] == (
        "Jobs job1 of user1 (group docker, partition odd), job2 of user2 (group docker, partition odd), job3 of user3"
        " (group docker, partition odd) and 2 more on c1"
    )


def test_an_event_nobody_knows_is_said_so(site: Site) -> None:
    with pytest.raises(NotFound, match="no event 7"):
        nearby(site, site.cluster, 7, None, 2)
