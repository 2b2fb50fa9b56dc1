"""Carbon lines from the socket to the tables: exact values, and what becomes of bad ones."""

from __future__ import annotations

from datetime import timedelta

import pytest

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


def values(plant: Plant, path: str, cluster: str = "demo") -> list[tuple[int, float]]:
    rows = plant.rows(
        "SELECT toUnixTimestamp(time) AS t, value FROM qnib.points FINAL WHERE series IN"
        " (SELECT series FROM qnib.series WHERE path = {path:String} AND cluster = {cluster:String}) ORDER BY time",
        path=path, cluster=cluster,
    )  # fmt: skip
    return [(row["t"], row["value"]) for row in rows]


def test_points_are_stored_as_they_were_sent(plant: Plant) -> None:
    plant.carbon(f"a.b 1.5 {T - 10}\na.b\t-2e3  {T}\r\na.c 7 -1\na.d 3 {T - 1}.25\n")
    assert values(plant, "a.b") == [(T - 10, 1.5), (T, -2000.0)]
    assert values(plant, "a.c") == [(T, 7.0)]
    stored = plant.rows("SELECT time FROM qnib.points WHERE value = 3")[0]["time"]
    assert stored == NOW - timedelta(seconds=0.75)


def test_a_line_may_come_in_pieces(plant: Plant) -> None:
    text = f"first.path 1 {T}\nsecond.path 22 {T}\nthird.path 333 {T}\n".encode()
    plant.send("carbon/tcp", *(text[n : n + 1] for n in range(len(text))))
    assert [values(plant, p) for p in ("first.path", "second.path", "third.path")] == [
        [(T, 1.0)],
        [(T, 22.0)],
        [(T, 333.0)],
    ]
    assert plant.rejects() == []


def test_a_datagram_holds_many_lines(plant: Plant) -> None:
    plant.send("carbon/udp", f"u.a 1 {T}\nu.b 2 {T}".encode(), f"u.a 3 {T + 1}\n".encode())
    assert values(plant, "u.a") == [(T, 1.0), (T + 1, 3.0)]
    assert values(plant, "u.b") == [(T, 2.0)]


def test_bad_lines_are_kept_with_their_reason_and_harm_nobody(plant: Plant) -> None:
    bad = {
        "only.two 1": "not path, value and time",
        f"one.too many 1 {T}": "not path, value and time",
        f"no.number x {T}": "the value is no number",
        f"not.finite nan {T}": "the value is not finite",
        f"infinite inf {T}": "the value is not finite",
        "no.time 1 yesterday": "the time is no number",
        f"far.ahead 1 {T + 200_000}": "the time is before 1970 or a day ahead",
        "long.ago 1 -2": "the time is before 1970 or a day ahead",
        "huge.time 1 1e300": "the time is before 1970 or a day ahead",
        f"slurm.job.x.0.0.compute0.cpu 1 {T}": "not a sample of a job",
        f"{'x' * 3000} 1 {T}": "longer than 2000 octets",
    }
    writer = plant.carbon("\n".join(["", *bad, "   ", f"good.one 1 {T}", ""]))
    assert {raw: why for why, raw in plant.rejects()} == {line[:2048]: why for line, why in bad.items()}
    assert values(plant, "good.one") == [(T, 1.0)]
    assert writer.counts["rejects"] == len(bad)
    assert plant.rows("SELECT DISTINCT cluster, sender, listener FROM qnib.rejects") == [
        {"cluster": "demo", "sender": "127.0.0.1", "listener": "carbon/tcp"}
    ]


def test_octets_that_are_no_text(plant: Plant) -> None:
    plant.send("carbon/tcp", b"odd.\xff\xfe 1 %d\ngood.two 2 %d\n" % (T, T))
    assert [why for why, _ in plant.rejects()] == ["the path is not UTF-8"]
    assert values(plant, "good.two") == [(T, 2.0)]


def test_an_endless_line_is_cut_off_and_the_connection_lives(plant: Plant) -> None:
    plant.send("carbon/tcp", b"x" * 1500, b"x" * 1500, b"x" * 1500, b" 1 2\n", f"after.it 5 {T}\n".encode())
    assert [why for why, _ in plant.rejects()] == ["longer than 2000 octets"]
    assert values(plant, "after.it") == [(T, 5.0)]


