"""What became of log files that somebody brought: the writer tells by the spool file's name, the API waits for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

LISTENER = "load/"
"""How the listener of everything brought by a person begins."""

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many events one spool file brought. `refused`: why it could not be taken in at all."""

    events: int = 0
    known: int = 0
    """Of them, those that an earlier load of the same file had brought."""
    rejects: int = 0
    first: datetime | None = None
    last: datetime | None = None
    refused: str = ""


class Loads:
    """Thread-safe; keeps the newest outcomes only."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._told: OrderedDict[str, Loaded] = OrderedDict()

    def tell(self, file: str, outcome: Loaded) -> None:
        with self._condition:
            self._told[file] = outcome
            while len(self._told) > _MOST:
                self._told.popitem(last=False)
            self._condition.notify_all()

    def wait(self, file: str, seconds: float) -> Loaded | None:
        """The outcome; None when there was none in time."""
        with self._condition:
            self._condition.wait_for(lambda: file in self._told, seconds)
            return self._told.pop(file, None)
