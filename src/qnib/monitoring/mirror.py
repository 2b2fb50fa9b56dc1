"""Events and points sent on to other systems: what a spool file brought is also a file here, which every target reads
at its pace.

The writer only adds files; a thread for each target sends and notes how far it came, so a target that is slow or away
delays nobody and finds after a restart what it has not had. The files are bounded: when there are too many
octets the oldest goes, and what a target has not had of it is counted as dropped. What is stored is never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import orjson

from qnib.clock import Clock
from qnib.engine import Engine
from qnib.engine.values import literal
from qnib.monitoring.mirror_files import Kind, MirrorFiles, Sender
from qnib.settings import MetricsTarget, MirrorTarget, Settings

__all__ = ["Mirror", "Sender"]

log = logging.getLogger("qnib.mirror")

_COLUMNS = (
    "cluster, toString(id) AS id, formatDateTime(time, '%Y-%m-%dT%H:%i:%S.%fZ', 'UTC') AS time, host, app, pid,"
    " facility, severity, message, kind, CAST(fields, 'Map(String, String)') AS fields, entities, sender, listener"
)
_LINE = "concat(path, ' ', toString(value), ' ', toString(toUnixTimestamp64Milli(time) / 1000))"


class Mirror:
    """All targets of one server. `take`, `points` and `own` from any thread."""

    def __init__(
        self, settings: Settings, clock: Clock, connect: Callable[[MirrorTarget | MetricsTarget], Sender]
    ) -> None:
        folder, limits = settings.home / "mirror", settings.mirror
        most = limits.max_bytes
        self._clock = clock
        self._events = MirrorFiles(_EVENTS, folder, limits.events, most, clock, connect)
        self._points = MirrorFiles(_POINTS, folder / "metrics", limits.metrics, most, clock, connect)

    def start(self) -> None:
        for files in (self._events, self._points):
            files.start()

    def stop(self) -> None:
        """End after the batches that are under way."""
        for files in (self._events, self._points):
            files.stop()

    def take(self, engine: Engine) -> None:
        """Hand on the events that are staged. Never raises: what is stored does not depend on it."""
        query = f"SELECT {_COLUMNS} FROM qnib_staging.syslog WHERE NOT startsWith(listener, 'load')"
        self._events.add("jsonl", partial(_write, engine, "JSONEachRow", query))

    def points(self, engine: Engine, cluster: str, which: str, *, samples: bool) -> None:
        """Hand on the points that are staged of a cluster, and samples of its jobs if there are any. Never raises.

        `which`: a condition on the series of points.
        """
        for job, name, of in ((False, "points", which), (True, "samples", "1"))[: 1 + samples]:
            query = (
                f"SELECT {_LINE} FROM qnib_staging.carbon WHERE reason = '' AND cluster = {literal(cluster)}"
                f" AND job = {int(job)} AND {of} AND NOT startsWith(listener, 'load')"
            )
            self._points.add(f"{name}.{quote(cluster, safe='')}", partial(_write, engine, "TSVRaw", query))

    def own(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Hand on QNIB's own events."""
        told = [{**event, "id": str(event["id"]), "time": event["time"].isoformat(), "pid": ""} for event in events]
        if told:
            self._events.add("jsonl", lambda part: part.write_bytes(b"".join(map(_line, told))))

    def state(self) -> list[dict[str, Any]]:
        """Each target: `what` it gets (events, metrics) and `to` where; how many were `sent`, `refused` and `dropped`;
        files `waiting`, `lag` in seconds, files `not_written`, `trouble`."""
        now = self._clock.now().timestamp()
        return [*self._events.state(now), *self._points.state(now)]


def _write(engine: Engine, form: str, query: str, part: Path) -> None:
    engine.run(f"INSERT INTO FUNCTION file({literal(str(part))}, {literal(form)}) {query}")


def _line(event: Mapping[str, Any]) -> bytes:
    names = (
        "cluster", "id", "time", "host", "app", "pid", "facility", "severity", "message", "kind", "fields", "entities",
        "sender", "listener",
    )  # fmt: skip
    return orjson.dumps({name: event.get(name, "") for name in names}) + b"\n"


def _events_for(target: MirrorTarget, _name: str, lines: Sequence[bytes]) -> list[Any]:
    events = map(orjson.loads, lines)
    return [event for event in events if not target.clusters or event["cluster"] in target.clusters]


def _lines_for(target: MetricsTarget, name: str, lines: Sequence[bytes]) -> Sequence[bytes]:
    _, what, cluster = name.split(".", 2)
    if (what == "samples" and not target.samples) or (target.clusters and unquote(cluster) not in target.clusters):
        return ()
    if not target.match:
        return lines
    wanted = target.pattern.search
    return [line for line in lines if wanted(line[: line.index(b" ")].decode())]


_EVENTS = Kind("events", 500, _events_for)
_POINTS = Kind("metrics", 20_000, _lines_for)
