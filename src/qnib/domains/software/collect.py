"""What is read of software on each machine, and how often.

Packages are asked for when the file changed that the package manager writes last, and every hour; libraries when jobs
start and rarely afterwards.
"""

from __future__ import annotations

from qnib.domains.software.happened import events
from qnib.domains.software.loaded import parse_loaded
from qnib.domains.software.loaded import settle as settle_loaded
from qnib.domains.software.looks import EVERY, start_loaded
from qnib.domains.software.modules import AVAIL, parse_avail, start_avail
from qnib.domains.software.packages import DPKG, RPM, parse_dpkg, parse_rpm
from qnib.domains.software.sets import settle
from qnib.model import Capture

HOURLY = 3600.0
DATABASES = tuple(
    f"{folder}/{file}" for folder in ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
    for file in ("rpmdb.sqlite", "Packages.db", "Packages")
)
"""Where rpm keeps what is installed: by sqlite, ndb or Berkeley DB."""

CAPTURES = (
    Capture(
        "dpkg", DPKG, parse_dpkg, HOURLY, "node", watch=("/var/lib/dpkg/status",), source="packages", of_host=True,
        settle=settle, events=events,
    ),
    Capture(
        "rpm", RPM, parse_rpm, HOURLY, "node", watch=DATABASES, source="packages", of_host=True, settle=settle,
        events=events, timeout=60,
    ),
    Capture(
        "modules", AVAIL, parse_avail, HOURLY, "node", of_host=True, start=start_avail, settle=settle, events=events,
    ),
    Capture(
        "loaded", ("cat", "/proc/PID/maps", "/proc/PID/environ"), parse_loaded, EVERY, "node", of_host=True,
        start=start_loaded, settle=settle_loaded,
    ),
)
