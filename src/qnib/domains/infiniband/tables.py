"""Forwarding tables: for each switch the port by which it sends on to each LID. Pure parsers, and what to run.

``dump_fts``, ``ibroute``, and OpenSM's own ``opensm.fdbs`` and ``opensm-lfts.dump`` are all read. Only unicast; with
adaptive routing a switch may take other ports as well, which none of these tells.
"""

from __future__ import annotations

import re
from datetime import datetime

from qnib.domains.infiniband.nodes import guid
from qnib.model import Known, Snapshot, Table

NONE = 255
"""No port: the switch does not know the LID, or drops what is for it."""
LARGEST_LID = 0xBFFF
"""Of unicast."""

_HEAD = re.compile(
    r"^(?:Unicast lids \[.*?\] of switch .*?guid 0x([0-9a-fA-F]+) \('?(.*?)'?\):|"
    r"dump_ucast_routes: Switch 0x([0-9a-fA-F]+).*)$"
)
_ENTRY = re.compile(r"^0x([0-9a-fA-F]{4})(?:\s*:\s*|\s+)(\d{3}|UNREACHABLE|None)\b")
_OTHER = re.compile(r"^\s*(?:Lid\s+Out|Port\s+Info|LID\s*:|\d+ (?:valid )?lids dumped|#|ibwarn:)|^\s*$")


def parse_tables(text: str, at: datetime) -> Snapshot:
    """A `Table` for each switch. Raises ValueError with the line that is none of a dump's, and for a dump that was
    cut short: half a table would send packets nowhere."""
    tables: list[Table] = []
    ports: bytearray | None = None
    dumped = 0
    lines = text.split("\n")
    if lines[-1].strip():
        raise ValueError(f"cut short at: {lines[-1][:200]!r}")
    for line in lines:
        if entry := _ENTRY.match(line):
            if ports is None:
                raise ValueError(f"an entry before any switch: {line[:200]!r}")
            lid = int(entry[1], 16)
            if lid > LARGEST_LID:
                raise ValueError(f"no unicast lid: {line[:200]!r}")
            if lid >= len(ports):
                ports.extend(bytes([NONE]) * (lid + 1 - len(ports)))
            ports[lid] = int(entry[2]) if entry[2].isdigit() else NONE
            dumped += 1
        elif head := _HEAD.match(line):
            if ports is not None:
                tables[-1] = _filled(tables[-1], ports, dumped)
            ports, dumped = bytearray([NONE]), 0
            own = guid(head[1] or head[3])
            tables.append(Table((head[2] or "").strip(), b"", own))
        elif not _OTHER.match(line):
            raise ValueError(f"not a line of a forwarding table: {line[:200]!r}")
        elif (told := re.match(r"\s*(\d+) (?:valid )?lids dumped", line)) and int(told[1]) != dumped:
            raise ValueError(f"{told[1]} lids were dumped and {dumped} are here, before: {line[:200]!r}")
    if ports is None:
        raise ValueError("no switch in the dump")
    tables[-1] = _filled(tables[-1], ports, dumped)
    return Snapshot(tables=tables)


def _filled(table: Table, ports: bytearray, entries: int) -> Table:
    """A switch that no subnet manager has given a table yet has none, which is not the same as dropping everything."""
    return Table(table.switch, bytes(ports) if entries else b"", table.guid)


def settle_tables(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """Tables by the switches' keys in the record, found by their GUIDs; of a switch nobody knows, by its name."""
    keys = {str(switch.properties.get("guid")): switch.key for switch in known.open("SW")}
    return Snapshot(tables=[
        Table(keys.get(table.guid, table.switch or table.guid), table.ports, table.guid) for table in seen.tables
    ])
