"""A real browser for the journeys: Debian's Chromium, no download; skipped with a sentence where there is none.

The pages come from the fixtures `server_url` and `token`; without a cluster to watch, name any running server:
``QNIB_JOURNEY_URL='http://127.0.0.1:8787/?token=…' uv run pytest -m journey``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import skip

UI = Path(__file__).parents[2] / "ui"
AXE = UI / "node_modules/axe-core/axe.min.js"
ARGS = [
    "--headless=new",
    "--no-sandbox",  # tests run as root inside of containers and on CI
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Open = Callable[..., Page]
expect.set_options(timeout=20_000)  # a machine that runs a cluster, too, may be slow to answer
NAMED = os.environ.get("QNIB_JOURNEY_URL", "")


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Where the UI answers, and the token: of a server named from outside, else of the tests' own."""
    if NAMED:
        parts = urlsplit(NAMED)
        return f"{parts.scheme}://{parts.netloc}", parse_qs(parts.query)["token"][0]
    return str(request.getfixturevalue("server_url")).rstrip("/"), str(request.getfixturevalue("token"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium, args=ARGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Browser, address: tuple[str, str]) -> Iterator[Open]:
    """``visit(path, theme=…, width=…)`` opens a page as somebody who has used the printed address once."""
    with visiting(browser, *address) as go:
        yield go


@contextmanager
def visiting(browser: Browser, url: str, token: str) -> Iterator[Open]:
    """What opens pages of one server; at the end they are closed, and none of them may have broken."""
    contexts = []
    broken: list[str] = []

    def go(path: str = "/", *, theme: str = "light", width: int = 1440, height: int = 900) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: broken.append(f"{page.url}: {error}"))
        page.goto(f"{url}{path}{'&' if '?' in path else '?'}token={token}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not broken, broken


def settled(page: Page) -> None:
    """Wait until every part of the page shows data, emptiness or an error: no skeleton is left."""
    page.wait_for_selector("main h1")
    # A locator, for the page's policy rightly forbids what wait_for_function does.
    expect(page.locator(".skeleton:not([data-sample] *)")).to_have_count(0, timeout=40_000)


def axe(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical, one line each."""
    if not AXE.is_file():
        skip("axe-core is not installed: npm ci in ui/")
    page.evaluate(AXE.read_text())  # not a script tag: the page's own policy forbids those, rightly
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
