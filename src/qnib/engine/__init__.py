"""The one engine that is the record of everything: points, series, events, samples of jobs, facts.

`Engine` is all the rest of QNIB may know of ClickHouse's API; `open_engine` opens the embedded one (chDB).
SQL is ClickHouse's, values travel as parameters: ``engine.rows("SELECT {x:UInt8} AS x", {"x": 1})``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

DATABASE = "qnib"
STAGING = "qnib_staging"
"""What is made anew at each start and is nobody's record; the engine sees that the database is there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one query: seconds it may run, rows it may return; `readonly` for queries people type."""

    seconds: float = 30
    rows: int = 100_000
    readonly: bool = True


class Engine(Protocol):
    def rows(
        self, sql: str, params: Mapping[str, Any] | None = None, *, limits: Limits | None = None
    ) -> list[dict[str, Any]]:
        """Rows as dictionaries; DateTime64 as aware datetimes in UTC. Raises TooMuch past the limits."""

    def table(self, sql: str, params: Mapping[str, Any] | None = None, *, limits: Limits | None = None) -> pa.Table:
        """The same as an Arrow table, for numbers by the million."""

    def run(
        self, sql: str, params: Mapping[str, Any] | None = None, *, settings: Mapping[str, Any] | None = None
    ) -> None:
        """A statement that returns nothing."""

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]] | pa.Table, *, token: str | None = None) -> int:
        """Append rows; the same token twice counts once. Returns how many rows were given. An Arrow table costs a
        third of what dictionaries do."""

    def backup(self, target: Path) -> None: ...

    def restore(self, source: Path) -> None: ...

    def close(self) -> None: ...
