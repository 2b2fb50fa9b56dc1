"""What became of a capture somebody waits for: a capture is acknowledged when it is spooled and taken in later.

Known by the id in the capture's first line. Nobody waits for an agent's captures, and nothing is kept of them.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import Any

MOST = 500
"""Changes told one by one."""


@dataclass(slots=True)
class Outcome:
    """How much one capture told, and what it changed. `refused`: why it was not taken in; then nothing changed."""

    entities: int = 0
    relations: int = 0
    tables: int = 0
    """Forwarding tables told."""
    numbers: int = 0
    """Values of series."""
    began: int = 0
    changed: int = 0
    ended: int = 0
    tables_changed: int = 0
    events: int = 0
    first: bool = False
    late: bool = False
    refused: str = ""
    changes: list[dict[str, str]] = field(default_factory=list)
    """The first of them: {what, kind, key}."""

    def told(self) -> dict[str, Any]:
        return asdict(self)


class Waiting:
    """Thread-safe: the API's threads wait, the writer's thread tells."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._awaited: dict[str, Outcome | None] = {}

    def expect(self, name: str) -> None:
        with self._condition:
            self._awaited[name] = None

    def tell(self, name: str, outcome: Outcome) -> None:
        with self._condition:
            if name in self._awaited:
                self._awaited[name] = outcome
                self._condition.notify_all()

    def wait(self, name: str, seconds: float) -> Outcome | None:
        """The outcome; None when there was none in time. Either way it is no longer expected."""
        with self._condition:
            self._condition.wait_for(lambda: self._awaited.get(name) is not None, seconds)
            return self._awaited.pop(name, None)


waiting = Waiting()
"""Of this process: whoever hands a capture to the spool and whoever takes it out share nothing else."""
