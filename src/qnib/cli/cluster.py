"""`qnib cluster`: tell the server of clusters it did not start itself."""

from __future__ import annotations

from typing import Annotated

import typer

from qnib.cli.output import Csv, Json, show_rows


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Clusters the server listens for.")
    app.add_typer(group, name="cluster")

    @group.command("list")
    def list_clusters(as_json: Json = False, as_csv: Csv = False) -> None:
        """Recorded clusters with the address the server listens on for them."""
        from qnib import clusters
        from qnib.settings import load

        rows = [
            {"name": c.name, "address": c.gateway, "engine": c.engine or "real", "created": c.created}
            for c in clusters.load_all(load().clusters)
        ]
        columns = ["name", "address", "engine", "created"]
        show_rows(rows, columns, as_json=as_json, as_csv=as_csv, empty="No clusters: `qnib up` starts one.")

    @group.command()
    def add(
        name: str,
        listen: Annotated[str, typer.Option(help="Address of this machine on the cluster's network.")],
    ) -> None:
        """Record a real cluster: whatever comes in on LISTEN is its. Prints the agents' configuration."""
        import json
        import secrets

        from qnib import clusters
        from qnib.clock import SystemClock
        from qnib.errors import Conflict
        from qnib.settings import load

        settings = load()
        taken = {c.name: c.gateway for c in clusters.load_all(settings.clusters)}
        if name in taken or listen in taken.values():
            raise Conflict(
                f"Cluster {name!r} or its address is recorded already.",
                where=", ".join(f"{n} on {a}" for n, a in taken.items()),
                try_next="choose another name or address, or `qnib cluster remove` the old one.",
            )
        made = clusters.Cluster(
            name, gateway=listen, ingest_token=secrets.token_urlsafe(24), created=SystemClock().now().isoformat()
        )
        clusters.save(settings.clusters, made)
        _tell_server()
        agent = {
            "cluster": name, "host": "NODE", "role": "node", "server": listen, "carbon_port": settings.carbon.port,
            "syslog_port": settings.syslog.port, "http_port": settings.http.port, "token": made.ingest_token,
        }  # fmt: skip
        print(f"Recorded {name}. Each node runs `python3 -m qnib.agent agent.json`, with its own name in:")
        print(json.dumps(agent, indent=1))

    @group.command()
    def remove(name: str) -> None:
        """Forget a recorded cluster; what it sent is kept. A virtual one ends with `qnib down`."""
        from qnib import clusters
        from qnib.errors import Conflict
        from qnib.settings import load

        settings = load()
        cluster = clusters.load(settings.clusters, name)
        if cluster.engine:
            raise Conflict(f"{name} is a virtual cluster.", where=name, try_next=f"`qnib down --name {name}` ends it.")
        file = settings.clusters / name / "cluster.json"
        file.unlink()
        file.parent.rmdir()
        _tell_server()
        print(f"Forgot {name}.")


def _tell_server() -> None:
    """A running server opens or closes its listeners at once; one that starts later reads the records."""
    from qnib.cli.client import Client, running
    from qnib.settings import load

    settings = load()
    if running(settings):
        Client(settings).post("/api/clusters/refresh")
