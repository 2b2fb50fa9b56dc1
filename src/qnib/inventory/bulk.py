"""Holds Python's search for circular garbage back while objects are made by the hundred thousand.

The search is started by every few hundred new objects and looks at all that are young: where a million are made that
all live on, it takes as long as making them does, and finds nothing. What is freed by count is freed as ever.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_under_way: list[bool] = []
"""For each that is under way whether the search was on when it began."""


@contextmanager
def bulk() -> Iterator[None]:
    """No search for garbage until this, and every other one in any thread, is left. May be nested; also a decorator.

    It concerns the whole process: for work of seconds, not for a server's life.
    """
    with _lock:
        _under_way.append(gc.isenabled() or any(_under_way))
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            if _under_way.pop() and not _under_way:
                gc.enable()
