"""Finds where to take Debian packages from: the setting, else the host's own Debian mirror, else Debian's default."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEYRINGS = Path("/usr/share/keyrings")

_FORMAT = "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(REPO_URI)"


def index_targets() -> str:
    """What apt is configured to read, one line per index; empty where there is no apt."""
    try:
        told = subprocess.run(["apt-get", "indextargets", "--format", _FORMAT], capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return told.stdout.decode(errors="replace")


def sources(chosen: str, targets: str, suite: str) -> str:
    """The sources.list to build from; empty leaves the choice to mmdebstrap, which knows Debian's default.

    `chosen` is the setting terminal.mirror, `targets` the text of `index_targets`, `suite` the release wanted.

    >>> print(sources("", "Packages|Debian|Debian|http://mirror/debian/", "trixie"))
    deb http://mirror/debian trixie main
    deb http://mirror/debian trixie-updates main
    """
    main, security = chosen.rstrip("/"), ""
    for line in targets.splitlines():
        created_by, origin, label, uri = [*line.split("|"), "", "", "", ""][:4]
        if created_by != "Packages" or origin != "Debian":
            continue
        if label == "Debian" and not main:
            main = uri.rstrip("/")
        if label == "Debian-Security" and not chosen:
            security = uri.rstrip("/")
    if not main:
        return ""
    lines = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    if security:
        lines.append(f"deb {security} {suite}-security main")
    return "\n".join(lines)


def keyring() -> Path | None:
    """Debian's keys on this host. An Ubuntu host has them in the package debian-archive-keyring."""
    file = KEYRINGS / "debian-archive-keyring.gpg"
    return file if file.is_file() else next(iter(sorted(KEYRINGS.glob("debian-archive-keyring.*"))), None)
