"""Syslog from the socket to events: both formats, both framings, times, rules; other projects' cases as oracle."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qnib.model import EventRule
from tests.data import FOLDER, real

from .conftest import NOW, Plant

pytestmark = pytest.mark.engine
_FILE = FOLDER / "syslog/telegraf_syslog_cases.json"
CASES = {case["name"]: case for case in json.loads(_FILE.read_text())} if _FILE.exists() else {}
COLUMNS = "time, host, app, pid, facility, severity, message, kind, rules, fields, entities, hint, lane"
ALLOCATE = EventRule(
    "allocated", r"sched: Allocate JobId=(?P<job>\d+) NodeList=(?P<nodes>\S+)( #CPUs=(?P<cpus>\d+))?", "job.start",
    app="slurmctld", entities=("Job:{job}", "Host:{host}"), hint="It runs now.",
)  # fmt: skip
LINK = EventRule(
    "link down", r'link (?P<switch>\S+) port (?P<port>\d+) went down', "link.down", severity="err",
    entities=("PORT:{switch}/{port}",),
)  # fmt: skip
ANY_JOB = EventRule("names a job", r"(?i)\bjobid=(?P<job>\d+)", "job.mentioned", entities=("Job:{job}",))


def events(plant: Plant) -> list[dict[str, Any]]:
    return plant.rows(f"SELECT {COLUMNS} FROM qnib.events ORDER BY time, message")


def one(plant: Plant, line: str) -> dict[str, Any]:
    plant.syslog(line)
    found = events(plant)
    assert len(found) == 1, plant.rejects()
    return found[0]


def test_rfc_5424(plant: Plant) -> None:
    event = one(
        plant,
        '<165>1 2026-11-20T10:00:00.000003-01:30 web1 app 8710 ID47 [a@1 x="1" y="q\\"\\]\\\\"][b z="2"] \ufeffté [x]',
    )
    assert event == {
        "time": datetime(2026, 11, 20, 11, 30, 0, 3, tzinfo=UTC), "host": "web1", "app": "app", "pid": "8710",
        "facility": "local4", "severity": "notice", "message": "té [x]", "kind": "", "rules": [],
        "fields": {"a@1.x": "1", "a@1.y": 'q"]\\', "b.z": "2", "msgid": "ID47"}, "entities": [], "hint": "",
        "lane": "other",
    }  # fmt: skip


def test_rfc_5424_with_nothing_known(plant: Plant) -> None:
    event = one(plant, "<0>1 - - - - - -")
    assert (event["time"], event["host"], event["app"], event["severity"], event["message"]) == (
        NOW, "127.0.0.1", "", "emerg", "",
    )  # fmt: skip


def test_rfc_3164(plant: Plant) -> None:
    event = one(plant, "<86>Nov 20 11:59:58 compute0 sshd[311]: Accepted publickey for alice")
    assert event["time"] == NOW - timedelta(seconds=2)
    assert (event["host"], event["app"], event["pid"]) == ("compute0", "sshd", "311")
    assert (event["facility"], event["severity"]) == ("authpriv", "info")
    assert event["message"] == "Accepted publickey for alice"


@pytest.mark.parametrize(
    ("stamp", "clock", "meant"),
    [
        ("Dec 31 23:59:59", datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("Jan  1 00:00:10", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, 0, 0, 10, tzinfo=UTC)),
        ("Feb 29 12:00:00", datetime(2028, 3, 1, tzinfo=UTC), datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("Nov 20 11:59:58.25", NOW, NOW - timedelta(seconds=1.75)),
        ("Nov 20 2026 11:00:00", NOW, NOW - timedelta(hours=1)),
        ("2026-11-20T11:00:00+02:00", NOW, NOW - timedelta(hours=3)),
        ("2026-11-20T11:00:00.5Z", NOW, NOW - timedelta(hours=0.99986111111)),
    ],
)
def test_the_year_nobody_tells(plant: Plant, stamp: str, clock: datetime, meant: datetime) -> None:
    plant.clock.at = clock
    assert one(plant, f"<13>{stamp} compute0 app: text")["time"] == meant


@pytest.mark.parametrize(
    ("stamp", "hour"), [("Nov 20 12:30:00", 11), ("Jul  1 12:30:00", 10), ("2026-11-20T12:30:00", 11)]
)
def test_a_source_has_a_zone(plant: Plant, stamp: str, hour: int) -> None:
    plant.syslog(f"<13>{stamp} berlin1 app: text", f"<13>{stamp} elsewhere app: text")
    assert {e["host"]: e["time"].hour for e in events(plant)} == {"berlin1": hour, "elsewhere": 12}


def test_a_time_no_clock_can_mean(plant: Plant) -> None:
    plant.syslog("<13>1 2031-01-01T00:00:00Z a - - - - ahead", "<13>1 1970-01-01T00:00:09Z b - - - - reset")
    assert [(e["time"], e["fields"]) for e in sorted(events(plant), key=lambda e: e["host"])] == [
        (NOW, {"sent": "2031-01-01T00:00:00Z"}), (NOW, {"sent": "1970-01-01T00:00:09Z"}),
    ]  # fmt: skip


def test_what_does_not_parse_is_kept(plant: Plant) -> None:
    bad = {
        "<192>Nov 20 11:00:00 h a: b": "the priority is not 0 to 191",
        "<1x>text": "the priority is not 0 to 191",
        "just some text": "neither priority nor time",
        "<13>1 2026-13-45T00:00:00Z h a - - - m": "bad RFC 5424 time",
        "<13>1 2026-11-20T11:00:00Z h a - - [open m": "bad structured data",
        "<13>1 2026-11-20T11:00:00Z h a - - what": "bad structured data",
        "<13>1 2026-11-20T11:00:00Z h a": "RFC 5424 fields are missing",
        "<1>2": "RFC 5424 fields are missing",
        f"<13>Nov 20 11:00:00 h a: {'x' * 2100}": "longer than 2000 octets",
    }
    plant.syslog(*bad, "<13>Nov 20 11:00:00 h a: good")
    assert {raw: why for why, raw in plant.rejects()} == {line[:2048]: why for line, why in bad.items()}
    assert [e["message"] for e in events(plant)] == ["good"]


def test_octets_that_are_no_text_and_control_characters(plant: Plant) -> None:
    plant.send("syslog/udp", b"<13>Nov 20 11:00:00 h a: \xff\x1b[31mred\x00")
    assert [e["message"] for e in events(plant)] == ["\N{REPLACEMENT CHARACTER}\x1b[31mred"]


def counted(*messages: str) -> bytes:
    return b"".join(b"%d %b" % (len(m.encode()), m.encode()) for m in messages)


def test_both_framings_on_one_connection_at_every_cut(plant: Plant) -> None:
    message = "<13>1 2026-11-20T11:00:00Z h a - - - {}"
    stream = (
        counted(message.format("counted\nwith a newline"), message.format("counted é"))
        + f"{message.format('line')}\n2 of these lines\n{message.format('7 <line')}\n".encode()
        + counted(message.format("again"))
        + b"\n"
        + f"{message.format('no end')}".encode()
    )
    texts = ["7 <line", "again", "counted\nwith a newline", "counted é", "line", "no end"]
    plant.send("syslog/tcp", stream)
    assert [e["message"] for e in events(plant)] == texts
    plant.send("syslog/tcp", *(stream[n : n + 1] for n in range(len(stream))))
    plant.send("syslog/tcp", *(stream[n : n + 7] for n in range(0, len(stream), 7)))
    assert sorted(e["message"] for e in events(plant)) == sorted(texts * 3)
    assert {why for why, _ in plant.rejects()} == {"neither priority nor time"}


def test_a_counted_message_that_is_too_long_is_skipped_exactly(plant: Plant) -> None:
    good = counted("<13>Nov 20 11:00:00 h a: good")
    stream = counted("<13>" + "x" * 5000) + good
    plant.send("syslog/tcp", stream)
    plant.send("syslog/tcp", *(stream[n : n + 999] for n in range(0, len(stream), 999)))
    assert [e["message"] for e in events(plant)] == ["good", "good"]
    assert [why for why, _ in plant.rejects()] == ["longer than 2000 octets"] * 2


def test_a_counted_message_that_never_ends(plant: Plant) -> None:
    plant.send("syslog/tcp", b"100 <13>Nov 20 11:00:00 h a: cut")
    assert [why for why, _ in plant.rejects()] == ["connection ended inside the record"]


# ── cases of other projects ───────────────────────────────────────────────────────────────────

LENIENT = {"octet_counting_best_effort_tcp_1st_underflow_nok", "rfc5424_best_effort_toolong_appname"}
"""Best-effort cases that keep half a message where we refuse it, or refuse a long name where we keep it."""


@pytest.mark.parametrize("name", sorted(CASES.keys() - LENIENT))
def test_telegrafs_cases(plant: Plant, name: str) -> None:
    case = CASES[name]
    plant.clock.at = datetime(2026, 12, 3, tzinfo=UTC)
    listener = "syslog/udp" if "udp" in case["config"] else "syslog/tcp"
    plant.settings.syslog.max_line = 20_000
    plant.send(listener, case["input.txt"].encode())
    expected = [_line_protocol(line) for line in case.get("expected.out", "").split("\n") if line]
    found = plant.rows(f"SELECT {COLUMNS}, id FROM qnib.events ORDER BY severity, message")
    assert len(found) == len(expected), plant.rejects()
    for event, told in zip(found, sorted(expected, key=lambda t: t["severity"]), strict=True):
        assert (event["severity"], event["facility"]) == (told["severity"], told["facility"])
        assert event["host"] == told.get("hostname", "127.0.0.1")
        assert (event["app"], event["pid"]) == (told.get("appname", ""), told.get("procid", ""))
        assert event["message"] == told.get("message", "")
        assert event["fields"].get("msgid") == told.get("msgid")
        if "meta_sequence" in told:
            assert event["fields"]["meta.sequence"] == told["meta_sequence"]
        if "timestamp" in told:
            meant = datetime.fromtimestamp(int(told["timestamp"][:-10]), UTC)
            skewed = event["fields"].get("sent")
            assert (datetime.fromisoformat(skewed).replace(microsecond=0) if skewed else event["time"]) == meant
    assert bool(plant.rejects()) == (not expected)


def _line_protocol(line: str) -> dict[str, str]:
    pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^, ]+)', line)
    return {k: v[1:-1].replace('\\"', '"').replace("\\\\", "\\") if v[0] == '"' else v for k, v in pairs}


def test_jcs_messages_of_rfc_3164(plant: Plant) -> None:
    expected = [e for e in json.loads(real("syslog/syslog-3164.json").read_text()) if "unparsable" not in e]
    plant.send("syslog/tcp", real("syslog/syslog-3164.txt").read_bytes())
    found = {(e["host"], e["app"].partition("(")[0], e["message"]) for e in events(plant)}
    for told in expected:
        text = re.sub(r"^(\(\w+\))?(\[\d+\])?: ?", "", told["content"] or "").strip()
        if told["tag"]:
            assert (told["hostname"], told["tag"], text) in found
    assert ("127.0.0.1", "avas", "last message repeated 11 times") in found
    assert len(found) >= len({told["content"] for told in expected})
    assert [raw[:6] for _, raw in plant.rejects()] == ["<3444>"]


def test_jcs_messages_of_rfc_5424(plant: Plant) -> None:
    plant.send("syslog/tcp", real("syslog/syslog-5424.txt").read_bytes())
    expected = [
        e for e in json.loads(real("syslog/syslog-5424.json").read_text())
        if "unparsable" not in e and e["priority"] is not None
    ]  # fmt: skip
    found = [(e["host"], e["app"], e["message"]) for e in events(plant)]
    for told in expected:
        assert (told["hostname"], told["appname"] or "", told["message"]) in found
    assert {why for why, _ in plant.rejects()} == {
        "bad RFC 5424 time", "neither priority nor time", "the priority is not 0 to 191",
    }  # fmt: skip


# ── rules ─────────────────────────────────────────────────────────────────────────────────────


def test_rules_tell_what_happened(plant: Plant) -> None:
    plant.rules = [ALLOCATE, LINK, ANY_JOB]
    plant.syslog(
        "<30>1 2026-11-20T11:00:00Z ctl slurmctld 1 - - sched: Allocate JobId=42 NodeList=compute[0-1]",
        "<30>1 2026-11-20T11:00:01Z ctl other 1 - - sched: Allocate JobId=43 NodeList=compute[0-1]",
        "<30>1 2026-11-20T11:00:02Z fab opensm 1 - - link SW1 port 3 went down",
        "<30>1 2026-11-20T11:00:03Z c0 slurm_44 - - - progress 31/100 rate 1.9 it/s",
        "<30>1 2026-11-20T11:00:04Z c0 kernel - - - nothing known",
    )
    told = [
        {k: e[k] for k in ("kind", "rules", "fields", "entities", "hint", "lane", "severity")} for e in events(plant)
    ]
    assert told == [
        {"kind": "job.start", "rules": ["allocated", "names a job"], "fields": {"job": "42", "nodes": "compute[0-1]"},
         "entities": ["Job:42", "Host:ctl"], "hint": "It runs now.", "lane": "scheduler", "severity": "info"},
        {"kind": "job.mentioned", "rules": ["names a job"], "fields": {"job": "43"}, "entities": ["Job:43"], "hint": "",
         "lane": "scheduler", "severity": "info"},
        {"kind": "link.down", "rules": ["link down"], "fields": {"switch": "SW1", "port": "3"},
         "entities": ["PORT:SW1/3"], "hint": "", "lane": "fabric", "severity": "err"},
        {"kind": "", "rules": [], "fields": {"job": "44"}, "entities": [], "hint": "", "lane": "application",
         "severity": "info"},
        {"kind": "", "rules": [], "fields": {}, "entities": [], "hint": "", "lane": "kernel", "severity": "info"},
    ]  # fmt: skip
    topic, cluster, newest, rows = plant.changes[-1]
    assert (topic, cluster, newest) == ("events", "demo", NOW)
    assert [row["kind"] for row in rows] == ["job.start", "job.mentioned", "link.down", "", ""]


def test_every_domains_rules_compile(plant: Plant) -> None:
    from qnib.domains import all_domains
    from qnib.domains.events import load_rules

    plant.rules = [rule for domain in all_domains() for rule in load_rules(domain)]
    lines = [
        f"<30>1 2026-11-20T11:00:00Z ctl {rule.app.split(',')[0] or 'any'} 1 - - {rule.sample}" for rule in plant.rules
        if rule.sample
    ]
    plant.syslog(*lines)
    found = {row["message"]: row for row in plant.rows("SELECT message, rules, fields FROM qnib.events")}
    for rule in plant.rules:
        if rule.sample:
            event = found[rule.sample]
            assert rule.name in event["rules"]
            assert rule.expect.items() <= event["fields"].items(), rule.name
