"""The list of jobs, and one job, through the API and the command line: what runs now and what ran in former years."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.accounting import HEAD, accounting, given, moment, told
from tests.conftest import World

pytestmark = pytest.mark.engine
FIRST, LAST = "2016-12-31T00:00:00", "2016-12-31T12:00:00"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that was given the accounting of a former year."""
    with given(tmp_path_factory.mktemp("jobs")) as world:
        yield world


def ids(jobs: list[dict[str, Any]]) -> list[str]:
    return [str(job["id"]) for job in jobs]


def test_without_a_window_the_newest_of_all(loaded: World) -> None:
    answer = loaded.get("/api/jobs", limit=20)
    newest = sorted(accounting(), key=lambda row: row["Start"], reverse=True)
    assert len(answer["jobs"]) == 20
    assert answer["more"]
    assert answer["jobs"][0]["start"][:19] == newest[0]["Start"]
    assert all(job["end"] for job in answer["jobs"])


def test_a_window_of_a_former_year(loaded: World) -> None:
    wanted = {number for number, _ in told(moment(FIRST), moment(LAST))}
    answer = loaded.get("/api/jobs", limit=5000, **{"from": FIRST, "until": LAST})
    assert not answer["more"]
    assert set(ids(answer["jobs"])) == wanted
    words = ("job", "list", "--from", FIRST, "--until", LAST)
    assert set(ids(json.loads(loaded.qnib(*words, "--limit", "5000", "--json").stdout))) == wanted
    few = loaded.qnib(*words, "--limit", "3")
    assert len(few.stdout.splitlines()) == 4
    assert "These are 3 of more" in few.stderr
    assert loaded.qnib(*words, "--user", "nobody").stdout == "No jobs.\n"


def test_nothing_of_it_ran_this_week(loaded: World) -> None:
    assert loaded.get("/api/jobs", **{"from": "-7d"})["jobs"] == []
    assert loaded.qnib("job", "list", "--state", "running").stdout == "No jobs.\n"


def test_one_job_of_a_former_year(loaded: World) -> None:
    page = json.loads(loaded.qnib("job", "show", "165381", "--json").stdout)
    assert (page["state"], page["user"], page["elapsed"]) == ("TIMEOUT", "chaff", 5 * 86400 + 26)
    assert [one["sentence"] for one in page["findings"]] == ["The job reached its time limit and was ended."]
    assert loaded.get(f"/api/jobs/{page['key']}")["id"] == 165381
    assert [hit["key"] for hit in loaded.get("/api/jump", q="165381")["hits"]] == [page["key"]]
    wrong = loaded.qnib("job", "show", "16538", check=False)
    assert wrong.returncode
    assert "No job '16538' is known" in wrong.stderr


def test_the_first_page_counts_all_that_run_and_wait(loaded: World, tmp_path: Path) -> None:
    rows = [f"{n}|{n}|u{n % 3}||a|p|{'RUNNING' if n % 5 else 'PENDING'}|{FIRST}|{FIRST if n % 5 else 'Unknown'}|Unknown"
            f"|0:0|n{n}|1|2|many" for n in range(2000)]  # fmt: skip
    (tmp_path / "many.txt").write_text("\n".join([HEAD, *rows]) + "\n")
    loaded.qnib("load", "sacct", str(tmp_path / "many.txt"), "--cluster", "busy")
    page = loaded.get("/api/now", cluster="busy")
    assert (page["jobs"]["running"], page["jobs"]["pending"]) == (1600, 400)
    assert sum(user["running"] for user in page["users"]) == 1600
    assert len(page["running"]) == 20
