"""`qnib demo seed`, told to its end and broken off: what it says is so, and nothing is left half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from qnib import clusters, terminal
from qnib.cli.stories.teller import Teller, tell
from qnib.settings import Settings
from qnib.terminal.engines import open_engine
from tests.conftest import container_engine, environment, skip

SEED = "seed" + str(os.getpid())


@dataclass(frozen=True)
class Stage:
    settings: Settings
    environment: dict[str, str]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "qnib", *words], env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )

    def containers(self) -> list[str]:
        engine = open_engine(self.settings)
        try:
            return [found.name for found in engine.containers(f"qnib={SEED}")]
        finally:
            engine.close()

    def server(self) -> bool:
        return (self.settings.run / "server.json").is_file()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    if reason := container_engine():
        skip(reason)
    made = Stage(Settings(home=tmp_path), environment(tmp_path))
    yield made
    terminal.down(made.settings, name=SEED)
    made.start("stop").wait(30)


def test_the_stories_are_listed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qnib", "demo", "--json"], capture_output=True, text=True, check=True,
        env={**os.environ, "QNIB_HOME": str(tmp_path)},
    )
    assert [one["story"] for one in json.loads(done.stdout)] == ["seed"]


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_story_is_told_and_recorded(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "story.txt"
    began = time.monotonic()
    told, _ = (telling := stage.start("demo", "seed", "--name", SEED, "--down", "--record", str(file))).communicate()
    print(f"the story took {time.monotonic() - began:.0f} s")
    assert telling.returncode == 0, told
    for part in (
        "is ready: 4 nodes", "gemm  COMPLETED", "has 16 nodes", "SW1/3 and compute0/1 lost their connection",
        "SW1/3 and compute0/1 are connected", f"{os.uname().nodename.split('.')[0]}, no node of SLURM",
    ):
        assert part in told, part
    sizes = ("1024 ", "2048 ", "3072 ", "4096 ")
    table = [line.split() for line in told.splitlines() if line.strip().startswith(sizes)]
    rates = [float(row[3]) for row in table[:2]]
    assert rates[0] > rates[1] > 0, "larger matrices take longer"
    limited = "SLURM holds each job to its memory" in told
    assert table[-1][-1] == ("OUT_OF_MEMORY" if limited else table[-1][-1]) and table[-1][-1] != "COMPLETED"
    recorded = file.read_text()
    assert "?token=TOKEN" in recorded and len([*recorded.splitlines()]) > 60
    assert [line.strip() for line in recorded.splitlines()][-1].endswith("The server has ended.")
    assert not stage.containers() and not stage.server()
    assert not clusters.load_all(stage.settings.clusters)


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["starting the controller", "starting 12 nodes"])
def test_a_story_that_is_broken_off_leaves_nothing_half(stage: Stage, moment: str) -> None:
    """While the cluster starts: it is gone. Later: it stays as it last was whole."""
    telling = stage.start("demo", "seed", "--name", SEED)
    assert telling.stdout is not None
    told = ""
    for line in telling.stdout:
        told += line
        if moment in line:
            break
    else:
        pytest.fail(told)
    with suppress(ProcessLookupError):
        os.killpg(telling.pid, signal.SIGINT)  # as a terminal's Ctrl-C: to all of them
    rest, _ = telling.communicate(timeout=120)
    told += rest
    assert telling.returncode == 130, told
    if moment == "starting the controller":
        assert not stage.containers() and not stage.server(), told
        return
    assert "The cluster is left running" in told
    nodes = clusters.load(stage.settings.clusters, SEED).details["nodes"]
    assert len(stage.containers()) == nodes + 2 and nodes in (4, 16)
    assert stage.server()


def test_what_a_broken_story_made_to_fail_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    teller = Teller(Settings(home=tmp_path), SEED)
    clusters.save(teller.settings.clusters, clusters.Cluster(SEED))
    monkeypatch.setattr(teller, "serve", lambda: True)
    monkeypatch.setattr(teller, "run", lambda *words, **_: done.append(words[0]))

    def story(_: Teller) -> None:
        raise KeyboardInterrupt

    for down, wanted in ((False, ["clear"]), (True, ["down", "stop"])):
        done.clear()
        with pytest.raises(KeyboardInterrupt):
            tell(teller, story, down=down, clear=lambda: done.append("clear"))
        assert done == wanted
