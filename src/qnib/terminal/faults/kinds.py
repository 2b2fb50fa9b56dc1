"""What can be made to go wrong: one declaration each. How it is done stands in `actions`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qnib.errors import WrongUse
from qnib.terminal.units import octets_a_second, seconds


@dataclass(frozen=True, slots=True)
class Kind:
    """`target`: what it happens to. `value`: its meaning for people, empty where it takes none; `default` may be empty,
    then one must be given. `check` raises WrongUse for a value that is none."""

    name: str
    target: Literal["port", "node"]
    about: str
    value: str = ""
    default: str = ""
    check: Callable[[str], object] = str

    def valued(self, value: str) -> str:
        """The value to take where `value` is given (empty: none). Raises WrongUse for one that cannot be."""
        if value and not self.value:
            raise WrongUse(f"{self.name} takes no value.", where=value, try_next="leave it out.")
        found = value or self.default
        if self.value and not found:
            raise WrongUse(f"{self.name} needs a value: {self.value}.", where=self.name, try_next="write it last.")
        self.check(found)
        return found


def errors_a_second(value: str) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = 0
    if not 0 < rate <= 10_000:
        raise WrongUse(f"{value!r} is no number of errors a second.", where="the value", try_next="such as 5.")
    return rate


def share(value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", value)
    if not found or not 1 <= float(found[1]) < 100:
        raise WrongUse(f"{value!r} is no share.", where="the value", try_next="from 1% to 99%, such as 25%.")
    return float(found[1]) / 100


def rate(value: str) -> int:
    try:
        return int(str(octets_a_second(value)))
    except ValueError as error:
        raise WrongUse(f"{value!r} is no rate.", where="the value", try_next=f"{error}.") from error


DAEMONS = {"slurmd": "-x slurmd", "munged": "-x munged", "agent": "-f [q]nib.agent"}


def daemon(value: str) -> str:
    if value not in DAEMONS:
        known = ", ".join(DAEMONS)
        raise WrongUse(f"{value!r} is no daemon of a node.", where="the value", try_next=f"one of {known}.")
    return DAEMONS[value]


def span(value: str) -> int:
    try:
        return int(float(str(seconds(value.lstrip("+-") or "0s"))) * (-1 if value.startswith("-") else 1))
    except ValueError as error:
        raise WrongUse(f"{value!r} is no span.", where="the value", try_next=f"{error}.") from error


KINDS = {kind.name: kind for kind in (
    Kind("cable-out", "port", "The cable at a port is pulled out"),
    Kind("cable-move", "port", "One end of the cable at a port is plugged into another port",
         "the free port it goes to"),
    Kind("cable-bad", "port", "The cable damages bits: symbol errors at both its ends, wherever it is plugged in",
         "errors a second", "5", errors_a_second),
    Kind("port-bad", "port", "The port damages bits: symbol errors there, whatever cable is in it",
         "errors a second", "5", errors_a_second),
    Kind("link-width", "port", "The link at a port comes up with one lane of four"),
    Kind("link-rate", "node", "The node's network gives less, each way", "rate", "1KB/s", rate),
    Kind("node-slow", "node", "The node gives its jobs only a share of its cores", "share", "25%", share),
    Kind("node-down", "node", "The node dies at once, as if its plug was pulled"),
    Kind("disk-full", "node", "The node's /tmp is filled to the last octet"),
    Kind("daemon-stop", "node", "A daemon of the node hangs", "slurmd, munged or agent", "slurmd", daemon),
    Kind("clock-skew", "node", "The clock of the node's daemons is wrong", "by how much", "10m", span),
    Kind("memory-leak", "node", "A process on the node grows until little memory is left", "megabytes a second",
         "16MB/s", rate),
)}
