"""Log files from people: where a record begins, which year it is, what belongs together; real files, none lost."""

from __future__ import annotations

import asyncio
import csv
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qnib.clock import micros
from qnib.errors import WrongUse
from qnib.monitoring.captured import KINDS, frame, pieces
from qnib.monitoring.frames import Origin, row
from qnib.monitoring.loads import Loaded
from tests.data import real

from .conftest import NOW, Plant

engine = pytest.mark.engine
CAPTURED = datetime(2026, 11, 20, 12)


def records(kind: str, text: str, captured: datetime = CAPTURED, **options: Any) -> list[str]:
    return [record.decode() for record in frame(kind, text.encode(), captured, **options).records]


# ── years ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stamps", "captured", "years"),
    [
        (["Jun 14", "Jul 27"], CAPTURED, [2026, 2026]),
        (["Nov 21"], CAPTURED, [2026]),  # 12 hours ahead is some zone
        (["Nov 22"], CAPTURED, [2025]),
        (["Jun 14", "Dec 24"], CAPTURED, [2025, 2025]),
        (["Dec 31", "Jan  1"], CAPTURED, [2025, 2026]),
        (["Dec 31", "Jan  1", "Dec 31", "Jan  1"], CAPTURED, [2025, 2026, 2025, 2026]),  # a late record
        (["Nov 30", "Mar  1", "Nov  1", "Jan 10", "May  1"], CAPTURED, [2024, 2025, 2025, 2026, 2026]),
        (["Jun  2", "Jun  1", "May 30"], CAPTURED, [2026] * 3),
        (["Feb 29", "Mar  1"], CAPTURED, [2024, 2024]),
        (["Dec  1", "Feb 29"], CAPTURED, [2023, 2024]),
        (["Jan  1"], datetime(2026, 12, 31, 9), [2026]),
        (["Jan  1"], datetime(2025, 12, 31, 23, 59), [2026]),
    ],
)
def test_years_are_inferred_and_never_in_the_future(stamps: list[str], captured: datetime, years: list[int]) -> None:
    found = records("syslog", "".join(f"{stamp} 00:00:01 h a: m\n" for stamp in stamps), captured)
    assert [int(record[:4]) for record in found] == years


def test_a_year_that_is_said(tmp_path: Path) -> None:
    text = "<13>Dec 31 23:59:59.5 h a: m\nJan  1 00:00:01 h a: m\nNov 20 2020 11:00:00 h a: own\n"
    assert records("syslog", text, year=2019) == [
        "<13>2019-12-31T23:59:59.5 h a: m", "2020-01-01T00:00:01 h a: m", "Nov 20 2020 11:00:00 h a: own",
    ]  # fmt: skip
    assert "2025 to 2026" in frame("syslog", text.encode(), CAPTURED).note


# ── records ───────────────────────────────────────────────────────────────────────────────────



def test_lines_without_a_time_belong_to_the_record_before() -> None:
    text = "what was cut off\nNov 20 11:00:00 h app[1]: Traceback:\n  File x\nValueError\nNov 20 11:00:01 h a: next\n"
    first, trace, last = records("syslog", text)
    assert first == "what was cut off"
    assert trace == "2026-11-20T11:00:00 h app[1]: Traceback:\n  File x\nValueError"
    assert last == "2026-11-20T11:00:01 h a: next"


def test_a_traceback_written_line_by_line_is_one_record() -> None:
    trace = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "    f()", "KeyError: 3"]
    lines = ["before", *trace, "after"]
    text = "".join(
        f"Nov 20 11:00:00 h app[1]: {line}\n" + ("Nov 20 11:00:00 h other[2]: aside\n" if line == "after" else "")
        for line in lines
    )
    found = records("syslog", text)
    assert [record.partition(": ")[2] for record in found] == ["before", "\n".join(trace), "after", "aside"]


