"""InfluxDB's line protocol: what Telegraf, cc-metric-collector and SLURM's profile plug-in send, and what is not it."""

from __future__ import annotations

import gzip
import subprocess
from typing import Any

import pytest

from qnib.api.ingest.influx import split, weigh
from qnib.settings import FloodLimit

from .conftest import NOW, TOKEN, Plant
from .live import served
from .metric_senders import sender_python
from .test_carbon import values

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


def write(plant: Plant, *lines: str, **asked: str) -> Any:
    parameters = "&".join(f"{name}={value}" for name, value in {"db": "site", "precision": "s", **asked}.items())
    return plant.post(f"/write?{parameters}", "\n".join(lines).encode())


def told(plant: Plant) -> dict[str, float]:
    """The newest value of each series, by its path."""
    rows = plant.rows(
        "SELECT path, argMax(value, time) AS value FROM qnib.points FINAL"
        " JOIN (SELECT series, path FROM qnib.series FINAL) AS s USING (series) GROUP BY path"
    )
    return {row["path"]: row["value"] for row in rows}


def test_each_field_is_a_series(plant: Plant) -> None:
    line = f"cpu,host=c1,cpu=cpu0 usage_user=1.5,usage_idle=97i,up=true,down=F,big=18446744073709551615u,e=-1e-3 {T}"
    answer = write(plant, line, f"load value=0.5 {T - 10}", "load value=0.75")
    assert (answer.status_code, answer.content) == (204, b"")
    assert told(plant) == {
        "cpu.usage_user;cpu=cpu0;host=c1": 1.5, "cpu.usage_idle;cpu=cpu0;host=c1": 97.0, "cpu.up;cpu=cpu0;host=c1": 1.0,
        "cpu.down;cpu=cpu0;host=c1": 0.0, "cpu.big;cpu=cpu0;host=c1": 18446744073709551615.0,
        "cpu.e;cpu=cpu0;host=c1": -0.001, "load": 0.75,
    }  # fmt: skip
    assert values(plant, "load") == [(T - 10, 0.5), (T, 0.75)], "a line without a time has that of its arrival"
    (series,) = plant.rows("SELECT name, tags, host FROM qnib.series FINAL WHERE name = 'cpu.up'")
    assert series == {"name": "cpu.up", "tags": {"cpu": "cpu0", "host": "c1"}, "host": "c1"}
    assert plant.rejects() == []


