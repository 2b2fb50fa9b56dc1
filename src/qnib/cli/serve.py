"""`qnib serve`, `qnib stop`, `qnib status`: the server's life, and where everything is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnib.cli.output import Json

if TYPE_CHECKING:
    from qnib.settings import Settings

START_SECONDS = 60
STOP_SECONDS = 20


def register(app: typer.Typer) -> None:
    @app.command()
    def serve(
        background: Annotated[
            bool, typer.Option("--background", help="Return when the server answers; it goes on alone.")
        ] = False,
        port: Annotated[int | None, typer.Option(help="Port of the API and the UI.")] = None,
        graph: Annotated[
            str | None,
            typer.Option(
                metavar="URL", help="Neo4j that holds the graph, for example neo4j://HOST:7687; user and password by "
                "QNIB_GRAPH__USER and QNIB_GRAPH__PASSWORD or qnib.toml.",
            ),
        ] = None,
    ) -> None:  # fmt: skip
        """Run the server: metrics, events, inventory, API and UI in one process."""
        from qnib.settings import load

        for name, value in (("QNIB_HTTP__PORT", port), ("QNIB_GRAPH__URL", graph)):
            if value is not None:
                os.environ[name] = str(value)  # so that a background child gets it, too
        settings = load()
        if background:
            _start(settings)
            return
        import logging

        from qnib.server import run

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        run(settings)

    @app.command()
    def stop() -> None:
        """End the server; everything acknowledged is kept."""
        from qnib.settings import load

        _stop(load())

    @app.command()
    def status(
        name: Annotated[str, typer.Option("--name", help="Cluster; default: all.")] = "",
        as_json: Json = False,
    ) -> None:
        """Say what runs: the server with its address, and each cluster."""
        from qnib.settings import load

        _status(load(), name, as_json)


def _start(settings: Settings) -> None:
    from qnib.cli.client import running
    from qnib.errors import Unavailable

    if (told := running(settings)) is not None:
        print(f"The server runs already (pid {told['pid']}): {address(told)}")
        return
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = settings.run / "server.log"
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "qnib", "serve"],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if (told := running(settings)) is not None and told["pid"] == child.pid:
            print(f"The server is ready: {address(told)}")
            return
        if child.poll() is not None:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise Unavailable(
                "The server ended at its start: " + " ".join(line.strip() for line in lines[-3:]),
                where=str(log),
                try_next="`qnib serve` in the foreground shows it all.",
            )
        time.sleep(0.05)
    child.terminate()
    raise Unavailable(f"The server did not answer within {START_SECONDS} s.", where=str(log), try_next="read that log.")


def _stop(settings: Settings) -> None:
    from qnib.cli.client import alive, running
    from qnib.errors import Unavailable

    told = running(settings)
    if told is None:
        print("No server is running.")
        return
    os.kill(told["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while alive(told["pid"], told.get("started_ticks")):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The server did not end within {STOP_SECONDS} s.",
                where=f"pid {told['pid']}",
                try_next=f"kill -9 {told['pid']}: what was acknowledged is kept.",
            )
        time.sleep(0.05)
    Path(settings.run / "server.json").unlink(missing_ok=True)
    print("The server has ended.")


def address(told: dict[str, Any]) -> str:
    """What a person opens: the address with the token, which the UI keeps and takes out of the address bar."""
    return f"{told['url']}/?token={told['token']}"


def _status(settings: Settings, name: str, as_json: bool) -> None:
    import json

    from qnib import clusters, terminal
    from qnib.cli.client import running

    told = running(settings)
    known = [clusters.load(settings.clusters, name)] if name else clusters.load_all(settings.clusters)
    found = [terminal.status(settings, c.name) for c in known]
    if as_json:
        print(
            json.dumps(
                {
                    "url": told["url"] if told else None,
                    "token": told["token"] if told else None,
                    "address": address(told) if told else None,
                    "pid": told["pid"] if told else None,
                    "graph": told.get("graph") if told else None,
                    "home": str(settings.home),
                    "clusters": found,
                },
                indent=1,
                default=str,
            )
        )
        return
    print(
        f"server   {address(told)}  (pid {told['pid']})"
        if told
        else "server   not running: `qnib serve --background` starts it"
    )
    if told and told.get("graph"):
        print(f"graph    {told['graph']}")
    if not found:
        print("cluster  none: `qnib up` starts one")
    for cluster in found:
        print("cluster  " + "  ".join(f"{k}={v}" for k, v in cluster.items() if not isinstance(v, dict | list)))
        for host in cluster.get("hosts", []):
            nodes = f"  nodes={host['nodes']}" if host["nodes"] else ""
            traffic = host["traffic"] or "not counted yet"
            print(f"  host   {host['address']}  {host['state']}{nodes}  traffic: {traffic}")
            if host["why"]:
                print(f"         {host['why']}")
        for service, told in cluster.get("services", {}).items():
            print(f"  {service}  " + "  ".join(f"{k}={v}" for k, v in told.items() if v not in (None, "")))
