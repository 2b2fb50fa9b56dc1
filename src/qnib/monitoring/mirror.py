"""Events sent on to other systems: each spool file's events are also a file here, which every target reads at its pace.

The writer only adds a file; a thread for each target sends and notes how far it came, so a target that is slow or away
delays nobody and finds after a restart what it has not had. The files are bounded: when there are too many
octets the oldest goes, and what a target has not had of it is counted as dropped. What is stored is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from qnib.clock import Clock
from qnib.engine import Engine
from qnib.engine.values import literal
from qnib.settings import MirrorSettings, MirrorTarget, Settings

log = logging.getLogger("qnib.mirror")

_BATCH = 500  # events sent together
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between attempts
_COLUMNS = (
    "cluster, toString(id) AS id, formatDateTime(time, '%Y-%m-%dT%H:%i:%S.%fZ', 'UTC') AS time, host, app, pid,"
    " facility, severity, message, kind, CAST(fields, 'Map(String, String)') AS fields, entities, sender, listener"
)


class Sender(Protocol):
    """A way to one target; made anew after it failed."""

    def send(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Send and return how many the target refused for good. Raises OSError or ValueError when it may go later."""
        ...

    def close(self) -> None: ...


class Mirror:
    """All targets of one server. `take` and `own` from any thread."""

    def __init__(self, settings: Settings, clock: Clock, connect: Callable[[MirrorTarget], Sender]) -> None:
        self._limits: MirrorSettings = settings.mirror
        self._clock = clock
        self._folder = settings.home / "mirror"
        self._lock = threading.Lock()
        self._lost = 0
        self._targets = [_Target(self._folder, target, connect) for target in self._limits.events]
        self._last = 0
        if self._targets:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in self._folder.glob("*.part"):
                part.unlink()
            self._last = max((int(file.stem) for file in self._folder.glob("*.jsonl")), default=0)

    def start(self) -> None:
        for target in self._targets:
            target.thread.start()

    def stop(self) -> None:
        """End after the batches that are under way."""
        for target in self._targets:
            target.stopping.set()
            target.work.set()
        for target in self._targets:
            if target.thread.ident is not None:
                target.thread.join()

    def take(self, engine: Engine) -> None:
        """Hand on the events that are staged. Never raises: what is stored does not depend on it."""
        if not self._targets:
            return
        file = self._next()
        part = file.with_suffix(".part")
        try:
            engine.run(
                f"INSERT INTO FUNCTION file({literal(str(part))}, 'JSONEachRow')"
                f" SELECT {_COLUMNS} FROM qnib_staging.syslog WHERE NOT startsWith(listener, 'load/')"
            )
            self._ready(part, file)
        except Exception as error:  # noqa: BLE001  events are stored whether or not they can be mirrored
            self._failed(error)

    def own(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Hand on QNIB's own events."""
        if not self._targets or not events:
            return
        file = self._next()
        part = file.with_suffix(".part")
        told = [{**event, "id": str(event["id"]), "time": event["time"].isoformat(), "pid": ""} for event in events]
        try:
            part.write_bytes(b"".join(orjson.dumps(_told(event)) + b"\n" for event in told))
            self._ready(part, file)
        except OSError as error:
            self._failed(error)

    def state(self) -> list[dict[str, Any]]:
        """Each target: `to`, `sent`, `refused` and `dropped` events, files `waiting`, `lag` in seconds, `trouble`."""
        now = self._clock.now().timestamp()
        with self._lock:
            lost = self._lost
        return [target.state(now, lost) for target in self._targets]

    def _next(self) -> Path:
        """A file after all others, whatever the clock says: by their names targets know what they have had."""
        with self._lock:
            self._last = max(self._last + 1, int(self._clock.now().timestamp() * 1e6))
            return self._folder / f"{self._last:020d}.jsonl"

    def _ready(self, part: Path, file: Path) -> None:
        if not part.exists():
            return  # there was nothing to mirror
        part.rename(file)
        self._keep_small()
        for target in self._targets:
            target.work.set()

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._lost += 1
        log.warning("events could not be handed to the mirror: %s", str(error)[:300])

    def _keep_small(self) -> None:
        """Remove what every target has had, and the oldest while there is too much."""
        files = sorted(self._folder.glob("*.jsonl"))
        sizes = {file: file.stat().st_size for file in files}
        total = sum(sizes.values())
        for file in files:
            if any(not target.has_had(file.name) for target in self._targets):
                if total <= self._limits.max_bytes:
                    break
                for target in self._targets:
                    target.lose(file)
            total -= sizes[file]
            file.unlink(missing_ok=True)


class _Target:
    """One target's thread, its place among the files, and what became of its events."""

    def __init__(self, folder: Path, target: MirrorTarget, connect: Callable[[MirrorTarget], Sender]) -> None:
        self._folder = folder
        self._target = target
        self._connect = connect
        self._note = folder / f"{hashlib.sha256(target.to.encode()).hexdigest()[:12]}.cursor"
        self._lock = threading.Lock()
        self._name, self._offset = "", 0
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            noted = json.loads(self._note.read_text())
            self._name, self._offset = str(noted["file"]), int(noted["offset"])
        self._counts = {"sent": 0, "refused": 0, "dropped": 0}
        self._trouble = ""
        self.work = threading.Event()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def has_had(self, name: str) -> bool:
        with self._lock:
            return name < self._name or (name == self._name and self._offset < 0)

    def lose(self, file: Path) -> None:
        """Count what was not sent of a file that goes."""
        with self._lock:
            if file.name < self._name or (file.name == self._name and self._offset < 0):
                return
            offset = self._offset if file.name == self._name else 0
            with contextlib.suppress(OSError), file.open("rb") as read:
                read.seek(offset)
                self._counts["dropped"] += sum(1 for _ in read)
            self._name, self._offset = file.name, -1

    def state(self, now: float, lost: int) -> dict[str, Any]:
        waiting = [name for name in self._files() if not self.has_had(name)]
        lag = now - int(waiting[0].partition(".")[0]) / 1e6 if waiting else 0.0
        with self._lock:
            return {
                "to": self._target.to, **self._counts, "waiting": len(waiting), "lag": round(max(0.0, lag), 1),
                "not_written": lost, "trouble": self._trouble,
            }  # fmt: skip

    def _files(self) -> list[str]:
        return sorted(file.name for file in self._folder.glob("*.jsonl"))

    def _run(self) -> None:
        sender: Sender | None = None
        wait = _FIRST_WAIT
        while not self.stopping.is_set():
            self.work.clear()
            name = next((name for name in self._files() if not self.has_had(name)), None)
            if name is None:
                self.work.wait(5)
                continue
            try:
                sender = sender or self._connect(self._target)
                self._send_file(name, sender)
                wait = _FIRST_WAIT
            except FileNotFoundError:
                continue  # dropped meanwhile, and counted
            except Exception as error:  # noqa: BLE001  any library's; told in the health, and tried again
                with self._lock:
                    self._trouble = f"{type(error).__name__}: {error}"[:300]
                if sender is not None:
                    with contextlib.suppress(Exception):
                        sender.close()
                sender = None
                self.stopping.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
        if sender is not None:
            sender.close()

    def _send_file(self, name: str, sender: Sender) -> None:
        with self._lock:
            offset = self._offset if name == self._name else 0
        with (self._folder / name).open("rb") as read:
            read.seek(max(0, offset))
            while lines := [line for line in (read.readline() for _ in range(_BATCH)) if line]:
                if self.stopping.is_set():
                    return
                events = [event for event in map(orjson.loads, lines) if self._wanted(event)]
                refused = sender.send(events) if events else 0
                self._came_to(name, read.tell(), len(events) - refused, refused)
        self._came_to(name, -1, 0, 0)

    def _wanted(self, event: Mapping[str, Any]) -> bool:
        return not self._target.clusters or event["cluster"] in self._target.clusters

    def _came_to(self, name: str, offset: int, sent: int, refused: int) -> None:
        with self._lock:
            if self._name > name:
                return  # it was dropped meanwhile
            self._name, self._offset = name, offset
            self._counts["sent"] += sent
            self._counts["refused"] += refused
            self._trouble = ""
            part = self._note.with_suffix(".part")
            part.write_text(json.dumps({"file": name, "offset": offset}))
            part.replace(self._note)


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "cluster", "id", "time", "host", "app", "pid", "facility", "severity", "message", "kind", "fields", "entities",
        "sender", "listener",
    )  # fmt: skip
    return {name: event.get(name, "") for name in names}