@pytest.mark.parametrize("name", ["null_pointer", "divide_zero", "docker_hung", "aufs_umount_hung"])
@pytest.mark.parametrize("form", ["syslog", "dmesg", "raw", "plain", "iso"])
def test_a_kernels_trace_is_one_record(name: str, form: str) -> None:
    lines = real(f"logs/kernel_problems/{name}.txt").read_text().rstrip("\n").split("\n")
    around = ["eth0: link up", *lines, "eth0: link down"]
    if form == "syslog":
        text = "".join(f"Nov 20 11:00:00 c0 kernel: [ 1234.5{n:05d}] {line}\n" for n, line in enumerate(around))
        found = records("syslog", text)
    else:
        heads = {
            "dmesg": "[ 1234.5{:05d}] ", "raw": "4,{0},12345{0:05d},-;", "plain": "",
            "iso": "kern  :warn  : 2026-11-20T11:00:00,{:06d}+00:00 ",
        }  # fmt: skip
        text = "".join(f"{heads[form].format(n)}{line}\n" for n, line in enumerate(around))
        found = records("kmsg", text, host="c0")
    assert len(found) == 3
    assert found[1].count("\n") == len(lines) - 1
    for line in lines:
        assert line.rstrip() in found[1]
    assert found[2].endswith("eth0: link down")


def test_a_trace_ends_where_another_host_speaks_or_it_says_so() -> None:
    head = "Nov 20 11:00:00 {} kernel: "
    text = "".join(f"{head.format(host)}{line}\n" for host, line in (
        ("c0", "BUG: unable to handle"), ("c0", "Call Trace:"), ("c1", " [<ffff>] x"), ("c0", "Oops: 0000"),
        ("c0", "---[ end trace 61f ]---"), ("c0", " indented, but after it"),
    ))  # fmt: skip
    assert [record.count("\n") for record in records("syslog", text)] == [1, 0, 1, 0]


def test_kernel_times_are_counted_back_from_the_capture() -> None:
    first, last = records("kmsg", "<6>[   10.5] a\n<3>[   70.0] b\n", host="c0")
    assert first == "<6>2026-11-20T11:59:00.500000 c0 kernel: a"
    assert last == "<3>2026-11-20T12:00:00.000000 c0 kernel: b"
    (dated,) = records("kmsg", "[Fri Nov 20 11:00:00 2026] a\n", host="c0")
    assert dated == "<4>2026-11-20T11:00:00.000000 c0 kernel: a"


def test_levels_of_slurm_and_opensm() -> None:
    text = "[2026-11-20T11:00:00.123] error: x\n[2026-11-20T11:00:00.124+01:00] debug2: y\n[Nov 20 11:00:01] z\n more\n"
    assert records("slurmctld", text, host="ctl") == [
        "<27>2026-11-20T11:00:00.123 ctl slurmctld: error: x",
        "<31>2026-11-20T11:00:00.124+01:00 ctl slurmctld: debug2: y",
        "<30>2026-11-20T11:00:01 ctl slurmctld: z\n more",
    ]  # fmt: skip
    text = "Nov 20 11:35:38 665250 [91A89740] 0x01 -> osm_x: ERR\nNov 20 11:35:39 000001 [91A89740] 0x02 -> fine\n"
    assert records("opensm", text) == [
        "<27>2026-11-20T11:35:38.665250 opensm opensm: osm_x: ERR",
        "<30>2026-11-20T11:35:39.000001 opensm opensm: fine",
    ]  # fmt: skip


def test_what_is_asked_wrongly() -> None:
    with pytest.raises(WrongUse, match="no kind of log"):
        frame("messages", b"", CAPTURED)
    with pytest.raises(WrongUse, match="which host"):
        frame("kmsg", b"", CAPTURED)
    assert [frame(kind, b"", CAPTURED, host="h").records for kind in KINDS] == [[]] * len(KINDS)


