"""An operator looks at one number from all sides: of a host, a partition, a rack, a job, without knowing its path."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import World
from tests.journeys.conftest import Open, axe, settled, visiting
from tests.journeys.lab import lab

pytestmark = pytest.mark.journey
RACKS = {"r1": "compute[0-1]", "r2": "compute[2-3],bulk[0-149]"}
NODES = "NODELIST|HOSTNAMES|NODE_ADDR|STATE|PARTITION|CPUS(A/I/O/T)|MEMORY|AVAIL_FEATURES|GRES|USER|TIMESTAMP|REASON\n"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The lab with racks and partitions, samples of a job, and 150 hosts more."""
    home = tmp_path_factory.mktemp("measured")
    with lab(home, QNIB_RACKS=json.dumps(RACKS)) as world:
        rows = [
            f"compute{n}|compute{n}|10.0.0.{n}|idle|{partition}|0/4/0/4|8000|(null)|(null)|Unknown|Unknown|none"
            for n in range(4) for partition in (("all*", "debug") if n < 2 else ("all*",))
        ]  # fmt: skip
        file = world.home / "sinfo.txt"
        file.write_text(NODES + "\n".join(rows) + "\n")
        world.qnib("load", "sinfo", str(file))
        now = int(datetime.now(UTC).timestamp())
        lines = [f"slurm.job.42.0.0.compute2.cpu 80 {now - back}\n" for back in range(660, 2340, 30)]
        lines += [f"servers.bulk{n}.cpu.used {n % 7} {now - back}\n" for n in range(150) for back in (0, 30, 60)]
        octets = "servers.compute0.network.eth0.rx_bytes"
        lines += [f"{octets} {1000 * (3600 - back)} {now - back}\n" for back in range(0, 3600, 30)]
        with socket.create_connection(("127.0.0.1", int(world.env["QNIB_CARBON__PORT"])), timeout=5) as wire:
            wire.sendall("".join(lines).encode())
        world.until("all series", lambda: world.get("/api/metrics", limit=0, job="42")["names_total"] >= 3, 30)
        world.until("all hosts", lambda: world.get("/api/metrics/groups", by="host", limit=1)["total"] >= 154, 30)
        yield world


@pytest.fixture
def visit(browser: Browser, measured: World) -> Iterator[Open]:
    with visiting(browser, measured.url, measured.token) as go:
        yield go


def choice(page: Page) -> dict[str, str]:
    told = parse_qs(urlsplit(page.url).query)
    return {name: told[name][0] for name in ("by", "of", "name", "q") if name in told}


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_an_operator_browses_series(visit: Open, width: int, theme: str) -> None:
    page = visit("/", width=width, theme=theme)
    settled(page)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Series").click()
    expect(page.get_by_role("heading", level=1, name="Series")).to_be_visible()
    settled(page)
    by = page.get_by_role("region", name="Choose by")

    # However many hosts there are, a few are listed and the rest counted; typing finds the others.
    expect(by).to_contain_text("100 of 154")
    expect(by.get_by_role("list", name="Host").get_by_role("link")).to_have_count(100)
    by.get_by_role("searchbox", name="Filter").fill("compute")
    expect(by.get_by_role("list", name="Host").get_by_role("link")).to_have_count(5)
    by.get_by_role("link", name="compute0", exact=True).click()
    metrics = page.get_by_role("region", name="Metrics", exact=True)
    expect(metrics).to_contain_text("Metrics of host compute0")
    expect(metrics.get_by_role("row", name=re.compile("network.rx_bytes"))).to_contain_text("counter")
    expect(metrics.get_by_role("row", name=re.compile("cpu.used"))).to_contain_text("CPU time used; 100 is one core")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []

    # A partition: the metric with its unit, drawn under the events, each series with its newest value.
    by.get_by_role("button", name="Partition").click()
    by.get_by_role("link", name=re.compile("debug")).click()
    metrics.get_by_role("link", name="cpu.used").click()
    chosen = page.get_by_role("region", name="Chosen series")
    expect(chosen.get_by_role("row", name=re.compile("compute[01]"))).to_have_count(2)
    expect(chosen).to_contain_text("servers.compute1.cpu.used")
    expect(chosen).to_contain_text("by_partition.debug.*.cpu.used")
    chart = page.get_by_role("application", name=re.compile("cpu.used of partition debug, percent"))
    expect(chart).to_be_visible()
    settled(page)
    assert choice(page) == {"by": "partition", "of": "debug", "name": "cpu.used"}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []

    # The address carries it all.
    page.reload()
    expect(chosen.get_by_role("row", name=re.compile("compute[01]"))).to_have_count(2)

    # The same metric by rack: whoever stands there, the odd ones by name and all of them in the band.
    by.get_by_role("button", name="Rack").click()
    by.get_by_role("link", name=re.compile("^r2")).click()
    expect(chosen).to_contain_text("100 of 152 series")
    expect(page.locator("figure .legend")).to_contain_text("of 152")


