"""A record and a log of its own for a test: hosts with names, a fabric, jobs; then lines, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qnib.clock import FrozenClock
from qnib.context.search import Search
from qnib.engine import Engine
from qnib.inventory.facts import Facts
from qnib.model import Entity, Ref, Relation, Snapshot
from qnib.monitoring import events
from qnib.settings import Settings

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    """``12:03:07.5`` of that day."""
    told = datetime.fromisoformat(f"2026-11-20T{text}")
    return told.replace(tzinfo=UTC)


@dataclass
class Site:
    """`Sources` for a search, with what tests tell it."""

    settings: Settings
    clock: FrozenClock
    engine: Engine
    facts: Facts
    cluster: str = "demo"
    lines: int = 0

    def tell(self, when: datetime, *said: Entity | Relation, by: str = "test", complete: tuple[str, ...] = ()) -> None:
        if (later := when - self.clock.now()) > timedelta(0):
            self.clock.at += later
        entities = [one for one in said if isinstance(one, Entity)]
        relations = [one for one in said if isinstance(one, Relation)]
        partial = not complete
        self.facts.apply(
            self.cluster, by, when, Snapshot(entities, relations, frozenset(complete), partial=partial)
        )

    def hosts(self, when: datetime, *names: str) -> None:
        self.tell(when, *(Entity("Host", name, {"name": name}) for name in names), by="hosts")

    def alias(self, when: datetime, name: str, host: str, until: datetime | None = None, by: str = "names") -> None:
        kind, _, plain = name.partition(":")
        self.tell(
            when, Entity("Alias", name, {"name": plain, "kind": kind}),
            Relation("ALIAS_OF", Ref("Alias", name), Ref("Host", host), since=when, until=until), by=by,
        )  # fmt: skip

    def job(
        self, number: int, user: str, hosts: list[str], start: datetime, end: datetime | None = None, *,
        told: datetime | None = None, submit: datetime | None = None, key: str = "", **more: Any,
    ) -> str:
        """A job the scheduler tells of at `told` (when it ended, or began), with its allocations."""
        submit = submit or start
        key = key or f"{number}@{int(submit.timestamp())}"
        when = told or end or start
        properties = {
            "id": number, "name": f"job{number}", "user": user, "group": "docker", "account": "physics",
            "partition": "odd", "state": "COMPLETED" if end else "RUNNING", "nodes": ",".join(hosts), **more,
        }
        self.tell(
            when, Entity("Job", key, properties, since=submit, until=end),
            *(Relation("JOBCLIENT", Ref("Job", key), Ref("Host", h), since=start, until=end) for h in hosts),
            by="slurm",
        )  # fmt: skip
        return key

    def link(self, when: datetime, host: str, switch: str, port: int, until: datetime | None = None) -> None:
        adapter, key = f"{host} mlx5_0", f"{switch}/{port}--{host} mlx5_0/1@{int(when.timestamp())}"
        ends = {"a": f"{switch}/{port}", "b": f"{adapter}/1", "width": "4x", "speed": "25 Gbps"}
        self.tell(
            when, Entity("SW", switch, {"name": switch}), Entity("HCA", adapter, {"name": adapter}),
            Relation("BELONGS_TO", Ref("HCA", adapter), Ref("Host", host), since=when),
            Entity("CONNECTION", key, ends, since=when, until=until), by="fabric",
        )  # fmt: skip

    def line(self, when: datetime, host: str, message: str, **more: Any) -> None:
        self.lines += 1
        row = {
            "time": when, "host": host, "app": "kernel", "severity": "err", "kind": "", "message": message,
            "lane": "kernel", **more,
        }  # fmt: skip
        events.record(self.engine, self.cluster, [row], token=f"line {self.lines}")

    def search(self, query: str, start: datetime | None = None, end: datetime | None = None) -> Search:
        return Search(
            self, self.cluster, query, start or NOON - timedelta(hours=2), end or NOON + timedelta(hours=2),
            datetime.fromisoformat,
        )  # fmt: skip

    def messages(self, query: str, **window: Any) -> list[str]:
        """What matches, the oldest first."""
        return [row["message"] for row in reversed(self.search(query, **window).events(1000))]


@pytest.fixture
def site(opened: tuple[Engine, Settings]) -> Site:
    engine, settings = opened
    for table in ("facts", "confirmations", "events"):
        engine.run(f"TRUNCATE TABLE qnib.{table}")
    clock = FrozenClock(NOON - timedelta(hours=3))
    return Site(settings, clock, engine, Facts(engine, clock))
