"""Ctrl-C while things are made: nothing is made afterwards."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from qnib.terminal.interrupts import alike, at_once, held, ignored


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_has_begun_is_waited_for(number: int) -> None:
    for _ in range(20):  # where the signal hits is a matter of luck
        begun, ended = [], []

        def make(item: int, begun: list[int] = begun, ended: list[int] = ended) -> None:
            begun.append(item)
            if len(begun) == 1:
                os.kill(os.getpid(), number)
            time.sleep(0.02)  # what the engine takes for it
            ended.append(item)

        with alike(), pytest.raises(KeyboardInterrupt):
            at_once(make, range(40), threads=3)
        assert sorted(begun) == sorted(ended) and len(begun) < 40
        time.sleep(0.03)
        assert sorted(begun) == sorted(ended), "made after the interruption was told"


def test_all_are_tried_before_a_failure_is_told() -> None:
    tried = []

    def fail(item: int) -> None:
        tried.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        at_once(fail, range(5))
    assert sorted(tried) == [0, 1, 2, 3, 4]
    assert at_once(str, [3, 1, 2]) == ["3", "1", "2"]


def test_held_until_the_end_even_of_a_failure() -> None:
    told = []
    with pytest.raises(KeyboardInterrupt), held():
        os.kill(os.getpid(), signal.SIGINT)
        told.append("went on")
        raise ValueError("the subnet is taken")
    assert told == ["went on"]


def test_ignored_while_tidying_and_not_after() -> None:
    with pytest.raises(KeyboardInterrupt), alike():
        with ignored():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)
        pytest.fail("the signal was lost")


def test_in_another_thread_signals_are_nobodys_business() -> None:
    told: list[object] = []
    thread = threading.Thread(target=lambda: told.append(at_once(len, ["a", "bb"])))
    thread.start()
    thread.join()
    assert told == [[1, 2]]
