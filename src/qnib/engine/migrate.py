"""Brings a data directory to the shape this version knows: numbered SQL files, each applied once.

A file is ``NNNN_name.sql``; a statement ends with ``;`` at the end of a line and must bear being run twice
(``IF NOT EXISTS``), because a crash can fall between a statement and the note that it was made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from qnib.clock import Clock
from qnib.engine import DATABASE, STAGING, Engine
from qnib.errors import Unavailable

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    def statements(self) -> list[str]:
        without_comments = re.sub(r"^\s*--.*$", "", self.sql, flags=re.MULTILINE)
        return [s for part in re.split(r";[ \t]*(?:\n|$)", without_comments) if (s := part.strip())]


def shipped(folder: Traversable | None = None) -> list[Migration]:
    """The migrations of this version in order of their number."""
    home = folder or resources.files(__package__).joinpath("migrations")
    found = [(m, file) for file in home.iterdir() if (m := _NAME.fullmatch(file.name))]
    return sorted((Migration(int(m[1]), m[2], file.read_text()) for m, file in found), key=lambda m: m.number)


def migrate(engine: Engine, clock: Clock, migrations: Sequence[Migration], where: str) -> list[Migration]:
    """Apply what is missing and return it. Raises Unavailable for a directory a newer version has written."""
    for database in (DATABASE, STAGING):
        engine.run(f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic")
    engine.run(
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.migrations (number UInt32, name String, applied DateTime64(3, 'UTC'))"
        " ENGINE = ReplacingMergeTree ORDER BY number"
    )
    applied = {row["number"]: row["name"] for row in engine.rows(f"SELECT number, name FROM {DATABASE}.migrations")}
    newest = max((m.number for m in migrations), default=0)
    if unknown := sorted(n for n in applied if n > newest):
        raise Unavailable(
            f"The data was written by a newer QNIB (migration {unknown[-1]} {applied[unknown[-1]]!r};"
            f" this one knows up to {newest}).",
            where=where,
            try_next="install that version again, or point QNIB_HOME at another directory.",
        )
    missing = [m for m in migrations if m.number not in applied]
    for migration in missing:
        for statement in migration.statements():
            engine.run(statement)
        row = {"number": migration.number, "name": migration.name, "applied": clock.now()}
        engine.insert(f"{DATABASE}.migrations", [row])
    return missing
