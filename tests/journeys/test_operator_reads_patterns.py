"""An operator looks through what no rule knows: new first at a glance, a pattern's lines, back to all of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import World, serving

from .conftest import axe, settled, visiting

pytestmark = [pytest.mark.journey, pytest.mark.engine]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server of its own with a few lines; no cluster is needed to read a log."""
    home = tmp_path_factory.mktemp("logged")
    with serving(home, "c1") as world:
        now = datetime.now(UTC)
        lines = [(now - timedelta(hours=30 + n), f"link eth{n} of 10.0.0.{n} flaps", "switchd") for n in range(9)]
        lines += [(now - timedelta(minutes=n + 1), f"scrub of md{n} found {n} mismatches", "raid") for n in range(4)]
        lines += [(now - timedelta(minutes=9), "Launching batch job 42 for UID 2001", "slurmd")]
        with socket.create_connection(("127.0.0.1", int(world.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
            for at, text, app in lines:
                wire.sendall(f"<30>1 {at:%Y-%m-%dT%H:%M:%S.%fZ} compute1 {app} - - - {text}\n".encode())
        world.until("stored", lambda: world.get("/api/events", **{"from": "-3d"})["total"] == len(lines), 20)
        yield world


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_patterns_first_then_lines(browser: Browser, logged: World, width: int, theme: str) -> None:
    with visiting(browser, logged.url, logged.token) as visit:
        page = visit("/events?from=-7d", width=width, theme=theme)
        settled(page)
        patterns = page.get_by_role("region", name="Patterns")
        told = "13 of 14 lines are known to no rule · 2 patterns, 1 of them new since yesterday"
        expect(patterns).to_contain_text(told)
        rows = patterns.locator("[data-row]")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("flaps")
        expect(rows.nth(0)).not_to_contain_text("new")
        expect(rows.nth(1)).to_contain_text("new")
        rows.nth(1).click()
        lines = page.get_by_role("region", name="Events found")
        expect(lines).to_contain_text("4 events")
        expect(lines).to_contain_text("scrub of md3")
        page.get_by_role("button", name="Show the lines of every pattern").click()
        expect(lines).to_contain_text("14 events")
        page.get_by_role("button", name="all", exact=True).click()
        expect(rows).to_have_count(3)
        expect(patterns).to_contain_text("job_started")
        page.get_by_role("button", name="new since yesterday").click()
        expect(rows).to_have_count(1)
        assert axe(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
