"""What to ask the fabric: topology, forwarding tables, what links could be, and the counters of every port.

Only the ordinary infiniband-diags are used, so the same runs on a simulator and on a site's fabric. What their
answers mean is in `topology`, `linkinfo`, `tables` and `counters`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qnib.domains import configs
from qnib.domains.infiniband.cables import parse_cables, settle_cables
from qnib.domains.infiniband.counters import (
    ERRORS,
    METRICS,
    ibqueryerrors_numbers,
    parse_counters,
    parse_ibqueryerrors_file,
    parse_perfquery_file,
    perfquery_numbers,
)
from qnib.domains.infiniband.happened import events
from qnib.domains.infiniband.identity import settle
from qnib.domains.infiniband.linkinfo import parse_capability, parse_iblinkinfo, settle_capability
from qnib.domains.infiniband.nodes import host_of
from qnib.domains.infiniband.tables import parse_tables, settle_tables
from qnib.domains.infiniband.topology import parse_subnet, parse_topology
from qnib.domains.paths import segment
from qnib.model import Capture, Reading

__all__ = ["CAPTURES", "METRICS", "READINGS", "host_of", "parse_counters", "parse_topology", "start_counters"]

Points = Sequence[tuple[str, float]]


def start_counters(host: str) -> Callable[[], Points]:
    """Every port's counters at each call, by two passes of ibqueryerrors (15 ms each for 9 nodes)."""

    def read() -> Points:
        import subprocess  # only the fabric's agent needs it

        def ask(*options: str) -> dict[tuple[str, int], dict[str, int]]:
            # The exit status is 1 when there are errors to show, which is what it is asked for.
            done = subprocess.run(("ibqueryerrors", *options), capture_output=True, text=True, timeout=3, check=False)
            return parse_counters(done.stdout)

        ports = ask("--counters")
        errors = ask("--details")
        points = []
        for (node, port), values in ports.items():
            values.update({name: errors.get((node, port), {}).get(name, 0) for name in ERRORS})
            base = f"infiniband.{segment(node)}.{port}"
            points += [(f"{base}.{name}", float(value)) for name, value in values.items()]
        return points

    return read


READINGS = (Reading("counters", 4, "fabric", start_counters),)

_ROUTED = r"tables configured on all switches"
"""OpenSM's word that it has computed the routes anew: min-hop, up/down or fat-tree."""

OPENSM_CONF = "/etc/opensm/opensm.conf"

CAPTURES = (
    Capture(
        "topology", ("ibnetdiscover",), parse_topology, 60, "fabric",
        (
            r"num:128 \(Link state change\)", r"drop_mgr_remove_port: Removed port", r"Discovered new port",
            r"\bSUBNET UP\b", r"num:144 \(",
        ),
        settle=settle, events=events,
    ),
    Capture(
        "iblinkinfo", ("iblinkinfo",), parse_iblinkinfo, 60, "file", settle=settle, events=events, source="topology",
    ),
    Capture(
        "opensm-subnet", ("cat", "/var/cache/opensm/opensm-subnet.lst"), parse_subnet, 60, "file", settle=settle,
        events=events, source="topology",
    ),
    Capture(
        "capability", ("iblinkinfo", "-l"), parse_capability, 900, "fabric", (r"Discovered new port",),
        settle=settle_capability,
    ),
    Capture(
        "opensm-options", ("cat", OPENSM_CONF), configs.parser("opensm.conf", configs.words), 3600, "fabric",
        watch=(OPENSM_CONF,), of_host=True, events=configs.events,
    ),
    Capture("cables", ("cat", "ibdiagnet2.db_csv"), parse_cables, 3600, "file", settle=settle_cables),
    Capture(
        "ibqueryerrors", ("ibqueryerrors", "--counters"), parse_ibqueryerrors_file, 60, "file",
        numbers=ibqueryerrors_numbers,
    ),
    Capture("perfquery", ("perfquery", "-x"), parse_perfquery_file, 60, "file", numbers=perfquery_numbers),
    Capture("tables", ("dump_fts", "-n"), parse_tables, 3600, "fabric", (_ROUTED,), settle=settle_tables),
)
