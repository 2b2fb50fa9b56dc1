"""Is it the port or the cable? From who was plugged where and which counters grew then, decide what the errors follow.

Every part (a cable, a port) that was there when errors were counted is a suspect. A period in which it was there and
errors came speaks against it, a period in which it was there long enough and none came speaks for it. The suspects'
probabilities are those of Bayes' rule with the figures below; a verdict needs two periods that differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

from qnib.domains.infiniband.counters import growth
from qnib.domains.paths import segment
from qnib.engine import DATABASE, Engine
from qnib.errors import NotFound
from qnib.inventory.spans import connections_of, overlapping

COUNTED = ("symbol_error", "link_error_recovery", "rcv_errors")
"""Counters that grow when bits get damaged on the way. LinkDowned is none: pulling a cable makes it grow."""
SOME = 5
"""Fewer errors than these within a period count as none."""
PRIOR = {"cable": 0.6, "port": 0.2}
"""Of one cable and its two ports, before anything is known: cables fail more often than ports."""
STRAY = 0.02
"""Probability of errors in a period without the guilty part, and of none in a period with it, however long."""
SURE = 0.7
"""From this probability on a part is called guilty."""
SAME = 0.5
"""Probability that it is the same cable when the same two ports were joined again."""


@dataclass(slots=True)
class Period:
    """A cable between two ports for a while. `errors` by port; `watched`: seconds in which counters were read."""

    connection: str
    cable: str
    a: str
    b: str
    began: datetime
    until: datetime | None
    maybe: str = ""
    """The cable it may also be: the same two ports were joined before."""
    errors: dict[str, int] = field(default_factory=dict)
    watched: float = 0.0
    full: bool = False
    """A counter reached its end: there were at least that many."""

    @property
    def counted(self) -> int:
        return sum(self.errors.values())

    @property
    def bad(self) -> bool:
        return self.counted >= SOME

    def share(self, part: str) -> float:
        """How surely a part was there: 1, 0, or `SAME`."""
        if part in (self.cable, self.a, self.b):
            return 1.0
        return SAME if part and part == self.maybe else 0.0


@dataclass(frozen=True, slots=True)
class Suspect:
    part: str
    kind: Literal["cable", "port"]
    probability: float
    bad: int
    """Periods in which it was there and errors came."""
    clean: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`guilty`: cable, port, or unknown where the evidence is not enough, or none where there were no errors."""

    port: str
    guilty: Literal["cable", "port", "unknown", "none"]
    part: str
    confidence: float
    sentence: str
    advice: str
    evidence: list[str]
    suspects: list[Suspect]
    periods: list[Period]

    def told(self) -> dict[str, Any]:
        def plain(period: Period) -> dict[str, Any]:
            until = period.until.isoformat() if period.until else None
            return {**asdict(period), "began": period.began.isoformat(), "until": until, "bad": period.bad}

        return {**asdict(self), "periods": [plain(period) for period in self.periods]}


# ── weighing ──────────────────────────────────────────────────────────────────────────────────


def suspects(periods: Sequence[Period]) -> list[Suspect]:
    """Every part that was there when errors came, the likeliest first; pure."""
    bad = [period for period in periods if period.bad]
    rates = sorted(period.counted / max(1.0, period.watched) for period in bad)
    if not rates:
        return []
    usual = rates[len(rates) // 2]
    kinds: dict[str, Literal["cable", "port"]] = {}
    for period in bad:
        kinds |= {period.a: "port", period.b: "port", period.cable: "cable"}
    kinds.pop("", None)
    weights = {part: PRIOR[kind] * _likelihood(part, periods, usual) for part, kind in kinds.items()}
    total = sum(weights.values()) or 1.0
    found = [
        Suspect(
            part, kinds[part], round(weight / total, 3), sum(p.bad and p.share(part) == 1 for p in periods),
            sum(not p.bad and p.share(part) == 1 and _tells(p, usual) for p in periods),
        )
        for part, weight in weights.items()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-one.probability, one.kind, one.part))


def _likelihood(part: str, periods: Iterable[Period], usual: float) -> float:
    found = 1.0
    for period in periods:
        there = period.share(part)
        quiet = max(STRAY, math.exp(-min(50.0, usual * period.watched / SOME)))
        with_it = 1 - STRAY if period.bad else quiet
        without = STRAY if period.bad else 1 - STRAY
        found *= there * with_it + (1 - there) * without
    return found


def _tells(period: Period, usual: float) -> bool:
    """Whether it was watched for so long that errors would have come."""
    return usual * period.watched >= SOME


