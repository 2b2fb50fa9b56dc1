"""What Ctrl-C and SIGTERM may cut short, and what is done to its end: the engine goes on with a request nobody waits
for, and what it makes then stands where all has been removed already."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def at_once(work: Callable[[T], R], items: Iterable[T], threads: int = 8) -> list[R]:
    """Do the same to many things in parallel; the first failure is raised after all have been tried.

    Interrupted, it begins nothing more, and waits for what has begun.
    """
    with ThreadPoolExecutor(threads) as pool:
        try:
            with held():  # a pool does not know a thread whose start was cut short, and would not wait for it
                waiting = [pool.submit(work, item) for item in items]
            wait(waiting)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [one.result() for one in waiting]


@contextmanager
def held() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect when this has ended."""
    came: list[int] = []
    try:
        with _handled(lambda number, _: came.append(number), signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def ignored() -> Iterator[None]:
    """A second Ctrl-C, or `kill`, does not stop the tidying."""
    with _handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):
        yield


@contextmanager
def alike() -> Iterator[None]:
    """`kill` and Ctrl-C take the same way out."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM):
        yield


@contextmanager
def _handled(handler: Any, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals are someone else's business
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)
