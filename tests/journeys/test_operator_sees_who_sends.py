"""An operator asks who sends events: whose clock is off, what was rejected, what goes on, and is not fooled by a name."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import World
from tests.journeys.conftest import Open, axe, settled, visiting
from tests.journeys.lab import lab

pytestmark = pytest.mark.journey
HOSTILE = "<img src=x onerror=\"document.title='broken'\">\u202egnp\x1b[2J<script>document.title='broken'</script>"
SHOWN = HOSTILE.replace("\u202e", r"\u202e").replace("\x1b", r"\x1b")
LONG = "node" + "x" * 240


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The lab, a host whose clock is ahead, two with names of the worst sort, and lines that are none."""
    with lab(tmp_path_factory.mktemp("heard")) as world:
        ahead = datetime.now(UTC) + timedelta(minutes=5)
        lines = [f"<13>1 {ahead:%Y-%m-%dT%H:%M:%SZ} compute9 ntpd - - - time is mine", "<999>no priority", "neither"]
        with socket.create_connection(("127.0.0.1", int(world.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
            wire.sendall("".join(f"{line}\n" for line in lines).encode())
        httpx.post(
            f"{world.url}/ingest/json", json=[{"host": host, "message": "hello"} for host in (HOSTILE, LONG)],
            headers={"Authorization": f"Bearer {world.token}"},
        ).raise_for_status()  # fmt: skip
        world.until("all are heard", lambda: {"compute9", HOSTILE, LONG} <= hosts(world), 30)
        yield world


def hosts(world: World) -> set[str]:
    return {row["host"] for row in world.get("/api/senders")["senders"]}


@pytest.fixture
def visit(browser: Browser, heard: World) -> Iterator[Open]:
    with visiting(browser, heard.url, heard.token) as go:
        yield go


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name="Senders").get_by_role("row", name=re.compile(name))


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_an_operator_sees_who_sends(visit: Open, width: int, theme: str) -> None:
    page = visit("/events", width=width, theme=theme)
    settled(page)
    page.get_by_role("navigation", name="Events").get_by_role("link", name="Sources").click()
    expect(page.get_by_role("heading", level=1, name="Sources")).to_be_visible()
    settled(page)

    # What needs a look comes first: rejected lines of a sender with many hosts, then a clock.
    rows = page.get_by_role("region", name="Senders").locator("tbody tr")
    expect(rows.nth(0)).to_contain_text(re.compile(r"all \d+ hosts of this address"))
    expect(rows.nth(0)).to_contain_text("2 lines rejected")
    expect(rows.nth(1)).to_contain_text("compute9")
    expect(rows.nth(1)).to_contain_text("its clock is 5 min ahead")
    rejected = page.get_by_role("region", name="Rejected")
    expect(rejected).to_contain_text("the priority is not 0 to 191")
    expect(rejected).to_contain_text("<999>no priority")
    expect(page.get_by_role("region", name="Spool")).to_contain_text("Nothing waits")
    expect(page.get_by_role("region", name="Sent on")).to_contain_text("docs/guides/logs.md")

    # A name is text, however it was meant; nothing runs off the page.
    hostile = page.get_by_role("region", name="Senders").get_by_role("link", name=re.compile("^<img src=x"))
    expect(hostile).to_have_text(SHOWN)
    assert page.locator("main img, main script").count() == 0
    assert "broken" not in page.title()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []

    # From a sender to what it said.
    page.get_by_role("searchbox", name="Filter by text").fill("compute1")
    expect(rows).to_have_count(1)
    row(page, "compute1").get_by_role("link", name="compute1", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Events")).to_be_visible()
    assert parse_qs(urlsplit(page.url).query)["q"] == ["host:compute1"]
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_hostile_name_can_be_searched(visit: Open) -> None:
    page = visit("/sources?q=onerror")
    settled(page)
    page.get_by_role("link", name=re.compile("^<img src=x")).click()
    expect(page.get_by_role("region", name="Events found")).to_contain_text("hello")
    assert "broken" not in page.title()


def test_keys_and_the_jump_box_lead_there(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", level=1, name="Sources")).to_be_visible()
    page.keyboard.press("/")
    page.get_by_role("combobox", name=re.compile("Name of a job")).fill("sourc")
    expect(page.get_by_role("option", name=re.compile("Sources"))).to_be_visible()


def test_a_new_sender_appears_by_itself(visit: Open, heard: World) -> None:
    page = visit("/sources?q=compute77")
    settled(page)
    expect(page.get_by_role("region", name="Senders")).to_contain_text("No sender matches.")
    with socket.create_connection(("127.0.0.1", int(heard.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
        wire.sendall(f"<13>1 {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} compute77 app - - - here I am\n".encode())
    expect(row(page, "compute77")).to_be_visible()
