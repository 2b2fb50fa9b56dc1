"""SLURM's words in four states and one sentence."""

from __future__ import annotations

import pytest

from qnib.dashboards.now import cell
from qnib.dashboards.words import group_of, job_status, node_status, verdict
from qnib.domains.paths import natural


@pytest.mark.parametrize(
    ("state", "group", "status"),
    [
        ("RUNNING", "running", "fine"),
        ("COMPLETING", "running", "fine"),
        ("PENDING", "pending", "fine"),
        ("COMPLETED", "finished", "fine"),
        ("FAILED", "finished", "critical"),
        ("OUT_OF_MEMORY", "finished", "critical"),
        ("CANCELLED", "finished", "warn"),
    ],
)
def test_job_states(state: str, group: str, status: str) -> None:
    assert (group_of(state), job_status(state)) == (group, status)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("IDLE", "fine"),
        ("MIXED", "fine"),
        ("IDLE+DRAIN", "warn"),
        ("IDLE+DYNAMIC_NORM", "fine"),
        ("DOWN", "critical"),
        ("IDLE*", "critical"),
        ("IDLE+NOT_RESPONDING", "critical"),
        ("", "unknown"),
        ("FUTURE", "unknown"),
    ],
)
def test_node_states(state: str, status: str) -> None:
    assert node_status(state) == status


def test_a_failed_job_keeps_its_exit_code() -> None:
    """The originals showed `EC:0` for a failed job: they stored two codes and showed the other."""
    assert "exit code 42" in verdict("FAILED", "NonZeroExitCode", 42, None, 10, 60)
    assert "signal 9" in verdict("FAILED", "", 0, 9, 10, 60)


def test_a_waiting_job_says_what_for() -> None:
    assert "free CPUs" in verdict("PENDING", "Resources", None, None, 0, None)
    assert "SomethingNew" in verdict("PENDING", "SomethingNew", None, None, 0, None)


def test_names_sort_as_people_count() -> None:
    assert sorted(["compute10", "compute2", "login"], key=natural) == ["compute2", "compute10", "login"]


def test_absence_of_a_number_is_unknown_not_fine() -> None:
    assert cell(None, "")["status"] == "unknown"
    assert cell(0, "down", bad=1)["status"] == "fine"
    assert cell(1, "down", bad=1)["status"] == "critical"
