"""Whisper's file format by the array: one archive of (time, value) slots behind a short header, big-endian."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLOT = np.dtype([("time", ">u4"), ("value", ">f8")])
_HEAD = struct.Struct(">LLfL")  # aggregation (1: average), longest retention, xFilesFactor, archives
_ARCHIVE = struct.Struct(">LLL")  # offset, seconds of a slot, slots
_BEHIND = _HEAD.size + _ARCHIVE.size


def write(file: Path, step: int, slots: int, times: NDArray[Any], values: NDArray[Any]) -> None:
    """A file of one archive. Times are multiples of `step`, rising by it, and no more than `slots`."""
    body = np.zeros(slots, _SLOT)
    body["time"][: len(times)] = times
    body["value"][: len(times)] = values
    head = _HEAD.pack(1, step * slots, 0.0, 1) + _ARCHIVE.pack(_BEHIND, step, slots)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(head + body.tobytes())


def points_since(file: Path, since: int) -> int:
    slots = np.frombuffer(file.read_bytes()[_BEHIND:], _SLOT)
    return int((slots["time"] >= since).sum())