# ── into the engine ───────────────────────────────────────────────────────────────────────────


def load(
    plant: Plant, kind: str, octets: bytes, *, captured: datetime = CAPTURED, zone: str = "UTC", host: str = "",
    piece: int = 8 << 20,
) -> list[Loaded]:
    """As the API does it."""
    async def put() -> list[str]:
        spool = plant.spool()
        await spool.start()
        names = []
        for number, part in enumerate(pieces(frame(kind, octets, captured, host=host).records, piece)):
            listener = f"load/{kind}" + (f"#{number + 1}" if number else "")
            prefix = Origin("demo", zone, listener).prefix()
            names.append(await spool.put_own("load", row(micros(plant.clock.now()), prefix, part)))
        await spool.stop()
        return names

    names = asyncio.run(put())
    writer = plant.writer(plant.spool())
    writer.drain()
    assert not writer.trouble, writer.trouble
    return [outcome for name in names if (outcome := writer.loads.wait(name, 0)) is not None]


def stored(plant: Plant, columns: str = "time, host, app, pid, severity, message") -> list[dict[str, Any]]:
    return plant.rows(f"SELECT {columns} FROM qnib.events ORDER BY time, message")


@engine
def test_the_log_of_a_slurmctld_whole(plant: Plant) -> None:
    octets = real("logs/umhpc_slurmctld_2022-06.log").read_bytes()
    expected = json.loads(real("logs/umhpc_slurmctld_2022-06.oracle.json").read_text())
    (outcome,) = load(plant, "slurmctld", octets)
    assert (outcome.events, outcome.known, outcome.rejects) == (expected["lines"], 0, 0)
    assert (outcome.first, outcome.last) == tuple(
        datetime.fromisoformat(expected[f"{end}_timestamp"]).replace(tzinfo=UTC) for end in ("first", "last")
    )
    found = stored(plant)
    assert len(found) == 9827
    told = [line.partition("] ") for line in octets.decode().splitlines()]
    assert sorted((e["time"].isoformat(timespec="milliseconds"), e["message"]) for e in found) == sorted(
        (stamp[1:] + "+00:00", text.strip()) for stamp, _, text in told
    ), "each line with its milliseconds"
    assert sum("sched: Allocate JobId=" in e["message"] for e in found) == expected["sched_allocate"]
    assert sum(e["severity"] == "err" for e in found) == expected["error_lines"]


@engine
def test_the_same_file_again_brings_nothing_and_one_that_grew_what_was_added(plant: Plant) -> None:
    lines = real("logs/umhpc_slurmctld_2022-06.log").read_bytes().splitlines(keepends=True)
    noise = b"not of this log\n"
    for share, known in ((5000, 0), (5000, 5000), (9827, 5000), (9827, 9827)):
        plant.clock.at += timedelta(days=1)
        (outcome,) = load(plant, "slurmctld", noise + b"".join(lines[:share]))
        assert (outcome.events, outcome.known) == (share, known)
    assert len(stored(plant)) == 9827
    assert plant.rejects() == [("neither priority nor time", "not of this log")]


@engine
def test_lines_that_are_alike_are_all_kept_in_pieces_too(plant: Plant) -> None:
    text = b"Nov 20 11:00:00 h a: again\n" * 500
    for _ in range(2):
        load(plant, "syslog", text, piece=4000)
    assert len(stored(plant)) == 500


@engine
def test_linux_2k_equals_its_labels(plant: Plant) -> None:
    (outcome,) = load(plant, "syslog", real("logs/Linux_2k.log").read_bytes(), captured=datetime(2005, 7, 27, 20))
    assert (outcome.events, outcome.rejects) == (2000, 0)
    labels = list(csv.DictReader(real("logs/Linux_2k.log_structured.csv").open()))
    found = stored(plant)
    expected = []
    for label in labels:
        stamp = f"2005 {label['Month']} {label['Date']} {label['Time']} +0000"
        at = datetime.strptime(stamp, "%Y %b %d %H:%M:%S %z")
        expected.append((at, label["Level"], label["Component"], label["PID"], label["Content"].strip()))
    assert {event["host"] for event in found} == {label["Level"] for label in labels} == {"combo"}
    assert sorted((e["time"], e["host"], e["app"], e["pid"], e["message"]) for e in found) == sorted(expected)


