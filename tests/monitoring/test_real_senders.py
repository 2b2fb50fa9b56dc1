"""What others ship with: rsyslog and syslog-ng of the distribution, logger(1), and the clients of Elasticsearch,
OpenTelemetry and GELF, each as its user would set it up."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import elasticsearch
import elasticsearch.helpers
import pygelf
import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from tests.conftest import skip

from .conftest import LOOPBACK, TOKEN, Plant
from .live import Live, served

pytestmark = pytest.mark.engine
SENDERS = Path(__file__).parents[2] / ".make/senders"
TEXTS = ["plain", "with [brackets] and: colons", "ünïcödé 漢字", "<b>html</b>", 'quotes " and \\ backslashes']


@pytest.fixture
def live(plant: Plant) -> Iterator[Live]:
    with served(plant) as running:
        yield running


def unpacked(name: str) -> Path:
    if not (SENDERS / name / "complete").exists():
        skip(f"{name} is not here: `tools/setup test` gets it")
    return SENDERS / name / "root"


@contextmanager
def running(command: list[str], root: Path, socket_file: Path, log: Path) -> Iterator[None]:
    """A daemon of an unpacked package, until its socket is there; ended with the test."""
    libraries = {str(one.parent) for one in root.glob("**/*.so*")}
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries))}
    alone = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
    with log.open("w") as out:
        process = subprocess.Popen(
            [*alone, *command], env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
        try:
            for _ in range(300):
                if socket_file.exists() or process.poll() is not None:
                    break
                try:
                    process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
            assert socket_file.exists(), log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(20)


def log_to(socket_file: Path, texts: list[str]) -> None:
    """As a program logs: syslog(3)'s own form, to the local socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect(str(socket_file))
        for text in texts:
            out.send(f"<30>Nov 20 11:00:00 solver[42]: {text}".encode())


# ── syslog daemons ────────────────────────────────────────────────────────────────────────────

RSYSLOG = """
global(workDirectory="{work}" localHostname="c0")
module(load="imuxsock" SysSock.Use="off")
module(load="omelasticsearch")
input(type="imuxsock" Socket="{socket}" UseSysTimeStamp="off" useSpecialParser="off")
template(name="document" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="app" name="programname" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
{action}
"""
RSYSLOG_ACTIONS = {
    "udp 3164": 'action(type="omfwd" target="127.0.0.1" port="{syslog/udp}" protocol="udp")',
    "tcp 3164": 'action(type="omfwd" target="127.0.0.1" port="{syslog/tcp}" protocol="tcp")',
    "udp 5424": 'action(type="omfwd" target="127.0.0.1" port="{syslog/udp}" protocol="udp"'
                ' template="RSYSLOG_SyslogProtocol23Format")',
    "tcp 5424 counted": 'action(type="omfwd" target="127.0.0.1" port="{syslog/tcp}" protocol="tcp"'
                        ' TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format")',
    "bulk": 'action(type="omelasticsearch" server="127.0.0.1" serverport="{http}" uid="rsyslog" pwd="{token}"'
            ' searchIndex="logs" searchType="" bulkmode="on" template="document" writeoperation="create"'
            ' bulkid="" dynbulkid="off" skipverifyhost="on")',
}  # fmt: skip


@pytest.mark.parametrize("way", ["udp 3164", "tcp 3164", "udp 5424", "tcp 5424 counted", "bulk"])
def test_rsyslog(live: Live, tmp_path: Path, way: str) -> None:
    root = unpacked("rsyslog")
    local = tmp_path / "log"
    places = {**live.ports, "http": live.http, "token": TOKEN}
    config = tmp_path / "rsyslog.conf"
    action = RSYSLOG_ACTIONS[way].format(**places)
    config.write_text(RSYSLOG.format(work=tmp_path, socket=local, action=action))
    modules = ":".join(sorted({str(one.parent) for one in root.glob("**/rsyslog/*.so")}))
    command = [str(root / "usr/sbin/rsyslogd"), "-n", "-f", str(config), "-i", str(tmp_path / "pid"), "-M", modules]
    with running(command, root, local, tmp_path / "out"):
        log_to(local, TEXTS)
        assert [text.strip() for text in live.messages(len(TEXTS), "app = 'solver'")] == sorted(TEXTS)
    _is_the_solver(live)


