"""Reads rules of paths: a domain's paths.toml, a site's own. Apart from the declarations: no agent needs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qnib.domains.events import entries
from qnib.errors import WrongUse
from qnib.model import Domain, PathRule

_TEXT = ("path", "name", "sample", "unit", "mtype")
_KNOWN = {*_TEXT, "template", "tags", "expect"}
_NAMES = ("measurement", "field")
"""What Telegraf's templates call a series' name."""


def load_paths(domain: Domain) -> list[PathRule]:
    """The domain's rules of paths in the order of its file; none when it has no file."""
    file = domain.folder / "paths.toml"
    return read_paths(file) if file.is_file() else []


def read_paths(file: Path) -> list[PathRule]:
    """The rules of paths of one file, in its order. Raises WrongUse naming file, line and rule."""
    return [_rule(entry, number, where) for number, entry, where in entries(file, "path")]


def _rule(entry: dict[str, Any], number: int, where: str) -> PathRule:
    entry = dict(entry)
    if wrong := sorted(entry.keys() - _KNOWN):
        raise WrongUse(
            f"Rule {number} of paths has unknown entries: {', '.join(wrong)}.", where=where,
            try_next=f"a rule of paths has {', '.join(sorted(_KNOWN))}.",
        )
    if template := entry.pop("template", None):
        path, name, tags = from_template(str(template), where)
        entry = {"path": path, "name": name, **entry, "tags": {**tags, **entry.get("tags", {})}}
    if missing := [key for key in ("path", "name", "sample") if not entry.get(key)]:
        raise WrongUse(
            f"Rule {number} of paths lacks {', '.join(missing)}.", where=where,
            try_next="it has path and name, or a template, and a sample that it matches.",
        )
    if entry.get("mtype", "gauge") not in ("gauge", "counter", "rate"):
        raise WrongUse(
            f"There is no mtype {entry['mtype']!r}.", where=where, try_next="write gauge, counter or rate."
        )
    maps = {key: {str(k): str(v) for k, v in dict(entry.pop(key, {})).items()} for key in ("tags", "expect")}
    return PathRule(**{key: str(value) for key, value in entry.items()}, **maps, where=where)  # type: ignore[arg-type]


def from_template(text: str, where: str = "") -> tuple[str, str, dict[str, str]]:
    """Path, name and fixed tags that a template means, written as Telegraf's: ``[filter] template [tag=value,…]``.

    >>> from_template("servers.* .host.measurement* zone=eu")
    ('servers.{host}.{measurement*}', '{measurement}', {'zone': 'eu'})
    """
    words = text.split()
    tags = dict(pair.split("=", 1) for pair in words.pop().split(",")) if len(words) > 1 and "=" in words[-1] else {}
    if not 1 <= len(words) <= 2:
        raise WrongUse("This is no template.", where=where or text, try_next="write [filter] template [tag=value,…].")
    asked, roles = words[0].split(".") if len(words) == 2 else [], words[-1].split(".")
    out: list[str] = []
    used: list[str] = []
    for at in range(max(len(asked), len(roles))):
        glob = asked[at] if at < len(asked) else "*"
        role = roles[at] if at < len(roles) else ""
        tag = role.rstrip("*")
        if tag in _NAMES and tag not in used:
            used.append(tag)
        if role.endswith("*"):
            out.append(f"{{{role}}}")
            break
        if not tag:
            out.append("{}" if glob == "*" else glob if "*" not in glob else f"{{:{_expression(glob)}}}")
        else:
            out.append(f"{{{tag}}}" if glob == "*" else f"{{{tag}:{_expression(glob)}}}")
    if not used:
        raise WrongUse("The template names no measurement.", where=where or text, try_next="write measurement in it.")
    rest = "" if roles[-1].endswith("*") else "{*}"
    name = ".".join(f"{{{one}}}" for one in _NAMES if one in used)
    return ".".join(out) + rest, name, tags


def _expression(glob: str) -> str:
    return "".join("[^.;]*" if char == "*" else re.escape(char) for char in glob)
