"""A manager asks what ran at the end of a former year: the accounting was loaded, the page Jobs goes back to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.accounting import accounting, given, moment, told
from tests.conftest import World
from tests.journeys.conftest import Open, axe, settled, visiting

pytestmark = pytest.mark.journey
FIRST, LAST = "2016-12-31T22:00", "2016-12-31T23:00"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with given(tmp_path_factory.mktemp("old")) as world:
        yield world


@pytest.fixture
def visit(loaded: World, browser: Browser) -> Iterator[Open]:
    with visiting(browser, loaded.url, loaded.token) as go:
        yield go


def choose(page: Page, first: str, last: str) -> None:
    """A time window; its fields are in the reader's zone."""
    local = "t => new Date(Date.parse(t) - new Date(t).getTimezoneOffset() * 60000).toISOString().slice(0, 16)"
    bar = page.get_by_role("group", name="Time window")
    bar.locator("summary").click()
    bar.get_by_label("from").fill(page.evaluate(local, f"{first}Z"))
    bar.get_by_label("until").fill(page.evaluate(local, f"{last}Z"))
    bar.get_by_role("button", name="Show").click()


def test_from_the_newest_to_a_night_of_2016(visit: Open) -> None:
    page = visit("/jobs")
    settled(page)
    expect(page.get_by_text("Only the newest 500 are here")).to_be_visible()
    finished = page.get_by_role("region", name="Finished jobs")
    expect(finished.locator("[data-row]").first).to_be_visible()

    choose(page, FIRST, LAST)
    wanted = told(moment(FIRST), moment(LAST))
    expect(finished.get_by_text(str(len(wanted)), exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Running jobs")).to_have_count(0)
    assert not axe(page)
    ended = [row["JobIDRaw"] for row in accounting() if row["State"] == "TIMEOUT"]
    number = next(number for number, _ in wanted if number in ended)
    page.get_by_role("searchbox", name="Filter by text").fill(number)
    row = finished.locator("[data-row]")
    expect(row).to_have_count(1)
    row.click()
    expect(page.get_by_role("region", name="The job")).to_contain_text("2016")
    settled(page)
    expect(page.get_by_text("It reached its time limit and was ended.")).to_be_visible()
    expect(page.get_by_text(re.compile("^No job"))).to_have_count(0)  # as parts of it used to say

    page.go_back()
    page.get_by_role("button", name="Show the latest").click()
    expect(page.get_by_text("Only the newest 500 are here")).to_be_visible()


def test_one_users_jobs_are_found_behind_the_newest(visit: Open) -> None:
    page = visit("/jobs")
    settled(page)
    before = page.get_by_label("User", exact=True).locator("option").count()
    page.get_by_label("User", exact=True).select_option("honbu")
    wanted = [row for row in accounting() if row["User"] == "honbu"]
    finished = page.get_by_role("region", name="Finished jobs")
    expect(finished.get_by_text(str(min(500, len(wanted))), exact=True)).to_be_visible()
    expect(page.get_by_label("User", exact=True).locator("option")).to_have_count(before)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone(visit: Open, theme: str) -> None:
    page = visit(f"/jobs?from={FIRST}:00Z&until={LAST}:00Z", theme=theme, width=390)
    settled(page)
    expect(page.get_by_role("button", name="Show the latest")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not axe(page)
