"""A user opens the printed address, finds their job, and sees how it does: the main job of QNIB, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Open, axe, settled

pytestmark = pytest.mark.journey


def test_the_token_leaves_the_address_and_is_kept(visit: Open) -> None:
    page = visit("/")
    settled(page)
    assert "token" not in page.url
    page.reload()
    settled(page)
    expect(page.get_by_role("link", name="Fabric", exact=True)).to_be_visible()


def test_without_a_token_the_page_says_how_to_get_one(browser: Browser, address: tuple[str, str]) -> None:
    page = browser.new_page()
    page.goto(address[0])
    expect(page.get_by_role("heading", name="This page needs a token.")).to_be_visible()
    expect(page.get_by_text("qnib status")).to_be_visible()
    page.close()


def test_a_user_watches_a_job(visit: Open) -> None:
    page = visit("/")
    settled(page)
    # The cluster in one sentence, then the job list.
    expect(page.get_by_role("heading", level=1)).to_contain_text(re.compile(r"nodes? (is|are) in service"))
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs").click()
    settled(page)
    running = page.get_by_role("region", name="Running jobs").locator("[data-row]").first
    expect(running).to_be_visible()
    job = (running.text_content() or "").split()[0]
    running.click()

    # The job: who, where, how far, and against which limit.
    expect(page.get_by_role("heading", level=1)).to_contain_text(job)
    head = page.get_by_role("region", name="The job")
    for label in ("user", "partition", "nodes", "CPUs"):
        expect(head.get_by_text(label, exact=True)).to_be_visible()
    expect(head.get_by_text(re.compile(r"^of \d|no limit"))).to_be_visible()
    settled(page)

    # Charts name their unit and source, and every one has its numbers as a table behind `t`.
    stack = page.get_by_role("region", name="Events over metrics")
    charts = stack.get_by_role("figure")
    expect(charts.first).to_be_visible()
    drawn = stack.get_by_role("application")
    expect(drawn.first).to_be_visible()
    name = drawn.first.get_attribute("aria-label") or ""
    assert re.search(r"percent|bytes", name), name
    assert "between" in name, "the chart's name tells its numbers"
    expect(charts.first.locator("figcaption")).to_contain_text(re.compile(r"ago|just now"))
    page.keyboard.press("t")
    expect(stack.get_by_role("table").first.get_by_role("columnheader", name="time")).to_be_visible()
    page.keyboard.press("t")

    # Lanes of events share the charts' axis; the arrow keys walk them, Enter reads one.
    lanes = stack.get_by_role("listbox")
    for lane in ("scheduler", "fabric", "kernel", "application"):
        expect(lanes.get_by_role("group", name=lane)).to_be_visible()
    lanes.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    event = page.get_by_role("complementary", name="Event")
    expect(event).to_be_visible()
    page.keyboard.press("Escape")
    expect(event).to_be_hidden()

    # Its place in the fabric, and its log.
    place = page.get_by_role("region", name="Place in the fabric")
    expect(place).to_contain_text(re.compile(r"switch|host|node"))
    expect(place.get_by_role("group", name=re.compile(r"^Fabric: \d+ switches"))).to_be_visible()
    log = page.get_by_role("region", name="Log of this job", exact=True)
    expect(log.get_by_role("listitem").first).to_be_visible()


def test_the_keyboard_alone_suffices(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.keyboard.press("g")
    page.keyboard.press("j")
    settled(page)
    expect(page.locator("[data-row]").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="The job")).to_be_visible()
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Name of a job, node, user, switch")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(page.get_by_role("heading", name="Fabric", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_a_node_and_the_fabric_lead_to_each_other(visit: Open) -> None:
    page = visit("/nodes")
    settled(page)
    page.locator("[data-row]").first.click()
    expect(page.get_by_role("region", name="The node")).to_be_visible()
    settled(page)
    port = page.locator("section", has=page.get_by_role("heading", name="Its port in the fabric"))
    port.get_by_role("link", name="open").click()
    expect(page.get_by_role("region", name=re.compile(r"^Port SW"))).to_be_visible()
    page.get_by_role("button", name="table", exact=True).click()
    expect(page.get_by_role("table", name=re.compile("Links of the fabric"))).to_be_visible()


PAGES = ["/", "/jobs", "job", "/nodes", "node", "/fabric", "/sources", "/graph", "/changes", "/style"]


def open_page(visit: Open, page_name: str, **looks: object) -> Page:
    """Open one of PAGES; `job` and `node` are the first of their lists."""
    lists = {"job": "/jobs", "node": "/nodes"}
    page = visit(lists.get(page_name, page_name), **looks)
    settled(page)
    if page_name in lists:
        page.locator("[data-row]").first.click()
        expect(page.get_by_role("region", name=f"The {page_name}", exact=True)).to_be_visible(timeout=20_000)
        settled(page)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visit: Open, name: str, theme: str) -> None:
    page = open_page(visit, name, theme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert axe(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_no_sideways_scrolling_on_a_phone(visit: Open, name: str) -> None:
    page = open_page(visit, name, width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
