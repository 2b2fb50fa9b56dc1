"""What SQL parses, fed with what nobody meant: each record becomes points, samples, an event or a reject that says why.

Every record has a sender of its own, so that what was lost in silence is found; and after each round a good record
arrives. What people ask the engine (globs, tag expressions, event queries) is asked of it, too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from qnib.errors import QnibError
from qnib.monitoring.frames import Origin, block, row
from qnib.monitoring.graphite import find
from qnib.monitoring.writer import Writer
from tests.data import real
from tests.fuzzing import SECONDS, one_of, rounds, text_of, tried

from .conftest import NOW, Plant
from .test_fuzz_readers import GLOBS, INFLUX, TAGS

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore:Possible.*:FutureWarning")]
T = int(NOW.timestamp())
RECORDS = 400
ROUND_SECONDS = 30.0  # a file of so few records takes a fraction of one; more is work that grows with its square
TABLES = ("points", "series", "job_samples", "events", "patterns", "rejects")


def fed(plant: Plant, form: str, listener: str, rows: Mapping[str, bytes]) -> Writer:
    """All records, by their sender, as one spool file that was taken in."""
    for table in TABLES:
        plant.engine.run(f"TRUNCATE TABLE qnib.{table}")
    spool = plant.spool()
    name = f"{time.time_ns():020d}-{random.getrandbits(32):08x}.{form}"
    (spool.ready_folder / name).write_bytes(b"".join(rows.values()))
    writer, began = plant.writer(spool), time.monotonic()
    writer.drain()
    assert not writer.trouble, writer.trouble
    assert time.monotonic() - began < ROUND_SECONDS
    return writer


def each(records: Sequence[bytes], listener: str, make: Callable[[bytes], Sequence[bytes] | None]) -> dict[str, bytes]:
    """Rows of the spool: framed ones as `make` gives them, a block of lines where it gives none."""
    found = {}
    for number, record in enumerate(records):
        prefix = Origin("demo", f"s{number}", listener).prefix()
        framed = make(record)
        moment = T * 1_000_000
        found[f"s{number}"] = block(moment, prefix, record) if framed is None else row(moment, prefix, framed)
    return found


def senders(plant: Plant, *tables: str) -> set[str]:
    asked = " UNION ALL ".join(f"SELECT toString(sender) AS sender FROM {table}" for table in tables)
    return {found["sender"] for found in plant.rows(f"SELECT DISTINCT sender FROM ({asked})")}


# ── numbers ───────────────────────────────────────────────────────────────────────────────────

CARBON = [
    f"servers.c1.cpu.used 1.5 {T}\n".encode(), f"a.b;host=c1;rack=r1 -2e-3 {T}.25\r\n".encode(), b"x 1 -1",
    f"slurm.job.7.0.1.c1.cpu 9 {T}\n".encode(), f"a..b 1 {T}\n.a 2 {T}\nb. 3 {T}\n;a=1 4 {T}\na; 5 {T}".encode(),
    f"t;a=1;a=2 1 {T}\nt;a 1 {T}\nt;=1 1 {T}\nt;a==1 1 {T}\nt;~a=~1 1 {T}".encode(), b"s." * 1000 + b"end 1 -1",
    b"t" + b"".join(b";k%d=v" % n for n in range(300)) + b" 1 -1", f"q\"'\\x 1 {T}\n\x00\x1b 2 {T}".encode(),
    f"d 1 {T}\nd 2 {T}\nd 3 {T}".encode(), b"far 1 99999999999\nneg 1 -5\nbig 1 1e300\nbig 1e999 -1\nnan nan -1\n",
]  # fmt: skip


def test_carbon(plant: Plant) -> None:
    for chance in rounds():
        records = [one_of(chance, CARBON) for _ in range(RECORDS)]
        writer = fed(plant, "carbon", "carbon/tcp", each([*records, b"good 1 -1"], "carbon/tcp", lambda _: None))
        lines = [line for record in records for line in record.split(b"\n") if line.split()]
        told = {name: writer.counts[name] for name in ("points", "samples", "rejects")}
        assert sum(told.values()) == len(lines) + 1, told
        (stored,) = plant.rows("SELECT count() AS n, countIf(reason = '') AS bare FROM qnib.rejects")
        assert (stored["n"], stored["bare"]) == (told["rejects"], 0)
        wanted = {f"s{number}" for number, record in enumerate(records) if record.split()} | {f"s{RECORDS}"}
        assert senders(plant, "qnib_staging.carbon") == wanted
        assert plant.rows("SELECT path FROM qnib.series FINAL WHERE path = 'good'"), "the next one arrives"


def test_influx(plant: Plant) -> None:
    for chance in rounds():
        records = [one_of(chance, INFLUX).split(b"\n")[0] for _ in range(RECORDS)]
        unit = chance.choice((b"ns", b"s", b"h"))
        made = each([*records, b"good f=1"], "influx/http", lambda record, unit=unit: [unit, record])  # type: ignore[misc]
        fed(plant, "influx", "influx/http", made)
        blank = [b"", b" ", b"#"]
        wanted = {f"s{n}" for n, told in enumerate(records) if told.strip(b" \t\n\r\f\v")[:1] not in blank}
        missing = wanted - senders(plant, "qnib_staging.carbon")
        assert not missing, [records[int(one[1:])] for one in missing][:5]
        assert plant.rows("SELECT path FROM qnib.series FINAL WHERE path = 'good.f'"), "the next one arrives"


# ── logs ──────────────────────────────────────────────────────────────────────────────────────

SYSLOG = [
    b"<13>Nov 20 11:00:00 c1 app[42]: message",
    b"<27>1 2026-11-20T11:00:00.250Z c1 solver 42 - [a b=\"c\\]\"] \xef\xbb\xbftext",
    b"<13>2026-11-20T11:00:00+01:00 c1 a: m", b"<999>x", b"<13>1 - - - - - -", b"<13>Feb 30 25:61:61 h a: m",
    b"<13>1 9999-12-31T23:59:60.999999999+99:99 h a - - - m", b"<0>", b"message without a head",
]  # fmt: skip
JSON = [
    b'{"message": "m", "host": "c1", "@timestamp": "2026-11-20T11:00:00Z", "level": "err", "a": {"b": {"c": [1]}}}',
    b'{"message": "m", "time": 1795176000.25}', b'{"message": "m", "ts": 99999999999999999999}', b'{"ts": 1e999}',
    b'{"message": "m", "time": "9999-99-99"}', b'{"log": {"log": {"log": {"log": {"log": {"log": 1}}}}}}', b"{}", b"[]",
    b'{"host": {"name": "c1"}, "msg": "\\ud800\\u0000", "time": "-1e30"}', b'{"a":1,"a":2,"message":"twice"}',
    b"{" * 2000 + b"}" * 2000, b'{"m":' * 1200 + b"1" + b"}" * 1200, b'{"message": "m", "time": "1e400", "pid": -1}',
]  # fmt: skip


def _logs() -> list[bytes]:
    linux = real("logs/Linux_2k.log").read_bytes().splitlines()[::50]
    return [b"<13>" + line for line in linux]


def test_syslog(plant: Plant) -> None:
    samples = SYSLOG + _logs()
    for chance in rounds(2 * SECONDS):
        records = [one_of(chance, samples) for _ in range(RECORDS)]
        fed(plant, "syslog", "syslog/udp", each([*records, b"<13>good"], "syslog/udp", lambda record: [record]))
        wanted = {f"s{n}" for n, told in enumerate(records) if told.strip(b"\0\n\r\t ")}
        missing = wanted - senders(plant, "qnib.events", "qnib.rejects")
        assert not missing, [records[int(one[1:])] for one in missing][:5]
        assert not plant.rows("SELECT raw FROM qnib.rejects WHERE reason = ''")
        assert plant.rows("SELECT id FROM qnib.events WHERE message = 'good'"), "the next one arrives"


def test_documents(plant: Plant) -> None:
    for chance in rounds(2 * SECONDS):
        records = [one_of(chance, JSON) for _ in range(RECORDS)]
        listener = chance.choice(("json/tcp", "gelf/udp"))
        good = b'{"message": "good"}'
        fed(plant, "json", listener, each([*records, good], listener, lambda record: [record]))
        wanted = {f"s{n}" for n, told in enumerate(records) if told.strip(b"\0\n\r\t ")}
        missing = wanted - senders(plant, "qnib.events", "qnib.rejects")
        assert not missing, [records[int(one[1:])] for one in missing][:5]
        assert plant.rows("SELECT id FROM qnib.events WHERE message = 'good'"), "the next one arrives"


# ── what people ask ───────────────────────────────────────────────────────────────────────────


def test_what_is_asked_of_series(plant: Plant) -> None:
    plant.carbon(f"servers.c1.cpu.used 1 {T}\ncpu.used;host=c1 2 {T}\n")
    for chance in rounds():
        for _ in range(20):
            glob, told = text_of(chance, GLOBS), [text_of(chance, TAGS)]
            tag, prefix, pattern = (text_of(chance, ["host", "c.*", "(?=x)", "[z-a]"]) for _ in range(3))
            asked: list[tuple[Any, ...]] = [
                (find.by_glob, glob), (find.level, glob), (find.by_tags, told), (find.tags, pattern, 10),
                (find.values, tag, pattern, 10), (find.complete_tags, told, prefix, 10),
                (find.complete_values, [], tag, prefix, 10),
            ]  # fmt: skip
            for ask, *rest in asked:
                tried((QnibError,), ask, plant.engine, "demo", *rest)
    assert len(find.by_glob(plant.engine, "demo", "servers.*.cpu.used")) == 1


