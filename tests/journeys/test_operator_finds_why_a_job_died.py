"""An operator is told that a job died. A search, a line, whose it was, what failed beside it: all in one page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import World
from tests.journeys.conftest import Open, axe, settled, visiting
from tests.journeys.lab import HOSTILE, lab

pytestmark = pytest.mark.journey
SENTENCE = "Job PingPong of herbert (group docker, partition odd) on compute3, one hop from the failing switch SW2."


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lab(tmp_path_factory.mktemp("lab")) as world:
        yield world


@pytest.fixture
def visit(browser: Browser, died: World) -> Iterator[Open]:
    with visiting(browser, died.url, died.token) as go:
        yield go


def box(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_role("combobox", name="Search events")


def found(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_role("region", name="Events found")


def test_an_operator_finds_why_a_job_died(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.get_by_role("heading", level=1, name="Events")).to_be_visible()

    # The query is completed while it is typed: fields, then values that were found.
    box(page).click()
    page.keyboard.type("us")
    expect(page.get_by_role("option", name=re.compile("^user:"))).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.type("her")
    expect(page.get_by_role("option", name=re.compile("^herbert"))).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.type("severity>=err")
    page.keyboard.press("Enter")
    expect(found(page).get_by_role("heading", level=2)).to_contain_text("events")
    expect(found(page)).to_contain_text("Port 1 link down")
    expect(found(page)).to_contain_text("42 herbert")
    assert parse_qs(urlsplit(page.url).query)["q"] == ["user:herbert severity>=err"]

    # The bare kernel line, opened: whose it is, and what failed near it.
    found(page).get_by_role("button", name=re.compile("Port 1 link down")).click()
    panel = page.get_by_role("complementary", name="Event")
    expect(panel).to_contain_text(SENTENCE)
    expect(panel.get_by_role("region", name=re.compile("^On switch SW2"))).to_contain_text("lost their connection")
    expect(panel.get_by_role("region", name=re.compile("^Of job 42"))).to_contain_text("peer compute3 lost")
    panel.get_by_role("button", name="±1", exact=True).click()
    expect(panel.get_by_role("region", name=re.compile("^On compute3"))).to_contain_text("Node communication failure")

    # On to the job, with a lane of its own over the charts, kept in the address.
    panel.get_by_role("link", name="42", exact=True).click()
    settled(page)
    page.get_by_text("lanes", exact=True).first.click()
    page.get_by_role("combobox", name="Query of a lane").first.fill("kind:link.*")
    page.keyboard.press("Enter")
    lane = page.get_by_role("group", name="kind:link.*")
    expect(lane.get_by_role("option")).to_have_count(1)
    assert parse_qs(urlsplit(page.url).query)["lanes"] == ["kind:link.*"]
    page.keyboard.press("Escape")
    lane.get_by_role("option").click()
    expect(page.get_by_role("complementary", name="Event")).to_contain_text("SW2")
    expect(page.locator(".pin").first).to_be_visible()  # a line through all charts, not only where the mouse is


def test_facets_narrow_down_and_are_taken_back(visit: Open) -> None:
    page = visit("/events")
    settled(page)
    host = page.get_by_role("region", name="Host", exact=True)
    expect(host).to_contain_text("compute[0-3]")
    host.get_by_role("button", name=re.compile(r"^compute1 \d")).click()
    expect(box(page)).to_have_value("host:compute1")
    expect(page.get_by_role("region", name="User", exact=True)).to_contain_text("ann")
    page.get_by_role("button", name="without severity info").click()
    expect(box(page)).to_have_value("host:compute1 -severity:info")
    host.get_by_role("button", name=re.compile(r"^compute1 \d")).click()
    expect(box(page)).to_have_value("-severity:info")
    page.go_back()
    expect(box(page)).to_have_value("host:compute1 -severity:info")


def test_the_histogram_looks_closer_by_key_and_says_what_it_shows(visit: Open) -> None:
    page = visit("/events?q=severity%3E%3Derr")
    settled(page)
    bars = page.get_by_role("group", name=re.compile(r"\d+ events in 72 bars"))
    bars.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("from=20"))
    settled(page)
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("t")
    expect(page.get_by_role("columnheader", name="errors")).to_be_visible()


def test_a_wrong_query_says_where(visit: Open) -> None:
    page = visit("/events")
    settled(page)
    box(page).fill("severity>=loud")
    box(page).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("'loud' is not a severity")
    box(page).fill('"never closed')
    box(page).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("never closed")
    box(page).fill("memory OR link")
    box(page).press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_hostile_text_is_only_text(visit: Open) -> None:
    page = visit(f"/events?q={quote('app:sshd script')}")
    settled(page)
    row = found(page).get_by_role("button", name=re.compile("session <img"))
    expect(row).to_contain_text("<script>")
    row.click()
    expect(page.get_by_role("complementary", name="Event")).to_contain_text(HOSTILE)
    assert "broken" not in page.title()
    assert page.locator("main img, aside img").count() == 0


def test_new_events_appear_by_themselves(visit: Open, died: World) -> None:
    import socket
    from datetime import UTC, datetime

    page = visit("/events?q=freshly+arrived")
    settled(page)
    expect(found(page)).to_contain_text("No event of this window matches.")
    with socket.create_connection(("127.0.0.1", int(died.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
        wire.sendall(f"<13>1 {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} compute0 app - - - freshly arrived\n".encode())
    expect(found(page).get_by_role("button", name=re.compile("freshly arrived"))).to_be_visible()


def test_what_matches_is_saved_as_a_file(visit: Open) -> None:
    page = visit("/events?q=user%3Aherbert+severity%3E%3Derr")
    settled(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    text = saved.value.path().read_text()
    assert text.startswith("time,received,host")
    assert "Port 1 link down" in text


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_everybody_can_use_the_page(visit: Open, theme: str, width: int) -> None:
    page = visit("/events?q=severity%3E%3Dwarning", theme=theme, width=width)
    settled(page)
    if width == 390:
        page.get_by_text("Narrow down").click()
    expect(page.get_by_role("region", name="Program", exact=True)).to_be_visible()
    assert axe(page) == []
    found(page).locator("[data-row]").first.click()
    expect(page.get_by_role("complementary", name="Event")).to_contain_text("What else happened")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
