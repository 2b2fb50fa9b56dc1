"""Where events can be mirrored to: syslog (RFC 5424), Elasticsearch's _bulk, Kafka; and points: carbon."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
import orjson

from qnib.errors import Unavailable
from qnib.monitoring.carbon_target import CarbonTarget
from qnib.monitoring.mirror import Sender
from qnib.monitoring.syslog import FACILITIES, SEVERITIES
from qnib.settings import MetricsTarget, MirrorTarget

_SECONDS = 20.0
_DATAGRAM = 8192  # octets; RFC 5426 lets receivers drop what is longer
_GIVEN_UP = frozenset({400, 404, 409, 413})  # of single documents: sending them again would not help


def connect(target: MirrorTarget | MetricsTarget) -> Sender:
    """A way to `target`. Raises OSError when it is not there, Unavailable when its library is not."""
    url = urlsplit(target.to)
    if isinstance(target, MetricsTarget):
        return CarbonTarget(url)
    match url.scheme:
        case "syslog" | "syslog+tcp" | "syslog+tls" | "syslog+udp":
            return _Syslog(url)
        case "kafka":
            return _Kafka(url, target)
        case _:
            return _Bulk(target)


class _Syslog:
    """Counted messages over TCP or TLS, or datagrams. Nobody acknowledges: what a broken connection held is lost."""

    def __init__(self, url: SplitResult) -> None:
        where = (url.hostname or "", url.port or (6514 if url.scheme == "syslog+tls" else 514))
        self._datagrams = url.scheme == "syslog+udp"
        if self._datagrams:
            family, kind, *_, address = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection(where, _SECONDS)
            if url.scheme == "syslog+tls":
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=url.hostname)

    def send(self, events: Sequence[Mapping[str, Any]]) -> int:
        messages = [rfc_5424(event) for event in events]
        if self._datagrams:
            for message in messages:
                self._socket.send(message[:_DATAGRAM])
            return 0
        self._check_open()
        self._socket.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))
        return 0

    def _check_open(self) -> None:
        """A peer that has gone is seen before the first write into the void."""
        self._socket.setblocking(False)
        try:
            if self._socket.recv(1024) == b"":
                raise ConnectionResetError("the target closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self._socket.settimeout(_SECONDS)

    def close(self) -> None:
        self._socket.close()


def rfc_5424(event: Mapping[str, Any]) -> bytes:
    """The event as a syslog message; its fields, kind and cluster as structured data."""
    severity = SEVERITIES.index(event["severity"]) if event["severity"] in SEVERITIES else 6
    facility = FACILITIES.index(event["facility"]) if event["facility"] in FACILITIES else 1
    pairs = {"cluster": event["cluster"], "kind": event["kind"], **event["fields"]}
    data = "".join(f' {_name(name)}="{_escaped(value)}"' for name, value in pairs.items() if value)
    head = " ".join(
        [f"<{facility * 8 + severity}>1", event["time"], *(_word(event[name], most) for name, most in _WORDS), "-"]
    )
    return f"{head} [qnib@32473{data}] {event['message']}".encode("utf-8", "replace")


_WORDS = (("host", 255), ("app", 48), ("pid", 128))


def _word(told: str, most: int) -> str:
    return "".join(c if "!" <= c <= "~" else "_" for c in told)[:most] or "-"


def _name(told: str) -> str:
    return "".join(c if "!" <= c <= "~" and c not in '="]' else "_" for c in told)[:32] or "_"


def _escaped(told: str) -> str:
    return told.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def document(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event by the names of the Elastic Common Schema."""
    return {
        "@timestamp": event["time"], "message": event["message"], "host": {"name": event["host"]},
        "process": {"name": event["app"], "pid": event["pid"]} if event["pid"] else {"name": event["app"]},
        "log": {"level": event["severity"], "syslog": {"facility": {"name": event["facility"]}}},
        "event": {"id": event["id"], "action": event["kind"]},
        "labels": {"cluster": event["cluster"], **event["fields"]}, "related": {"entities": event["entities"]},
        "source": {"address": event["sender"]},
    }  # fmt: skip


class _Bulk:
    """Elasticsearch: each event's own id, so that one that is sent twice is there once."""

    def __init__(self, target: MirrorTarget) -> None:
        auth = (target.user, target.password.get_secret_value()) if target.user else None
        self._url, self._index = target.to, target.index
        self._http = httpx.Client(auth=auth, timeout=_SECONDS)

    def send(self, events: Sequence[Mapping[str, Any]]) -> int:
        lines = []
        for event in events:
            lines.append(orjson.dumps({"create": {"_index": self._index, "_id": event["id"]}}))
            lines.append(orjson.dumps(document(event)))
        answer = self._http.post(
            self._url, content=b"\n".join(lines) + b"\n", headers={"Content-Type": "application/x-ndjson"}
        )
        if answer.status_code != 200:
            raise OSError(f"it answered {answer.status_code}: {answer.text[:200]}")
        told = answer.json()
        if not told.get("errors"):
            return 0
        status = [next(iter(item.values()))["status"] for item in told["items"]]
        if again := [one for one in status if one >= 300 and one not in _GIVEN_UP]:
            raise OSError(f"{len(again)} of {len(status)} documents are to be sent again ({again[0]})")
        return sum(one >= 300 and one != 409 for one in status)  # 409: it is there already

    def close(self) -> None:
        self._http.close()


class _Kafka:
    """Every event acknowledged by all replicas before the next batch; keyed by host, whose events stay in order."""

    def __init__(self, url: SplitResult, target: MirrorTarget) -> None:
        try:
            from confluent_kafka import Producer
        except ImportError as error:
            raise Unavailable(
                "Kafka's client is not installed.", where=target.to, try_next="pip install 'qnib[kafka]'"
            ) from error
        settings: dict[str, Any] = {
            "bootstrap.servers": url.netloc, "acks": "all", "enable.idempotence": True, "compression.type": "zstd",
            "message.timeout.ms": int(_SECONDS * 1000), "client.id": "qnib", "log_level": 0,
        }  # fmt: skip
        if target.user:
            settings |= {
                "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": target.user,
                "sasl.password": target.password.get_secret_value(),
            }  # fmt: skip
        self._topic = url.path.strip("/")
        self._producer = Producer(settings)

    def send(self, events: Sequence[Mapping[str, Any]]) -> int:
        failed: list[str] = []

        def told(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(str(error))

        for event in events:
            self._producer.produce(
                self._topic, orjson.dumps(document(event)), event["host"].encode(), on_delivery=told
            )
        left = self._producer.flush(_SECONDS + 5)
        if failed or left:
            raise OSError(f"{len(failed) or left} of {len(events)} were not taken: {(failed or ['no answer'])[0]}")
        return 0

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(1)
