"""A big site, gently: what 20,000 nodes and 100,000 jobs cost us to take in, and what they cost slurmctld."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from qnib.agent.captures import LEAST, LONGEST, SLICE, Pace, Task
from qnib.clock import FrozenClock
from qnib.domains.slurm.collect import CAPTURES, JOB_FIELDS, NODE_FIELDS, RS, US
from qnib.engine import Engine
from qnib.engine.chdb import open_engine
from qnib.inventory.bulk import bulk
from qnib.inventory.facts import Changes, Facts, canonical
from qnib.model import Capture
from qnib.settings import load

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NODES, JOBS = 20_000, 100_000
ASKS_SLURMDBD = {"accounting", "accounts"}
LIVE = {one.name: one for one in CAPTURES if one.role == "controller" and one.name not in ASKS_SLURMDBD}
REQUESTS = {"jobs": 2, "nodes": 2, "partitions": 1}
"""What a run of each costs slurmctld: `test_slurm_requests.py` counts it on a real one."""
NAMES = [f"n{number:05}" for number in range(NODES)]


def queue() -> str:
    """100,000 jobs as squeue tells them: 20,000 run on 1 to 4 nodes, often sharing them; the others wait."""
    chance = random.Random(7)
    base = int(NOON.timestamp()) - 86400
    lines = []
    for number in range(JOBS):
        running = number < NODES
        at = chance.randrange(NODES - 4)
        size = chance.choice([1, 1, 1, 2, 4])
        nodes = f"n[{at:05}-{at + size - 1:05}]" if size > 1 else NAMES[at]
        told = {
            "JobID": str(1_000_000 + number), "SubmitTime": str(base + number // 10), "UserName": f"user{number % 400}",
            "GroupName": "users", "Account": f"project{number % 90}", "Partition": "standard", "QOS": "normal",
            "State": "RUNNING" if running else "PENDING", "Reason": "None" if running else "Priority",
            "StartTime": str(base + 20_000) if running else "N/A", "EndTime": "N/A", "TimeLimit": "1-00:00:00",
            "NodeList": nodes if running else "", "NumNodes": str(size), "NumCPUs": str(16 * size),
            "MinMemory": "4000M", "exit_code": "0", "RestartCnt": "0", "ArrayJobID": str(1_000_000 + number),
            "ArrayTaskID": "N/A", "WorkDir": f"/home/user{number % 400}/run/{number}",
            "Command": f"/home/user{number % 400}/run/{number}/job.sh", "Name": f"case-{number}",
        }  # fmt: skip
        lines.append(US.join(told[name] for name in JOB_FIELDS) + RS)
    return "\n".join(lines) + "\n"


def machines() -> str:
    """20,000 nodes as sinfo tells them, each in one partition."""
    told = dict.fromkeys(NODE_FIELDS, "(null)") | {
        "StateComplete": "mixed", "CPUsState": "16/48/0/64", "Memory": "256000", "AllocMem": "64000",
        "Version": "24.11.5", "PartitionName": "standard", "Timestamp": "Unknown", "User": "Unknown", "Reason": "none",
    }  # fmt: skip
    lines = []
    for number, name in enumerate(NAMES):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        own = told | {"NodeList": name, "NodeHost": name, "NodeAddr": address}
        lines.append(US.join(own[field] for field in NODE_FIELDS) + RS)
    return "ClusterName=big\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened = open_engine(load(home=tmp_path_factory.mktemp("home")), FrozenClock(NOON))
    yield opened
    opened.close()


def take(facts: Facts, capture: Capture, text: str, at: datetime) -> tuple[Changes, float]:
    """Take in one answer as the server does, and the seconds of CPU that took."""
    began = time.process_time()
    with bulk():
        snapshot = canonical(facts, "big", capture.parse(text, at))
        if capture.settle is not None:
            snapshot = capture.settle(snapshot, facts.known("big"), at)
        changes = facts.apply("big", f"slurm.{capture.name}@controller", at, snapshot)
    return changes, time.process_time() - began


def rows(engine: Engine) -> int:
    return int(engine.rows("SELECT count() AS n FROM qnib.facts")[0]["n"])


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_an_unchanged_site_costs_nothing_to_store(engine: Engine) -> None:
    clock = FrozenClock(NOON)
    facts = Facts(engine, clock)
    texts = {"nodes": machines(), "jobs": queue()}
    cost = [0.0, 0.0]
    for turn, minutes in enumerate((0, 1)):
        clock.advance(60 * minutes)
        before = rows(engine)
        for name, text in texts.items():
            changes, seconds = take(facts, LIVE[name], text, NOON + timedelta(minutes=minutes))
            print(f"{'again' if turn else 'first'} {name}: {len(text) >> 20} MiB cost {seconds:.1f} s of CPU")
            assert bool(changes) == (turn == 0)
            cost[turn] += seconds
        assert (rows(engine) > before + JOBS) if turn == 0 else (rows(engine) == before)
    assert cost[1] < cost[0] / 2, "to find that nothing changed is the smaller part"
    one = texts["jobs"].replace(f"{US}PENDING{US}Priority", f"{US}PENDING{US}Resources", 1)
    before = rows(engine)
    clock.advance(60)
    changes, _ = take(facts, LIVE["jobs"], one, NOON + timedelta(minutes=2))
    assert len(changes.changed) == 1
    assert rows(engine) - before == 2, "what it was until now, and what it is"


# ── what it costs slurmctld ───────────────────────────────────────────────────────────────────


class Agent:
    """The tasks of a controller's agent on a clock of the test's; a command takes `took` seconds and gives `sizes`."""

    def __init__(self, sizes: dict[str, int], took: float, line: bytes) -> None:
        self.now = 0.0
        self.pace = Pace()
        self.tasks = {name: Task(name, capture, 0.0, self.pace) for name, capture in LIVE.items()}
        self.sizes, self.took, self.line = sizes, took, line
        self.runs: dict[str, list[float]] = {name: [] for name in LIVE}

    def minutes(self, count: float, step: float = 0.25) -> None:
        """Log lines come all the time, as on a site where jobs start every second."""
        end = self.now + 60 * count
        while self.now < end:
            for name, task in self.tasks.items():
                if self.line:
                    task.notice(self.line, self.now)
                if self.now >= task.ready_at:
                    self.run(name, task)
            self.now += step

    def run(self, name: str, task: Task) -> None:
        self.runs[name].append(self.now)
        task._started, task.due = self.now, self.now + task.capture.interval
        task.pace.begin(self.now)
        task.answer[:] = bytes(self.sizes[name])
        task.settled(self.now + self.took, 0)

    def requests(self, since: float, until: float) -> int:
        return sum(REQUESTS[name] * sum(since <= at < until for at in runs) for name, runs in self.runs.items())


BUSY = b"JobId=42 InitPrio=1; Nodes n1 not responding; update_node: node n1 state set to DOWN"


@pytest.mark.parametrize("line", [b"", BUSY], ids=["quiet", "busy"])
def test_a_big_site_is_asked_four_times_a_minute_at_most(line: bytes) -> None:
    sizes = {"jobs": len(queue()), "nodes": len(machines()), "partitions": 900}
    assert sizes["nodes"] / SLICE > LONGEST, "20,000 nodes alone make a big site"
    agent = Agent(sizes, took=1.0, line=line)
    agent.minutes(30)
    starts = sorted(at for runs in agent.runs.values() for at in runs if at > 60)
    worst = max(agent.requests(at, at + 60) for at in starts)
    mean = agent.requests(60, 1740) / 28
    longest = max(b - a for a, b in pairwise(agent.runs["jobs"]))
    assert longest < 100, "the queue is looked at all the same"
    print(f"{'busy' if line else 'quiet'}: at most {worst} in a minute, {mean:.2f} on average")
    assert worst <= 4


def test_a_small_site_shows_a_job_within_seconds() -> None:
    agent = Agent({"jobs": 60 * 250, "nodes": 16 * 120, "partitions": 900}, took=0.05, line=b"")
    agent.minutes(1)
    agent.line = b"Allocate JobId=42 NodeList=n1"
    heard = agent.now
    agent.minutes(0.1)
    first = next(at for at in agent.runs["jobs"] if at >= heard)
    assert first - heard <= LEAST


def test_the_pace_follows_the_largest_answer_of_the_layer_and_the_cost() -> None:
    pace = Pace()
    assert pace.pause(0.01) == LEAST
    assert pace.pause(1.0) == 20, "the controller has 95 % of its time for itself"
    pace.told("jobs", 10 * SLICE)
    assert pace.pause(0.01) == 10
    pace.told("nodes", 100_000 * SLICE)
    assert pace.pause(0.01) == LONGEST
    pace.told("nodes", 0)
    assert pace.pause(0.01) == 10


def test_nothing_is_asked_as_json() -> None:
    for capture in LIVE.values():
        assert "--json" not in " ".join(capture.command)
    assert set(LIVE) == set(REQUESTS)
    for name, task in Agent(dict.fromkeys(LIVE, 0), 0, b"").tasks.items():
        task.notice(BUSY, 100)
        assert task.due <= 100.2, f"{name} looks at such lines"
