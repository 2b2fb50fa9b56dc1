"""Performance data of Nagios' plug-ins: units, quotes, several lines, files; what is none; and real plug-ins."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from qnib.api.ingest.nagios import items

from .conftest import NOW, TOKEN, Plant
from .metric_senders import unpacked
from .test_carbon import values
from .test_influx import told

engine = pytest.mark.engine
T = int(NOW.timestamp())


def post(plant: Plant, text: str, asked: str = "?host=c1&service=disk") -> Any:
    return plant.post(f"/ingest/perfdata{asked}", text.encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("load1=0.5;1;2;0;", [("load1", "0.5", "")]),
        ("time=12.5ms;;;0 size=4KB\tn=3c", [("time", "12.5", "ms"), ("size", "4", "KB"), ("n", "3", "c")]),
        ("'C:\\ used %'=40%;80;90 'it''s = ok'=-1e3", [("C:\\ used %", "40", "%"), ("it's = ok", "-1e3", "")]),
        ("/=1,5B;2:3;@4:5", [("/", "1,5", "B")]),
        ("a=U;1;2 b=.5", [("a", "U", ""), ("b", ".5", "")]),
        ("a=x b=1", [("", "a=x", ""), ("b", "1", "")]),
        ("word a=1 =2 'open=3", [("", "word", ""), ("a", "1", ""), ("", "=2", ""), ("", "'open=3", "")]),
        ("a= b=1", [("", "a=", ""), ("b", "1", "")]),
        ("", []),
    ],
)
def test_items(text: str, found: list[tuple[str, str, str]]) -> None:
    assert list(items(text)) == found


def test_quotes_without_end_take_no_time() -> None:
    assert len(list(items("' " * 100_000))) > 1000
    assert len(list(items("'" * 200_000))) == 1


@engine
def test_what_a_plug_in_printed(plant: Plant) -> None:
    output = "DISK OK - free: / 55 MiB | /=2KB;80;90;0;100 't''ime left'=500ms\nlong text\nmore | inodes=43%\nn=7c\n"
    answer = post(plant, output)
    assert (answer.status_code, answer.json()) == (202, {"acknowledged": 4, "rejected": 0})
    whose = ";host=c1;service=disk"
    assert told(plant) == {
        f"nagios./{whose};unit=B": 2000.0, f"nagios.t'ime_left{whose};unit=s": 0.5,
        f"nagios.inodes{whose};unit=%": 43.0, "nagios.n;host=c1;mtype=counter;service=disk": 7.0,
    }  # fmt: skip
    (series,) = plant.rows("SELECT name, host FROM qnib.series FINAL WHERE name = 'nagios.n'")
    assert series == {"name": "nagios.n", "host": "c1"}
    assert plant.rejects() == []
    assert post(plant, "OK - no numbers today |\n").json() == {"acknowledged": 0, "rejected": 0}


@engine
def test_files_as_pnp_has_them_written(plant: Plant) -> None:
    head = f"DATATYPE::SERVICEPERFDATA\tTIMET::{T - 60}\tHOSTNAME::c2\tSERVICEDESC::Load average"
    lines = [
        f"{head}\tSERVICEPERFDATA::load1=0.25;5;10;0\tSERVICECHECKCOMMAND::check_load!5\tSERVICESTATE::OK",
        f"DATATYPE::HOSTPERFDATA\tTIMET::{T}\tHOSTNAME::c2\tHOSTPERFDATA::rta=1500us;;;0 pl=0%\tHOSTCHECKCOMMAND::ping",
        f"{head}\tSERVICEPERFDATA::\tSERVICESTATE::OK", "", "DATATYPE::SERVICEPERFDATA\tTIMET::soon\tHOSTNAME::c2",
    ]  # fmt: skip
    assert post(plant, "\n".join(lines), "").json() == {"acknowledged": 3, "rejected": 1}
    assert values(plant, "nagios.load1;host=c2;service=Load_average") == [(T - 60, 0.25)]
    assert told(plant)["nagios.rta;host=c2;unit=s"] == 0.0015
    assert plant.rejects() == [("not a line with HOSTNAME and TIMET", lines[-1])]


@engine
def test_what_is_none_is_counted_with_its_sender(plant: Plant) -> None:
    assert post(plant, "load1=0.5 broken load5=x good=1").json() == {"acknowledged": 2, "rejected": 1}
    (row,) = plant.rows("SELECT sender, listener, reason, raw FROM qnib.rejects")
    assert row == {
        "sender": "127.0.0.1", "listener": "perfdata/http", "reason": "not 'label'=value",
        "raw": "c1 disk: broken and 1 more",
    }  # fmt: skip
    assert post(plant, "a=1", "").status_code == 400
    sent = {"content": b"a=1"}
    assert plant.http(("POST", "/ingest/perfdata?host=c1", sent))[0].status_code == 401
    assert plant.http(("POST", f"/token/{TOKEN}/ingest/perfdata?host=c1", sent))[0].status_code == 202


@engine
@pytest.mark.parametrize(
    ("command", "labels"),
    [
        (["check_load", "-w", "90,90,90", "-c", "99,99,99"], {"load1", "load5", "load15"}),
        (["check_disk", "-w", "1%", "-c", "1%", "-p", "/"], {"/"}),
        (["check_swap", "-w", "1%", "-c", "1%"], {"swap"}),
    ],
)
def test_real_plug_ins(plant: Plant, command: list[str], labels: set[str]) -> None:
    folder = unpacked("monitoring-plugins-basic") / "usr/lib/nagios/plugins"
    program = [folder / command[0], *command[1:]]
    printed = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert "|" in printed.stdout, printed
    assert post(plant, printed.stdout).json() == {"acknowledged": len(labels), "rejected": 0}
    assert {path.partition(";")[0] for path in told(plant)} == {f"nagios.{label}" for label in labels}
    assert plant.rejects() == []
