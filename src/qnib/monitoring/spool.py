"""Files between the edges and the engine: what is in one that was fsynced and renamed is acknowledged.

Rows gather in memory for a fraction of a second, then one thread writes them as ``ready/<name>.<format>``
and calls `on_ready`; the writer inserts the file and moves it to ``done/``, where it stays some minutes so that
it can be replayed should the machine lose power. The name orders the files and is the token of their insert.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from qnib.clock import Clock, micros
from qnib.errors import Unavailable
from qnib.monitoring.frames import Origin, Record, row
from qnib.settings import Settings

__all__ = ["Format", "Record", "Spool"]

log = logging.getLogger("qnib.spool")

Format = Literal["carbon", "influx", "syslog", "json", "load", "rollup", "capture", "reject"]
_RETRY_SECONDS = 1.0  # between attempts to write while the disk is full
_WAITED_SECONDS = 0.2  # until a file is handed over that somebody waits for
_BEHIND_FILES = 3  # files the writer may have before it: more, and files are handed over less often
_HELD = 6  # times `rotate_bytes` that may wait in memory: numbers' files are three times as large
_BEHIND_SECONDS = 0.6  # with the write that follows, below the second that may be lost when the process is killed


@dataclass(slots=True)
class _Batch:
    """Rows of one format that will become one file, and those who wait for it."""

    rows: list[bytes] = field(default_factory=list)
    size: int = 0
    weight: int = 0
    """The size, or more where rows become larger when they are read, or less where they are light."""
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    name: str = ""
    """Once it was handed over."""


class Spool:
    """Append from the event loop that called `start`; `ready`, `finished` and `state` from any thread."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        folder, limits = settings.home / "spool", settings.spool
        self.ready_folder = folder / "ready"
        self.done_folder = folder / "done"
        self.failed_folder = folder / "failed"
        self.on_ready: Callable[[], None] = lambda: None
        self.on_full: Callable[[bool], None] = lambda full: None
        self.dropped = 0
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[Format, _Batch] = {}
        self._in_memory = 0
        self._on_disk = 0
        self._full = False
        self._stopping = False
        self._last_name = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._flights: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            for each in (self.ready_folder, self.done_folder, self.failed_folder):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Unavailable(
                f"The spool cannot be written: {error.strerror}.",
                where=str(folder),
                try_next="run as the owner of QNIB_HOME, or set it to a directory of yours.",
            ) from error
        for part in self.ready_folder.glob("*.part"):
            part.unlink()  # never acknowledged
        for file in (*self.ready_folder.iterdir(), *self.done_folder.iterdir()):
            self._last_name = max(self._last_name, int(file.name.partition("-")[0]))
        self._on_disk = sum(file.stat().st_size for file in self.ready_folder.iterdir())

    # ── the edges' side, in the event loop ────────────────────────────────────────────────────

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._weigh()

    @property
    def full(self) -> bool:
        """Senders must wait: readers of TCP stop reading, datagrams are dropped and counted."""
        return self._full

    def append(self, format: Format, octets: bytes, weight: int | None = None) -> None:
        """Take one row (`frames.block` or `frames.row`). It is acknowledged once its file is written. `weight`: what it
        is worth of a file of `rotate_bytes`, its octets unless it says other."""
        self._gather(format, octets, weight)

    async def put(self, format: Format, cluster: str, sender: str, listener: str, body: bytes) -> None:
        """Take one record and return when it is acknowledged. Raises Unavailable when the spool is full or broken."""
        await self.put_all(format, Origin(cluster, sender, listener), [body])

    async def put_all(self, format: Format, origin: Origin, records: Sequence[bytes], weight: int = 0) -> None:
        """Take records that stay together, in one file; else like `put`. `weight`: octets they become when read."""
        self._check_room()
        octets = row(micros(self._clock.now()), origin.prefix(), records)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch = self._gather(format, octets, max(weight, len(octets)))
        if not batch.waiting and not batch.name and batch.timer and self._loop:
            # Some clients send one after the other, and each waits for its answer
            batch.timer.cancel()
            batch.timer = self._loop.call_later(min(self._patience(), _WAITED_SECONDS), self._rotate, format)
        batch.waiting.append(waiter)
        await waiter

    async def put_own(self, format: Format, octets: bytes) -> str:
        """Take rows as a file of their own and return its name when it is acknowledged. Raises Unavailable."""
        self._check_room()
        self._rotate(format)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch = self._gather(format, octets)
        batch.waiting.append(waiter)
        name = batch.name or self._rotate(format)
        await waiter
        return name

    async def stop(self) -> None:
        """Write what is in memory, unless the disk is full. The edges must have been closed before."""
        self._stopping = True
        for format in list(self._open):
            self._rotate(format)
        while self._flights:
            await asyncio.gather(*self._flights, return_exceptions=True)
        self._writer.shutdown()

    def _check_room(self) -> None:
        if self._full:
            raise Unavailable(
                "The spool is full.",
                where=str(self.ready_folder),
                try_next="wait: the engine is behind, or its disk full.",
            )

    def _gather(self, format: Format, octets: bytes, weight: int | None = None) -> _Batch:
        if self._loop is None:
            raise RuntimeError("the spool was not started")
        batch = self._open.get(format)
        if batch is None:
            batch = self._open[format] = _Batch()
            batch.timer = self._loop.call_later(self._patience(), self._rotate, format)
        batch.rows.append(octets)
        batch.size += len(octets)
        batch.weight += len(octets) if weight is None else weight
        self._in_memory += len(octets)
        if batch.weight >= self._limits.rotate_bytes:
            self._rotate(format)
        self._weigh()
        return batch

    def _patience(self) -> float:
        """Seconds until a file is handed over: longer when the writer is behind, for fewer files cost it less."""
        behind = sum(1 for _ in self.ready_folder.iterdir()) > _BEHIND_FILES
        return max(self._limits.rotate_seconds, _BEHIND_SECONDS) if behind else self._limits.rotate_seconds

    def _rotate(self, format: Format) -> str:
        """Hand over what has gathered; the file's name, empty when there was nothing."""
        batch = self._open.pop(format, None)
        if batch is None or self._loop is None:
            return ""
        if batch.timer:
            batch.timer.cancel()
        # One more than the last, whatever the clock says: names must never repeat
        self._last_name = max(self._last_name + 1, micros(self._clock.now()))
        batch.name = name = f"{self._last_name:020d}-{secrets.token_hex(4)}.{format}"
        flight = self._loop.create_task(self._acknowledge(batch, name))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)
        return name

    async def _acknowledge(self, batch: _Batch, name: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._writer, self._write, name, batch.rows)
                break
            except OSError as error:
                told = Unavailable(
                    f"The spool cannot be written: {error.strerror}.",
                    where=str(self.ready_folder),
                    try_next="free some space on that disk.",
                )
                for waiter in batch.waiting:
                    if not waiter.done():
                        waiter.set_exception(told)
                if self._stopping:
                    log.error("%s What was not yet acknowledged is lost.", told)
                    return
                # The rows stay in memory, which fills and makes the senders wait
                await asyncio.sleep(_RETRY_SECONDS)
        self._in_memory -= batch.size
        for waiter in batch.waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._weigh()
        self.on_ready()

    def _write(self, name: str, rows: list[bytes]) -> None:
        part = self.ready_folder / f"{name}.part"
        with part.open("wb") as out:
            out.writelines(rows)
            out.flush()
            os.fsync(out.fileno())
            size = out.tell()
        part.rename(self.ready_folder / name)
        _sync_folder(self.ready_folder)
        with self._lock:
            self._on_disk += size

    def _weigh(self) -> None:
        """Open or close the gate; it opens again only when a quarter is free, so that it does not flutter."""
        memory, disk = _HELD * self._limits.rotate_bytes, self._limits.max_bytes
        if not self._full and (self._in_memory > memory or self._on_disk > disk):
            self._full = True
            self.on_full(True)
        elif self._full and self._in_memory <= memory * 3 // 4 and self._on_disk <= disk * 3 // 4:
            self._full = False
            self.on_full(False)

    # ── the writer's side, in its thread ──────────────────────────────────────────────────────

    def ready(self) -> list[Path]:
        """Files waiting for their insert, the oldest first."""
        return sorted(file for file in self.ready_folder.iterdir() if file.suffix != ".part")

    def done(self) -> list[Path]:
        """Files inserted lately, the oldest first."""
        return sorted(self.done_folder.iterdir())

    def finished(self, file: Path) -> None:
        """`file` is in the engine: keep it for a while in done/."""
        self._leave(file, self.done_folder)

    def failed(self, file: Path) -> None:
        """`file` cannot be inserted: set it aside in failed/ for a person to look at."""
        self._leave(file, self.failed_folder)

    def again(self, file: Path) -> None:
        """Bring `file` of done/ back to ready/."""
        size = file.stat().st_size
        file.rename(self.ready_folder / file.name)
        with self._lock:
            self._on_disk += size

    def forget_old(self) -> None:
        """Remove files of done/ that are older than `keep_seconds`, or too many octets together with those waiting."""
        oldest_kept = micros(self._clock.now() - timedelta(seconds=self._limits.keep_seconds))
        files = [(file, file.stat().st_size) for file in self.done()]
        total = sum(size for _, size in files) + self._on_disk
        for file, size in files:
            if int(file.name.partition("-")[0]) >= oldest_kept and total <= self._limits.max_bytes:
                break
            file.unlink()
            total -= size

    def state(self) -> dict[str, float]:
        """What waits: `files`, `bytes`, `oldest_age` in seconds; and datagrams `dropped` since the start."""
        files = self.ready()
        waited = (micros(self._clock.now()) - int(files[0].name.partition("-")[0])) / 1e6 if files else 0.0
        return {
            "files": len(files),
            "bytes": self._on_disk,
            "oldest_age": max(0.0, waited),
            "dropped": self.dropped,
        }

    def _leave(self, file: Path, folder: Path) -> None:
        size = file.stat().st_size
        file.rename(folder / file.name)
        with self._lock:
            self._on_disk -= size
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._weigh)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
