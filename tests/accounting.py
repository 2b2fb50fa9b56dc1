"""Real accounting of 2016 and 2017 for tests, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.conftest import World, serving
from tests.data import real

HEAD = "JobIDRaw|JobID|User|Group|Account|Partition|State|Submit|Start|End|ExitCode|NodeList|NNodes|NCPUS|JobName"
COLUMNS = (1, 0, 8, 6, 5, 3, 16, 10, 12, 13, 15, 24, 17, 18, 25)


def accounting() -> list[dict[str, str]]:
    """What sacct tells of each job, by the names of its columns."""
    lines = real("slurm/xdmod_phillips_sacct.txt").read_text().splitlines()
    cells = [line.split("|") for line in lines]
    return [dict(zip(HEAD.split("|"), [one[at] for at in COLUMNS], strict=True)) for one in cells]


def printed(rows: list[dict[str, str]]) -> str:
    """As sacct prints them."""
    return "\n".join([HEAD, *["|".join(row.values()) for row in rows]]) + "\n"


@contextmanager
def given(home: Path) -> Iterator[World]:
    """A server that was given it."""
    (home / "sacct.txt").write_text(printed(accounting()))
    with serving(home, "phillips") as world:
        world.qnib("load", "sacct", str(home / "sacct.txt"))
        yield world


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def told(since: datetime, until: datetime, user: str = "") -> list[tuple[str, datetime]]:
    """What the file itself says: the jobs of a window by id and end, the last to end first."""
    found = {
        row["JobIDRaw"]: moment(row["End"]) for row in accounting()
        if row["End"] != "Unknown" and moment(row["End"]) >= since and moment(row["Submit"]) <= until
        and user in ("", row["User"])
    }  # fmt: skip
    return sorted(found.items(), key=lambda one: one[1], reverse=True)
