"""Is one of my job's nodes not like the others? The job's page says so, and what was compared, without being asked."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.conftest import World
from tests.journeys.conftest import Open, axe, settled
from tests.test_differs import BUILD, inside
from tests.test_join import running_job

pytestmark = pytest.mark.journey


def test_a_user_sees_which_node_is_not_like_the_others(world: World, visit: Open) -> None:
    job = running_job(world)
    page = visit(f"/job/{job['key']}?cluster={world.name}")
    settled(page)
    panel = page.get_by_role("region", name="Differences between its nodes")
    expect(panel).to_contain_text("alike", timeout=60_000)
    expect(panel).to_contain_text("No differences between the")
    panel.get_by_text("What was compared").click()
    expect(panel).to_contain_text(re.compile(r"packages: \d+ on \d nodes"))

    odd = re.sub(r"\[(\d+).*", r"\1", job["nodes"])
    inside(world, odd, "bash", "-c", BUILD, "1.0")
    try:  # the page follows by itself
        expect(panel.get_by_role("row", name=re.compile("qnib-tiny"))).to_contain_text(odd, timeout=30_000)
        expect(panel).to_contain_text(re.compile(f"{odd} differs from "))
        expect(panel).to_contain_text("Bring them to one version")
        assert axe(page) == []
        panel.get_by_role("link", name=odd).first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(odd)
    finally:
        inside(world, odd, "dpkg", "--purge", "qnib-tiny")
