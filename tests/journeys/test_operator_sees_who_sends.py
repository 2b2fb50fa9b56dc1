"""An operator asks who sends events: whose clock is off, what was rejected and goes on, and no name fools anybody."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import World, free_ports, started, stopped
from tests.journeys.conftest import Open, axe, settled, visiting

pytestmark = pytest.mark.journey
HOSTILE = "<img src=x onerror=\"document.title='broken'\">\u202egnp\x1b[2J<script>document.title='broken'</script>"
SHOWN = HOSTILE.replace("\u202e", r"\u202e").replace("\x1b", r"\x1b")
LONG = "node" + "x" * 240


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A few nodes, one with its clock ahead, a relay that also sends lines that are none, two names of the worst sort,
    and a target of the mirror that is away."""
    home = tmp_path_factory.mktemp("heard")
    world = stopped(home, "c1")
    (away,) = free_ports(1)
    world.env["QNIB_MIRROR__EVENTS"] = json.dumps([{"to": f"syslog://127.0.0.1:{away}"}])
    try:
        world = started(world)
        for n in range(1, 5):
            say(world, f"127.0.0.1{n}", *[line(f"compute{n}", f"calm {i}") for i in range(20 * n)])
        say(world, "127.0.0.19", line("compute9", "time is mine", timedelta(minutes=5)))
        say(world, "127.0.0.2", line("switch1", "up"), line("switch2", "up"), "<999>no priority", "neither")
        httpx.post(
            f"{world.url}/ingest/json", json=[{"host": host, "message": "hello"} for host in (HOSTILE, LONG)],
            headers={"Authorization": f"Bearer {world.token}"},
        ).raise_for_status()  # fmt: skip
        for n in range(1, 13):
            say_points(world, f"127.0.0.{100 + n}", n)
        wanted = {"compute4", "compute9", "switch2", HOSTILE, LONG}
        world.until("all are heard", lambda: wanted <= hosts(world), 30)
        world.until("all points", lambda: len(world.get("/api/senders")["points"]) == 12, 30)
        world.until("the mirror's trouble", lambda: world.get("/api/health")["mirror"][0]["trouble"], 30)
        yield world
    finally:
        world.qnib("stop", check=False)


def line(host: str, text: str, ahead: timedelta = timedelta()) -> str:
    return f"<13>1 {datetime.now(UTC) + ahead:%Y-%m-%dT%H:%M:%S.%fZ} {host} app - - - {text}"


def say(world: World, sender: str, *lines: str) -> None:
    """Send lines by TCP from one of this machine's own addresses."""
    port = int(world.env["QNIB_SYSLOG__PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(sender, 0)) as wire:
        wire.sendall("".join(f"{line}\n" for line in lines).encode())


def say_points(world: World, sender: str, count: int) -> None:
    port = int(world.env["QNIB_CARBON__PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(sender, 0)) as wire:
        wire.sendall("".join(f"rack.{sender[-1]}.fan{n} 1 -1\n" for n in range(count)).encode())


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

    # What needs a look comes first: rejected lines of a relay, which stand once, then a clock.
    rows = page.get_by_role("region", name="Senders").locator("tbody tr")
    expect(rows.nth(0)).to_contain_text("2 hosts of this address")
    expect(rows.nth(0)).to_contain_text("2 lines rejected")
    expect(rows.nth(1)).to_contain_text("compute9")
    expect(rows.nth(1)).to_contain_text("its clock is 5 min ahead")
    # Of those who send points, who sends most.
    points = page.get_by_role("region", name="Points")
    expect(points).to_contain_text("78 points from 12 senders, counted in whole five minutes.")
    expect(points.locator("tbody tr")).to_have_count(10)
    expect(points.locator("tbody tr").nth(0)).to_have_text(re.compile(r"127\.0\.0\.112\s*Carbon, TCP\s*12"))
    points.get_by_role("button", name="Show more of 12 rows").click()
    expect(points.locator("tbody tr")).to_have_count(12)
    rejected = page.get_by_role("region", name="Rejected")
    expect(rejected).to_contain_text("the priority is not 0 to 191")
    expect(rejected).to_contain_text("<999>no priority")
    expect(page.get_by_role("region", name="Spool")).to_contain_text("Nothing waits")
    expect(page.get_by_role("region", name="Sent on")).to_contain_text("syslog://127.0.0.1:")
    expect(page.get_by_role("region", name="Sent on")).to_contain_text("ConnectionRefusedError")

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
    say(heard, "127.0.0.77", line("compute77", "here I am"))
    expect(row(page, "compute77")).to_be_visible()
