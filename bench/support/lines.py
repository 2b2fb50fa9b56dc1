"""Log lines of real machines as syslog sends them. The logs are not part of the project: see `LOGS`."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

from qnib.domains import all_domains
from qnib.domains.events import load_rules

LOGS = Path(os.environ.get("QNIB_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared/data") / "logs"
FORMS = ("RFC 5424", "RFC 3164")
HOSTS = 1000
Text = tuple[str, str, str, str]
"""Host ('' is any), program, its process, what it says."""
_LINUX = re.compile(r"\w{3} +\d+ [\d:]+ \S+ ([^\s:\[]+)(?:\[(\d+)\])?: (.*)")
_SLURMCTLD = re.compile(r"\[[\dT:.-]+\] (.*)")
_NUMBER = re.compile(r"(?<![\w.-])\d{3,15}(?![\w.-])")


def texts() -> list[Text]:
    """Every line there is, those of each file in order and spread evenly among the others'."""
    if not LOGS.exists():
        rules = [rule for domain in all_domains() for rule in load_rules(domain)]
        return [("", rule.app.partition(",")[0] or "kernel", "", rule.sample) for rule in rules if rule.sample]
    linux = [found.groups("") for line in _read(LOGS / "Linux_2k.log") if (found := _LINUX.match(line))]
    slurmctld = [found[1] for line in _read(LOGS / "umhpc_slurmctld_2022-06.log") if (found := _SLURMCTLD.match(line))]
    kernel = [line for file in sorted((LOGS / "kernel_problems").glob("*.txt")) for line in _read(file)]
    kinds: list[list[Text]] = [
        [("", app, pid, said.strip()) for app, pid, said in linux],
        [("head", "slurmctld", "812", said) for said in slurmctld],
        [("", "kernel", "", line.strip()) for line in kernel if line.strip()],
    ]
    placed = [(place / len(kind), text) for kind in kinds for place, text in enumerate(kind)]
    return [text for _, text in sorted(placed, key=lambda one: one[0])]


def _read(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines()


def lines(form: str, count: int, now: float) -> Iterator[str]:
    """`count` lines of the last hour: all texts in turns, every time with other numbers."""
    rng = random.Random(1)
    known = texts()
    for at in range(count):
        turn, place = divmod(at, len(known))
        host, app, pid, said = known[place]
        text = _NUMBER.sub(lambda found, turn=turn: _other(found[0], turn), said)  # type: ignore[misc]
        host = host or f"node{rng.randrange(HOSTS):04d}"
        when = now - 3600 * (1 - at / count)
        priority = 3 * 8 + 3 if said.startswith("error") else 3 * 8 + 6
        if form == "RFC 5424":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))
            yield f"<{priority}>1 {stamp}.{int(when % 1 * 1e6):06d}Z {host} {app} {pid or '-'} - - {text}\n"
        else:
            stamp = time.strftime("%b %e %H:%M:%S", time.gmtime(when))
            yield f"<{priority}>{stamp} {host} {app}{f'[{pid}]' if pid else ''}: {text}\n"


def _other(number: str, turn: int) -> str:
    """Another number as long; the same one gives the same within a turn."""
    least = 10 ** (len(number) - 1)
    return str(least + (int(number) * 48271 + turn * 69621) % (9 * least))