SYSLOG_NG = """
@version: 3.38
@module json-plugin
@include "{scl}/syslogconf/*.conf"
@include "{scl}/elasticsearch/*.conf"
@include "{scl}/graylog2/*.conf"
options {{ use_dns(no); keep_hostname(yes); stats_freq(0); }};
source local {{ unix-dgram("{socket}" flags(no-hostname)); }};
rewrite named {{ set("c0", value("HOST")); }};
destination there {{ {destination} }};
log {{ source(local); rewrite(named); destination(there); }};
"""
SYSLOG_NG_DESTINATIONS = {
    "udp 3164": 'network("127.0.0.1" port({syslog/udp}) transport("udp"));',
    "tcp 5424 counted": 'syslog("127.0.0.1" port({syslog/tcp}) transport("tcp"));',
    "bulk": 'http(url("http://127.0.0.1:{http}/_bulk") method("POST") user("syslog-ng") password("{token}")'
            ' headers("Content-Type: application/x-ndjson") batch-lines(3) batch-timeout(500) body-suffix("\\n")'
            ' body("{{\\"create\\":{{\\"_index\\":\\"logs\\"}}}}\\n$(format-json --scope rfc5424 @timestamp=$ISODATE'
            ' message=$MESSAGE host=$HOST app=$PROGRAM pid=$PID severity=$LEVEL facility=$FACILITY)"));',
    "json": 'network("127.0.0.1" port({json/udp}) transport("udp") template("$(format-json @timestamp=$ISODATE'
            ' message=$MESSAGE host=$HOST app=$PROGRAM pid=$PID severity=$LEVEL facility=$FACILITY)"));',
    "gelf": 'graylog2(host("127.0.0.1") port({gelf/tcp}) transport("tcp"));',
}  # fmt: skip