def test_a_connection_that_ends_inside_a_line(plant: Plant) -> None:
    plant.send("carbon/tcp", f"whole.line 1 {T}\nhalf.line 1".encode())
    assert plant.rejects() == [("connection ended inside the record", "half.line 1")]


def test_the_last_write_of_a_slot_wins(plant: Plant) -> None:
    plant.carbon(f"a.b 1 {T}\na.b 2 {T}\n")
    plant.carbon(f"a.b 3 {T}\n")
    assert values(plant, "a.b") == [(T, 3.0)]


def test_declared_paths_become_names_and_tags(plant: Plant) -> None:
    plant.carbon(
        f"servers.compute0.cpu.used 12.5 {T}\nservers.compute0.network.eth0.rx_bytes 9 {T}\n"
        f"infiniband.SW1.3.xmit_data 7 {T}\nservers.compute0.cpu.used.extra 1 {T}\nservers.compute0.other 1 {T}\n"
        f"disk.free;unit=B;host=compute1 5 {T}\n"
    )
    told = {
        row.pop("path"): row
        for row in plant.rows("SELECT path, name, tags, unit, mtype, host FROM qnib.series ORDER BY path")
    }
    assert told == {
        "servers.compute0.cpu.used": {
            "name": "cpu.used", "tags": {"host": "compute0"}, "unit": "%", "mtype": "gauge", "host": "compute0",
        },
        "servers.compute0.network.eth0.rx_bytes": {
            "name": "network.rx_bytes", "tags": {"host": "compute0", "interface": "eth0"}, "unit": "B",
            "mtype": "counter", "host": "compute0",
        },
        "infiniband.SW1.3.xmit_data": {
            "name": "ib.xmit_data", "tags": {"node": "SW1", "port": "3"}, "unit": "words", "mtype": "counter",
            "host": "",
        },
        "servers.compute0.cpu.used.extra": {
            "name": "servers.compute0.cpu.used.extra", "tags": {}, "unit": "", "mtype": "gauge", "host": "",
        },
        "servers.compute0.other": {
            "name": "servers.compute0.other", "tags": {}, "unit": "", "mtype": "gauge", "host": "",
        },
        "disk.free;host=compute1;unit=B": {
            "name": "disk.free", "tags": {"host": "compute1", "unit": "B"}, "unit": "B", "mtype": "gauge",
            "host": "compute1",
        },
    }  # fmt: skip


def test_first_and_last_seen(plant: Plant) -> None:
    plant.carbon(f"a.b 1 {T}\n")
    plant.carbon(f"a.b 1 {T - 60}\na.b 1 {T + 60}\n")
    seen = plant.rows("SELECT first_seen, last_seen FROM qnib.series FINAL")
    assert seen == [{"first_seen": NOW - timedelta(seconds=60), "last_seen": NOW + timedelta(seconds=60)}]


def test_samples_of_jobs_have_a_table_of_their_own(plant: Plant) -> None:
    plant.carbon(f"slurm.job.42.batch.0.compute0.cpu 99.5 {T}\nslurm.job.42.0.1.compute1.memory.rss 1024 {T}\n")
    assert plant.rows("SELECT job, step, task, host, metric, value FROM qnib.job_samples ORDER BY host") == [
        {"job": 42, "step": "batch", "task": "0", "host": "compute0", "metric": "cpu", "value": 99.5},
        {"job": 42, "step": "0", "task": "1", "host": "compute1", "metric": "memory.rss", "value": 1024.0},
    ]
    assert plant.rows("SELECT count() n FROM qnib.points") == [{"n": 0}]
    assert plant.rows("SELECT count() n FROM qnib.series") == [{"n": 0}]


def test_two_clusters_do_not_mix(plant: Plant) -> None:
    plant.carbon(f"servers.compute0.cpu.used 1 {T}\n", cluster="one")
    plant.carbon(f"servers.compute0.cpu.used 2 {T}\n", cluster="two")
    path = "servers.compute0.cpu.used"
    assert (values(plant, path, "one"), values(plant, path, "two")) == ([(T, 1.0)], [(T, 2.0)])
    assert {change[:3] for change in plant.changes} == {("points", "one", NOW), ("points", "two", NOW)}
