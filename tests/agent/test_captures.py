"""When the agent captures: on its interval, when a watched file changed and rested, and what it reads itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from qnib.agent.captures import LATEST, NOT_HERE, QUIET, Pace, Task
from qnib.model import Capture, Snapshot


def nothing(text: str, at: datetime) -> Snapshot:
    return Snapshot()


def watching(*files: Path, interval: float = 3600) -> Task:
    command = ("cat", *map(str, files))
    task = Task("x/y", Capture("y", command, nothing, interval, "node", watch=tuple(map(str, files))), 0.0)
    assert task.begin(0.0) is not None
    return task


def write(file: Path, text: str) -> None:
    """As package managers do: a new file in the place of the old one."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


def test_a_watched_file_that_changed_is_looked_at_when_it_has_rested(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("one")
    task = watching(status)
    task.look(10.0)
    assert task.due == 3600.0, "nothing has changed"
    write(status, "two")
    task.look(20.0)
    assert task.due == 20.0 + QUIET
    write(status, "three")
    task.look(22.0)
    assert task.due == 22.0 + QUIET, "it is still being written"
    assert task.begin(25.0) == "three"
    task.look(26.0)
    assert task.due == 25.0 + 3600.0


def test_a_file_that_never_rests_is_looked_at_all_the_same(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("0")
    task = watching(status)
    for second in range(1, 120):
        write(status, str(second))
        task.look(float(second))
    assert task.due == 1.0 + LATEST


def test_a_source_that_is_not_there_holds_up_nobody() -> None:
    pace = Pace()
    pace.told("x/large", 1 << 20)
    task = Task("x/y", Capture("y", ("sh", "-c", f"exit {NOT_HERE}"), nothing, 60, "controller"), 0.0, pace)
    task.begin(0.0)
    assert task.process is not None
    assert pace.free_at > 10, "who asked for so much rests"
    task.process.wait()
    assert task.finish(1.0) == NOT_HERE
    assert pace.free_at == 1.0 and task.due == 60.0


def test_where_no_watched_file_is_nothing_is_captured(tmp_path: Path) -> None:
    status = tmp_path / "status"
    task = watching(status, tmp_path / "other", interval=60)
    for second in range(0, 600, 10):
        task.look(float(second))
        assert task.due > second
    status.write_text("installed")
    task.look(600.0)
    assert task.due == 600.0 + QUIET


def test_what_the_agent_reads_itself_needs_no_process() -> None:
    answers = iter([None, "news"])

    def start(host: str) -> Callable[[], str | None]:
        assert host == "compute0"
        return lambda: next(answers)

    task = Task("x/y", Capture("y", ("cat", "/proc/x"), nothing, 3, "node", start=start), 0.0, host="compute0", first=5)
    assert task.due == 5.0
    assert task.begin(5.0) is None and task.process is None
    assert (task.begin(8.0), task.due) == ("news", 11.0)
