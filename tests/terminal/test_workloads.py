"""What `qnib run` hands to SLURM, and that each workload ends as it says on a real cluster."""

from __future__ import annotations

import doctest
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from qnib.terminal import workloads
from qnib.terminal.workloads import kinds
from qnib.terminal.workloads.kinds import WORKLOADS, Wanted
from tests.terminal.conftest import NODES, Lab

FOLDER = Path(workloads.__file__).parent


def handed_over(name: str, **wanted: Any) -> list[tuple[list[str], str]]:
    """Options and script of each job, as if SLURM numbered them from 7 on."""
    kind, given = WORKLOADS[name], Wanted(**wanted)
    found = []
    for place, part in enumerate(kind.parts(given)):
        before, first = (6 + place, 7) if place else (None, None)
        found.append((kinds.options(kind, part, given, "alice", before), kinds.script(part, first)))
    return found


def test_every_program_that_is_named_is_there() -> None:
    for name in WORKLOADS:
        for _, script in handed_over(name):
            for word in script.split():
                assert not word.startswith(kinds.FOLDER) or (FOLDER / word.rpartition("/")[2]).is_file(), word


def test_a_persons_wishes_win() -> None:
    ((options, script),) = handed_over("gemm", nodes=4, minutes=3, memory="90M", after=[5], arguments=["--size", "9 9"])
    assert "--nodes=4" in options and "--mem=90M" in options and "--dependency=afterany:5" in options
    assert [one for one in options if one.startswith("--time")][-1] == "--time=3"
    assert "srun --mpi=pmix" in script and script.splitlines()[2].endswith("gemm.py --size '9 9'")


def test_a_chain_waits_for_what_was_well() -> None:
    waits = [[one for one in options if one.startswith("--dependency")] for options, _ in handed_over("chain")]
    assert waits == [[], ["--dependency=afterok:7"], ["--dependency=afterok:8"]]


def test_a_film_is_made_converted_in_parts_and_joined() -> None:
    film, convert, join = handed_over("video", nodes=3)
    assert '"$HOME/video-$SLURM_JOB_ID"' in film[1]
    assert "--array=1-6" in convert[0] and "--dependency=afterok:7" in convert[0]
    assert any(one.endswith("convert-%A_%a.out") for one in convert[0])
    assert "--dependency=afterok:8" in join[0] and '"$HOME/video-7"' in join[1]


def test_frames_are_shared_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))  # as a node runs it: beside its neighbours
    import video

    assert doctest.testmod(video).failed == 0
    parts = [video.part_of(601, 8, part) for part in range(1, 9)]
    assert parts[0][0] == 0 and parts[-1][1] == 601
    assert all(before[1] == after[0] for before, after in pairwise(parts))


# ── on a real cluster ─────────────────────────────────────────────────────────────────────────

QUICK = {
    "gemm": ("--", "--size", "256", "--iterations", "8", "--rate", "8"),
    "pingpong": ("--", "--rounds", "4", "--pause", "0.2"),
    "alltoall": ("--", "--rounds", "3", "--block", "4096", "--pause", "0.2"),
    "cg": ("--", "--grid", "12", "--iterations", "40", "--rate", "40"),
    "writer": ("--", "--blocks", "3", "--pause", "0.2"),
    "eater": ("--", "--megabytes", "8", "--seconds", "1"),
}


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_each_workload_ends_as_it_says(lab: Lab) -> None:
    """Arrays, chains, conditions that cannot come true, cancels, time-outs, failures, overruns: all at once."""
    jobs: dict[str, list[int]] = {}
    for name, kind in WORKLOADS.items():
        if kind.needs:
            continue
        told = lab.qnib("run", name, "--json", *QUICK.get(name, ()))
        jobs[name] = [one["job"] for one in json.loads(told.stdout)]
    limited = json.loads(lab.qnib("status", "--json").stdout)["clusters"][0]["rung"] != "node-limits"
    wanted = {name: WORKLOADS[name].ends for name in jobs if limited or name != "greedy"}
    deadline, hurried = time.monotonic() + 240, False
    while True:
        told = lab.run("controller", "squeue", "-h", "-a", "-r", "-t", "all", "-o", "%A %F %T")
        states: dict[int, list[str]] = {}
        for number, array, state in (line.split() for line in told.splitlines()):
            for one in {int(number), int(array)}:
                states.setdefault(one, []).append(state)
        seen = {name: states[numbers[-1]] for name, numbers in jobs.items() if name in wanted}
        if not hurried and states[jobs["late"][0]] == ["RUNNING"]:
            hurried = True  # its minute is cut short; SLURM ends it all the same
            lab.run("controller", "scontrol", "update", f"JobId={jobs['late'][0]}", "EndTime=now+2")
        if all(set(state) == {wanted[name]} for name, state in seen.items()):
            break
        assert time.monotonic() < deadline, seen
        time.sleep(1)
    assert len(seen["sweep"]) == 8, "an array of eight"
    assert states[jobs["broken"][0]] == ["FAILED"]
    iterations = lab.run("controller", "cat", f"/home/alice/gemm-{jobs['gemm'][0]}.out")
    assert "progress 8/8 rate" in iterations


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_wrong_wishes_are_answered_in_words(lab: Lab) -> None:
    for words, told in (
        (("nothing",), "no workload 'nothing'"),
        (("gemm", "--nodes", "99"), f"has {NODES} nodes, not 99"),
        (("gemm", "--user", "nobody"), "no user 'nobody'"),
        (("gemm", "--partition", "nowhere"), "Invalid partition"),
        (("video",), 'software = ["ffmpeg"]'),
    ):
        done = lab.qnib("run", *words, check=False)
        assert done.returncode != 0 and told in done.stderr, done.stderr


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_job_is_followed_to_its_end(lab: Lab) -> None:
    done = lab.qnib("run", "failing", "--wait", "--user", "bob", "--", "--seconds", "3", check=False)
    assert done.returncode == 1
    assert "failing FAILED on compute" in done.stdout and "exit code 42" in done.stdout


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_people_submit_as_their_habits_are(lab: Lab) -> None:
    """The seeded generator on a real queue: arrays, chains, jobs for later from those whose habit they are."""
    listed = ("controller", "squeue", "-h", "-a", "-t", "all", "-o", "%F %u %j")
    before = {line.split()[0] for line in lab.run(*listed).splitlines()}
    lab.run("controller", "python3", f"{kinds.FOLDER}/people.py", "--seed", "5", "--for", "16")
    names: dict[str, set[str]] = {}
    try:
        for number, user, name in (line.split() for line in lab.run(*listed).splitlines()):
            if number not in before:
                names.setdefault(user, set()).add(name)
    finally:
        for user in names:
            lab.run("controller", "scancel", "--quiet", f"--user={user}", check=False)
    habits = {
        "alice": {"gemm", "cg", "alltoall"}, "bob": {"writer"}, "carol": {"eater", "late", "typo", "failing"},
        "dave": {"sweep", "chain"}, "eve": {"later"},
    }
    assert len(names) > 3, names
    assert all(made <= habits[user] for user, made in names.items() if user in habits), names
