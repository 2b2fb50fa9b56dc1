"""Events sent on: to a real rsyslog, a real Kafka, a server of Elasticsearch's shape (our own edge); to dead ones."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qnib.monitoring import events as event_store
from qnib.monitoring.mirror import Mirror
from qnib.monitoring.targets import connect, rfc_5424
from qnib.settings import MirrorSettings, MirrorTarget

from . import kafka_server
from .conftest import LOOPBACK, NOW, TOKEN, Plant
from .live import served
from .test_captured import load
from .test_real_senders import running, unpacked

pytestmark = pytest.mark.engine
TEXTS = [f"event {n} é <b> \\ \"]" for n in range(1200)]


def sends_on(plant: Plant, *to: str, sender: Callable[[MirrorTarget], Any] = connect, **options: Any) -> Mirror:
    limits = {"max_bytes": options.pop("max_bytes")} if "max_bytes" in options else {}
    targets = [MirrorTarget(to=one, **options) for one in to]
    plant.settings.mirror = MirrorSettings(events=targets, **limits)
    plant.mirror = Mirror(plant.settings, plant.clock, sender)
    return plant.mirror


def settled(mirror: Mirror, seconds: float = 60) -> list[dict[str, Any]]:
    end = time.monotonic() + seconds
    while any(one["waiting"] for one in mirror.state()):
        assert time.monotonic() < end, mirror.state()
        time.sleep(0.05)
    return mirror.state()


def fill(plant: Plant) -> None:
    plant.syslog(*(f"<27>1 2026-11-20T11:00:00.250Z c{n % 4} solver 42 - - {text}" for n, text in enumerate(TEXTS)))


class Collected:
    """A target that keeps what it gets, and fails when told to."""

    def __init__(self, _target: MirrorTarget) -> None:
        self.got: list[Mapping[str, Any]] = []
        self.away = False

    def send(self, events: Sequence[Mapping[str, Any]]) -> int:
        if self.away:
            raise ConnectionRefusedError("nobody there")
        self.got += events
        return 0

    def close(self) -> None: ...


def test_to_a_real_rsyslog(plant: Plant, tmp_path: Path) -> None:
    root = unpacked("rsyslog")
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    config, got, local = tmp_path / "rsyslog.conf", tmp_path / "got", tmp_path / "log"
    config.write_text(
        f'global(workDirectory="{tmp_path}")\nmodule(load="imuxsock" SysSock.Use="off")\nmodule(load="imtcp")\n'
        f'input(type="imuxsock" Socket="{local}")\ninput(type="imtcp" address="{LOOPBACK}" port="{port}")\n'
        'template(name="line" type="string" string="%hostname%|%app-name%|%procid%|%syslogseverity-text%|%msg%|'
        '%timestamp:::date-rfc3339%|%structured-data%\\n")\n'
        f'action(type="omfile" file="{got}" template="line")\n'
    )
    modules = ":".join(sorted({str(one.parent) for one in root.glob("**/rsyslog/*.so")}))
    command = [str(root / "usr/sbin/rsyslogd"), "-n", "-f", str(config), "-i", str(tmp_path / "pid"), "-M", modules]
    with running(command, root, local, tmp_path / "out"):
        mirror = sends_on(plant, f"syslog://{LOOPBACK}:{port}")
        fill(plant)
        mirror.start()
        (state,) = settled(mirror)
        mirror.stop()
        assert (state["sent"], state["refused"], state["dropped"], state["trouble"]) == (len(TEXTS), 0, 0, "")
        end = time.monotonic() + 30
        while not got.exists() or got.read_text().count("\n") < len(TEXTS):
            assert time.monotonic() < end, (tmp_path / "out").read_text()
            time.sleep(0.05)
    lines = sorted(got.read_text().splitlines(), key=lambda line: int(line.split("event ")[1].split()[0]))
    assert [line.split("|")[4].strip() for line in lines] == TEXTS
    assert lines[0].split("|")[:4] == ["c0", "solver", "42", "err"]
    assert lines[0].split("|")[5] == "2026-11-20T11:00:00.250000Z"
    assert lines[0].split("|")[6] == '[qnib@32473 cluster="demo"]'


def test_to_a_real_kafka(plant: Plant, tmp_path: Path) -> None:
    with kafka_server.started(tmp_path) as port:
        mirror = sends_on(plant, f"kafka://{LOOPBACK}:{port}/cluster-events")
        fill(plant)
        mirror.start()
        (state,) = settled(mirror, 90)
        mirror.stop()
        assert (state["sent"], state["trouble"]) == (len(TEXTS), "")
        got = kafka_server.consume(port, "cluster-events", len(TEXTS))
    told = [json.loads(value) for _, value in got]
    assert [one["message"] for one in told] == TEXTS, "in order, each once"
    assert got[1][0] == b"c1"
    assert told[1]["host"] == {"name": "c1"}
    assert told[1]["log"]["level"] == "err"


def test_to_elasticsearchs_shape(plant: Plant) -> None:
    """Our own edge stands for Elasticsearch, which cannot be had here; its client's view of it is tested elsewhere."""
    with served(plant) as there:
        url = f"http://{LOOPBACK}:{there.http}/_bulk"
        fill_into = Plant(plant.settings, plant.clock, plant.engine)
        mirror = sends_on(fill_into, f"{url}", user="qnib", password=TOKEN, clusters=["elsewhere"])
        fill_into.syslog("<27>1 2026-11-20T11:00:00.250Z c1 solver 42 - - on its way", cluster="elsewhere")
        fill_into.syslog("<27>1 2026-11-20T11:00:00.250Z c1 solver 42 - - not wanted", cluster="other")
        mirror.start()
        (state,) = settled(mirror)
        mirror.stop()
        assert (state["sent"], state["refused"]) == (1, 0)
        (event,) = there.until(lambda: there.events("cluster = 'demo'"))
    assert (event["host"], event["app"], event["pid"], event["severity"], event["message"]) == (
        "c1", "solver", "42", "err", "on its way",
    )  # fmt: skip
    assert event["fields"]["labels.cluster"] == "elsewhere"
    assert event["time"].isoformat() == "2026-11-20T11:00:00.250000+00:00"