def judge(port: str, periods: Sequence[Period]) -> Verdict:
    """What the errors about a port follow; pure. `periods` are all those of the port, and of every cable and port
    that it was joined with."""
    own = [period for period in periods if port in (period.a, period.b)]
    found = suspects(periods)
    evidence = [_line(period) for period in periods]
    counted = sum(period.counted for period in own)
    if not any(period.bad for period in own):
        watched = sum(period.watched for period in own)
        what = f"{counted} errors" if counted else "No errors"
        sentence = f"{what} were counted at {port} in {watched:.0f} s." if watched else f"{port} was not watched."
        advice = "Nothing is to be done." if watched else "Let its counters be read, then ask again."
        return Verdict(port, "none", "", 1.0 if watched else 0.0, sentence, advice, evidence, found, list(periods))
    best = found[0]
    telling = {(period.cable, period.a, period.b) for period in periods if period.bad or period.watched > 0}
    if best.probability >= SURE and len(telling) > 1:
        guilty = best.kind
        return Verdict(
            port, guilty, best.part, best.probability, _guilty(best), _next(best, periods), evidence, found,
            list(periods),
        )
    sentence = (
        f"Not enough evidence: {counted} errors were counted at {port}, and they may be "
        + " or ".join(f"{_called(one.part, one.kind)} ({one.probability:.0%})" for one in found[:3]) + "."
    )
    advice = _swap(port, own, found)
    return Verdict(port, "unknown", "", best.probability, sentence, advice, evidence, found, list(periods))


def _called(part: str, kind: str) -> str:
    return part if kind == "cable" and part.startswith("cable ") else f"{kind} {part}"


def _line(period: Period) -> str:
    until = f" to {period.until:%Y-%m-%d %H:%M:%S}" if period.until else " on"
    counts = ", ".join(f"{amount} at {port}" for port, amount in sorted(period.errors.items()) if amount) or "none"
    full = ", or more: a counter is full" if period.full else ""
    maybe = f", which may be {period.maybe}" if period.maybe else ""
    return (
        f"{period.a} to {period.b} by {_called(period.cable, 'cable')}{maybe}, from {period.began:%Y-%m-%d %H:%M:%S}"
        f"{until}: errors in {period.watched:.0f} s: {counts}{full}"
    )


def _guilty(best: Suspect) -> str:
    if best.kind == "cable":
        return f"It is the cable ({best.probability:.0%}): the errors follow {_called(best.part, 'cable')}."
    return f"It is the port ({best.probability:.0%}): the errors stay at {best.part}, whatever is plugged in."


def _next(best: Suspect, periods: Sequence[Period]) -> str:
    if best.kind == "port":
        return (
            f"Move what hangs on {best.part} to another port and have the device looked at; "
            "clean the contacts of the port first."
        )
    now = next((period for period in reversed(periods) if period.cable == best.part and period.until is None), None)
    where = f"between {now.a} and {now.b}" if now else "and do not plug it in again"
    return f"Replace the cable {where}. If errors come with the new one, too, it is the port it stayed at."


def _swap(port: str, own: Sequence[Period], found: Sequence[Suspect]) -> str:
    """What to move so that the likeliest suspects part."""
    last = own[-1]
    other = last.b if last.a == port else last.a
    cleared = {one.part for one in found if one.probability < 1 - SURE and one.clean}
    if port in cleared or (found and port not in {one.part for one in found[:2]}):
        return f"Put another cable between {port} and {other}: errors that go away were the cable's, else {other}'s."
    return (
        f"Move the cable's end from {port} to another port and leave it at {other}: errors that move along are the "
        f"cable's, errors that stay at {port} are the port's. The record knows which cable was where."
    )


# ── from the record ───────────────────────────────────────────────────────────────────────────


def verdict(engine: Engine, cluster: str, port: str, start: datetime, end: datetime) -> Verdict:
    """Judge the errors about a port in a window. Raises NotFound for a port that was never connected in it."""
    periods = history(engine, cluster, port, start, end)
    if not any(port in (period.a, period.b) for period in periods):
        raise NotFound(
            f"Nothing was plugged into {port} in that time.", where=f"cluster {cluster}",
            try_next="name a port like SW1/3, or a longer window with --since.",
        )  # fmt: skip
    _count(engine, cluster, periods, start, end)
    return judge(port, periods)


