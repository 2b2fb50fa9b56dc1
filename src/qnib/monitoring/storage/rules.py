"""Reads whisper's storage-schemas and storage-aggregation files as carbon does: sections in order, first match wins.

Without the files there is one rule: every point stays as it is, for good.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import whisper

from qnib.errors import NO_REGEX, NotFound, WrongUse

if TYPE_CHECKING:
    from qnib.settings import Settings

METHODS = frozenset(whisper.aggregationMethods)
"""average, sum, last, max, min, avg_zero, absmax, absmin."""


@dataclass(frozen=True, slots=True)
class Archive:
    step: int
    """Seconds of a slot."""
    slots: int

    @property
    def retention(self) -> int:
        """Seconds."""
        return self.step * self.slots


@dataclass(frozen=True, slots=True)
class Rule:
    """Archives from the finest to the coarsest; none: points as they came, kept for good."""

    archives: tuple[Archive, ...] = ()
    method: str = "average"
    xff: float = 0.5
    """Share of the finer slots that must be known for a coarser one to be."""

    @property
    def retention(self) -> int | None:
        return self.archives[-1].retention if self.archives else None


@dataclass(frozen=True, slots=True)
class Rules:
    schemas: tuple[tuple[re.Pattern[str] | None, tuple[Archive, ...]], ...] = ()
    aggregations: tuple[tuple[re.Pattern[str] | None, float, str], ...] = ()
    drop_raw: bool = False
    """Points leave once the finest archive no longer covers them."""
    intervals: tuple[tuple[str, int], ...] = ()
    """Names of series whose interval is known, with its seconds; of others it is told by their points."""

    def interval(self, path: str) -> int:
        """Seconds between a series' points; 0: not known."""
        name = path.partition(";")[0]
        return next((seconds for known, seconds in self.intervals if known == name), 0)

    def of(self, path: str) -> Rule:
        """The rule of a series; `path` with its tags, as carbon sees it."""
        if not self.schemas:
            return Rule()
        archives = next((told for pattern, told in self.schemas if _fits(pattern, path)), _CARBON_DEFAULT)
        xff, method = next(((x, m) for pattern, x, m in self.aggregations if _fits(pattern, path)), (0.5, "average"))
        return Rule(archives, method, xff)

    @property
    def fingerprint(self) -> str:
        """The same for rules that make the same roll-ups."""
        told = [(p.pattern if p else "", [a.step for a in archives]) for p, archives in self.schemas]
        return repr((told, [(p.pattern if p else "", x, m) for p, x, m in self.aggregations]))


WITHOUT = Rules()
"""Without the files."""

_CARBON_DEFAULT = (Archive(60, 7 * 24 * 60),)


def _fits(pattern: re.Pattern[str] | None, path: str) -> bool:
    return pattern is None or pattern.search(path) is not None


def rules_of(settings: Settings) -> Rules:
    """The rules in force; the files are read once, at the start. Raises NotFound, WrongUse."""
    told = settings.storage
    intervals = tuple((f"events.{name}", one.interval) for name, one in settings.aggregates.items())
    return replace(_read(told.schemas, told.aggregation, told.drop_raw), intervals=intervals)


@lru_cache(8)
def _read(schemas: Path | None, aggregation: Path | None, drop_raw: bool) -> Rules:
    if schemas is None:
        if aggregation is not None or drop_raw:
            raise WrongUse(
                "Without schemas nothing is aggregated and nothing dropped.", where="storage",
                try_next="set storage.schemas, too.",
            )
        return Rules()
    return Rules(
        tuple((pattern, _archives(told)) for pattern, told in _sections(schemas, "retentions")),
        tuple((pattern, *_how(told)) for pattern, told in _sections(aggregation)) if aggregation else (),
        drop_raw,
    )


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    options: dict[str, str]
    fail: Callable[[str, str, str], WrongUse]
    """Makes the error of an option: its name, what is wrong, what to try."""


def _sections(file: Path, demanded: str = "") -> list[tuple[re.Pattern[str] | None, _Section]]:
    parser = configparser.RawConfigParser()
    try:
        text = file.read_text("utf-8")
        parser.read_string(text, str(file))
    except OSError as error:
        raise NotFound(
            f"The storage rules cannot be read: {error.strerror}.", where=str(file), try_next="correct the setting."
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", [])), (0,))[0]
        raise WrongUse(
            f"The storage rules are not well formed: {' '.join(str(error).split())[:200]}.", where=f"{file}:{line}",
            try_next="write [name], then lines of key = value.",
        ) from error
    found = []
    for name in parser.sections():
        options = dict(parser.items(name))
        section = _Section(name, options, _blame(file, text, name))
        if options.get("match-all", "").lower() in {"true", "yes", "1", "on"}:
            pattern = None
        elif not options.get("pattern"):
            raise section.fail("pattern", "there is no pattern", "write pattern = a regular expression.")
        else:
            try:
                pattern = re.compile(options["pattern"])
            except NO_REGEX as error:
                raise section.fail("pattern", f"the pattern is wrong: {error}", "correct it.") from error
        if demanded and not options.get(demanded):
            raise section.fail(demanded, f"there are no {demanded}", "write retentions = 60s:7d.")
        found.append((pattern, section))
    return found


def _blame(file: Path, text: str, section: str) -> Callable[[str, str, str], WrongUse]:
    def made(option: str, wrong: str, try_next: str) -> WrongUse:
        line, at, inside = 0, 0, False
        for number, written in enumerate(text.splitlines(), 1):
            if written.strip().startswith("["):
                inside = written.strip() == f"[{section}]"
                line = number if inside else line
            elif inside and re.match(rf"{re.escape(option)}\s*[:=]", written.strip(), re.IGNORECASE):
                at = number
        return WrongUse(f"In section [{section}] {wrong}.", where=f"{file}:{at or line}", try_next=try_next)

    return made


def _archives(section: _Section) -> tuple[Archive, ...]:
    try:
        told: list[Any] = [whisper.parseRetentionDef(each) for each in section.options["retentions"].split(",")]
        if any(step < 1 or slots < 1 for step, slots in told):
            raise ValueError("an archive needs a step and a length above zero")
        whisper.validateArchiveList(told)
    except (ValueError, ZeroDivisionError, whisper.InvalidConfiguration) as error:
        raise section.fail(
            "retentions", f"the retentions are wrong: {str(error).rstrip('.')}", "write 10s:6h,1min:7d,10min:5y."
        ) from error
    return tuple(Archive(step, slots) for step, slots in told)


def _how(section: _Section) -> tuple[float, str]:
    method = section.options.get("aggregationmethod") or "average"
    if method not in METHODS:
        raise section.fail("aggregationMethod", f"{method!r} is no method", f"use {', '.join(sorted(METHODS))}.")
    try:
        xff = float(section.options.get("xfilesfactor") or 0.5)
        if not 0 <= xff <= 1:
            raise ValueError
    except ValueError as error:
        raise section.fail("xFilesFactor", "xFilesFactor is no number from 0 to 1", "write 0.5.") from error
    return xff, method
