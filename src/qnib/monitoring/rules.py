"""Compiles the event rules of all domains into SQL over a `message`: what happened, to whom, with which fields.

All patterns are tried at once (`multiMatchAllIndices`); only lines that matched have their groups extracted. The
first rule that matches gives the kind, hint and severity; fields and entities come from all that match.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from qnib.engine.values import literal
from qnib.errors import WrongUse
from qnib.model import EventRule

_GROUP = re.compile(r"\(\?P<\w+>")
_PLACE = re.compile(r"\{(\w+)\}")
_COLUMNS = {"host", "app", "cluster", "pid"}
LANES = {
    "job": "scheduler", "node": "scheduler", "slurm": "scheduler", "link": "fabric", "fabric": "fabric",
    "kernel": "kernel", "app": "application", "container": "container",
}  # fmt: skip
_APP_LANES = {
    "slurmctld": "scheduler", "slurmd": "scheduler", "slurmstepd": "scheduler", "slurmdbd": "scheduler",
    "opensm": "fabric", "ibsim": "fabric", "kernel": "kernel",
}  # fmt: skip


def event_columns(rules: Sequence[EventRule]) -> str:
    """SQL for ``rules, kind, rule_severity, hint, lane, rule_fields, entities`` from `message`, `app`, `host`, `pid`.

    Raises WrongUse for a rule whose pattern is wrong or whose template names an unknown field.
    """
    for rule in rules:
        _check(rule)
    fields = [f"if(has(hits, {n}), {_fields(rule)}, [])" for n, rule in enumerate(rules, 1) if _names(rule)]
    entities = [f"if(has(hits, {n}), {_entities(rule)}, [])" for n, rule in enumerate(rules, 1) if rule.entities]
    return f"""
        {hits(rules)} AS hits,
        arrayMap(i -> {_column(rules, "name")}[i], hits) AS rules,
        {_column(rules, "kind")}[hits[1]] AS kind,
        {_column(rules, "severity")}[hits[1]] AS rule_severity,
        {_column(rules, "hint")}[hits[1]] AS hint,
        {_lane()} AS lane,
        if(empty(hits), {_NO_PAIRS}, {_joined(fields, _NO_PAIRS)}) AS rule_fields,
        if(empty(hits), {_NO_TEXTS}, arrayDistinct({_joined(entities, _NO_TEXTS)})) AS entities
    """


def hits(rules: Sequence[EventRule]) -> str:
    """SQL for the numbers, from 1 and in order, of the rules that match `message` of `app`."""
    if not rules:
        return "CAST([], 'Array(UInt64)')"
    patterns = literal([_GROUP.sub("(", rule.match) for rule in rules])
    apps = literal([rule.app for rule in rules])
    return f"arraySort(arrayFilter(i -> {apps}[i] = '' OR {apps}[i] = app, multiMatchAllIndices(message, {patterns})))"


_NO_PAIRS = "CAST([], 'Array(Tuple(String, String))')"
_NO_TEXTS = "CAST([], 'Array(String)')"


def _check(rule: EventRule) -> None:
    try:
        known = set(re.compile(rule.match).groupindex) | _COLUMNS
    except re.error as error:
        raise WrongUse(
            f"The pattern of event rule {rule.name!r} is wrong: {error}.",
            where=rule.match,
            try_next="write it as RE2 and Python both read it.",
        ) from error
    for template in rule.entities:
        if unknown := set(_PLACE.findall(template)) - known:
            raise WrongUse(
                f"Event rule {rule.name!r} fills an entity with unknown fields: {', '.join(sorted(unknown))}.",
                where=template,
                try_next=f"its fields are {', '.join(sorted(known))}.",
            )


def _names(rule: EventRule) -> dict[str, int]:
    return dict(re.compile(rule.match).groupindex)


def _column(rules: Sequence[EventRule], name: str) -> str:
    """Values by rule number; an array's element 0 or past its end is the empty string."""
    return f"CAST({literal([getattr(rule, name) for rule in rules])}, 'Array(String)')"


def _groups(rule: EventRule) -> str:
    return f"extractGroups(message, {literal(_GROUP.sub('(', rule.match))})"


def _fields(rule: EventRule) -> str:
    pairs = ", ".join(f"({literal(name)}, {_groups(rule)}[{n}])" for name, n in _names(rule).items())
    return f"arrayFilter(pair -> pair.2 != '', [{pairs}])"


def _entities(rule: EventRule) -> str:
    filled = []
    for template in rule.entities:
        parts, missing = [], []
        for index, part in enumerate(_PLACE.split(template)):
            if index % 2 == 0:
                parts.append(literal(part))
                continue
            names = _names(rule)
            value = f"{_groups(rule)}[{names[part]}]" if part in names else part
            parts.append(value)
            missing.append(f"{value} = ''")
        joined = f"concat({', '.join([*parts, literal('')])})"
        filled.append(f"if({' OR '.join(missing)}, '', {joined})" if missing else joined)
    return f"arrayFilter(ref -> ref != '', [{', '.join(filled)}])"


def _joined(arrays: Sequence[str], none: str) -> str:
    return f"arrayConcat({', '.join([none, *arrays])})"


def _lane() -> str:
    """The lane of a chart an event is drawn in: by what happened, else by who said it."""
    by_kind = f"transform(splitByChar('.', kind)[1], {literal(list(LANES))}, {literal(list(LANES.values()))}, 'other')"
    by_app = f"transform(app, {literal(list(_APP_LANES))}, {literal(list(_APP_LANES.values()))}, 'other')"
    return f"multiIf(kind != '', {by_kind}, startsWith(app, 'slurm_'), 'application', {by_app})"
