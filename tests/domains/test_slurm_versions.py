"""The same job, node and partition told in the shape of every version from v0.0.37 to v0.0.44 mean the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.domains.golden import plain

from qnib.domains.slurm import rest
from qnib.domains.slurm.versions import NEWEST, OLDEST, STEPS, exit_code, lift, number

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
VERSIONS = range(OLDEST, NEWEST + 1)


def some(value: int) -> dict[str, Any]:
    return {"set": True, "infinite": False, "number": value}


UNSET = {"set": False, "infinite": False, "number": 0}
ENDLESS = {"set": False, "infinite": True, "number": 0}

RAW = {
    "job_id": 42, "name": "gemm", "user_name": "alice", "account": "physics", "partition": "all", "qos": "normal",
    "state_reason": "NonZeroExitCode", "nodes": "n[1-2]", "command": "/home/alice/run.sh",
    "current_working_directory": "/home/alice", "tres_alloc_str": "cpu=4,mem=2000M,node=2", "array_task_string": "",
    "restart_cnt": 1,
}  # fmt: skip
NUMBERS = {
    "submit_time": 1763640000, "start_time": 1763640010, "end_time": 1763640100, "time_limit": 60, "cpus": 4,
    "node_count": 2, "memory_per_cpu": 500, "array_job_id": 40, "array_task_id": 7, "het_job_id": 0,
    "het_job_offset": 0,
}  # fmt: skip
PARTS = {"status": ["ERROR"], "return_code": some(3), "signal": {"id": UNSET, "name": ""}}


def job(version: int) -> dict[str, Any]:
    """What the specification of `version` calls a job, with the fields we read."""
    if version <= 38:
        resources: dict[str, Any] = {
            "nodes": "n[1-2]", "allocated_cpus": 4, "allocated_hosts": 2,
            "allocated_nodes": {"0": {"memory": 1000, "cpus": 2}, "1": {"memory": 1000, "cpus": 2}},
        }  # fmt: skip
        return {**RAW, **NUMBERS, "memory_per_node": None, "job_state": "FAILED", "exit_code": 768,
                "job_resources": resources}  # fmt: skip
    numbers = {name: some(value) for name, value in NUMBERS.items()}
    told = {**RAW, **numbers, "memory_per_node": UNSET}
    if version <= 40:
        resources = {
            "nodes": "n[1-2]", "allocated_hosts": 2,
            "allocated_nodes": [
                {"sockets": {"0": {"cores": {"0": "allocated"}}}, "nodename": "n1", "cpus_used": 0, "memory_used": 0,
                 "memory_allocated": 1000},
                {"sockets": {"0": {"cores": {"0": "allocated"}}}, "nodename": "n2", "cpus_used": 0, "memory_used": 0,
                 "memory_allocated": 1000},
            ],
        }  # fmt: skip
    else:
        resources = {"nodes": {"list": "n[1-2]", "allocation": [
            {"name": "n1", "cpus": {"count": 2}, "memory": {"allocated": 1000}},
            {"name": "n2", "cpus": {"count": 2}, "memory": {"allocated": 1000}},
        ]}}  # fmt: skip
    state: Any = "FAILED" if version == 39 else ["FAILED"]
    return {**told, "job_state": state, "exit_code": some(768) if version == 39 else PARTS, "job_resources": resources}


def past(version: int) -> dict[str, Any]:
    """A record of accounting."""
    code: Any = {"status": "ERROR", "return_code": 3} if version <= 39 else PARTS
    limit: Any = 60 if version <= 38 else some(60)
    state: Any = "FAILED" if version <= 39 else ["FAILED"]
    start, end = (1763640010, 1763640099) if version <= 39 else (some(1763640010), some(1763640099))
    return {
        "job_id": 42, "name": "gemm", "user": "alice", "account": "physics", "group": "users", "partition": "all",
        "qos": "normal", "nodes": "n[1-2]", "allocation_nodes": 2, "working_directory": "/home/alice",
        "time": {"submission": 1763640000, "start": 1763640010, "end": 1763640100, "limit": limit},
        "state": {"current": state, "reason": "None"}, "exit_code": code,
        "array": {"job_id": 40, "task_id": 7 if version <= 38 else some(7)},
        "het": {"job_id": 0, "job_offset": 0 if version <= 38 else UNSET},
        "tres": {"allocated": [{"type": "cpu", "count": 4}, {"type": "mem", "count": 2000}]},
        "steps": [{"step": {"id": "42.0", "name": "gemm"}, "state": state, "exit_code": code, "tasks": {"count": 4},
                   "time": {"start": start, "end": end}, "nodes": {"range": "n[1-2]"}}],
    }  # fmt: skip


def node(version: int) -> dict[str, Any]:
    told = {"name": "n1", "hostname": "n1", "address": "10.0.0.1", "partitions": ["all"], "cpus": 4, "alloc_cpus": 3,
            "real_memory": 4000, "alloc_memory": 1500, "reason": "bad disk", "reason_set_by_user": "root",
            "gres": "gpu:2"}  # fmt: skip
    if version <= 38:
        return {**told, "state": "mixed", "state_flags": ["DRAIN"], "slurmd_version": "22.05.8", "features": "ib,fast",
                "reason_changed_at": 1763640000, "free_memory": 852}  # fmt: skip
    return {**told, "state": ["MIXED", "DRAIN"], "version": "22.05.8", "features": ["ib", "fast"],
            "reason_changed_at": some(1763640000), "free_mem": some(852)}  # fmt: skip


def partition(version: int) -> dict[str, Any]:
    if version <= 38:
        return {"name": "all", "nodes": "n[1-2]", "total_nodes": 2, "total_cpus": 8, "max_time_limit": -1,
                "state": "UP"}  # fmt: skip
    state: Any = "UP" if version == 39 else ["UP"]
    return {"name": "all", "nodes": {"configured": "n[1-2]", "total": 2}, "cpus": {"total": 8},
            "maximums": {"time": ENDLESS}, "partition": {"state": state}}  # fmt: skip


def document(version: int, name: str, records: list[dict[str, Any]]) -> str:
    if version <= 39:
        meta: dict[str, Any] = {"plugin": {"type": f"openapi/v0.0.{version}"}, "Slurm": {"release": "22.05.8"}}
    else:
        meta = {"plugin": {"type": "openapi/slurmctld", "data_parser": f"data_parser/v0.0.{version}"}}
    return json.dumps({"meta": meta, "errors": [], name: records})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "make", "parse"), [
    ("jobs", job, rest.parse_jobs), ("jobs", past, rest.parse_past), ("nodes", node, rest.parse_nodes),
    ("partitions", partition, rest.parse_partitions),
], ids=["job", "past", "node", "partition"])  # fmt: skip
def test_every_version_means_the_same(version: int, name: str, make: Any, parse: Any) -> None:
    told = plain(parse(document(version, name, [make(version)]), AT))
    assert told == plain(parse(document(NEWEST, name, [make(NEWEST)]), AT))
    assert told["entities"]


def test_the_meaning_itself() -> None:
    seen = rest.parse_jobs(document(37, "jobs", [job(37)]), AT)
    told = {entity.kind: entity for entity in seen.entities}
    facts = told["Job"].properties
    assert told["Job"].key == "42@1763640000"
    assert (facts["state"], facts["exit_code"], facts["signal"], facts["limit"]) == ("FAILED", 3, 0, 3600)
    assert (facts["array_job"], facts["array_task"], facts["attempt"]) == (40, "7", 2)
    shares = {tie.target.key: tie.properties for tie in seen.relations if tie.kind == "JOBCLIENT"}
    assert shares == {
        "n1": {"attempt": 2, "cpus": 2, "memory": 1000 << 20}, "n2": {"attempt": 2, "cpus": 2, "memory": 1000 << 20},
    }  # fmt: skip
    (one,) = [e for e in rest.parse_nodes(document(37, "nodes", [node(37)]), AT).entities if e.kind == "Node"]
    assert (one.properties["state"], one.properties["features"]) == ("MIXED+DRAIN", "ib,fast")


def test_nodes_told_by_index_are_in_the_order_written() -> None:
    told = job(37)
    told["nodes"] = told["job_resources"]["nodes"] = "n[2,1]"
    told["job_resources"]["allocated_nodes"]["1"] = {"memory": 500, "cpus": 1}
    seen = rest.parse_jobs(document(37, "jobs", [told]), AT)
    shares = {tie.target.key: tie.properties for tie in seen.relations if tie.kind == "JOBCLIENT"}
    assert shares == {
        "n2": {"attempt": 2, "cpus": 2, "memory": 1000 << 20}, "n1": {"attempt": 2, "cpus": 1, "memory": 500 << 20},
    }  # fmt: skip
    assert {e.properties["nodes"] for e in seen.entities if e.kind in ("Job", "Attempt")} == {"n[1-2]"}


def test_there_is_a_step_for_every_version_and_none_changes_its_input() -> None:
    assert set(STEPS) == set(range(OLDEST, NEWEST))
    for version in VERSIONS:
        for kind, make in (("job", job), ("past", past), ("node", node), ("partition", partition)):
            record = make(version)
            before = json.dumps(record)
            lift(kind, record, version)
            assert json.dumps(record) == before


@pytest.mark.parametrize("version", [36, 45, 46])
def test_a_version_nobody_knows(version: int) -> None:
    with pytest.raises(ValueError, match=f"v0.0.{version} is not known here, v0.0.37 to v0.0.44 are"):
        rest.parse_jobs(document(version, "jobs", [job(NEWEST)]), AT)


def test_a_version_nobody_says() -> None:
    with pytest.raises(ValueError, match="neither its data parser nor a known release"):
        rest.parse_jobs('{"jobs": [], "meta": {}}', AT)
    told = {"meta": {"slurm": {"release": "24.05.3"}}, "jobs": [job(41)]}
    assert rest.parse_jobs(json.dumps(told), AT).entities, "the release names its newest one"


@pytest.mark.parametrize(("status", "code", "signal"), [
    (0, 0, None), (256, 1, None), (9, None, 9), (0x100 | 0x8B, None, 11), (0xFFFFFFFE, None, None),
])  # fmt: skip
def test_wait_status(status: int, code: int | None, signal: int | None) -> None:
    told = exit_code(status)
    assert told["return_code"] == number(code)
    assert told["signal"]["id"] == number(signal)


@pytest.mark.parametrize("parse", [rest.parse_jobs, rest.parse_past])
def test_a_job_without_id_is_refused_whole(parse: Any) -> None:
    make = job if parse is rest.parse_jobs else past
    broken = make(NEWEST)
    del broken["job_id"]
    with pytest.raises(ValueError, match="a job without id or submit time: None"):
        parse(document(NEWEST, "jobs", [make(NEWEST), broken]), AT)


@pytest.mark.parametrize("parse", [rest.parse_jobs, rest.parse_past, rest.parse_nodes, rest.parse_partitions])
def test_half_an_answer(parse: Any) -> None:
    whole = document(NEWEST, "jobs", [job(NEWEST)])
    with pytest.raises(ValueError, match="not a whole JSON document"):
        parse(whole[: len(whole) // 2], AT)
    with pytest.raises(ValueError, match="not an answer of SLURM's"):
        parse("[]", AT)
