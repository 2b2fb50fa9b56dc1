"""Reads an existing Graphite site's whisper files: what is known of each series, as points and as coarser values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import whisper
from numpy.typing import NDArray

from qnib.monitoring.storage.rules import Rule

_POINT = np.dtype([("t", ">u4"), ("v", ">f8")])


class Unreadable(Exception):
    """Why a file brings nothing."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One archive: slots of `step` seconds in order of time, those that are known."""

    step: int
    t: NDArray[np.int64]
    v: NDArray[np.float64]


@dataclass(slots=True)
class Taken:
    """`points`: time, value. `coarser`: step, time, value, and whether the slot's points are here in part only."""

    points: list[tuple[int, float]] = field(default_factory=list)
    coarser: list[tuple[int, int, float, bool]] = field(default_factory=list)


def files(folder: Path) -> Iterator[Path]:
    """Whisper files below `folder`, in order of their names; no link is followed."""
    for here, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            file = Path(here, name)
            if name.endswith(".wsp") and not file.is_symlink():
                yield file


def path_of(file: Path, folder: Path) -> str:
    """The series of a file, as carbon names files. Raises Unreadable for one that no line could name."""
    parts = list(file.relative_to(folder).with_suffix("").parts)
    if parts[0] == "_tagged":
        path = parts[-1].replace("_DOT_", ".")
        if ";" not in path:
            raise Unreadable("its name is a hash only: the series' tags are not in it")
    else:
        path = ".".join(parts)
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise Unreadable("its name is not UTF-8") from error
    if path.split() != [path]:
        raise Unreadable("its name has white space in it")
    return path


def archives(file: Path) -> list[Stored]:
    """All of a file's archives, the finest first; what was left over from earlier rounds is no longer known."""
    try:
        header = whisper.info(str(file))
        raw = file.read_bytes()
    except (OSError, whisper.WhisperException) as error:
        raise Unreadable(f"{error}"[:200]) from error
    if header is None or not header["archives"]:
        raise Unreadable("it has no header of whisper's")
    told: list[tuple[int, int, NDArray[np.int64], NDArray[np.float64]]] = []
    for one in header["archives"]:
        start, size, step = one["offset"], one["size"], one["secondsPerPoint"]
        if step < 1 or start + size > len(raw):
            raise Unreadable("it ends before its archives do")
        points = np.frombuffer(raw, _POINT, one["points"], start)
        t, v = points["t"].astype(np.int64), points["v"].astype(np.float64)
        good = (t > 0) & (t % step == 0) & np.isfinite(v)
        order = np.argsort(t[good], kind="stable")
        told.append((step, one["retention"], t[good][order], v[good][order]))
    newest = max((int(t[-1]) for _, _, t, _ in told if len(t)), default=0)
    return [Stored(step, t[t > newest - kept], v[t > newest - kept]) for step, kept, t, v in told]


def take(stored: list[Stored], rule: Rule) -> Taken:
    """What to bring of a file. Points are its finest archive. What is older becomes values of the rule's own steps;
    without a rule, points as far apart as they are."""
    finest = stored[0]
    taken = Taken(list(zip(finest.t.tolist(), finest.v.tolist(), strict=True)))
    start = int(finest.t[0]) if len(finest.t) else 1 << 40
    if not rule.archives:
        for one in stored[1:]:
            older = one.t < start
            taken.points += zip(one.t[older].tolist(), one.v[older].tolist(), strict=True)
            start = min(start, int(one.t[0])) if len(one.t) else start
        return taken
    fits = finest.step == rule.archives[0].step
    for archive in rule.archives[1:]:
        newest = max((int(one.t[-1]) for one in stored if len(one.t)), default=0)
        for at, value in sorted(_resampled(stored, archive.step, rule.method).items()):
            part = not fits or at <= start < at + archive.step
            if (at < start or not fits) and at > newest - archive.retention:
                taken.coarser.append((archive.step, at, value, part))
    return taken


def _resampled(stored: list[Stored], step: int, method: str) -> dict[int, float]:
    """Slots of `step` of the archive that has them, else of finer ones, else the coarser ones' values. Where a finer
    one reaches, a coarser says nothing: a slot that is not known there stays so."""
    slots: dict[int, float] = {}
    same = any(one.step == step for one in stored)
    reached = 1 << 40
    for one in stored:
        if not len(one.t) or (one.step < step and same):
            continue
        at = one.t - one.t % step
        if one.step >= step:
            told = dict(zip(at.tolist(), one.v.tolist(), strict=True))
        else:
            told = {}
            for slot, values in zip(np.unique(at), np.split(one.v, np.flatnonzero(np.diff(at)) + 1), strict=True):
                known = values.tolist()
                told[int(slot)] = whisper.aggregate(method, known, [*known, *[None] * (step // one.step - len(known))])
        slots |= {slot: value for slot, value in told.items() if slot < reached}
        reached = min(reached, -(-int(one.t[0]) // step) * step)
    return slots
