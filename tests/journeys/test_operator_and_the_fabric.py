"""Operators ask the fabric: port or cable, whose job it hurts, what fails with a switch, is it wired as planned.

Without any cluster: captures of one of our fabrics are loaded as of a day years ago, with a cable that was moved while
it made errors, and a large tree as of now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import World, serving
from tests.inventory.fabrics import tree
from tests.journeys.conftest import Open, axe, settled, visiting

pytestmark = pytest.mark.journey
ASSETS = Path(__file__).parents[1] / "assets/infiniband"
DAY = "2024-03-01T08:"
THEN = f"cluster=attic&at={DAY}15:00Z"
JOBS = """\
$ squeue -a -r -h -t all -O 'State:|,SubmitTime:|,JobID:|,UserName:|,StartTime:|,NodeList:|,NumCPUs:|,Name'
RUNNING|2024-03-01T07:50:00|611|alice|2024-03-01T07:50:10|n[00-03,05]|40|lattice qcd
RUNNING|2024-03-01T07:52:00|612|bob|2024-03-01T07:52:10|n[06-09]|32|cfd wing
RUNNING|2024-03-01T07:55:00|613|carol|2024-03-01T07:55:10|n[10-24]|120|weather
"""
ERRORS = ((1, 0, 0), (2, 20, 0), (4, 60, 0), (10, 60, 0), (12, 60, 30), (14, 60, 70))
"""Minute, and what leaf1/4 and leaf1/7 had counted by then; the cable was moved between 08:05 and 08:09."""
TO = " \N{EN DASH} "
"""How the pages join the two ends of a link."""


@pytest.fixture(scope="module")
def attic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("attic")

    def load(kind: str, text: str, minute: str, cluster: str = "attic") -> None:
        (home / "capture").write_text(text)
        at = ("--at", f"{DAY}{minute}Z") if minute else ()
        world.qnib("load", kind, str(home / "capture"), *at, "--cluster", cluster)

    with serving(home, "attic") as world:
        load("squeue", JOBS, "00:30")
        for name, minute in (("whole", "00:00"), ("out", "05:00"), ("moved", "09:00")):
            load("ibnetdiscover", (ASSETS / f"ibnetdiscover.{name}.txt").read_text(), minute)
            load("dump_fts", (ASSETS / f"dump_fts.{name}.txt").read_text(), minute)
        load("capability", (ASSETS / "iblinkinfo.moved.txt").read_text(), "09:00")
        for minute, four, seven in ERRORS:
            told = {4: four, 7: seven}
            ports = "".join(f"   GUID 0x200005 port {p}: [SymbolErrorCounter == {n}]\n" for p, n in told.items())
            load("ibqueryerrors", f'Errors for 0x200005 "leaf1"\n{ports}', f"{minute:02}:00")
        load("ibnetdiscover", tree(8, 5, 16, 2)[0], "", "large")
        world.until("all errors", lambda: counted(world) == 130, 30)
        yield world


def counted(world: World) -> int:
    found: Any = world.get("/api/fabric/verdict", port="leaf1/4", until=f"{DAY}20:00Z")
    return sum(one["count"] for one in found["errors"])


@pytest.fixture
def go(browser: Browser, attic: World) -> Iterator[Open]:
    with visiting(browser, attic.url, attic.token) as opens:
        yield opens


def box(page: Page, name: str) -> Locator:
    """A box of the map by what it is called: `switch leaf1`, `host n05, …`."""
    drawn = page.get_by_role("region", name="Map of the fabric")
    return drawn.get_by_role("button", name=re.compile(rf"^{name}(?!\w)"))


def line(page: Page, name: str) -> Locator:
    """A link of the map, by a part of its name."""
    return page.get_by_role("region", name="Map of the fabric").get_by_role("button", name=name)


def test_an_operator_finds_whether_it_is_the_port_or_the_cable(go: Open) -> None:
    page = go(f"/fabric?{THEN}")
    settled(page)
    finding = page.get_by_role("region", name="Findings")
    expect(finding).to_contain_text("It is the cable")
    expect(finding).to_contain_text("Replace the cable between leaf1/7 and n05/1")
    expect(line(page, f"leaf1/7{TO}n05/1: up, 70 symbol errors")).to_be_visible()
    finding.get_by_role("link", name=re.compile("unmarked")).click()

    # The evidence: both connections the cable made have errors, and the picture says when.
    blame = page.get_by_role("region", name="Port or cable?")
    expect(blame).to_contain_text("Replace the cable between leaf1/7 and n05/1")
    suspects = blame.get_by_role("table", name="Suspects, the likeliest first").get_by_role("row")
    expect(suspects.nth(1)).to_contain_text("cable")
    rows = blame.get_by_role("list", name=re.compile("^Connections")).get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("60 errors")
    expect(rows.nth(1)).to_contain_text("70 errors")
    picture = rows.nth(0).get_by_role("img")
    expect(picture).to_have_attribute("aria-label", re.compile("60 errors, the last at .*08:04:00"))
    cable = page.get_by_role("region", name=re.compile("^Cable "))
    expect(cable.get_by_role("region", name="History of connections").get_by_role("row")).to_have_count(3)

    # The same question ten minutes earlier: nobody could tell yet, and what to swap is said.
    page = go(f"/fabric?cluster=attic&at={DAY}04:30Z&show=leaf1/4")
    blame = page.get_by_role("region", name="Port or cable?")
    expect(blame).to_contain_text("Not enough evidence")
    expect(blame).to_contain_text(re.compile("What to swap next.*(Move the cable|Put another cable)"))


def test_an_operator_asks_which_jobs_a_switch_takes_down_with_the_keyboard_alone(go: Open) -> None:
    page = go(f"/fabric?{THEN}")
    settled(page)
    box(page, "switch leaf0").focus()
    page.keyboard.press("ArrowRight")
    expect(box(page, "switch leaf1")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name=re.compile("^Switch "))).to_be_visible()
    page = go(f"/fabric?{THEN}&show=leaf1")
    ask = page.get_by_role("button", name="If this switch fails …")
    ask.focus()
    page.keyboard.press("Enter")
    fails = page.get_by_role("region", name="If it fails")
    expect(fails).to_contain_text("4 hosts are cut off, 2 jobs of alice and bob are hit.")
    expect(fails).to_contain_text("n[04-07]")
    expect(fails.get_by_role("link", name="611 lattice qcd")).to_be_visible()
    expect(box(page, "host n05, .*would be cut off")).to_be_visible()
    expect(box(page, "host n08, .*would be cut off")).to_be_hidden()
    assert "fails=1" in page.url
    page.reload()
    expect(page.get_by_role("region", name="If it fails")).to_contain_text("2 jobs of alice and bob")
    expect(fails.get_by_role("button", name="qnib graph blast SW:leaf1")).to_be_visible()


def test_an_operator_follows_a_route_link_by_link(go: Open) -> None:
    page = go(f"/fabric?{THEN}")
    settled(page)
    route = page.get_by_role("region", name="Route", exact=True)
    route.get_by_label("from").fill("n00")
    route.get_by_label("to").fill("n05")
    page.keyboard.press("Enter")
    steps = route.get_by_role("list", name="Links of the route").get_by_role("listitem")
    expect(steps).to_have_count(4)
    expect(steps.nth(3)).to_contain_text("leaf1/7 → n05/1")
    expect(steps.nth(3).get_by_role("link", name="611")).to_be_visible()
    expect(steps.nth(2)).to_contain_text("612")
    expect(route).to_contain_text("own tables lead")
    expect(line(page, f"leaf1/7{TO}n05/1")).to_have_attribute("aria-label", re.compile("step 4 of the route"))

    # At another time it went another way: the address says when.
    page.goto(page.url.replace("08:15:00Z", "08:02:00Z"))
    expect(steps.nth(3)).to_contain_text("leaf1/4 → n05/1")
    steps.nth(3).get_by_role("button").click()
    expect(page.get_by_role("region", name=f"Link leaf1/4{TO}n05/1")).to_be_visible()
    expect(steps.nth(3), "the route stays beside the link").to_be_visible()

    page.goto(page.url.replace("b=n05", "b=nobody"))
    expect(route.get_by_role("alert")).to_contain_text("nobody")


def test_a_user_sees_who_shares_links_with_the_job(go: Open) -> None:
    page = go("/jobs?cluster=attic")
    page.get_by_role("region", name="Running jobs").get_by_role("link", name=re.compile("lattice qcd")).first.click()
    shared = page.get_by_role("region", name="Who shares links with this job?")
    expect(shared).to_contain_text("1 job shares some of its 9 links.")
    expect(shared.get_by_role("link", name="612 cfd wing")).to_be_visible()
    shared.get_by_text("2 shared links").click()
    shared.get_by_role("link", name="mid1").first.click()
    through = page.get_by_role("region", name="Jobs through it")
    expect(through.get_by_role("link", name="611 lattice qcd")).to_be_visible()
    expect(through.get_by_role("link", name="612 cfd wing")).to_be_visible()


def test_an_operator_finds_the_job_behind_an_error(go: Open) -> None:
    page = go(f"/fabric?cluster=attic&at={DAY}08:00Z&show=leaf1/4")
    panel = page.get_by_role("region", name="Candidate jobs")
    first = panel.get_by_role("listitem").first
    expect(first).to_contain_text("611")
    expect(first).to_contain_text("its host n05 is at this link")
    moments = panel.get_by_role("combobox", name="error")
    expect(moments.get_by_role("option").nth(0)).to_contain_text("link down")
    later = moments.get_by_role("option").filter(has_text="40 errors counted")
    moments.select_option(value=later.get_attribute("value"))
    command = panel.get_by_role("button", name=f"qnib fabric candidates leaf1/4 --time {DAY}04:00")
    expect(command).to_be_visible()
    assert "error=2024-03-01T08:04:00" in page.url
    expect(first).to_contain_text("100 %")

    # From the event itself, too: it knows its port and its time.
    page = go(f"/fabric?cluster=attic&at={DAY}08:00Z&show=leaf1/4")
    lanes = page.get_by_role("region", name="leaf1/4 over time").get_by_role("listbox")
    lanes.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("complementary", name="Event").get_by_role("link", name="Jobs that may have to do with it").click()
    expect(panel.get_by_role("listitem").first).to_contain_text("611")


def test_an_operator_checks_speeds_and_plan(go: Open, tmp_path: Path) -> None:
    page = go(f"/fabric?{THEN}")
    settled(page)
    page.get_by_role("button", name="checks", exact=True).click()
    slow = page.get_by_role("region", name="Degraded links")
    expect(slow.get_by_role("row", name=f"leaf1/7{TO}n05/1 4x QDR")).to_be_visible()
    expect(line(page, f"leaf1/7{TO}n05/1")).to_have_attribute("aria-label", re.compile("runs at 4x QDR"))
    plan = page.get_by_role("region", name="Wired as planned?")
    plan.get_by_label("Plan as a file").set_input_files(ASSETS / "tree.topo")
    expect(plan).to_contain_text("64 of 65 links are as planned; 1 moved.")
    expect(plan.get_by_role("row", name=re.compile("^moved"))).to_contain_text("planned is leaf1/4")
    page.reload()
    expect(plan, "the plan is kept in this tab").to_contain_text("64 of 65 links are as planned")
    plan.get_by_role("button", name="leaf1/7").click()
    expect(page.get_by_role("region", name="Port leaf1/7")).to_be_visible()

    page.goto(page.url.replace("08:15:00Z", "08:02:00Z"))
    expect(plan).to_contain_text("All 65 links of the plan are there, and no other.")
    plan.get_by_text("Another plan").click()
    plan.get_by_label("Plan as text").fill("this is no plan")
    plan.get_by_role("button", name="Compare").click()
    expect(plan.get_by_role("alert")).to_contain_text("This is no plan")
    expect(page.get_by_role("region", name="Forwarding tables")).to_contain_text("no loop and no dead end")


def test_a_large_fabric_is_folded_until_somebody_opens_it(go: Open) -> None:
    page = go("/fabric?cluster=large")
    settled(page)
    expect(page.get_by_text("60 switches, 640 hosts")).to_be_visible()
    expect(box(page, r"80 hosts n\[0-79\]")).to_be_visible()
    expect(page.get_by_role("table", name=re.compile("Links of the fabric")).get_by_role("row")).to_have_count(101)
    pod = box(page, r"5 switches leaf0\.\[0-4\]")
    pod.focus()
    page.keyboard.press("Enter")
    expect(box(page, r"16 hosts n\[48-63\]")).to_be_visible()
    box(page, r"16 hosts n\[48-63\]").click()
    box(page, "host n50").click()
    expect(page.get_by_role("region", name="Adapter n50")).to_contain_text("leaf0.3")
    page.get_by_role("button", name=re.compile(r"^Fold leaf0\.\[0-4\] again")).click()
    expect(box(page, r"5 switches leaf0\.\[0-4\]")).to_be_hidden()  # n50 is shown, so its switch stays alone
    page = go("/fabric?cluster=large&a=n3&b=n600")
    steps = page.get_by_role("list", name="Links of the route").get_by_role("listitem")
    expect(steps).to_have_count(6)
    for name in ("host n3", r"switch leaf0\.0", "host n600"):
        expect(box(page, f"{name}, on the route")).to_be_visible()
    page.goto(page.url.split("?")[0] + "?cluster=large")
    page.get_by_role("searchbox", name="Find links by name or cable").fill("leaf3.2/1--")
    expect(page.get_by_role("table", name=re.compile("Links of the fabric")).get_by_role("row")).to_have_count(2)


STATES = {
    "map": f"{THEN}", "port": f"{THEN}&show=leaf1/7", "switch": f"{THEN}&show=leaf1&fails=1",
    "cable": f"{THEN}&show=cable%20leaf1/4--n05/1@1709280000", "route": f"{THEN}&a=n00&b=n05",
    "checks": f"{THEN}&as=checks", "table": f"{THEN}&as=table", "large": "cluster=large&open=leaf0.3,n50",
    "unknown": f"{THEN}&show=nothing",
}  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious_and_nothing_scrolls_sideways(go: Open, state: str, theme: str) -> None:
    page = go(f"/fabric?{STATES[state]}", theme=theme)
    settled(page)
    assert axe(page) == []
    page = go(f"/fabric?{STATES[state]}", theme=theme, width=390, height=844)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
