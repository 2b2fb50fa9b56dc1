"""Environment modules: what a machine offers, from `module -t avail` or read from MODULEPATH by the agent.

The agent reads trees on file systems of the machine's own only: a tree that ten thousand nodes share is the same for
all and must not be walked by each of them. `qnib load modules` brings those.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from qnib.domains.software.sets import whole
from qnib.model import HERE, Entity, Ref, Relation, Snapshot

AVAIL = ("sh", "-lc", "module -t avail 2>&1")
PATHS = ("/etc/environment-modules/modulespath", "/etc/lmod/modulespath", "/etc/modulefiles/.modulespath")
"""Files that name the trees, a path or several with colons on a line."""
SHARED = frozenset({"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cvmfs", "afs", "fuse", "fuse.cvmfs2", "panfs"})
DEEPEST, MOST = 5, 5000
"""Levels of folders and files looked at in all trees of a machine."""

_NAME = re.compile(r"[^\s:()<>]+")
_MARK = re.compile(r"\s*(\([^)]*\)|<[^>]*>)")


def parse_avail(text: str, at: datetime) -> Snapshot:
    """From ``module -t avail`` of Lmod or of Environment Modules: names, below the folder they are found in.

    Aliases, folders and marks like ``(default)`` are left out. Raises ValueError with the line.
    """
    found: dict[str, Entity] = {}
    folders = 0
    for number, line in enumerate(text.splitlines(), 1):
        told = line.strip()
        if not told:
            continue
        if told.startswith("/") and told.endswith(":"):
            folders += 1
            continue
        name = _MARK.sub("", told)
        if not _NAME.fullmatch(name):
            raise ValueError(f"line {number} is no module: {line[:120]!r}")
        if name.endswith("/") or "(@" in told:
            continue
        if not folders:
            raise ValueError(f"line {number} stands below no folder: {line[:120]!r}")
        found[name] = module(name)
    if not folders:
        raise ValueError(f"no folder in {text[:80]!r}")
    made, items, holds = whole("modules", found.values())
    tie = Relation("HAS_SOFTWARE", Ref("Host", HERE), made.ref, {"what": "modules"})
    return Snapshot([made, *items], [tie, *holds], frozenset({"HAS_SOFTWARE"}))


def module(name: str) -> Entity:
    """The module of that full name: what stands after the first slash is its version."""
    first, _, version = name.partition("/")
    return Entity("Module", name, {"name": first, "version": version})


# ── in the agent ──────────────────────────────────────────────────────────────────────────────


def start_avail(host: str) -> Callable[[], str | None]:
    """The text of `AVAIL` for the trees of this machine's own; nothing where there are none."""

    def read() -> str | None:
        mounted = kinds(_text("/proc/self/mountinfo"))
        trees = [tree for tree in named_trees(PATHS) if kind_of(tree, mounted) not in SHARED]
        found = [f"{tree}:\n" + "".join(f"{name}\n" for name in walk(tree)) for tree in trees if Path(tree).is_dir()]
        return "\n".join(found) or None

    return read


def named_trees(files: Iterable[str]) -> list[str]:
    """The trees that MODULEPATH and these files name, once each."""
    told = [os.environ.get("MODULEPATH", "")]
    for file in files:
        told += [line.partition("#")[0].strip() for line in _text(file).splitlines()]
    return list(dict.fromkeys(path for line in told for path in line.split(":") if path.startswith("/")))


def walk(tree: str) -> list[str]:
    """Names of the modules below a folder: files that say they are one, and Lua's; sorted."""
    found: list[str] = []
    seen = 0
    waiting = [(tree, 0)]
    while waiting and seen < MOST:
        folder, level = waiting.pop()
        for entry in _entries(folder):
            seen += 1
            if entry.name.startswith((".", "_")) or entry.name.endswith("~"):
                continue
            if entry.is_dir():
                if level < DEEPEST:
                    waiting.append((entry.path, level + 1))
                continue
            name = entry.path[len(tree) + 1:]
            if name.endswith(".lua"):
                found.append(name[:-4])
            elif _begins(entry.path, b"#%Module"):
                found.append(name)
    return sorted(found)


def kinds(mountinfo: str) -> dict[str, str]:
    """The file system's type by mount point, from the text of mountinfo."""
    found = {}
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if dash and len(fields) > 4:
            found[fields[4]] = rest[0]
    return found


def kind_of(path: str, mounted: dict[str, str]) -> str:
    """The type of the file system that a path lies on."""
    best = max((point for point in mounted if f"{path}/".startswith(f"{point.rstrip('/')}/")), key=len, default="")
    return mounted.get(best, "")


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return  # gone, or not for us to read


def _begins(path: str, start: bytes) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - called for every file of a tree, pathlib costs
            return file.read(len(start)) == start
    except OSError:
        return False


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
