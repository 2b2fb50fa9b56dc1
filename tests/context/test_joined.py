"""Lines joined in time to whose they are: shared nodes, the scheduler's late word, other names, repeated ids."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from qnib.errors import QnibError, TooMuch, WrongUse
from qnib.model import Entity, Ref, Relation
from tests.context.conftest import NOON, Site, at

pytestmark = pytest.mark.engine
HOUR = timedelta(hours=1)


def around(site: Site, message: str) -> dict[str, Any]:
    found = [row for row in site.search("").events(100) if row["message"] == message]
    assert len(found) == 1
    told: dict[str, Any] = found[0]["around"]
    return told


def jobs(site: Site, message: str) -> list[int]:
    return [job["id"] for job in around(site, message)["jobs"]]


def test_a_bare_kernel_line_is_its_hosts_jobs_users_and_switchs(site: Site) -> None:
    site.hosts(NOON - HOUR, "compute3", "compute4")
    site.link(NOON - HOUR, "compute3", "SW1", 3)
    key = site.job(42, "herbert", ["compute3"], at("12:00:00"), at("12:10:00"), name="PingPong")
    site.line(at("12:05:00"), "compute3", "mlx5_core: link flaps")
    site.line(at("12:05:00"), "compute4", "somewhere else")
    told = around(site, "mlx5_core: link flaps")
    assert told["host"] == "compute3"
    assert told["switches"] == ["SW1"]
    assert told["jobs"] == [
        {
            "key": key,
            "id": 42,
            "name": "PingPong",
            "user": "herbert",
            "group": "docker",
            "account": "physics",
            "partition": "odd",
            "nodes": "compute3",
        }
    ]
    for query in (
        "job:42",
        f"job:{key}",
        "user:herbert",
        "user:her*",
        "partition:odd",
        "account:physics",
        "group:docker",
        "switch:SW1",
        "switch:SW[1-2]",
        "user:ann,herbert",
        "user:herbert flaps",
    ):
        assert site.messages(query) == ["mlx5_core: link flaps"], query
    for query in ("job:43", "user:ann", "switch:SW2", "-user:herbert flaps", "user:herbert -job:42"):
        assert site.messages(query) == [], query
    assert site.messages("-user:herbert") == ["somewhere else"]
    assert site.messages("user:herbert OR else") == ["mlx5_core: link flaps", "somewhere else"]


def test_a_line_that_came_before_the_schedulers_word_is_joined_all_the_same(site: Site) -> None:
    site.hosts(NOON - HOUR, "compute3")
    site.line(at("12:05:00"), "compute3", "oom")
    assert jobs(site, "oom") == []
    assert site.messages("user:herbert") == []
    site.job(42, "herbert", ["compute3"], at("12:00:00"), at("12:10:00"), told=at("12:30:00"))
    assert jobs(site, "oom") == [42]
    assert site.messages("user:herbert") == ["oom"]


@pytest.mark.parametrize(
    ("when", "whose"),
    [
        ("11:59:59.999999", []),
        ("12:00:00", [1]),
        ("12:09:59.999999", [1]),
        ("12:10:00.5", [1, 2]),  # SLURM tells whole seconds: in this one either may have spoken
        ("12:10:01", [2]),
        ("12:20:00.999999", [2]),
        ("12:20:01", []),
    ],
)
def test_where_one_job_ends_and_the_next_begins(site: Site, when: str, whose: list[int]) -> None:
    site.job(1, "ann", ["c1"], at("12:00:00"), at("12:10:00"))
    site.job(2, "bob", ["c1"], at("12:10:00"), at("12:20:00"))
    site.line(at(when), "c1", "x")
    assert jobs(site, "x") == whose
    assert bool(site.messages("user:ann")) is (1 in whose)
    assert bool(site.messages("user:bob")) is (2 in whose)


def test_on_a_shared_node_a_line_is_every_jobs_unless_it_names_its_own(site: Site) -> None:
    site.job(1, "ann", ["c1"], at("12:00:00"), at("12:30:00"))
    site.job(2, "bob", ["c1"], at("12:10:00"), at("12:40:00"))
    site.job(3, "cid", ["c1"], at("12:20:00"), None, told=at("12:41:00"))
    site.line(at("12:25:00"), "c1", "all of three")
    site.line(at("12:25:01"), "c1", "only the second's", app="slurm_2", fields={"job": "2"})
    site.line(at("12:25:02"), "c1", "only the first's", entities=["Job:1", "Host:c1"])
    site.line(at("12:35:00"), "c1", "of two")
    site.line(at("12:45:00"), "c1", "of one")
    assert jobs(site, "all of three") == [1, 2, 3]
    assert jobs(site, "only the second's") == [2]
    assert jobs(site, "of two") == [2, 3]
    assert jobs(site, "of one") == [3]
    assert site.messages("user:ann") == ["all of three", "only the first's"]
    assert site.messages("job:2") == ["all of three", "only the second's", "of two"]
    assert site.messages("user:ann user:bob") == ["all of three"]
    assert site.messages("user:ann -user:bob") == ["only the first's"]
    table = site.search("").table()
    assert {row["message"]: row["users"] for row in table.to_pylist()} == {
        "all of three": ["ann", "bob", "cid"], "only the second's": ["bob"], "only the first's": ["ann"],
        "of two": ["bob", "cid"], "of one": ["cid"],
    }  # fmt: skip
    facets = site.search("").facets(["user", "partition", "host"])
    assert {one["value"]: one["count"] for one in facets["user"]["values"]} == {"ann": 2, "bob": 3, "cid": 3}
    assert facets["partition"]["values"] == [{"value": "odd", "count": 5}]


def test_a_requeued_job_has_what_was_said_in_each_of_its_runs_and_nothing_between(site: Site) -> None:
    key = site.job(7, "ann", ["c1"], at("12:00:00"), at("12:10:00"), submit=at("11:59:00"))
    site.job(7, "ann", ["c2"], at("12:30:00"), at("12:40:00"), key=key)
    for when, host in (("12:05:00", "c1"), ("12:20:00", "c1"), ("12:35:00", "c1"), ("12:35:00", "c2")):
        site.line(at(when), host, f"{when} {host}")
    assert site.messages("job:7") == ["12:05:00 c1", "12:35:00 c2"]
    assert jobs(site, "12:35:00 c1") == []


def test_all_names_of_a_host_are_that_host(site: Site) -> None:
    site.hosts(NOON - HOUR, "node-a", "node-b")
    site.alias(NOON - HOUR, "slurm:compute3", "node-a")
    site.alias(NOON - HOUR, "address:10.0.0.3", "node-a")
    site.job(42, "herbert", ["node-a"], at("12:00:00"), at("12:10:00"))
    for name in ("node-a", "compute3", "10.0.0.3", "node-a.cluster.example", "node-b"):
        site.line(at("12:05:00"), name, f"from {name}")
    own = ["from node-a", "from compute3", "from 10.0.0.3", "from node-a.cluster.example"]
    for query in ("user:herbert", "host:compute3", "host:node-a", "host:10.0.0.3", "host:compute[2-4]", "host:comp*"):
        assert sorted(site.messages(query)) == sorted(own), query
    assert jobs(site, "from node-a.cluster.example") == [42]
    assert site.messages("-host:compute3") == ["from node-b"]
    assert site.messages("host:node-b") == ["from node-b"]


def test_a_name_that_was_given_to_another_host_means_each_in_its_time(site: Site) -> None:
    site.hosts(NOON - HOUR, "old", "new")
    site.alias(NOON - HOUR, "slurm:compute3", "old", until=at("12:20:00"))
    site.alias(at("12:20:00"), "slurm:compute3", "new", by="names later")
    site.job(1, "ann", ["old"], at("12:00:00"), at("12:50:00"))
    site.job(2, "bob", ["new"], at("12:00:00"), at("12:50:00"))
    site.line(at("12:10:00"), "compute3", "before")
    site.line(at("12:30:00"), "compute3", "after")
    assert site.messages("user:ann") == ["before"]
    assert site.messages("user:bob") == ["after"]
    assert site.messages("host:old") == ["before"]
    assert site.messages("host:new") == ["after"]
    assert site.messages("host:compute3") == ["before", "after"]
    assert jobs(site, "after") == [2]


def test_a_number_that_was_given_twice_is_each_job_in_its_time(site: Site) -> None:
    first = site.job(5, "ann", ["c1"], at("11:00:00"), at("11:10:00"))
    second = site.job(5, "bob", ["c1"], at("12:00:00"), at("12:10:00"))
    site.line(at("11:20:00"), "control", "accounting of the first", entities=["Job:5"], app="slurmctld")
    site.line(at("12:05:00"), "control", "launch of the second", fields={"job": "5"}, app="slurmctld")
    assert site.messages(f"job:{first}") == ["accounting of the first"]
    assert site.messages(f"job:{second}") == ["launch of the second"]
    assert site.messages("job:5") == ["accounting of the first", "launch of the second"]
    assert site.messages("user:bob") == ["launch of the second"]
    assert around(site, "launch of the second")["jobs"][0]["key"] == second


def test_a_host_that_was_plugged_in_elsewhere_was_on_each_switch_in_its_time(site: Site) -> None:
    site.hosts(NOON - HOUR, "c1")
    site.link(NOON - HOUR, "c1", "SW1", 3, until=at("12:20:00"))
    site.link(at("12:20:00"), "c1", "SW2", 7)
    site.line(at("12:10:00"), "c1", "on the first")
    site.line(at("12:30:00"), "c1", "on the second")
    site.line(at("12:30:00"), "", "the switch itself", entities=["PORT:SW1/9"])
    assert site.messages("switch:SW1") == ["on the first", "the switch itself"]
    assert site.messages("switch:SW2") == ["on the second"]
    assert around(site, "on the second")["switches"] == ["SW2"]


def test_job_lines_nobody_told_of_are_found_by_their_number(site: Site) -> None:
    site.line(at("12:10:00"), "c1", "a job of yesterday's controller", fields={"job": "99"})
    assert site.messages("job:99") == ["a job of yesterday's controller"]


def test_words_phrases_fields_and_what_they_are_not(site: Site) -> None:
    site.line(
        at("12:00:00"),
        "c1",
        "Out of memory: Killed process 4711 (gemm)",
        kind="kernel.oom",
        fields={"exit_code": "9", "unit": "it/s"},
        rules=["oom_kill"],
    )
    site.line(at("12:00:01"), "c2", "memory is out of order", app="gemm", severity="info", pid="77")
    site.line(at("12:00:02"), "c3", "pam_unix: session opened", app="sshd", severity="debug", lane="other")
    first, second, third = site.messages("")
    table = {
        "memory": [first, second], "MEMORY killed": [first], '"out of memory"': [first], "outof": [],
        "kill*": [first], "mem* -kill*": [second], "out OR session": [first, second, third],
        "(out OR session) -order": [first, third], "kind:kernel.*": [first], "-kind:*": [second, third],
        "kind:*": [first], "user:*": [],
        "severity>=err": [first], "severity<err": [second, third], "severity:info,debug": [second, third],
        "severity>=error": [first], "severity>debug": [first, second],
        "app:sshd": [third], "app:ss*": [third], "app!=sshd": [first, second], "field.exit_code:9": [first],
        "field.exit_code>=9": [first], "field.exit_code>9": [], "field.unit>3": [], "field.unit:it/s": [first],
        "rule:oom_kill": [first], "rule:oom*": [first], "pid:77": [second], "message:*pam_u*": [third],
        "pam_unix": [third], "time>=2026-11-20T12:00:01+00:00": [second, third], "lane:other,fabric": [third],
        "4711": [first], "471": [], "471*": [first], "NOT memory": [third], "host:c[1-2] memory": [first, second],
    }  # fmt: skip
    for query, found in table.items():
        assert site.messages(query) == found, query


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE qnib.events; --",
        '"\'); SELECT 1 --"',
        "host:x' app:y\\",
        "a\x00b",
        "kind:%_%",
        "app:'OR'1'='1'",
        "field.x':y",
        "{limit:UInt32}",
        "message:*{q0:String}*",
        "user:'\"}\\",
        "\ud800",
        "🦀 crab",
        "x" * 1900,
        "host:n[0-19999]",
        "switch:*",
        "job:*",
        "entity:*:*",
        "message:*\\*",
        "a" + " b" * 900,
    ],
)
def test_hostile_queries_are_answered_or_refused_and_nothing_else(site: Site, text: str) -> None:
    site.line(at("12:00:00"), "c1", "harmless line")
    try:
        site.search(text).events(10)
        site.search(text).histogram(10)
        site.search(text).facets(["host", "user"])
    except QnibError as error:
        assert isinstance(error, WrongUse | TooMuch), error
    assert site.messages("harmless") == ["harmless line"]


def test_histogram_facets_and_export_count_the_same_events(site: Site) -> None:
    for n in range(60):
        site.line(
            at("12:00:00") + timedelta(minutes=n), f"c{n % 4}", f"line {n}", severity=["err", "warning", "info"][n % 3]
        )
    search = site.search("line", start=at("12:00:00"), end=at("13:00:00"))
    told = search.histogram(6)
    assert told["count"] == [10] * 6
    assert sum(told["critical"]) == sum(told["warn"]) == sum(told["fine"]) == 20
    facets = search.facets(["host", "severity", "app"])
    assert facets["host"]["folded"] == "c[0-3]"
    assert [one["count"] for one in facets["host"]["values"]] == [15] * 4
    assert search.count() == 60
    assert [row["message"] for row in search.rows_of_export(25)] == [f"line {n}" for n in range(59, 34, -1)]


def test_an_unfinished_contradiction_of_names_is_settled_by_what_was_told_later(site: Site) -> None:
    site.hosts(NOON - HOUR, "a", "b")
    site.alias(NOON - HOUR, "hca:n1", "a")
    site.tell(
        at("12:00:00"),
        Entity("Alias", "slurm:n1", {"name": "n1"}),
        Relation("ALIAS_OF", Ref("Alias", "slurm:n1"), Ref("Host", "b"), since=at("12:00:00")),
    )
    site.line(at("11:30:00"), "n1", "early")
    site.line(at("12:30:00"), "n1", "late")
    assert around(site, "early")["host"] == "a"
    assert around(site, "late")["host"] == "b"


def test_an_export_in_parts_tells_each_of_many_of_one_moment_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnib.context.search._AT_ONCE", 7)
    for n in range(40):
        site.line(at("12:00:00") + timedelta(seconds=n // 20), "c1", f"line {n}")
    told = [row["message"] for row in site.search("").rows_of_export(1000)]
    assert sorted(told) == sorted(f"line {n}" for n in range(40))
    assert len(list(site.search("").rows_of_export(33))) == 33


def test_a_job_that_rules_find_in_a_stored_line_later_is_joined_as_well(site: Site) -> None:
    site.job(9, "ann", ["c1"], at("12:00:00"), at("12:10:00"))
    site.line(at("12:05:00"), "control", "job 9 said something")
    assert site.messages("user:ann") == []
    site.engine.run(  # as reclassifying does it
        "ALTER TABLE qnib.events UPDATE fields = map('job', '9') WHERE message LIKE 'job 9%'",
        settings={"mutations_sync": 1},
    )
    assert site.messages("user:ann") == ["job 9 said something"]
    assert site.messages("tag:x") == site.messages("pattern:77") == []
