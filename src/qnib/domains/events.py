"""Reads a domain's events.toml. Apart from the declarations, because the agent never needs it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from qnib.errors import WrongUse
from qnib.model import Domain, EventRule

_TEXT = ("name", "match", "kind", "app", "severity", "hint", "sample")
_LISTS = ("entities", "tags")


def load_rules(domain: Domain) -> list[EventRule]:
    """The domain's event rules in the order of its file; none when it has no file.

    Raises WrongUse naming file and rule when the file is not TOML or a rule lacks name, match or kind.
    """
    file = domain.folder / "events.toml"
    if not file.is_file():
        return []
    try:
        told = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(
            f"The event rules are not TOML: {error}.", where=str(file), try_next="correct that line.",
        ) from error
    return [_rule(entry, number, file) for number, entry in enumerate(told.get("rule", ()), 1)]


def _rule(entry: dict[str, Any], number: int, file: Path) -> EventRule:
    known = {*_TEXT, *_LISTS, "expect"}
    wrong = sorted(entry.keys() - known) or [name for name in ("name", "match", "kind") if not entry.get(name)]
    if wrong:
        raise WrongUse(
            f"Event rule {entry.get('name') or number} has entries that are missing or unknown: {', '.join(wrong)}.",
            where=str(file), try_next=f"a rule has name, match and kind, and may have {', '.join(sorted(known))}.",
        )
    text = {name: str(entry.get(name, "")) for name in _TEXT}
    lists = {name: tuple(str(value) for value in entry.get(name, ())) for name in _LISTS}
    return EventRule(**text, **lists, expect={k: str(v) for k, v in entry.get("expect", {}).items()})  # type: ignore[arg-type]