def test_escapes(plant: Plant) -> None:
    write(
        plant,
        rf"my\ disk\,s,mount\ point=/my\ dir\,1,eq=a\=b,win=C:\dir,q=say\ \"x\" free\ B=1i {T}",
        rf'disk,path=/\= text="a \"quoted\" = text, with # and \\",free=2i {T}',
        f"unescaped,eq=a=b value=3 {T}",
        f"empty,tag=,host=c1 value=4 {T}",
        f"semi;colon,t;g=a;b value=5 {T}",
        f"ünï,host=漢字 value=6 {T}",
        "  # a comment", "", "   ", f"crlf value=7 {T}\r",
    )  # fmt: skip
    assert told(plant) == {
        'my_disk,s.free_B;eq=a_b;mount_point=/my_dir,1;q=say_\\"x\\";win=C:\\dir': 1.0, "disk.free;path=/_": 2.0,
        "unescaped;eq=a_b": 3.0, "empty;host=c1": 4.0, "semi_colon;t_g=a_b": 5.0, "ünï;host=漢字": 6.0, "crlf": 7.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "stamp"),
    [("", T * 10**9 + 250_000_000), ("ns", T * 10**9 + 250_000_000), ("n", T * 10**9 + 250_000_000),
     ("u", T * 10**6 + 250_000), ("us", T * 10**6 + 250_000), ("ms", T * 1000 + 250), ("s", T), ("m", T // 60),
     ("h", T // 3600)],
)  # fmt: skip
def test_precisions(plant: Plant, precision: str, stamp: int) -> None:
    answer = plant.post("/write" + (f"?precision={precision}" if precision else ""), f"a.b value=1 {stamp}".encode())
    assert answer.status_code == 204
    (row,) = plant.rows("SELECT toUnixTimestamp64Milli(time) AS t FROM qnib.points")
    assert row["t"] == T * 1000 + (250 if precision in {"", "ns", "n", "u", "us", "ms"} else 0)


def test_bad_lines_are_kept_with_their_reason_and_harm_nobody(plant: Plant) -> None:
    lacking = "not a line of measurement, tags, fields and time"
    bad = {
        "nofields": lacking, "nofields 1": lacking, "a value=": lacking, "a =1": lacking, ",t=1 value=1": lacking,
        "a,t value=1": lacking, "a,=1 value=1": lacking, "a value=1 yesterday": lacking, 'a value="open': lacking,
        "a value=1,": lacking, "a value=1 1 1": lacking, "a value=1 1.5": lacking,
        "a value=x": "the value is no number", "a value=1ii": "the value is no number",
        "a value=1.5i": "the value is no number", "a value=nan": "the value is not finite",
        "a value=+Inf": "the value is not finite", "a value=1 -5": "the time is before 1970 or a day ahead",
        f"a value=1 {T + 10**6}": "the time is before 1970 or a day ahead",
        "x" * 3000 + " value=1": "longer than 2000 octets",
        f"m,t={'x' * 900} {','.join(f'f{n}=1' for n in range(50))}": "more tags and fields than one line may have",
    }  # fmt: skip
    assert write(plant, f"good value=1 {T}", *bad, f"fine value=2 {T}").status_code == 204
    assert {raw: why for why, raw in plant.rejects()} == {line[:2048]: why for line, why in bad.items()}
    assert told(plant) == {"good": 1.0, "fine": 2.0}
    assert plant.rows("SELECT DISTINCT cluster, sender, listener FROM qnib.rejects") == [
        {"cluster": "demo", "sender": "127.0.0.1", "listener": "influx/http"}
    ]


def test_fields_of_text_are_counted_once_for_a_sender(plant: Plant) -> None:
    write(plant, *(f'system,host=c{n} uptime_format="up {n} days",uptime={n}i {T}' for n in range(5)))
    assert plant.rejects() == [("fields of text, of which no number is kept", '5, as uptime_format="up 0 days"')]
    assert len(told(plant)) == 5


def test_a_large_body_becomes_files_of_the_usual_size(plant: Plant) -> None:
    plant.settings.spool.rotate_bytes = 5000
    write(plant, *(f"a,host=c{n} x={n},y={n}i {T}" for n in range(1000)))
    assert len(plant.spool().done()) >= 5
    found = told(plant)
    assert len(found) == 2000
    assert (found["a.x;host=c0"], found["a.y;host=c999"]) == (0.0, 999.0)
    assert plant.rejects() == []


def test_the_weight_of_a_line_is_what_it_becomes() -> None:
    assert weigh(b"a value=1") == 9
    wide = b"m,t=" + b"x" * 1000 + b" " + b",".join(b"f%d=1" % n for n in range(100))
    assert 100_000 < weigh(wide) < 110_000


def test_newlines_in_quoted_text_end_no_line() -> None:
    text = b'a t="one\ntwo \\" x=1",v=1\nb,q=" v=2\nc v="open\nd v=3'
    assert split(text) == [b'a t="one\ntwo \\" x=1",v=1', b'b,q=" v=2', b'c v="open', b"d v=3"]
    assert split(b'"' + b'\\"' * 200_000 + b"\nx v=1")[-1] == b"x v=1"
    assert split(b'v "' * 200_000) != []


def test_octets_that_are_no_text(plant: Plant) -> None:
    plant.post("/write?precision=s", b"odd,t=\xff\xfe value=1 %d\ngood value=2 %d\n" % (T, T))
    assert [why for why, _ in plant.rejects()] == ["the line is not UTF-8"]
    assert told(plant) == {"good": 2.0}


# ── SLURM's acct_gather_profile/influxdb ──────────────────────────────────────────────────────


def test_slurms_profiles_are_samples_of_jobs(plant: Plant) -> None:
    """As 24.11 writes them, and as later versions do, with more tags and grouped fields."""
    write(
        plant,
        f"CPUUtilization,job=42,step=0,task=1,host=c1 value=99.50 {T}",
        f"RSS,job=42,step=0,task=1,host=c1 value=1024 {T}",
        f"ReadMB,job=42,step=-5,task=0,host=c1 value=1.25 {T}",
        f"Power,job=42,step=4294967292,task=Energy,host=c1 value=310 {T}",
        f"task,cluster=lab,host=c2.site.org,job=43,step=batch,task=0,uid=1001 CPUUtilization=50,Pages=7i {T}",
        f"power,host=c2,job=43,step=0 value=1 {T}",
    )
    rows = plant.rows("SELECT job, step, task, host, metric, value FROM qnib.job_samples ORDER BY job, host, metric")
    assert [tuple(row.values()) for row in rows] == [
        (42, "extern", "Energy", "c1", "Power", 310.0), (42, "batch", "0", "c1", "ReadMB", 1.25),
        (42, "0", "1", "c1", "cpu", 99.5), (42, "0", "1", "c1", "memory", 1048576.0),
        (43, "0", "", "c2", "power", 1.0), (43, "batch", "0", "c2_site_org", "Pages", 7.0),
        (43, "batch", "0", "c2_site_org", "cpu", 50.0),
    ]  # fmt: skip
    assert told(plant) == {}
    assert plant.rejects() == []


def test_a_tag_called_job_makes_no_sample(plant: Plant) -> None:
    write(plant, f"up,job=node,host=c1 value=1 {T}", f"up,job=42,host=c1 value=1 {T}")
    assert set(told(plant)) == {"up;host=c1;job=node", "up;host=c1;job=42"}


def test_cc_metric_collector(plant: Plant) -> None:
    """Its names of the host, and the second version's path and header."""
    line = f"cpu_load,cluster=lab,hostname=c1,type=hwthread,type-id=3 value=0.5 {T}"
    headers = {"Authorization": f"Token {TOKEN}"}
    answer = plant.post("/api/v2/write?org=site&bucket=metrics&precision=s", line.encode(), headers=headers)
    assert answer.status_code == 204
    assert told(plant) == {"cpu_load;cluster=lab;host=c1;type-id=3;type=hwthread": 0.5}


# ── what clients ask ──────────────────────────────────────────────────────────────────────────


def test_ping_and_databases(plant: Plant) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = plant.http(
        ("GET", "/ping", {}), ("HEAD", "/ping", {}), ("GET", f"/token/{TOKEN}/ping", {}),
        ("POST", "/query", {"headers": headers | form, "content": "q=CREATE+DATABASE+%22telegraf%22"}),
        ("GET", "/query?q=CREATE%20DATABASE%20x", {"headers": headers}),
        ("GET", f"/query?q=SHOW%20DATABASES&u=x&p={TOKEN}", {}),
        ("GET", "/query?q=SELECT%20*%20FROM%20cpu", {"headers": headers}),
        ("GET", "/query?q=CREATE%20DATABASE%20x", {}),
        ("POST", "/write", {"content": b"a value=1"}),
        ("POST", "/write?precision=years", {"headers": headers, "content": b"a value=1"}),
    )  # fmt: skip
    assert [answer.status_code for answer in answers] == [204, 204, 204, 200, 200, 200, 400, 401, 401, 400]
    assert answers[0].headers["X-Influxdb-Version"].startswith("1.8")
    assert answers[3].json() == answers[4].json() == {"results": [{"statement_id": 0}]}
    assert answers[5].json()["results"][0]["series"][0]["values"] == [["demo"]]
    assert told(plant) == {}


def test_gzip_and_a_flood(plant: Plant) -> None:
    packed = gzip.compress(f"a value=1 {T}".encode())
    assert plant.post("/write?precision=s", packed, headers={"Content-Encoding": "gzip"}).status_code == 204
    plant.settings.flood = FloodLimit(octets_per_second=1000, burst=1000)
    asked = {"content": b"a value=1 1\n" * 60, "headers": {"Authorization": f"Bearer {TOKEN}"}}
    answers = plant.http(*[("POST", "/write", asked)] * 3)
    assert [answer.status_code for answer in answers] == [204, 503, 503], "4xx would make Telegraf drop its points"
    assert int(answers[1].headers["Retry-After"]) > 0


# ── real clients ──────────────────────────────────────────────────────────────────────────────

CLIENT_1 = """
import sys, influxdb
client = influxdb.InfluxDBClient("127.0.0.1", int(sys.argv[1]), "anybody", sys.argv[2], "site", timeout=60, retries=1)
assert client.ping().startswith("1.8")
client.create_database("site")
print([one["name"] for one in client.get_list_database()])
points = [{"measurement": "disk use", "tags": {"host": "c1", "path": "/my dir,1"},
           "fields": {"free": n, "used": n / 2, "ok": True, "name": 'a "text"\\n of two lines'}} for n in [1, 2]]
client.write_points(points, time_precision="ms")
"""
CLIENT_2 = """
import sys
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS
client = InfluxDBClient(url=f"http://127.0.0.1:{sys.argv[1]}", token=sys.argv[2], org="site", timeout=60_000)
print(client.ping())
with client.write_api(write_options=SYNCHRONOUS) as out:
    out.write(bucket="site", record=[Point("cpu load").tag("hostname", "c1").field("value", 0.5),
                                     Point("b").field("n", 7).field("s", "text")])
"""


@pytest.mark.parametrize(("script", "says"), [(CLIENT_1, "['demo']"), (CLIENT_2, "True")])
def test_influxs_own_clients(plant: Plant, script: str, says: str) -> None:
    python = sender_python()
    with served(plant) as live:
        sent = subprocess.run(
            [python, "-c", script, str(live.http), TOKEN], capture_output=True, text=True, timeout=120, check=False
        )
        assert (sent.returncode, sent.stdout.strip()) == (0, says), sent.stderr
        live.until(lambda: len(told(plant)) >= (3 if script == CLIENT_1 else 2))
    if script == CLIENT_1:
        paths = {f"disk_use.{name};host=c1;path=/my_dir,1" for name in ("free", "used", "ok")}
        assert set(told(plant)) == paths
        assert [why for why, _ in plant.rejects()] == ["fields of text, of which no number is kept"]
    else:
        assert told(plant) == {"cpu_load;host=c1": 0.5, "b.n": 7.0}