@contextmanager
def bulk_server(answers: list[tuple[int, Any]]) -> Iterator[tuple[str, list[list[Any]]]]:
    """A double of Elasticsearch that gives these answers, one a request; what it was sent."""
    asked: list[list[Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
            asked.append([json.loads(line) for line in lines])
            status, told = answers.pop(0)
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/_bulk", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def item(status: int) -> dict[str, Any]:
    return {"create": {"status": status, **({"error": {"type": "x"}} if status > 299 else {})}}


def test_what_elasticsearch_refuses_and_what_it_wants_again(plant: Plant) -> None:
    answers = [
        (503, {}), (429, {}), (200, {"errors": True, "items": [item(201), item(429), item(201)]}),
        (200, {"errors": True, "items": [item(409), item(201), item(400)]}),
    ]  # fmt: skip
    with bulk_server(answers) as (url, asked):
        mirror = sends_on(plant, url)
        plant.syslog(*(f"<13>Nov 20 11:00:0{n} h a: {n}" for n in range(3)))
        mirror.start()
        (state,) = settled(mirror)
        mirror.stop()
    assert (state["sent"], state["refused"], state["trouble"]) == (2, 1, "")
    assert len(asked) == 4
    ids = [line["create"]["_id"] for line in asked[0][::2]]
    assert [line["create"]["_id"] for line in asked[3][::2]] == ids, "sent twice it is there once"
    assert len(set(ids)) == 3


def test_a_target_that_is_away_delays_nobody_and_gets_all_of_it_later(plant: Plant) -> None:
    made: dict[str, Collected] = {}

    def to(target: MirrorTarget) -> Collected:
        kept = made.setdefault(target.to, Collected(target))
        if kept.away:
            raise ConnectionRefusedError("nobody there")
        return kept

    made["syslog://away:1"] = Collected(MirrorTarget(to="syslog://away:1"))
    made["syslog://away:1"].away = True
    mirror = sends_on(plant, "syslog://away:1", "syslog://there:1", sender=to)
    mirror.start()
    plant.syslog("<13>Nov 20 11:00:00 h a: one")
    plant.syslog("<13>Nov 20 11:00:00 h a: two")
    end = time.monotonic() + 30
    while mirror.state()[1]["sent"] < 2 or mirror.state()[1]["waiting"] or not mirror.state()[0]["trouble"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    plant.clock.at = NOW.replace(hour=13)
    away, there = mirror.state()
    assert (away["sent"], away["waiting"], away["lag"]) == (0, 2, 3600.0)
    assert "nobody there" in away["trouble"]
    assert (there["sent"], there["waiting"], there["lag"]) == (2, 0, 0.0)
    mirror.stop()
    made["syslog://away:1"].away = False
    mirror = sends_on(plant, "syslog://away:1", "syslog://there:1", sender=to)  # after a restart
    mirror.start()
    settled(mirror)
    mirror.stop()
    assert [e["message"] for e in made["syslog://away:1"].got] == ["one", "two"]
    assert [e["message"] for e in made["syslog://there:1"].got] == ["one", "two"], "what it had it does not get again"


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(plant: Plant) -> None:
    def nowhere(_target: MirrorTarget) -> Any:
        raise ConnectionRefusedError("nobody there")

    mirror = sends_on(plant, "syslog://away:1", sender=nowhere, max_bytes=6 * 4096)
    for n in range(20):
        plant.syslog(f"<13>Nov 20 11:00:00 h a: {n:04d} {'x' * 300}")
    folder = plant.settings.home / "mirror"
    assert sum(file.stat().st_size for file in folder.glob("*.jsonl")) <= 6 * 4096
    (state,) = mirror.state()
    assert state["dropped"] + state["waiting"] == 20
    assert state["dropped"] >= 10
    assert len(plant.rows("SELECT id FROM qnib.events")) == 20, "what is stored is not touched"


def test_own_events_are_sent_on_and_loaded_files_are_not(plant: Plant) -> None:
    kept = Collected(MirrorTarget(to="syslog://x:1"))
    mirror = sends_on(plant, "syslog://x:1", sender=lambda _: kept)
    event_store.observers.append(mirror.own)
    try:
        row: dict[str, Any] = {"time": NOW, "kind": "link.down", "message": "link SW1/3 is down", "host": ""}
        told = row | {"entities": ["PORT:SW1/3"], "fields": {"port": "SW1/3"}, "hint": ""}
        event_store.record(plant.engine, "demo", [told], token="t")
        load(plant, "slurmctld", b"[2026-11-19T11:00:00.000] of yesterday\n")
    finally:
        event_store.observers.remove(mirror.own)
    mirror.start()
    settled(mirror)
    mirror.stop()
    (event,) = kept.got
    assert (event["kind"], event["message"], event["entities"]) == ("link.down", "link SW1/3 is down", ["PORT:SW1/3"])


def test_hostile_text_breaks_no_syslog_message() -> None:
    event = {
        "cluster": "demo", "id": "1", "time": "2026-11-20T11:00:00Z", "host": "h h\n", "app": "a]\x1b", "pid": "",
        "facility": "kern", "severity": "err", "kind": "", "message": "text", "fields": {'k="]': 'v"]\\'},
    }  # fmt: skip
    assert rfc_5424(event) == (
        b'<3>1 2026-11-20T11:00:00Z h_h_ a]_ - - [qnib@32473 cluster="demo" k___="v\\"\\]\\\\"] text'
    )


@pytest.mark.parametrize(
    "to", ["ftp://x", "syslog://", "syslog://x/path", "https://x/", "kafka://x", "https://user:pw@x/_bulk", "x:514"]
)
def test_targets_that_are_none_are_told(to: str) -> None:
    with pytest.raises(ValueError, match=r"target|settings of their own"):
        MirrorTarget(to=to)