def test_a_job_is_followed_in_time(visit: Open) -> None:
    page = visit("/series?by=job&name=cpu.used")
    by = page.get_by_role("region", name="Choose by")
    by.get_by_role("link", name=re.compile("^42 .*PingPong herbert")).click()
    chosen = page.get_by_role("region", name="Chosen series")
    expect(chosen.get_by_role("row", name=re.compile("compute[23]"))).to_have_count(2)
    settled(page)
    # It ran until ten minutes ago: what its hosts did since then is not shown.
    page.get_by_role("button", name="cpu.used of job 42 as a table").click()
    table = page.get_by_role("region", name="cpu.used of job 42, table").get_by_role("row")
    expect(table.nth(1)).to_contain_text("\N{EN DASH}")
    page.get_by_role("link", name="all metrics of job 42").click()
    page.get_by_role("region", name="Metrics", exact=True).get_by_role("link", name="job.cpu").click()
    expect(chosen).to_contain_text("by_job.42.compute2.job.cpu")
    expect(chosen).to_contain_text("80 %")


def test_the_copied_command_and_target_say_the_same(visit: Open, measured: World) -> None:
    page = visit("/series?by=partition&of=debug&name=cpu.used")
    settled(page)
    chosen = page.get_by_role("region", name="Chosen series")
    command = chosen.get_by_role("button", name=re.compile("qnib metrics show cpu.used --partition debug --from -1h"))
    expect(command).to_be_visible()
    told = measured.qnib("metrics", "show", "cpu.used", "--partition", "debug", "--from", "-1h", "--json").stdout
    assert {row["host"] for row in json.loads(told)} == {"compute0", "compute1"}
    target = measured.get("/api/metrics", partition="debug", name="cpu.used")["target"]
    drawn = measured.get("/render", target=target, format="json", **{"from": "-1h"})
    assert [line["target"] for line in drawn] == [f"by_partition.debug.compute{n}.cpu.used" for n in (0, 1)]


def test_a_set_of_hosts_and_a_hostile_address(visit: Open) -> None:
    page = visit("/series?q=compute[0-2]")
    by = page.get_by_role("region", name="Choose by")
    by.get_by_role("link", name="all of compute[0-2]").click()
    metrics = page.get_by_role("region", name="Metrics", exact=True)
    expect(metrics.get_by_role("row", name=re.compile("cpu.used"))).to_contain_text("3")
    page = visit("/series?by=rack&of=%3Cimg%20src=x%20onerror=alert(1)%3E&name=no.such")
    expect(page.get_by_role("region", name="Chosen series")).to_contain_text("No such series was heard in this window.")
    assert page.locator("main img").count() == 0
    page = visit("/series?of=c[0-")
    expect(page.get_by_role("alert").first).to_contain_text("This is no set of nodes")


def test_keys_and_the_jump_box_lead_there(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.get_by_role("heading", level=1, name="Series")).to_be_visible()
    page.keyboard.press("/")
    page.get_by_role("combobox", name=re.compile("Name of a job")).fill("r2")
    page.get_by_role("option", name=re.compile("r2")).first.click()
    assert choice(page) == {"by": "rack", "of": "r2"}
