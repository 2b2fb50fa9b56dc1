"""How long the map of a large fabric takes to open.

    python bench/fabric.py [--json] [--quick]

A three-level fat tree of 10,000 hosts is taken in by a server of its own, which is then started anew. Asked are the map
as a browser asks for it, first and again, with a pod opened, and as it was a minute ago; and, where there is Chromium,
a browser is sent to the page until the map is drawn: with everything cold, then loaded again. --quick: a tenth.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from inventory import fat_tree, ibnetdiscover

GOAL = 2.0
CLUSTER = "bench"


def ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return found


def ask(url: str, token: str, path: str, **params: str) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    answer = httpx.get(url + path, params={"cluster": CLUSTER, **params},
                       headers={"Authorization": f"Bearer {token}"}, timeout=120)  # fmt: skip
    took = time.monotonic() - began
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
    return took, answer.json()


def row(work: str, seconds: float) -> dict[str, Any]:
    return {
        "work": work, "unit": "s", "ours": round(seconds, 3), "peer": None, "peer_name": "none does it", "ratio": None,
        "goal": f"< {GOAL:g} s", "met": seconds < GOAL,
    }  # fmt: skip


def measure(hosts: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as home:
        http, carbon, syslog = ports(3)
        env = {key: value for key, value in os.environ.items() if not key.startswith("QNIB_")} | {
            "QNIB_HOME": home, "QNIB_CLUSTER": CLUSTER, "QNIB_HTTP__PORT": str(http),
            "QNIB_CARBON__PORT": str(carbon), "QNIB_SYSLOG__PORT": str(syslog), "QNIB_JSON_LINES__PORT": "0",
        "QNIB_GELF__PORT": "0", "QNIB_PICKLE__PORT": "0", "QNIB_STATSD__PORT": "0",
        }  # fmt: skip

        def qnib(*words: str) -> str:
            done = subprocess.run([sys.executable, "-m", "qnib", *words], env=env, capture_output=True, text=True,
                                  check=True)  # fmt: skip
            return done.stdout

        def stop() -> None:
            """A server that is still making its graph takes a while to end."""
            for _ in range(6):
                with contextlib.suppress(subprocess.CalledProcessError):
                    qnib("stop")
                    return

        text = Path(home) / "fabric.txt"
        text.write_text(ibnetdiscover(fat_tree(hosts)))
        qnib("serve", "--background")
        try:
            qnib("load", "ibnetdiscover", str(text))
            stop()
            qnib("serve", "--background")
            status = json.loads(qnib("status", "--json"))
            url, token = status["url"], status["token"]
            first, told = ask(url, token, "/api/fabric")
            size = f"{told['counts']['hosts']} hosts, {len(told['nodes'])} boxes, {len(told['links'])} lines"
            yield row(f"map, {size}: the server's first answer", first)
            yield row("map: its next", min(ask(url, token, "/api/fabric")[0] for _ in range(5)))
            opened, _ = ask(url, token, "/api/fabric", open="leaf20")
            yield row("map: a pod opened", opened)
            past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
            yield row("map: as it was, first answer", ask(url, token, "/api/fabric", at=past)[0])
            stop()
            qnib("serve", "--background")
            yield from browser(url, token)
        finally:
            stop()


def browser(url: str, token: str) -> Iterator[dict[str, Any]]:
    """From the address to the drawn map, first after a start of the server, then once more."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        args = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        running = play.chromium.launch(executable_path=chromium, args=args)
        page = running.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/style?token={token}")  # the token is known, and the browser warm
        page.wait_for_selector("main h1")
        for name in ("a browser's page until it is drawn, server just started", "the page once more"):
            began = time.monotonic()
            page.goto(f"{url}/fabric?cluster={CLUSTER}")
            page.wait_for_selector("svg g.node")
            yield row(f"map: {name}", time.monotonic() - began)
        running.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true", help="1,000 hosts")
    given = arguments.parse_args()
    rows = []
    for found in measure(1_000 if given.quick else 10_000):
        rows.append(found)
        if not given.json:
            print(f"{found['work']}: {found['ours']} {found['unit']}, goal {found['goal']}: "
                  f"{'met' if found['met'] else 'missed'}", flush=True)
    if given.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
