"""Reads files of event rules: a domain's events.toml, a site's own. Apart from the declarations: no agent needs it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qnib.errors import WrongUse
from qnib.model import Domain, EventMetric, EventRule

_TEXT = ("name", "match", "kind", "severity", "hint", "sample")
_LISTS = ("entities", "tags")
_METRIC = ("name", "unit", "value", "description", "mtype")
_KNOWN = {*_TEXT, *_LISTS, "app", "expect", "metric"}
_TOML_PLACE = re.compile(r" ?\(at line (\d+), column \d+\)")


def load_rules(domain: Domain) -> list[EventRule]:
    """The domain's event rules in the order of its file; none when it has no file."""
    file = domain.folder / "events.toml"
    return read_rules(file) if file.is_file() else []


def read_rules(file: Path) -> list[EventRule]:
    """The event rules of one file, in its order.

    Raises WrongUse naming file, line and rule when it is not TOML or a rule lacks name, match or kind.
    """
    return [_rule(entry, number, where) for number, entry, where in entries(file, "rule")]


def entries(file: Path, kind: str) -> list[tuple[int, dict[str, Any], str]]:
    """The entries under ``[[kind]]`` of a file of rules: number from 1, entry, file and line. Raises WrongUse."""
    told, text = _toml(file)
    found = told.get(kind, [])
    header = re.compile(rf"^[ \t]*\[\[[ \t]*{kind}[ \t]*\]\]", re.MULTILINE)
    lines = [text.count("\n", 0, one.start()) + 1 for one in header.finditer(text)]
    places = [f"{file}:{line}" for line in lines] if len(lines) == len(found) else [str(file)] * len(found)
    return [(number, *one) for number, one in enumerate(zip(found, places, strict=True), 1)]


def _toml(file: Path) -> tuple[dict[str, Any], str]:
    text = file.read_text()
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        raise WrongUse(
            f"The rules are not TOML: {_TOML_PLACE.sub('', str(error))}.",
            where=f"{file}:{place[1]}" if place else str(file), try_next="correct that line.",
        ) from error
    if wrong := sorted(told.keys() - {"rule", "path"}):
        raise WrongUse(
            f"Rules stand under [[rule]] and [[path]]; unknown: {', '.join(wrong)}.", where=str(file),
            try_next="write [[rule]] before each rule about events, [[path]] before each about paths.",
        )
    return told, text


def _rule(entry: dict[str, Any], number: int, where: str) -> EventRule:
    wrong = sorted(entry.keys() - _KNOWN) or [name for name in ("name", "match", "kind") if not entry.get(name)]
    if wrong:
        raise WrongUse(
            f"Event rule {entry.get('name') or number} has entries that are missing or unknown: {', '.join(wrong)}.",
            where=where, try_next=f"a rule has name, match and kind, and may have {', '.join(sorted(_KNOWN))}.",
        )
    apps = entry.get("app", "")
    metrics = entry.get("metric", ())
    try:
        return EventRule(
            **{name: str(entry.get(name, "")) for name in _TEXT},
            **{name: tuple(str(value) for value in entry.get(name, ())) for name in _LISTS},  # type: ignore[arg-type]
            app=apps if isinstance(apps, str) else ",".join(apps),
            metrics=tuple(_metric(told) for told in ([metrics] if isinstance(metrics, dict) else metrics)),
            expect={name: str(value) for name, value in entry.get("expect", {}).items()},
            where=where,
        )
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise WrongUse(
            f"Event rule {entry['name']!r} has an entry of the wrong form: {error}.", where=where,
            try_next="see docs/guides/rules.md for the form of each.",
        ) from error


def _metric(told: Mapping[str, Any]) -> EventMetric:
    if unknown := sorted(told.keys() - {*_METRIC, "tags"}):
        raise ValueError(f"a metric has no {', '.join(unknown)}")
    if missing := [name for name in ("name", "unit", "value") if not told.get(name)]:
        raise ValueError(f"a metric needs {', '.join(missing)}")
    text = {name: str(told[name]) for name in _METRIC if name in told}
    if text.get("mtype", "gauge") not in ("gauge", "counter", "rate"):
        raise ValueError("mtype is gauge, counter or rate")
    return EventMetric(**text, tags={k: str(v) for k, v in told.get("tags", {}).items()})  # type: ignore[arg-type]
