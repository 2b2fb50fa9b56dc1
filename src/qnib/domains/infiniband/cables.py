"""The serial numbers that cables' EEPROMs tell, from ibdiagnet's ``ibdiagnet2.db_csv`` (its section CABLE_INFO).

A cable tells the same serial at both ends. Two modules with a fibre between them tell one each: such a link's cable
has no serial that could be read, and stays known by where it was plugged in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime

from qnib.domains.infiniband.identity import ends_of
from qnib.domains.infiniband.nodes import guid
from qnib.model import Entity, Known, Ref, Relation, Snapshot

_NEEDED = {"NodeGuid", "PortNum", "SN"}
_UNREAD = {"", "NA", "N/A"}


def parse_cables(text: str, at: datetime) -> Snapshot:
    """A CABLE for each serial, with a USES from each end (``node GUID/port``) to it; `settle_cables` finds whose they
    are. Raises ValueError for a text without that section, or with a row that is none."""
    cables: dict[str, Entity] = {}
    ties: list[Relation] = []
    for row in _rows(text):
        serial = row["SN"].strip()
        if serial in _UNREAD:
            continue
        cables[serial] = Entity(
            "CABLE", serial, {"name": serial, "serial": serial, "identity": "serial", "inferred": False, "maybe": ""}
        )
        ties.append(Relation("USES", Ref("CONNECTION", f"{guid(row['NodeGuid'])}/{int(row['PortNum'])}"),
                             Ref("CABLE", serial)))
    return Snapshot(list(cables.values()), ties, partial=True)


def _rows(text: str) -> Iterator[dict[str, str]]:
    inside, ended = text.partition("START_CABLE_INFO\n")[2], False
    names: list[str] = []
    for fields in csv.reader(inside.splitlines()):
        if fields == ["END_CABLE_INFO"]:
            ended = True
            break
        if not names:
            names = [name.strip() for name in fields]
            if not set(names) >= _NEEDED:
                raise ValueError(f"no columns {', '.join(sorted(_NEEDED - set(names)))} in {','.join(fields)[:200]!r}")
        elif len(fields) != len(names):
            raise ValueError(f"not a row of CABLE_INFO: {','.join(fields)[:200]!r}")
        else:
            yield dict(zip(names, fields, strict=True))
    if not ended:
        raise ValueError("no whole section CABLE_INFO: not a db_csv of ibdiagnet, or cut short")


def settle_cables(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """The connections whose cable is known now by its serial; what is not plugged in as far as we know is left out."""
    devices = {
        str(device.properties["guid"]): device.key
        for kind in ("HCA", "SW") for device in known.open(kind) if device.properties.get("guid")
    }
    serials: dict[str, str] = {}
    for tie in seen.relations:
        told, _, number = tie.source.key.rpartition("/")
        if told in devices:
            serials[f"{devices[told]}/{number}"] = tie.target.key
    about = {cable.key: cable for cable in seen.entities}
    found: dict[str, str] = {}
    for connection in known.open("CONNECTION"):
        read = {serials[end] for end in ends_of(connection.key) if end in serials}
        if len(read) == 1:
            found[connection.key] = read.pop()
    return Snapshot(
        [about[serial] for serial in dict.fromkeys(found.values())],
        [Relation("USES", Ref("CONNECTION", key), Ref("CABLE", serial)) for key, serial in found.items()],
        partial=True,
    )
