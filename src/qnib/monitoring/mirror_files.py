"""The mirror's files and the threads that send them: one for each target, with a place of its own among the files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from qnib.clock import Clock

log = logging.getLogger("qnib.mirror")

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between attempts
_BLOCK = 4096  # octets that the smallest file takes
_IDLE_SECONDS = 5.0


class Sender(Protocol):
    """A way to one target; made anew after it failed."""

    def send(self, records: Sequence[Any]) -> int:
        """Send and return how many the target refused for good. Raises OSError or ValueError when it may go later."""
        ...

    def close(self) -> None: ...


class To(Protocol):
    @property
    def to(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """What the files hold. `wanted(target, file's name, lines)`: the records that a target shall have of lines."""

    name: str
    batch: int
    """Lines sent together."""
    wanted: Callable[[Any, str, Sequence[bytes]], Sequence[Any]]


class MirrorFiles:
    """Files of one kind and all targets that get them. `add` and `state` from any thread."""

    def __init__(
        self, kind: Kind, folder: Path, targets: Sequence[To], most: int, clock: Clock, connect: Callable[[Any], Sender]
    ) -> None:
        self.kind = kind
        self.folder = folder
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._adding = threading.Lock()  # a file that appears after its followers would be passed over
        self._names: list[str] = []  # in order; many when a target is away for long, so not looked up each time
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._last = 0
        self._lost = 0
        self._targets = [_Target(self, target, connect) for target in targets]
        if targets:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for file in folder.iterdir():
                if file.suffix == ".part":
                    file.unlink()
                elif file.suffix != ".cursor" and file.is_file():
                    self._note(file.name)
            self._last = int(self._names[-1].partition(".")[0]) if self._names else 0

    def start(self) -> None:
        for target in self._targets:
            target.thread.start()

    def stop(self) -> None:
        for target in self._targets:
            target.stopping.set()
            target.work.set()
        for target in self._targets:
            if target.thread.ident is not None:
                target.thread.join()

    def add(self, ending: str, write: Callable[[Path], object]) -> None:
        """A new file of what `write` puts into the path it is given, if anything. Never raises."""
        if not self._targets:
            return
        with self._adding:
            # After all others, whatever the clock says: by their names targets know what they have had
            self._last = max(self._last + 1, int(self._clock.now().timestamp() * 1e6))
            try:
                self._add(self.folder / f"{self._last:020d}.{ending}", write)
            except Exception as error:  # noqa: BLE001  what is stored is stored whether or not it can be mirrored
                with self._lock:
                    self._lost += 1
                log.warning("%s could not be handed to the mirror: %s", self.kind.name, str(error)[:300])
        self._keep_small()
        for target in self._targets:
            target.work.set()

    def _add(self, file: Path, write: Callable[[Path], object]) -> None:
        part = file.with_name(f"{file.name}.part")
        write(part)
        if not part.exists():
            return
        with part.open("rb") as written:
            if not os.fstat(written.fileno()).st_size:
                part.unlink()
                return
            os.fsync(written.fileno())  # half a file after a loss of power would stop its targets
        part.rename(file)
        with self._lock:
            self._note(file.name)

    def state(self, now: float) -> Iterator[dict[str, Any]]:
        with self._lock:
            lost = self._lost
        for target in self._targets:
            yield {"what": self.kind.name, **target.state(now), "not_written": lost}

    def next_after(self, name: str, *, had: bool) -> tuple[str, int]:
        """The first file after `name` (or it, unless `had`), empty when there is none; and how many there are."""
        with self._lock:
            at = bisect_right(self._names, name) if had else bisect_left(self._names, name)
            left = len(self._names) - at
            return (self._names[at] if left else ""), left

    def _note(self, name: str) -> None:
        insort(self._names, name)
        size = (self.folder / name).stat().st_size
        self._sizes[name] = -(-size // _BLOCK) * _BLOCK
        self._total += self._sizes[name]

    def _keep_small(self) -> None:
        """Remove what every target has had, and the oldest while there is too much."""
        while True:
            with self._lock:
                name, total = (self._names[0] if self._names else ""), self._total
            if not name:
                return
            if any(not target.has_had(name) for target in self._targets):
                if total <= self._most:
                    return
                for target in self._targets:
                    target.lose(name)
            (self.folder / name).unlink(missing_ok=True)
            with self._lock:
                if self._names and self._names[0] == name:
                    del self._names[0]
                    self._total -= self._sizes.pop(name)


class _Target:
    """One target's thread, its place among the files, and what became of its records."""

    def __init__(self, files: MirrorFiles, target: To, connect: Callable[[Any], Sender]) -> None:
        self._files = files
        self._target = target
        self._connect = connect
        self._note = files.folder / f"{hashlib.sha256(target.to.encode()).hexdigest()[:12]}.cursor"
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
            return self._had(name)

    def lose(self, name: str) -> None:
        """Count what was not sent of a file that goes."""
        with self._lock:
            if self._had(name):
                return
            with contextlib.suppress(OSError), (self._files.folder / name).open("rb") as read:
                read.seek(self._offset if name == self._name else 0)
                self._counts["dropped"] += sum(len(wanted) for _, wanted in self._batches(name, read))
            self._name, self._offset = name, -1

    def state(self, now: float) -> Mapping[str, Any]:
        with self._lock:
            name, waiting = self._next()
            lag = now - int(name.partition(".")[0]) / 1e6 if name else 0.0
            return {
                "to": self._target.to, **self._counts, "waiting": waiting, "lag": round(max(0.0, lag), 1),
                "trouble": self._trouble,
            }  # fmt: skip

    def _had(self, name: str) -> bool:
        return name < self._name or (name == self._name and self._offset < 0)

    def _next(self) -> tuple[str, int]:
        return self._files.next_after(self._name, had=self._offset < 0)

    def _batches(self, name: str, read: BinaryIO) -> Iterator[tuple[int, Sequence[Any]]]:
        """What this target shall have of the rest of a file, some lines at a time, and where each batch ends."""
        kind = self._files.kind
        while lines := list(islice(read, kind.batch)):
            yield read.tell(), kind.wanted(self._target, name, lines)

    def _run(self) -> None:
        sender: Sender | None = None
        wait = _FIRST_WAIT
        while not self.stopping.is_set():
            self.work.clear()
            with self._lock:
                name, _ = self._next()
            if not name:
                self.work.wait(_IDLE_SECONDS)
                continue
            try:
                sender = sender or self._connect(self._target)
                self._send_file(name, sender)
                wait = _FIRST_WAIT
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
        try:
            read = (self._files.folder / name).open("rb")
        except FileNotFoundError:
            self.lose(name)  # it was dropped meanwhile, and counted
            return
        with read:
            read.seek(max(0, offset))
            for at, records in self._batches(name, read):
                if self.stopping.is_set():
                    return
                refused = sender.send(records) if records else 0
                self._came_to(name, at, len(records) - refused, refused)
        self._came_to(name, -1, 0, 0)

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
