"""Looks at every finding now and then, and writes an event when one begins and when it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from qnib import clusters
from qnib.context.known import Sources
from qnib.context.viewer import OPERATOR
from qnib.dashboards.fabric.found import fabric_findings
from qnib.dashboards.findings import began, node_findings
from qnib.dashboards.nodes import node_rows
from qnib.engine import DATABASE
from qnib.model import Ref
from qnib.monitoring import events

log = logging.getLogger("qnib")

EVERY = 5.0
"""Seconds between two looks; a look that is dear is taken more seldom."""
SHARE = 0.05
"""Of one core, at most, for looking."""
PATIENCE = 2
"""Looks in a row without a finding after which it is over."""
BEFORE = timedelta(days=7)
"""How far back a finding that still is open may have begun."""
SEVERITY = {"critical": "err", "warn": "warning", "unknown": "warning", "fine": "notice"}
LANES = {"PORT": "fabric", "CABLE": "fabric", "SW": "fabric", "Node": "scheduler", "Job": "scheduler", "Host": "kernel"}

Key = tuple[str, str]
"""Name of the check, and what it is about (``PORT:SW1/3``)."""


class Publish(Protocol):
    def __call__(
        self, topic: str, cluster: str, newest: datetime | None, events: Sequence[Mapping[str, Any]] = ()
    ) -> None: ...


def everything(sources: Sources, cluster: str, listening: datetime) -> list[dict[str, Any]]:
    """All findings about nodes, hosts and the fabric that hold now; `listening`: since when this server does."""
    nodes = node_rows(sources, OPERATOR, cluster)
    since = max(listening, began(sources, cluster) or listening)
    return [*fabric_findings(sources, cluster), *(one for node in nodes for one in node_findings(sources, node, since))]


class Watch:
    """`look` may be called by hand; `start` has it called by a thread of its own."""

    kinds, over = "finding.%", "finding.over"
    """Of the events it writes: of all as a LIKE pattern, and of the end of one."""

    def __init__(
        self, sources: Sources, publish: Publish | None = None,
        find: Callable[[Sources, str], list[dict[str, Any]]] | None = None,
    ) -> None:
        """`find`: what is looked for in the place of `everything`."""
        self._sources, self._publish = sources, publish
        self._find = find or partial(everything, listening=sources.clock.now())
        self._open: dict[str, dict[Key, int]] = {}
        """Of each cluster: open findings, and for how many looks they have been missing."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__.lower(), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def look(self, cluster: str) -> None:
        """Compare what is found now with what was open, and write the difference."""
        known = self._open.get(cluster)
        if known is None:
            known = self._open[cluster] = dict.fromkeys(self._still_open(cluster), 0)
        now = self._sources.clock.now()
        found = {(one["name"], one["about"] or ""): one for one in self._find(self._sources, cluster)}
        missing = {key: times + 1 for key, times in known.items() if key not in found}
        rows = [self._begun(found[key], now) for key in found if key not in known]
        rows += [self._over(key, now) for key, times in missing.items() if times >= PATIENCE]
        if rows:
            events.record(self._sources.engine, cluster, rows)
            if self._publish is not None:
                self._publish("events", cluster, None)
        still = {key: times for key, times in missing.items() if times < PATIENCE}
        self._open[cluster] = still | dict.fromkeys(found, 0)  # once it is on record

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.thread_time()
            for name in self._names():
                try:
                    self.look(name)
                except Exception:  # whatever one finding stumbles over, the next look may not
                    log.exception("findings of %s could not be looked at", name)
            self._stop.wait(max(EVERY, (time.thread_time() - began) / SHARE))

    def _names(self) -> list[str]:
        try:
            return [cluster.name for cluster in clusters.load_all(self._sources.settings.clusters)]
        except FileNotFoundError:  # one that ended just now
            return []

    def _still_open(self, cluster: str) -> list[Key]:
        """Findings that an earlier run of the server told of and did not call over."""
        rows = self._sources.engine.rows(
            f"SELECT fields['finding'] AS name, fields['about'] AS about, argMax(kind, time) AS last"
            f" FROM {DATABASE}.events WHERE cluster = {{cluster:String}} AND app = 'qnib'"
            " AND kind LIKE {kinds:String} AND time >= {since:DateTime64(6, 'UTC')}"
            " GROUP BY name, about HAVING last != {over:String}",
            {
                "cluster": cluster, "since": self._sources.clock.now() - BEFORE, "kinds": self.kinds, "over": self.over,
            },
        )
        return [(row["name"], row["about"]) for row in rows]

    def _begun(self, finding: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        about = str(finding["about"] or "")
        return {
            **_row(finding["name"], about, now), "kind": f"finding.{finding['name']}",
            "message": finding["sentence"], "severity": SEVERITY[finding["severity"]], "hint": finding["advice"],
        }

    def _over(self, key: Key, now: datetime) -> dict[str, Any]:
        name, about = key
        subject = about.partition(":")[2] or "the cluster"
        return {
            **_row(name, about, now), "kind": "finding.over", "message": f"{subject}: {name.replace('_', ' ')} is over",
            "severity": "notice", "hint": "",
        }


def _row(name: str, about: str, now: datetime) -> dict[str, Any]:
    kind, _, key = about.partition(":")
    host = key if kind in ("Host", "Node") else ""
    entities = [about] if about else []
    if kind == "Node":
        entities.append(str(Ref("Host", key)))
    return {
        "time": now, "host": host, "entities": entities, "lane": LANES.get(kind, "other"),
        "fields": {"finding": name, "about": about},
    }
