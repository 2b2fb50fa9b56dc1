"""Prometheus' remote write, version 1: labels, hosts, values that are none, bodies that are no write; a real one."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cramjam
import pytest

from qnib.api.ingest.prometheus import _WRITE, host_of
from qnib.settings import FloodLimit

from .conftest import LOOPBACK, NOW, TOKEN, Plant
from .live import served
from .metric_senders import unpacked
from .test_carbon import values
from .test_influx import told

engine = pytest.mark.engine
T = int(NOW.timestamp())
(STALE,) = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))


def body(*series: tuple[Mapping[str, str], list[tuple[float, float]]]) -> Any:
    write = _WRITE()
    for labels, samples in series:
        one = write.timeseries.add()
        for name, value in labels.items():
            one.labels.add(name=name, value=value)
        for seconds, number in samples:
            one.samples.add(timestamp=round(seconds * 1000), value=number)
    return write


def send(plant: Plant, write: Any, **headers: str) -> int:
    packed = bytes(cramjam.snappy.compress_raw(write.SerializeToString()))
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", **headers}
    return plant.post("/api/v1/write", packed, headers=headers).status_code


@engine
def test_series_and_samples(plant: Plant) -> None:
    labels = {"__name__": "node_cpu_seconds_total", "cpu": "0", "instance": "c1:9100", "job": "node", "mode": "a b;c=d"}
    samples = [(T - 15.25, 1.5), (T, 2)]
    assert send(plant, body((labels, samples), ({"__name__": "up", "instance": "localhost:9090"}, [(T, 1)]))) == 204
    path = "node_cpu_seconds_total;cpu=0;host=c1;instance=c1:9100;job=node;mode=a_b_c=d"
    assert told(plant) == {path: 2.0, "up;instance=localhost:9090": 1.0}
    assert values(plant, path) == [(T - 16, 1.5), (T, 2.0)]
    assert plant.rejects() == []


@engine
def test_values_that_are_none(plant: Plant) -> None:
    samples = [(T - 3, 1.0), (T - 2, STALE), (T - 1, float("nan")), (T, float("inf")), (T + 10**6, 1), (-5, 1)]
    write = body(({"__name__": "a", "host": "c1"}, samples), ({"__name__": ""}, [(T, 1)]))
    write.timeseries[0].histograms.append(b"\x08\x01")
    assert send(plant, write) == 204
    assert values(plant, "a;host=c1") == [(T - 3, 1.0)]
    assert [why for why, _ in plant.rejects()] == [
        "native histograms are not kept", "not path, value and time", "the time is before 1970 or a day ahead",
        "the time is before 1970 or a day ahead", "the value is not finite",
    ]  # fmt: skip
    assert plant.rows("SELECT DISTINCT cluster, sender, listener FROM qnib.rejects") == [
        {"cluster": "demo", "sender": "127.0.0.1", "listener": "prometheus/http"}
    ]


@pytest.mark.parametrize(
    ("instance", "host"),
    [("c1:9100", "c1"), ("c1.site.org", "c1.site.org"), ("10.0.0.7:9100", "10.0.0.7"), ("[fd00::7]:9100", "fd00::7"),
     ("localhost:9090", ""), ("127.0.0.1:9090", ""), ("[::1]:1", ""), ("http://x.org/a", ""), ("", ""), ("a b", "")],
)  # fmt: skip
def test_the_host_of_an_instance(instance: str, host: str) -> None:
    assert host_of(instance) == host


@engine
def test_a_name_told_once_and_meant_by_many(plant: Plant) -> None:
    plant.settings.http.max_body = 10_000
    write = body(({"__name__": "a", "long": "x" * 1000}, [(T + n, 1) for n in range(-100, 0)]))
    assert send(plant, write) == 413
    assert told(plant) == {}


@engine
def test_bodies_that_are_no_write(plant: Plant) -> None:
    small = bytes(cramjam.snappy.compress_raw(b"\xff" * 40))
    bomb = b"\xff\xff\xff\xff\x0f" + b"\x00" * 100
    for octets, status in ((b"", 400), (b"no snappy", 400), (small, 400), (bomb, 413)):
        for headers in ({}, {"Content-Encoding": "snappy"}):
            assert plant.post("/api/v1/write", octets, headers=headers).status_code == status
    version_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert plant.post("/api/v1/write", small, headers={"Content-Type": version_2}).status_code == 415
    assert plant.http(("POST", "/api/v1/write", {"content": small}))[0].status_code == 401
    plant.settings.flood = FloodLimit(octets_per_second=10, burst=10)
    sent = {"content": small, "headers": {"Authorization": f"Bearer {TOKEN}"}}
    again = plant.http(("POST", "/api/v1/write", sent), ("POST", "/api/v1/write", sent))
    assert again[1].status_code == 503, "Prometheus would drop what is answered with 429"
    assert told(plant) == {}


CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: itself
    static_configs: [{{targets: ["127.0.0.1:{web}"], labels: {{host: c0}}}}]
remote_write:
  - url: http://127.0.0.1:{http}/api/v1/write
    authorization: {{credentials: "{token}"}}
    queue_config: {{batch_send_deadline: 1s}}
"""


@engine
def test_prometheus_itself(plant: Plant, tmp_path: Path) -> None:
    program = unpacked("prometheus") / "usr/bin/prometheus"
    with socket.create_server((LOOPBACK, 0)) as free:
        web = free.getsockname()[1]
    with served(plant) as live, (tmp_path / "out").open("w") as out:
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(web=web, http=live.http, token=TOKEN))
        process = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
             f"--web.listen-address=127.0.0.1:{web}"],
            stdout=out, stderr=out, env={"GOMAXPROCS": "1", "PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            live.until(lambda: process.poll() is None and "up;host=c0" in {path[:10] for path in told(plant)})
        finally:
            process.terminate()
            process.wait(30)
    found = told(plant)
    assert found[f"up;host=c0;instance=127.0.0.1:{web};job=itself"] == 1.0
    assert any(path.startswith("prometheus_build_info;") for path in found)
    assert len(found) > 300
    assert plant.rejects() == [], (json.dumps(plant.rejects()[:3]), (tmp_path / "out").read_text()[-2000:])
