"""An operator asks what no single system can answer: a shipped question, an own one, and what changed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Open, settled

pytestmark = pytest.mark.journey


def test_an_operator_asks_the_graph(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Graph").click()
    expect(page.get_by_role("region", name="Answer")).to_be_visible()

    # A shipped question wants a switch first, and answers with the hosts that hang on it.
    page.get_by_role("searchbox", name="Find a question").fill("hangs on this switch")
    page.get_by_role("button", name="What hangs on this switch?").click()
    page.get_by_role("textbox", name="switch", exact=True).fill("SW1")
    page.get_by_role("textbox", name="switch", exact=True).press("Enter")
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("compute0")
    expect(answer).to_contain_text("SPINE1")

    # An own query, with completion; entities come as a drawing and as links.
    field = page.get_by_role("textbox", name="Cypher query")
    field.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("MATCH (s:S")
    expect(page.get_by_role("option", name=re.compile("^SW"))).to_be_visible()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("MATCH (s:SW)-[h:HAS_PORT]->(p:PORT {number: 3}) RETURN s, h, p")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("region", name="Drawing").get_by_role("group")).to_have_attribute(
        "aria-label", re.compile(r"Drawing: \d+ entities, \d+ relations")
    )
    answer.get_by_role("link", name="SW1", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Fabric")


def test_what_is_wrong_with_a_query_is_said(visit: Open) -> None:
    page = visit("/graph?query=MATCH%20(n:Host)%20DELETE%20n")
    expect(page.get_by_role("alert")).to_contain_text("only read")


def test_an_operator_sees_what_changed(visit: Open) -> None:
    page = visit("/changes?span=604800")
    settled(page)
    page.get_by_role("button", name=re.compile(r"^CONNECTION ")).click()
    expect(page.get_by_role("cell", name=re.compile("^connection ")).first).to_be_visible()
    expect(page.get_by_role("cell", name="began").first).to_be_visible()
