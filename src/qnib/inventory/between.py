"""What changed between two times, by kind; and what was learnt between them about the time before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from qnib.engine import DATABASE, Engine
from qnib.errors import WrongUse
from qnib.inventory.columns import facts_of
from qnib.inventory.fact import Fact
from qnib.inventory.lasting import lasting

What = Literal["began", "ended", "changed", "learnt"]
LATE = timedelta(minutes=2)
"""A statement about something that old when it came in changes the past, rather than telling of the present."""
MOST = 1000
"""Changes listed; all are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`counts`: {kind: {what: number}}. `rows`, newest first, at most `MOST`, as `_row` makes them: `before` has what
    was said until then of properties that changed, `entity` is None for a relation."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


_FACTS = f"""
    SELECT * FROM {DATABASE}.facts WHERE cluster = {{cluster:String}}
    AND (valid_from > {{since:DateTime64(6, 'UTC')}} OR valid_until > {{since:DateTime64(6, 'UTC')}}
         OR recorded > {{since:DateTime64(6, 'UTC')}})
    AND ({{kinds:Array(String)}} = [] OR kind IN {{kinds:Array(String)}}) AND kind NOT IN {{lasting:Array(String)}}
    ORDER BY recorded DESC LIMIT 1 BY cluster, form, kind, key, valid_from
"""
_BELIEVED = f"""
    SELECT form, kind, key, valid_from, argMax((valid_until, properties), recorded) AS said,
           said.1 AS ended, said.2 AS known
    FROM {DATABASE}.facts
    WHERE cluster = {{cluster:String}} AND recorded <= {{since:DateTime64(6, 'UTC')}} AND key IN {{keys:Array(String)}}
    GROUP BY form, kind, key, valid_from
"""


def between(
    engine: Engine, cluster: str, since: datetime, until: datetime, kinds: tuple[str, ...] = ()
) -> Difference:
    """Everything of these kinds (none: of all) that began, changed or ended in (since, until]; what is known by its
    content, like a version of a package, does none of that.

    What was recorded in that time about an earlier one is told as "learnt": the past looks different since. Raises
    WrongUse when the times are the wrong way round.
    """
    if until <= since:
        raise WrongUse("The second time is not after the first.", where=f"{since} … {until}", try_next="swap them.")
    params = {"cluster": cluster, "since": since, "kinds": list(kinds), "lasting": sorted(lasting())}
    rows = engine.table(f"SELECT * FROM ({_FACTS}) WHERE valid_until IS NULL OR valid_until >= valid_from", params)
    facts = facts_of(rows)
    starts = {(fact.identity, fact.since) for fact in facts}
    before = {(fact.identity, fact.until): fact for fact in facts if fact.until}
    found: list[_Told] = []
    late: list[Fact] = []
    for fact in facts:
        told = _told(fact, before, starts, since, until)
        found += told
        about = fact.until or fact.since
        behind = about <= since and fact.recorded - about > LATE
        if not told and behind and since < fact.recorded <= until and not _goes_on(fact, starts):
            late.append(fact)
    found += _learnt(engine, cluster, since, late)
    found.sort(key=lambda one: (one[0], one[2].kind, one[2].key), reverse=True)
    counts: dict[str, Counter[str]] = {}
    for _, what, fact, _ in found:
        counts.setdefault(fact.kind, Counter())[what] += 1
    return Difference(
        {kind: dict(counts[kind]) for kind in sorted(counts)}, [_row(*one) for one in found[:MOST]],
    )


_Told = tuple[datetime, What, Fact, Mapping[str, Any]]


def _told(
    fact: Fact, before: Mapping[Any, Fact], starts: Collection[Any], since: datetime, until: datetime
) -> list[_Told]:
    """What one version of a fact says about the time between."""
    found: list[_Told] = []
    if since < fact.since <= until:
        if fact.since == fact.began:
            found.append((fact.since, "began", fact, {}))
        elif fact.until != fact.since:  # a last version without length only carries how it ended
            old = before.get((fact.identity, fact.since))
            was = old.properties if old else {}
            found.append((fact.since, "changed", fact, {
                name: was.get(name) for name, value in fact.properties.items() if was.get(name) != value
            }))
    if fact.until is not None and since < fact.until <= until and not _goes_on(fact, starts):
        found.append((fact.until, "ended", fact, {}))
    return found


def _goes_on(fact: Fact, starts: Collection[Any]) -> bool:
    """Whether another version follows at once: then this one's end is no end of the thing."""
    return (fact.identity, fact.until) in starts and fact.until != fact.since


def _learnt(engine: Engine, cluster: str, since: datetime, late: list[Fact]) -> Iterator[_Told]:
    """Of statements about the past those that say something else than was believed at `since`."""
    if not late:
        return
    rows = engine.rows(_BELIEVED, {"cluster": cluster, "since": since, "keys": sorted({fact.key for fact in late})})
    believed = {
        ((row["form"], row["kind"], row["key"]), row["valid_from"]): (row["ended"], orjson.loads(row["known"]))
        for row in rows
    }
    for fact in late:
        if believed.get((fact.identity, fact.since)) != (fact.until, dict(fact.properties)):
            yield fact.recorded, "learnt", fact, {}


def _row(time: datetime, what: What, fact: Fact, before: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "time": time, "what": what, "kind": fact.kind, "key": fact.key,
        "entity": str(fact.ref) if fact.form == "entity" else None, "source": str(fact.source or ""),
        "target": str(fact.target or ""), "since": fact.began, "until": fact.until, "properties": dict(fact.properties),
        "before": dict(before), "told_by": fact.told_by, "recorded": fact.recorded,
    }  # fmt: skip
