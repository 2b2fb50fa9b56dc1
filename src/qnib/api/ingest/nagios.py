"""Performance data of Nagios' plug-ins: what a plug-in printed, or the files that Nagios, Naemon and Icinga write.

``check_load … | curl --data-binary @- …/ingest/perfdata?host=n1&service=load``; or lines as PNP4Nagios has them
written, which tell host, service and time themselves. ``'label'=value[unit];warn;crit;min;max`` is a point of the
series ``nagios.label;host=…;service=…;unit=…``. Limits are not kept: they are settings, not measurements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastapi import APIRouter, Request

from qnib.api.ingest.numbers import admit_numbers, hand_in_numbers, line, series
from qnib.api.ingest.sender import decoded
from qnib.errors import WrongUse

router = APIRouter()
_ITEM = re.compile(r"(?:'((?:[^']|''){1,255})'|([^\s='][^\s=]{0,254}))=(\S*)")
_VALUE = re.compile(r"([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)([^\d.,]*)")
_UNITS = {
    "": ("", 1.0), "s": ("s", 1.0), "ms": ("s", 1e-3), "us": ("s", 1e-6), "µs": ("s", 1e-6), "ns": ("s", 1e-9),
    "%": ("%", 1.0), "B": ("B", 1.0),
    **{f"{prefix}B": ("B", 1000.0**n) for n, prefix in enumerate("KMGTP", 1)},
    **{f"{prefix}iB": ("B", 1024.0**n) for n, prefix in enumerate("KMGTP", 1)},
}  # fmt: skip
"""What is written after a value: the unit kept, and how many of it one of these is; Icinga's reading of KB."""


@dataclass
class Read:
    """Points as carbon's lines, and what was no performance data: reason and text."""

    lines: list[bytes] = field(default_factory=list)
    refused: list[tuple[str, bytes]] = field(default_factory=list)


@router.post("/ingest/perfdata", status_code=202)
async def perfdata(request: Request, host: str = "", service: str = "") -> dict[str, int]:
    """Take in a plug-in's output, of `host` and `service`, or PNP4Nagios' lines. Raises WrongUse without a host."""
    origin, body = await admit_numbers(request, "perfdata/http")
    text = body.decode("utf-8", "replace")
    files = text.lstrip().startswith("DATATYPE::")
    if not files and not host:
        raise WrongUse("Whose data it is must be told.", where="/ingest/perfdata", try_next="add ?host=…&service=….")
    read = await decoded(lambda: read_files(text) if files else read_output(text, host, service), len(body))
    await hand_in_numbers(request, origin, read.lines)
    for reason, raw in read.refused:
        request.app.state.qnib.receiver.reject(origin, reason, raw)
    return {"acknowledged": len(read.lines), "rejected": len(read.refused)}


def read_output(text: str, host: str, service: str) -> Read:
    """Of what one plug-in printed: what follows ``|`` in the first line, and all that follows a later one.

    Without any ``|`` all of it is performance data.
    """
    first, _, rest = text.partition("\n")
    parts = [first.partition("|")[2], rest.partition("|")[2]] if "|" in text else [text]
    read = Read()
    for part in parts:
        _take(read, part, {"host": host, "service": service}, None)
    return read


def read_files(text: str) -> Read:
    """Of lines ``DATATYPE::…<tab>TIMET::…<tab>HOSTNAME::…<tab>SERVICEDESC::…<tab>SERVICEPERFDATA::…``."""
    read = Read()
    for one in text.splitlines():
        if not one.strip():
            continue
        told = dict(pair.split("::", 1) for pair in one.split("\t") if "::" in pair)
        stamp = told.get("TIMET", "")
        if not told.get("HOSTNAME") or not stamp.isdecimal() or len(stamp) > 12:
            read.refused.append(("not a line with HOSTNAME and TIMET", one.encode()))
            continue
        whose = {"host": told["HOSTNAME"], "service": told.get("SERVICEDESC", "")}
        _take(read, told.get("SERVICEPERFDATA") or told.get("HOSTPERFDATA", ""), whose, float(stamp))
    return read


def _take(read: Read, text: str, whose: dict[str, str], seconds: float | None) -> None:
    bad = []
    for label, value, unit in items(text):
        if not label:
            bad.append(value)
        elif value != "U":  # it could not be determined
            kept, times = _UNITS.get(unit, (unit, 1.0))
            tags = {**whose, "unit": kept} if unit != "c" else {**whose, "mtype": "counter"}
            read.lines.append(line(series(f"nagios.{label}", tags), float(value.replace(",", ".")) * times, seconds))
    if bad:
        more = f" and {len(bad) - 1} more" if bad[1:] else ""
        read.refused.append(("not 'label'=value", f"{whose['host']} {whose['service']}: {bad[0]}{more}".encode()))


def items(text: str) -> Iterator[tuple[str, str, str]]:
    """Label, value and unit of each item; of what is none, an empty label and the text."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _ITEM.match(text, at)
        if found is None:
            end = next((n for n in range(at, len(text)) if text[n].isspace()), len(text))
            yield "", text[at:end], ""
            at = end
            continue
        at = found.end()
        label = (found[1] or found[2]).replace("''", "'")
        value = found[3].partition(";")[0]
        if value == "U":
            yield label, value, ""
        elif told := _VALUE.fullmatch(value):
            yield label, told[1], told[2]
        else:
            yield "", found[0], ""
