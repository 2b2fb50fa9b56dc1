"""Users by their habits: what each hands to SLURM, the same for the same seed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qnib.terminal import workloads

FOLDER = Path(workloads.__file__).parent


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))  # as the controller runs it: beside its neighbours
    import people as module

    yield module
    for name in ("people", "loop"):
        sys.modules.pop(name, None)


def test_the_same_seed_gives_the_same_site(people: Any) -> None:
    def week(seed: int) -> list[Any]:
        dice = random.Random(seed)
        return [habit(dice, 8) for _ in range(20) for habit in people.HABITS.values()]

    assert week(1) == week(1)
    assert week(1) != week(2)


def test_every_habit_is_somebodys(people: Any) -> None:
    who = people.habits(["alice", "bob", "carol", "dave", "eve", "jane", "john"])
    assert set(who.values()) == set(people.HABITS)
    assert who == people.habits(["alice", "bob", "carol", "dave", "eve", "jane", "john"])


def test_what_their_habits_are(people: Any) -> None:
    dice = random.Random(7)
    made = {name: [habit(dice, 8) for _ in range(60)] for name, habit in people.HABITS.items()}
    assert {wish.name for wish in made["careful"]} == {"gemm", "cg", "alltoall"}
    assert all("--time=8:00:00" in wish.options for wish in made["asker"])
    assert Counter(wish.name for wish in made["hasty"]).keys() == {"eater", "late", "typo", "failing"}
    assert any(option.startswith("--array=1-") for wish in made["busy"] for option in wish.options)
    assert any("--dependency=singleton" in wish.options for wish in made["busy"])
    assert all(any(option.startswith("--begin=now+") for option in wish.options) for wish in made["fickle"])


@pytest.mark.parametrize("nodes", [1, 2, 4, 64])
def test_nobody_asks_for_more_nodes_than_half_of_them(people: Any, nodes: int) -> None:
    dice = random.Random(3)
    for _ in range(40):
        for habit in people.HABITS.values():
            width = next((int(o[2:]) for o in habit(dice, nodes).options if o.startswith("-N")), 1)
            assert width <= max(1, nodes // 2)


def test_a_wish_is_handed_over_as_its_user(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.update(command=command, **options)
        return subprocess.CompletedProcess(command, 0, "", "")

    loop = sys.modules["loop"]
    monkeypatch.setattr(loop.subprocess, "run", run)
    monkeypatch.setattr(loop.pwd, "getpwnam", lambda name: type("Entry", (), {"pw_uid": 2001, "pw_gid": 2000}))
    people.submit("alice", people.Wish("cg", ("-N2", "--time=3"), "srun python3 cg.py"), "main")
    assert seen["command"][:3] == ["setpriv", "--reuid=2001", "--regid=2000"]
    assert {"--partition=main", "--job-name=cg", "-N2", "--chdir=/home/alice"} <= set(seen["command"])
    assert "srun python3 cg.py" in seen["input"]
