"""What the parts of a blueprint are made of: tables without unknown keys, names, and errors that know their place."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")

SYSTEM_NAMES = frozenset((
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data", "backup",
    "list", "irc", "nobody", "munge", "slurm", "adm", "tty", "disk", "users", "staff", "sudo", "audio", "video",
    "operator", "shadow", "utmp", "plugdev", "input", "kvm", "render", "crontab", "dialout", "fax", "voice", "cdrom",
    "floppy", "tape", "dip", "src", "sasl", "nogroup", "messagebus", "sshd",
))
"""Users and groups of Debian's own."""

WORD = r"[a-z][a-z0-9_-]{0,30}"
Word = Annotated[str, Field(pattern=f"^{WORD}$")]

LIMIT = r"(UNLIMITED|(\d+-)?\d+(:\d+){0,2})"
"""A time limit as SLURM writes it: minutes, or days-hours:minutes:seconds."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def at(path: list[int | str], what: str) -> PydanticCustomError:
    """An error about what stands at `path`, whoever notices it."""
    return PydanticCustomError("blueprint", "{what}", {"path": path, "what": what})


def packages(names: list[str]) -> list[str]:
    """Names of Debian packages, sorted, each once; raises ValueError for what is none."""
    for name in names:
        if not _PACKAGE.fullmatch(name):
            raise ValueError(f"{name!r} is no Debian package name")
    return sorted(set(names))
