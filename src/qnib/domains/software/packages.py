"""Installed packages, from what dpkg and rpm print and from dpkg's own file.

A package that is unpacked but not configured, or only half there, is told as such: it is a version of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from qnib.domains.software.sets import whole
from qnib.model import HERE, Entity, Ref, Relation, Snapshot

DPKG = ("dpkg-query", "-W", r"-f=${Package}\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n")
RPM = ("rpm", "-qa", "--qf", r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\n")

_ABSENT = frozenset("nc")
"""dpkg's second letter: not installed; only its configuration files are left."""
_BROKEN = {"H": "half-installed", "U": "unpacked", "F": "half-configured"}
_STATUS = {"not-installed": "n", "config-files": "c", "half-installed": "H", "unpacked": "U", "half-configured": "F"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_NEVRA = re.compile(r"(?P<name>\S+)-(?P<version>[^\s-]+-[^\s-]+)\.(?P<arch>[^\s.-]+)")


def parse_dpkg(text: str, at: datetime) -> Snapshot:
    """From `DPKG`, ``dpkg -l`` or the file /var/lib/dpkg/status. Raises ValueError with the line.

    Plain ``dpkg-query -W`` is refused: it lists what was removed like what is there.
    """
    return _dpkg(text)


@lru_cache(maxsize=8)  # a cluster's hosts mostly say the same
def _dpkg(text: str) -> Snapshot:
    if text.startswith("Package:"):
        found = list(_stanzas(text))
    elif text.startswith("Desired="):
        found = list(_table(text))
    else:
        found = list(_query(text))
    if not found:
        raise ValueError(f"no package in {text[:80]!r}")
    return _installed(found)


def parse_rpm(text: str, at: datetime) -> Snapshot:
    """From `RPM` or plain ``rpm -qa``. Raises ValueError with the line."""
    return _rpm(text)


@lru_cache(maxsize=8)
def _rpm(text: str) -> Snapshot:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) == 1 and (match := _NEVRA.fullmatch(line.strip())):
            fields = [match["name"], match["version"], match["arch"]]
        if len(fields) != 3 or not all(fields) or not _NAME.fullmatch(fields[0]):
            if line.startswith("gpg-pubkey-"):  # a key that signs packages: neither a program nor a library
                continue
            raise ValueError(f"line {number} is no package of rpm's: {line[:120]!r}")
        if fields[0] != "gpg-pubkey":
            found.append(_package(fields[0], fields[1], fields[2], "rpm"))
    if not found:
        raise ValueError(f"no package in {text[:80]!r}")
    return _installed(found)


def named(key: str) -> tuple[str, str]:
    """Name and version of a package from its key.

    >>> named("libc6_2.41-12_amd64.deb"), named("openssl-libs-1:3.0.7-27.el9_4.x86_64.rpm")
    (('libc6', '2.41-12'), ('openssl-libs', '1:3.0.7-27.el9_4'))
    """
    file, _, state = key.partition(" ")
    if file.endswith(".deb"):
        name, version = file.split("_")[:2]
    elif match := _NEVRA.fullmatch(file.removesuffix(".rpm")):
        name, version = match["name"], match["version"]
    else:
        name, version = file, ""
    return name, f"{version} ({state})" if state else version


def _installed(packages: list[Entity]) -> Snapshot:
    made, items, holds = whole("packages", packages)
    tie = Relation("HAS_SOFTWARE", Ref("Host", HERE), made.ref, {"what": "packages"})
    return Snapshot([made, *items], [tie, *holds], frozenset({"HAS_SOFTWARE"}))


def _package(name: str, version: str, arch: str, form: str, state: str = "") -> Entity:
    key = f"{name}_{version}_{arch}.deb" if form == "dpkg" else f"{name}-{version}.{arch}.rpm"
    if state:
        key, version = f"{key} {state}", f"{version} ({state})"
    return Entity("Package", key, {"name": name, "version": version, "arch": arch, "format": form})


def _deb(name: str, version: str, arch: str, letter: str, where: str) -> Entity | None:
    """The package, None for one that is not there; `letter` is dpkg's for the state it is in."""
    name, _, told = name.partition(":")
    if not _NAME.fullmatch(name) or letter not in "ncHUFWti":
        raise ValueError(f"{where} is no package of dpkg's")
    if letter in _ABSENT:
        return None
    if not version or " " in version:
        raise ValueError(f"{where} has no version")
    return _package(name, version, arch or told or "all", "dpkg", _BROKEN.get(letter, ""))


def _query(text: str) -> Iterator[Entity]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        where = f"line {number}: {line[:120]!r}"
        if len(fields) == 2:
            raise ValueError(f"{where} does not say whether it is installed; take {' '.join(DPKG)!r} or dpkg -l")
        if len(fields) != 4 or len(fields[3]) < 2:
            raise ValueError(f"{where} is no package of dpkg's")
        found = _deb(fields[0], fields[1], fields[2], fields[3][1], where)
        if found is not None:
            yield found


def _table(text: str) -> Iterator[Entity]:
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("+++-")), None)
    if start is None:
        raise ValueError(f"dpkg's list has no line +++-: {lines[0][:120]!r}")
    for number, line in enumerate(lines[start + 1:], start + 2):
        fields = line.split(None, 4)
        where = f"line {number}: {line[:120]!r}"
        if len(fields) < 4 or len(fields[0]) < 2:
            raise ValueError(f"{where} is no package of dpkg's")
        found = _deb(fields[1], fields[2], fields[3], fields[0][1], where)
        if found is not None:
            yield found


def _stanzas(text: str) -> Iterator[Entity]:
    for number, stanza in enumerate(re.split(r"\n\n+", text.strip("\n")), 1):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", stanza, re.MULTILINE))
        where = f"record {number}: {stanza[:120]!r}"
        words = fields.get("Status", "").split()
        if "Package" not in fields or len(words) != 3:
            raise ValueError(f"{where} has no Package or no Status")
        letter = _STATUS.get(words[2], "i")
        found = _deb(fields["Package"], fields.get("Version", ""), fields.get("Architecture", ""), letter, where)
        if found is not None:
            yield found