def history(engine: Engine, cluster: str, port: str, start: datetime, end: datetime) -> list[Period]:
    """The port's connections, those of the cables in them, and those of the ports at their other ends."""
    found = {fact.key: fact for fact in connections_of(engine, cluster, [port], start, end)}
    uses = _uses(engine, cluster, start, end, connections=list(found))
    cables = sorted({cable for cable in uses.values() if cable})
    beside = _uses(engine, cluster, start, end, cables=cables)
    ports = sorted({str(f.properties.get(side)) for f in found.values() for side in "ab"})
    more = connections_of(engine, cluster, ports, start, end)
    missing = [key for key in beside if key not in found and key not in {fact.key for fact in more}]
    if missing:
        more += overlapping(
            engine, cluster, "CONNECTION", start, end, where="key IN {keys:Array(String)}", params={"keys": missing}
        )
    found |= {fact.key: fact for fact in more}
    uses = _uses(engine, cluster, start, end, connections=list(found))
    maybe = {
        fact.key: str(fact.properties.get("maybe") or "") for fact in overlapping(
            engine, cluster, "CABLE", start, end, where="key IN {keys:Array(String)}",
            params={"keys": sorted(set(uses.values()))},
        )
    }  # fmt: skip
    periods = [
        Period(
            fact.key, uses.get(fact.key, ""), str(fact.properties.get("a")), str(fact.properties.get("b")), fact.began,
            fact.until, maybe.get(uses.get(fact.key, ""), ""),
        )
        for fact in found.values()
    ]
    return sorted(periods, key=lambda period: (period.began, period.connection))


def _uses(
    engine: Engine, cluster: str, start: datetime, end: datetime, *, connections: Sequence[str] = (),
    cables: Sequence[str] = (),
) -> dict[str, str]:
    """Cable by connection."""
    ties = overlapping(
        engine, cluster, "USES", start, end,
        where="source_key IN {connections:Array(String)} OR target_key IN {cables:Array(String)}",
        params={"connections": list(connections), "cables": list(cables)},
    )
    return {tie.source.key: tie.target.key for tie in ties if tie.source and tie.target}


def _count(engine: Engine, cluster: str, periods: Sequence[Period], start: datetime, end: datetime) -> None:
    """Give each period what its two ports counted within it.

    What lies between two readings counts for the period that both of them are in: at a plug the link trains, and
    whose errors those are nobody can tell.
    """
    for port in sorted({end for period in periods for end in (period.a, period.b)}):
        mine = [period for period in periods if port in (period.a, period.b)]
        for name, readings in _readings(engine, cluster, port, start, end).items():
            for (before, low), (after, high) in pairwise(readings):
                held = next((p for p in mine if p.began <= before and (p.until is None or after <= p.until)), None)
                if held is None:
                    continue
                step = growth(name, low, high)
                held.errors[port] = held.errors.get(port, 0) + step.amount
                held.full |= step.full
                if name == COUNTED[0] and port == held.a:
                    held.watched += (after - before).total_seconds()
    for period in periods:
        if not period.watched and period.errors:  # only the other end's counters are read
            period.watched = ((period.until or end) - max(period.began, start)).total_seconds()


def _readings(
    engine: Engine, cluster: str, port: str, start: datetime, end: datetime
) -> Mapping[str, list[tuple[datetime, int]]]:
    """Readings of a port's error counters in order of time, by our name of the counter."""
    node, _, number = port.rpartition("/")
    paths = {f"infiniband.{segment(node)}.{number}.{name}": name for name in COUNTED}
    rows = engine.rows(
        f"SELECT s.known AS path, p.time AS time, p.value AS value FROM"
        f" (SELECT series, time, value FROM {DATABASE}.points FINAL WHERE cluster = {{cluster:String}}"
        " AND time >= {start:DateTime64(3, 'UTC')}"
        " AND time <= {end:DateTime64(3, 'UTC')} AND series IN (SELECT series FROM"
        f" {DATABASE}.series WHERE cluster = {{cluster:String}} AND path IN {{paths:Array(String)}})) AS p"
        f" INNER JOIN (SELECT series, anyLast(path) AS known FROM {DATABASE}.series"
        " WHERE cluster = {cluster:String} AND path IN {paths:Array(String)} GROUP BY series) AS s"
        " ON p.series = s.series ORDER BY path, time",
        {"cluster": cluster, "start": start, "end": end, "paths": list(paths)},
    )
    found: dict[str, list[tuple[datetime, int]]] = {}
    for row in rows:
        found.setdefault(paths[row["path"]], []).append((row["time"], int(row["value"])))
    return found


DAY = timedelta(days=1)
"""How far back is looked where nobody says."""