@pytest.mark.parametrize("way", sorted(SYSLOG_NG_DESTINATIONS))
def test_syslog_ng(live: Live, tmp_path: Path, way: str) -> None:
    root = unpacked("syslog-ng-core")
    local = tmp_path / "log"
    places = {**live.ports, "http": live.http, "token": TOKEN}
    scl = next(root.glob("usr/share/syslog-ng/include/scl"))
    config = tmp_path / "syslog-ng.conf"
    destination = SYSLOG_NG_DESTINATIONS[way].format(**places)
    config.write_text(SYSLOG_NG.format(scl=scl, socket=local, destination=destination))
    modules = next(root.glob("**/syslog-ng/3*/libsyslogformat.so"), None) or next(root.glob("**/libsyslogformat.so"))
    command = [
        str(root / "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", str(config), "-p", str(tmp_path / "pid"), "-c",
        str(tmp_path / "ctl"), "-R", str(tmp_path / "persist"), f"--module-path={modules.parent}",
    ]  # fmt: skip
    with running(command, root, local, tmp_path / "out"):
        log_to(local, TEXTS)
        assert live.messages(len(TEXTS), "app = 'solver'") == sorted(TEXTS), (tmp_path / "out").read_text()
    _is_the_solver(live)


def _is_the_solver(live: Live) -> None:
    for event in live.events("app = 'solver'"):
        assert (event["host"], event["pid"], event["severity"]) == ("c0", "42", "info")
        # rsyslog takes the time from the kernel, syslog-ng what the program said
        assert event["time"] == event["time"].replace(month=11, day=20, hour=11) or _is_now(event)
    assert live.plant.rejects() == []


def _is_now(event: dict[str, Any]) -> bool:
    return bool(abs((event["received"] - event["time"]).total_seconds()) < 30)


@pytest.mark.parametrize("form", ["--rfc3164", "--rfc5424"])
@pytest.mark.parametrize("way", ["--udp", "--tcp", "--tcp --octet-count"])
def test_logger(live: Live, way: str, form: str) -> None:
    if not shutil.which("logger"):
        skip("logger(1) is not installed")
    port = live.ports["syslog/udp" if "udp" in way else "syslog/tcp"]
    for text in TEXTS:
        words = ["--server", LOOPBACK, "--port", str(port), *way.split(), form, "--priority", "local3.err"]
        subprocess.run(["logger", *words, "--tag", "mytool", "--id=77", text], check=True, timeout=60)
    assert live.messages(len(TEXTS)) == sorted(TEXTS)
    for event in live.events():
        assert (event["app"], event["pid"], event["facility"], event["severity"]) == ("mytool", "77", "local3", "err")
        assert event["host"] == socket.gethostname().partition(".")[0] or event["host"] == socket.gethostname()


# ── clients ───────────────────────────────────────────────────────────────────────────────────


def test_elasticsearchs_own_client(live: Live) -> None:
    client = elasticsearch.Elasticsearch(
        f"http://{LOOPBACK}:{live.http}", basic_auth=("anybody", TOKEN), request_timeout=60
    )
    assert client.info()["version"]["number"].startswith("8.")
    assert client.indices.exists_index_template(name="logs")
    assert client.indices.put_index_template(name="logs", index_patterns=["logs-*"])["acknowledged"]
    documents = [{"_index": "logs", "_op_type": "create", "message": text, "host": "c0"} for text in TEXTS]
    assert elasticsearch.helpers.bulk(client, documents) == (len(TEXTS), [])
    assert client.index(index="logs", document={"message": "alone"})["result"] == "created"
    assert live.messages(len(TEXTS) + 1) == sorted([*TEXTS, "alone"])
    with pytest.raises(elasticsearch.AuthenticationException):
        client.options(basic_auth=("anybody", "wrong")).index(index="logs", document={"message": "forged"})


def test_opentelemetrys_exporter(live: Live) -> None:
    provider = LoggerProvider(Resource({"service.name": "solver", "host.name": "c0"}))
    exporter = OTLPLogExporter(
        f"http://{LOOPBACK}:{live.http}/v1/logs", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
    )
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log = logging.Logger("otel")
    log.addHandler(LoggingHandler(logger_provider=provider))
    for text in TEXTS:
        log.error(text, extra={"step": 31})
    provider.shutdown()
    assert live.messages(len(TEXTS)) == sorted(TEXTS)
    for event in live.events():
        assert (event["host"], event["app"], event["severity"]) == ("c0", "solver", "err")
        assert event["fields"]["step"] == "31"


@pytest.mark.parametrize("way", ["udp", "udp packed", "udp in chunks", "tcp", "http"])
def test_gelf_handlers(live: Live, way: str) -> None:
    handler: logging.Handler
    if way == "tcp":
        handler = pygelf.GelfTcpHandler(host=LOOPBACK, port=live.ports["gelf/tcp"], include_extra_fields=True)
    elif way == "http":
        handler = pygelf.GelfHttpHandler(
            host=LOOPBACK, port=live.http, path=f"/token/{TOKEN}/gelf", include_extra_fields=True, timeout=60
        )
    else:
        handler = pygelf.GelfUdpHandler(
            host=LOOPBACK, port=live.ports["gelf/udp"], compress="packed" in way, include_extra_fields=True,
            chunk_size=60 if "chunks" in way else 1300,
        )  # fmt: skip
    log = logging.Logger("gelf")
    log.addHandler(handler)
    for text in TEXTS:
        log.error(text, extra={"step": 31})
    log.removeHandler(handler)
    handler.close()
    assert live.messages(len(TEXTS)) == sorted(TEXTS)
    assert {(event["severity"], event["fields"]["step"]) for event in live.events()} == {("err", "31")}
