"""Traces: what is read of real ones, and how they are fitted to a cluster."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qnib.errors import NotFound, WrongUse
from qnib.terminal.replay import Room, fit, read, swf
from qnib.terminal.replay.fitting import users
from tests.data import real
from tests.terminal.conftest import Lab

ROOM = Room(4, 2, {"clusers": ["alice", "bob", "carol", "dave", "eve"], "guests": ["john", "jane"]})

SWF = """\
; MaxNodes: 8
; MaxProcs: 16
; UnixStartTime: 1000000000
1 0 0 200 4 -1 -1 4 -1 -1 1 1 1 -1 -1 -1 -1 -1
2 10 0 100 16 -1 -1 16 -1 -1 0 2 1 -1 -1 -1 1 100
one two
3 20 30 -1 2 -1 -1 2 -1 -1 5 2 1 -1 -1 -1 -1 -1
4 30 0 50 2 -1 -1 2 -1 -1 2 2 1 -1 -1 -1 -1 -1
5 40 0 300 2 -1 -1 2 -1 -1 5 3 2 -1 -1 -1 -1 -1
6 50 0 30 2 -1 -1 2 -1 -1 9 3 2 -1 -1 -1 -1 -1
7 60 0 30 x -1 -1 2 -1 -1 1 3 2 -1 -1 -1 -1 -1
"""


def test_a_real_trace_of_1993() -> None:
    trace = read(real("traces/NASA-iPSC-1993-3.1-cln.swf"))
    assert (trace.kind, len(trace.jobs), trace.processors, trace.nodes, trace.bad) == ("SWF", 18239, 128, 128, [])
    assert str(trace.began) == "1993-10-01 07:00:03+00:00"
    assert (trace.jobs[1].submit, trace.jobs[1].run, trace.jobs[1].processors) == (1460, 3726, 128)
    assert len({job.user for job in trace.jobs}) == 69
    assert trace.noted == {"no outcome is told: taken as completed": 18239}


@pytest.mark.parametrize("file", ["sonar_sacct_2024.txt", "sonar_sacctd_2024.txt"])
def test_real_accounting_in_two_forms(file: str) -> None:
    trace = read(real(f"slurm/{file}"))
    assert Counter(job.outcome for job in trace.jobs) == {"COMPLETED": 20, "FAILED": 4, "CANCELLED": 3, "TIMEOUT": 2}
    assert (trace.processors, trace.nodes) == (142, 17), "in use at once"
    first = trace.jobs[0]
    assert (first.number, first.run, first.waited, first.processors) == ("973821", 7164, 9440, 6)


def test_a_real_year_of_accounting(tmp_path: Path) -> None:
    file = real("slurm/xdmod_phillips_sacct.txt")
    trace = read(file)
    assert Counter(job.outcome for job in trace.jobs) == {
        "COMPLETED": 2324, "FAILED": 1717, "CANCELLED": 243, "TIMEOUT": 1,
    }
    assert sum(job.run is None for job in trace.jobs) == 239, "cancelled before they started"
    packed = tmp_path / "year.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read(packed).jobs == trace.jobs
    late = fit(trace, ROOM, speedup=100, start="2016-12-30T00:00", most=50)
    assert len(late.jobs) == 50 and late.jobs[0].at == 0


def test_bad_lines_are_told_by_number_and_the_rest_is_taken() -> None:
    trace = swf.parse(SWF)
    assert [job.number for job in trace.jobs] == ["1", "2", "3", "5"]
    assert [line for line, _ in trace.bad] == [6, 10, 11]
    assert "2 fields where 18 are due" in trace.bad[0][1] and "no status" in trace.bad[1][1]
    assert trace.skipped.total() == 1


def test_bad_lines_of_accounting(tmp_path: Path) -> None:
    head = "JobID|User|State|Submit|Start|End|NCPUS|NNodes|ExitCode"
    good = "1|ann|COMPLETED|2026-01-01T00:00:00|2026-01-01T00:00:10|2026-01-01T00:01:10|2|1|0:0"
    file = tmp_path / "some.txt"
    late = good.replace("1|ann", "3|bo").replace("00:01:10", "soon")
    running = good.replace("1|ann|COMPLETED", "4|bo|RUNNING").replace("2026-01-01T00:01:10", "Unknown")
    file.write_text("\n".join([head, good, "2|ann|COMPLETED", late, running]))
    trace = read(file)
    assert [job.number for job in trace.jobs] == ["1"] and trace.jobs[0].run == 60
    assert trace.bad == [(3, "3 columns where 9 are due: '2|ann|COMPLETED'"), (4, "not a time: '2026-01-01Tsoon'")]
    assert trace.skipped == {"had not ended": 1}


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear all,\n")
    with pytest.raises(WrongUse, match="no trace"):
        read(file)
    with pytest.raises(NotFound):
        read(tmp_path / "nothing")
    with pytest.raises(WrongUse, match="no job"):
        fit(swf.parse(SWF), ROOM, speedup=1, start="2h")
    with pytest.raises(WrongUse, match="neither a span nor a time"):
        fit(swf.parse(SWF), ROOM, speedup=1, start="tomorrow")


def test_sizes_times_and_ends_are_fitted() -> None:
    fitted = fit(swf.parse(SWF), ROOM, speedup=10)
    one, two, three, five = fitted.jobs
    assert (one.tasks, one.nodes, one.seconds, one.at) == (2, 1, 20, 0), "16 processors are 8 cores here"
    assert (two.tasks, two.nodes, two.outcome, two.exit_code, two.after, two.think) == (8, 4, "FAILED", 1, "1", 10)
    assert three.held and three.outcome == "CANCELLED" and three.seconds == 3, "it waited for 30 s and never ran"
    assert not five.held and five.seconds == 30
    told = "\n".join(fitted.sentences)
    assert "Scaled down: 16 processors to 8 cores, 8 nodes to 4" in told
    assert "Line 6 is left out" in told and "1 come after another's end" in told and "the queue will grow" in told


def test_a_smaller_machine_is_not_scaled_up() -> None:
    fitted = fit(swf.parse(SWF), Room(20, 4, ROOM.groups), speedup=1)
    assert [job.tasks for job in fitted.jobs] == [4, 16, 2, 2]
    assert any("Sizes are as they were" in one for one in fitted.sentences)


def test_who_plays_whom_is_the_same_each_time() -> None:
    jobs = read(real("traces/NASA-iPSC-1993-3.1-cln.swf")).jobs[:500]
    who = users(jobs, ROOM.groups)
    assert who == users(jobs, ROOM.groups)
    busiest = Counter((job.user, job.group) for job in jobs).most_common(1)[0][0]
    assert who[busiest] in ("alice", "john")
    assert {one.partition(" ")[0] for one in who.values()} <= {user for group in ROOM.groups.values() for user in group}


def test_a_number_that_comes_again_is_told_apart() -> None:
    twice = swf.parse("1 0 0 9 1 -1 -1 1 -1 -1 1 1 1 -1 -1 -1 -1 -1\n1 9 0 9 1 -1 -1 1 -1 -1 1 1 1 -1 -1 -1 -1 -1\n")
    assert [job.number for job in fit(twice, ROOM, speedup=1).jobs] == ["1", "1.2"]


# ── on a real cluster ─────────────────────────────────────────────────────────────────────────


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_dependencies_think_times_and_cancels_are_replayed(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "four.swf"
    file.write_text(SWF)
    told: dict[str, Any] = json.loads(lab.qnib("replay", str(file), "-x", "100", "--json", timeout=240).stdout)
    assert told["ended"] == {"1": "COMPLETED", "2": "FAILED", "3": "CANCELLED", "5": "CANCELLED"}
    asked = ",".join(map(str, told["submitted"].values()))
    rows = lab.run("controller", "squeue", "-h", "-t", "all", "-j", asked, "-o", "%j %N %V %S %e").splitlines()
    by_name = {row.split()[0]: row.split()[1:] for row in rows}
    assert by_name["replay-2"][-3] >= by_name["replay-1"][-1], "submitted after the other's end"
    assert not by_name["replay-3"][0].startswith("compute"), "it never ran"
    assert by_name["replay-5"][0].startswith("compute")


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_stopped_replay_leaves_no_job(lab: Lab, tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    line = "{} 0 0 6000 1 -1 -1 1 -1 -1 1 1 1 -1 -1 -1 -1 -1\n"
    file = tmp_path / "long.swf"
    file.write_text("".join(line.format(number) for number in range(1, 30)))
    running = subprocess.Popen(
        [sys.executable, "-m", "qnib", "replay", str(file), "-x", "10"], env=lab.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    for told in running.stdout:
        if " run," in told and " 0 run," not in told:
            break
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=60)
    assert running.returncode == 130, error
    assert "as traced" in out
    assert not [n for n in lab.run("controller", "squeue", "-h", "-o", "%j").split() if n.startswith("replay-")]
