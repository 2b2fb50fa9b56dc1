"""Files of settings: what stands in them, and what was changed. Used by every layer whose daemon reads one.

Values of what looks like a secret are replaced before they are told to anybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from qnib.model import HERE, Change, Entity, Event, Known, Ref, Snapshot

SHOWN = 6
"""Changes spelt out in a sentence; all are counted."""
LONGEST = 200
"""Characters of a value that are told."""
_SECRET = re.compile(r"(pass(word|wd)?|secret|token|(^|_)[a-z]*key)$", re.IGNORECASE)
_PUBLIC = ("prioritykey",)
_REPEATED = frozenset({"nodename", "partitionname", "nodeset", "downnodes", "frontendname", "include"})
"""Keys of slurm.conf that stand once for each thing: the thing belongs to the setting's name."""


def equals(text: str) -> dict[str, str]:
    """``Name=value`` lines as slurm.conf has them: comments, continued lines, any case of names; a later one counts."""
    found: dict[str, str] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        told = re.sub(r"(?<!\\)#.*", "", line).strip()
        if not told:
            continue
        name, sign, value = told.partition("=")
        if not sign and not told.lower().startswith("include"):
            raise ValueError(f"neither a setting nor a comment: {line[:120]!r}")
        name = name.strip()
        if name.lower() in _REPEATED:
            thing, _, value = value.strip().partition(" ")
            name = f"{name}={thing}"
        found[name] = " ".join(value.split())
    return found


def words(text: str) -> dict[str, str]:
    """``name value`` lines as opensm.conf has them."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        told = line.partition("#")[0].split(None, 1)
        if told:
            found[told[0]] = told[1].strip() if len(told) > 1 else ""
    return found


def parser(file: str, read: Callable[[str], dict[str, str]]) -> Callable[[str, datetime], Snapshot]:
    """Of a capture that is `of_host`: the entity ``Config <file>@<host>`` with all settings as one JSON text."""

    def parse(text: str, at: datetime) -> Snapshot:
        return snapshot(f"{HERE}/{file}", file, HERE, read(text))

    return parse


def snapshot(key: str, file: str, host: str, told: Mapping[str, str]) -> Snapshot:
    plain = {name: masked(name, value[:LONGEST]) for name, value in told.items()}
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True)
    return Snapshot([Entity("Config", key, {"file": file, "host": host, "settings": text, "count": len(plain)})])


def secret(name: str) -> bool:
    """Whether a setting's value is nobody's business."""
    return bool(_SECRET.search(name)) and name.lower() not in _PUBLIC


def masked(name: str, value: str) -> str:
    return "(not told)" if secret(name) else value


def events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``config.changed`` for every file whose settings are others than before."""
    found = []
    for change in changes:
        file = change.after
        if not isinstance(file, Entity) or file.kind != "Config" or change.what != "changed" or change.before is None:
            continue
        old, new = (_settings(one) for one in (change.before, file))
        told = differences(old, new)
        if not told:
            continue
        host, name = str(file.properties.get("host") or ""), str(file.properties.get("file") or file.key)
        found.append(Event(
            time=at, kind="config.changed", host=host, severity="notice", entities=[file.ref, Ref("Host", host)],
            message=sentence(f"{name} of {host}" if host else name, told),
            fields={"file": name, "settings": str(len(told))},
        ))  # fmt: skip
    return found


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """In words, in order of names: what has another value, is new, or is gone."""
    told = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            told.append(f"{name} is gone (was {old[name] or 'empty'})")
        elif name not in old:
            told.append(f"{name} {new[name]} is new".replace("  ", " "))
        elif old[name] != new[name]:
            told.append(f"{name} {old[name] or 'empty'} → {new[name] or 'empty'}")
    return told


def sentence(what: str, told: Sequence[str]) -> str:
    """That `what` changed, with the first of its `differences`."""
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return f"{what} changed: {', '.join(told[:SHOWN])}{more}"


def _settings(thing: object) -> dict[str, str]:
    properties = thing.properties if isinstance(thing, Entity) else {}
    told = json.loads(str(properties.get("settings") or "{}"))
    return {str(name): str(value) for name, value in told.items()}
