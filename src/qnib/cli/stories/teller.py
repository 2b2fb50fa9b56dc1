"""Tells a story on the terminal: what is done and why, the commands with what they print, where to look; and writes the
same into a file."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

from qnib.cli.client import Client, running
from qnib.clock import SystemClock
from qnib.errors import QnibError, Unavailable
from qnib.settings import Settings
from qnib.terminal.interrupts import ignored

T = TypeVar("T")

LOOK_EVERY = 0.3
PATIENCE = 60.0
"""Seconds to wait for what should come within a few."""


class Teller:
    def __init__(self, settings: Settings, cluster: str, *, pause: bool = False, record: TextIO | None = None) -> None:
        self.settings, self.cluster = settings, cluster
        self._pause, self._record = pause, record
        self._began, self._first = time.monotonic(), self.now()
        self._chapter = 0
        self._token = ""

    # ── what a person sees ────────────────────────────────────────────────────────────────────

    def say(self, text: str = "") -> None:
        """A line, on the terminal and in the recording, where it gets its time and loses the token."""
        print(text, flush=True)
        if self._record:
            shown = text.replace(self._token, "TOKEN") if self._token else text
            self._record.write(f"{time.monotonic() - self._began:6.1f}  {shown}".rstrip() + "\n")
            self._record.flush()

    def chapter(self, title: str, *sentences: str) -> None:
        """The next part; with `pause` it begins when somebody presses Enter."""
        if self._chapter and self._pause and sys.stdin.isatty():
            input("  … Enter goes on ")
        self._chapter += 1
        self.say()
        self.say(f"── {self._chapter}  {title} ".ljust(90, "─"))
        for sentence in sentences:
            self.say(sentence)

    def look(self, path: str, what: str) -> None:
        mark = "&" if "?" in path else "?"
        self.say(f"  look at  {self.url}{path}{mark}cluster={self.cluster}")
        self.say(f"           {what}")

    @property
    def url(self) -> str:
        told = running(self.settings)
        return str(told["url"]) if told else ""

    # ── what is done ──────────────────────────────────────────────────────────────────────────

    def run(self, *words: str, well: bool = True, shown: Callable[[str], bool] = lambda line: True) -> list[str]:
        """A command of qnib's: told, run, and what it prints told as it comes, where `shown` says so. Raises
        Unavailable when it fails, unless it is meant to (`well`)."""
        self.say(f"$ qnib {shlex.join(words)}")
        status, lines = self._call(
            [sys.executable, "-m", "qnib", *words], lambda line: self.say(f"  {line}") if shown(line) else None,
        )
        if status and well:
            raise Unavailable(
                f"`qnib {shlex.join(words)}` ended with status {status}.", where="the story",
                try_next="what it printed says why.",
            )
        return lines

    def _call(
        self, command: Sequence[str], heard: Callable[[str], None] = lambda line: None,
    ) -> tuple[int, list[str]]:
        """Status and lines. Ctrl-C reaches the command, too, which puts right what it was about; we wait for that."""
        environment = {**os.environ, "QNIB_HOME": str(self.settings.home.resolve()), "PYTHONUNBUFFERED": "1"}
        lines: list[str] = []

        def listen() -> None:
            for line in child.stdout or ():
                if line := line.rstrip():
                    lines.append(line)
                    heard(line)

        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment,
        ) as child:
            try:
                listen()
            except KeyboardInterrupt:
                with ignored():
                    listen()
                    child.wait()
                raise
        return child.returncode, lines

    @staticmethod
    def now() -> str:
        return SystemClock().now().isoformat()

    def ask(self, path: str, **params: Any) -> Any:
        """The server's answer about this cluster."""
        return Client(self.settings).get(path, cluster=self.cluster, **params)

    def rows(self, question: str) -> list[list[Any]]:
        """The answer of the graph."""
        answer = Client(self.settings).post("/api/graph/cypher", {"query": question, "cluster": self.cluster})
        return list(answer["rows"])

    def until(self, what: str, seen: Callable[[], T | None], seconds: float = PATIENCE) -> T:
        """What `seen` gives, as soon as that is something. Raises Unavailable when it does not come in time."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(QnibError):  # not known yet
                if value := seen():
                    return value
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Not within {seconds:.0f} s: {what}.", where="the story",
                    try_next="a machine that is very busy takes longer; try again when it is not.",
                )
            time.sleep(LOOK_EVERY)

    def job(self, name: str, *, ended: bool = True) -> dict[str, Any]:
        """The newest job of this name as the inventory has it, when it runs or has ended."""

        def seen() -> dict[str, Any] | None:
            # A cluster that had this name before had jobs of the same numbers.
            jobs = self.ask("/api/jobs", limit=100)["jobs"]
            jobs = [job for job in jobs if job["name"] == name and (job["submit"] or "") >= self._first[:19]]
            newest = max(jobs, key=lambda job: job["id"], default=None)
            if newest is None or newest["state"] == "PENDING" or (ended and not newest["end"]):
                return None
            return dict(newest)

        return self.until(f"{name} in the inventory", seen)

    def serve(self) -> bool:
        """See that a server runs; whether it was this that started it."""
        told = running(self.settings)
        if told is None:
            status, lines = self._call([sys.executable, "-m", "qnib", "serve", "--background"])
            told = running(self.settings)
            if status or told is None:
                raise Unavailable(
                    f"The server did not start: {' '.join(lines[-1:])}.", where=str(self.settings.run),
                    try_next="`qnib serve` in the foreground shows it all.",
                )
            started = True
        else:
            started = False
        self._token = str(told["token"])
        self.say(f"  open     {told['url']}/?token={self._token}")
        return started


def tell(
    teller: Teller, story: Callable[[Teller], None], *, down: bool, clear: Callable[[], object],
) -> None:
    """Tell it to the end or to a Ctrl-C; then either way nothing is half: what it made to fail is put right, and the
    cluster is there as it was announced or, with `down`, gone."""
    started = False
    try:
        started = teller.serve()
        story(teller)
    finally:
        with ignored():
            _end(teller, down=down, started=started, clear=clear)


def _end(teller: Teller, *, down: bool, started: bool, clear: Callable[[], object]) -> None:
    there = (teller.settings.clusters / teller.cluster / "cluster.json").is_file()
    if there and down:
        teller.run("down", "--name", teller.cluster, well=False)
    elif there:
        with suppress(QnibError):
            clear()
        teller.say()
        teller.say(f"The cluster is left running: `qnib down --name {teller.cluster}` ends it.")
    if started and (down or not there):
        teller.run("stop", well=False)


def recording(file: Path) -> TextIO:
    """The file to record into, made anew."""
    return file.open("w", encoding="utf-8")