@engine
def test_an_opensms_log_whole(plant: Plant) -> None:
    octets = real("infiniband/osm_fattree208/osm.log").read_bytes()
    plant.clock.at += timedelta(days=1)
    (outcome,) = load(plant, "opensm", octets, host="fabric")
    assert (outcome.events, outcome.rejects) == (27, 0)
    found = stored(plant)
    assert found[0]["time"] == datetime(2026, 11, 20, 21, 35, 38, 665250, tzinfo=UTC)
    assert {(e["host"], e["app"]) for e in found} == {("fabric", "opensm")}
    assert sum("SUBNET UP" in e["message"] for e in found) == 3


@engine
@pytest.mark.parametrize(
    ("path", "count"),
    [("kmsg.2.peermem.log", 8), ("nccl_dmesg_iso.log", 2), ("kernel_problems/oom_kill.txt", 2),
     ("kernel_problems/readonly_filesystem.txt", 1), ("kernel_problems/unregister_netdevice.txt", 1),
     ("kernel_problems/au_opts_verify.txt", 1), ("kernel_problems/null_pointer.txt", 1)],
)  # fmt: skip
def test_kernel_logs_whole(plant: Plant, path: str, count: int) -> None:
    plant.settings.syslog.max_line = 65_536
    (outcome,) = load(plant, "kmsg", real(f"logs/{path}").read_bytes(), host="c0")
    assert (outcome.events, outcome.rejects) == (count, 0)
    assert {(e["host"], e["app"]) for e in stored(plant)} == {("c0", "kernel")}
    if path.startswith("nccl"):
        assert stored(plant)[0]["time"] == datetime(2025, 1, 21, 4, 41, 44, 285060, tzinfo=UTC)


@engine
def test_files_out_of_order_and_of_long_ago_land_right(plant: Plant) -> None:
    start = datetime(2009, 6, 1)
    moments = [start + timedelta(seconds=n, milliseconds=n % 1000) for n in range(3000)]
    lines = [f"[{at:%Y-%m-%dT%H:%M:%S.%f}] n={n}\n" for n, at in enumerate(moments)]
    shuffled = list(lines)
    random.Random(5).shuffle(shuffled)
    load(plant, "slurmctld", "".join(shuffled[:1500]).encode(), host="ctl")
    load(plant, "slurmctld", "".join(shuffled[1500:]).encode(), host="ctl")
    found = stored(plant)
    assert [e["message"] for e in found] == [f"n={n}" for n in range(3000)]
    assert {e["time"].year for e in found} == {2009}


@engine
def test_a_zone_that_is_said(plant: Plant) -> None:
    load(plant, "syslog", b"Jul  1 12:00:00 h a: summer\nNov 20 12:00:00 h a: winter\n", zone="Europe/Berlin")
    assert {e["message"]: e["time"].hour for e in stored(plant)} == {"summer": 10, "winter": 11}


@engine
def test_json_lines_of_a_file(plant: Plant) -> None:
    text = b'{"time": "2019-01-01T00:00:00Z", "msg": "old"}\n{"time": "2019-01-01T00:00:00Z", "msg": "old"}\nnone\n'
    for known in (0, 2):
        (outcome,) = load(plant, "json", text)
        assert (outcome.events, outcome.known) == (2, known)
    assert [(e["time"].year, e["message"]) for e in stored(plant)] == [(2019, "old")] * 2
    assert NOW.year == 2026
    assert plant.rejects() == [("not a JSON object", "none")]
