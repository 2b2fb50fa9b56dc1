"""Screenshots of every page in both themes at desk and phone size, for looking at: not a test.

uv run python ui/dev/shots.py http://127.0.0.1:8788/?token=stand-in OUT_FOLDER [page ...]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import Page, expect, sync_playwright

ARGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desk": (1440, 900), "phone": (390, 844)}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def pages(page: Page, start: str) -> dict[str, str]:
    """Names and addresses: the fixed ones, and a job of each kind as the list has them."""
    page.goto(urljoin(start, "/jobs"))
    page.wait_for_selector("[data-row]")
    found = {"now": "/", "jobs": "/jobs", "nodes": "/nodes", "fabric": "/fabric", "style": "/style"}
    found["sources"] = "/sources"
    for group in ("Running", "Waiting", "Finished"):
        row = page.query_selector(f'section[aria-label="{group} jobs"] [data-row]')
        if row:
            found[f"job-{group.lower()}"] = row.get_attribute("href") or ""
    node = page.query_selector('section[aria-label="Running jobs"] .nodes a')
    if node:
        found["node"] = node.get_attribute("href") or ""
    return found


def main(address: str, out: Path, only: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    parts = urlsplit(address)
    root = f"{parts.scheme}://{parts.netloc}"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                page = context.new_page()
                page.on("console", lambda m: m.type in ("error", "warning") and say(f"console: {m.text}"))
                page.on("pageerror", lambda e: say(f"page error: {e}"))
                page.goto(address)
                for name, path in pages(page, root).items():
                    if only and name not in only:
                        continue
                    page.goto(urljoin(root, path))
                    expect(page.locator(".skeleton:not([data-sample] *)")).to_have_count(0, timeout=20_000)
                    page.wait_for_timeout(350)  # let transitions end; a picture, not a test
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    if wide > width:
                        say(f"{name} {size}: {wide} px wide")
                    page.screenshot(path=out / f"{name}-{size}-{theme}.png", full_page=size == "phone")
                context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
