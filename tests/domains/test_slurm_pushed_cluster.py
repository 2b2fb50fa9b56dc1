"""SLURM's own jobcomp/elasticsearch pushes each finished job to us, without an agent and without being asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import World

from qnib.monitoring.frames import read_records

pytestmark = pytest.mark.cluster


def pushed(world: World) -> dict[int, dict[str, Any]]:
    """What came by push, by job number: the spool keeps it for some minutes."""
    found = {}
    for file in sorted((world.home / "spool/done").glob("*.capture")):
        for record in read_records(file):
            head, _, body = record.body.partition(b"\n")
            if json.loads(head)["capture"] == "jobcomp":
                assert record.listener == "elasticsearch/http"
                found |= {told["jobid"]: told for told in map(json.loads, body.splitlines())}
    return found


def test_a_job_that_ended_is_pushed(world: World) -> None:
    batch = ("sbatch", "--parsable", "-J", "pushed", "--wrap", "exit 7")
    number = int(world.qnib("exec", "--name", world.name, "controller", "--", *batch).stdout.split()[-1])
    # slurmctld tries again after half a minute what it could not hand over
    told = world.until("the push of the job", lambda: pushed(world).get(number), 120)
    assert (told["state"], told["exit_code"], told["job_name"]) == ("FAILED", "7:0", "pushed")

    def known() -> Any:
        return next((job for job in world.get("/api/jobs")["jobs"] if job["id"] == number), None)

    world.until("the job in the record", lambda: (known() or {}).get("state") == "FAILED", 60)
    # The push came before anybody asked, or after: either way its beginning and its end are told once.
    for kind in ("job.began", "job.failed"):
        query = {"q": f"job:{number} kind:{kind}", "from": "-1h"}
        found = world.until(kind, lambda query=query: world.get("/api/events/search", **query)["events"], 30)
        assert len(found) == 1, found
    told = world.get("/api/senders")
    assert not any(row["rejects"] for row in told["senders"]), told
    sending = {row["host"]: row["points"] for row in told["points"]}
    assert sending["compute0"] > 0 and sending["controller"] > 0, "hosts by the addresses they send from"
