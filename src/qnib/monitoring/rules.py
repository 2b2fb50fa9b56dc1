r"""Compiles the event rules of all domains into SQL over a `message`: what happened, to whom, with which fields.

All patterns are tried at once (`multiMatchAllIndices`); only lines that matched are looked at closer: RE2 has the last
word, for Vectorscan finds `[^(\s]` in a bracket, and their groups are extracted. The first rule that matches gives the
kind, hint and severity; fields, tags, entities and numbers come from all that match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qnib.domains.paths import UNSAFE
from qnib.engine.values import literal
from qnib.errors import NO_REGEX, WrongUse
from qnib.model import EventRule

_GROUP = re.compile(r"\(\?P<\w+>")
_PLACE = re.compile(r"\{(\w+)\}")
_NOT_RE2 = re.compile(r"\(\?[=!>]|\(\?<[=!]|\(\?P=|\\[1-9]|[*+?}]\+")
_COLUMNS = {"host", "app", "cluster", "pid"}
_RESERVED = {"sent", "msgid"}  # fields every record may have from its sender
LANES = {
    "job": "scheduler", "node": "scheduler", "slurm": "scheduler", "link": "fabric", "fabric": "fabric",
    "kernel": "kernel", "app": "application", "container": "container", "storage": "kernel",
}  # fmt: skip
_APP_LANES = {
    "slurmctld": "scheduler", "slurmd": "scheduler", "slurmstepd": "scheduler", "slurmdbd": "scheduler",
    "opensm": "fabric", "ibsim": "fabric", "kernel": "kernel",
}  # fmt: skip


def hits(rules: Sequence[EventRule]) -> str:
    """SQL for the numbers, from 1 and in order, of the rules that match `message` of `app`."""
    if not rules:
        return "CAST([], 'Array(UInt64)')"
    patterns = literal([pattern(rule) for rule in rules])
    apps = literal([rule.app.split(",") if rule.app else [] for rule in rules])
    return (
        f"arraySort(arrayFilter(i -> empty({apps}[i]) OR has({apps}[i], app),"
        f" multiMatchAllIndices(message, {patterns})))"
    )


def event_columns(numbered: Mapping[int, EventRule]) -> str:
    """SQL for ``rules, kind, rule_severity, hint, tags, lane, rule_fields, entities, numbers`` from `sure`, the
    groups, `app`, `host`, `pid`. `numbered`: the rules that may be among the sure ones, by their number, or none.
    """
    if not numbered:
        return f"""
            {_NO_TEXTS} AS rules, '' AS kind, '' AS rule_severity, '' AS hint, {_NO_TEXTS} AS tags,
            {_lane_of_app()} AS lane, {_NO_PAIRS} AS rule_fields, {_NO_TEXTS} AS entities, {_NO_NUMBERS} AS numbers
        """
    rules = list(numbered.values())
    fields = [_when(n, _fields(n, rule)) for n, rule in numbered.items() if _names(rule)]
    entities = [_when(n, _entities(n, rule)) for n, rule in numbered.items() if rule.entities]
    told = [_when(n, _numbers(n, rule)) for n, rule in numbered.items() if rule.metrics]
    tags = [_when(n, literal(list(rule.tags))) for n, rule in numbered.items() if rule.tags]

    def first(name: str) -> str:
        return f"transform(sure[1], {literal(list(numbered))}, {literal([getattr(r, name) for r in rules])}, '')"

    return f"""
        {_joined([_when(n, literal([rule.name])) for n, rule in numbered.items()], _NO_TEXTS)} AS rules,
        {first("kind")} AS kind, {first("severity")} AS rule_severity, {first("hint")} AS hint,
        arrayDistinct({_joined(tags, _NO_TEXTS)}) AS tags,
        {_lane()} AS lane,
        arrayFilter(pair -> pair.2 != '', {_joined(fields, _NO_PAIRS)}) AS rule_fields,
        arrayDistinct(arrayFilter(ref -> ref != '', {_joined(entities, _NO_TEXTS)})) AS entities,
        {_finite(told)} AS numbers
    """


def matched(numbered: Mapping[int, EventRule]) -> str:
    """SQL for the columns `sure`, the numbers among `hits` of rules that do match `message`, and of each rule its
    groups. Columns of their own, below `event_columns`: what stands there is worked out wherever it is used."""
    groups = "".join(
        f"if(has(hits, {n}), extractGroups(message, {literal(pattern(rule))}), {_NO_TEXTS}) AS {_groups(n)}, "
        for n, rule in numbered.items() if _names(rule)
    )  # fmt: skip
    told = [
        f"if(notEmpty({_groups(n)}), [{n}], [])" if _names(rule)
        else f"if(has(hits, {n}) AND match(message, {literal(pattern(rule))}), [{n}], [])"
        for n, rule in numbered.items()
    ]  # fmt: skip
    return f"""{groups}{_joined(told, "CAST([], 'Array(UInt64)')")} AS sure"""


_NO_PAIRS = "CAST([], 'Array(Tuple(String, String))')"
_NO_TEXTS = "CAST([], 'Array(String)')"
_NO_NUMBERS = "CAST([], 'Array(Tuple(String, Float64))')"


def check(rule: EventRule) -> None:
    """What can be said without the engine. Raises WrongUse with the rule's file and line."""

    def wrong(what: str, try_next: str) -> WrongUse:
        return WrongUse(f"Event rule {rule.name!r}: {what}", where=rule.where or rule.match, try_next=try_next)

    try:
        compiled = re.compile(rule.match)
    except NO_REGEX as error:
        raise wrong(f"its pattern is wrong: {error}.", "write it as RE2 and Python both read it.") from error
    if _NOT_RE2.search(rule.match):
        raise wrong("its pattern looks around or back.", "write it without: RE2 reads every line once.")
    known = set(compiled.groupindex)
    if taken := known & _RESERVED:
        raise wrong(f"the field {', '.join(taken)} is the sender's.", "name it otherwise.")
    templates = [*rule.entities, *(m.value for m in rule.metrics), *(t for m in rule.metrics for t in m.tags.values())]
    for template in templates:
        if unknown := set(_PLACE.findall(template)) - known - _COLUMNS:
            raise wrong(
                f"{template!r} names unknown fields: {', '.join(sorted(unknown))}.",
                f"its fields are {', '.join(sorted(known | _COLUMNS))}.",
            )
    if any(";" in m.name or re.search(r"\s", m.name) for m in rule.metrics):
        raise wrong("a metric's name has no blank and no semicolon.", "write it with dots: slurm.rpc.time.")
    if not rule.sample:
        raise wrong("it shows no line it is for.", "add a sample, and the fields it must give as expect.")
    found = compiled.search(rule.sample)
    if found is None:
        raise wrong("it does not match its own sample.", "correct the pattern or the sample.")
    fields = {name: value for name, value in found.groupdict().items() if value}
    if fields != dict(rule.expect):
        raise wrong(f"its sample gives the fields {fields}, not those expected.", "correct the pattern or expect.")


def pattern(rule: EventRule) -> str:
    """Its regular expression as the engine reads it, without names of groups."""
    return _GROUP.sub("(", rule.match)


def _when(number: int, array: str) -> str:
    return f"if(has(sure, {number}), {array}, [])"


def _names(rule: EventRule) -> dict[str, int]:
    return dict(re.compile(rule.match).groupindex)


def _groups(number: int) -> str:
    return f"groups_{number}"


def _fields(number: int, rule: EventRule) -> str:
    pairs = ", ".join(f"({literal(name)}, {_groups(number)}[{n}])" for name, n in _names(rule).items())
    return f"[{pairs}]"


def _entities(number: int, rule: EventRule) -> str:
    filled = []
    for template in rule.entities:
        text, places = _filled(number, rule, template)
        missing = " OR ".join(f"{place} = ''" for place in places)
        filled.append(f"if({missing}, '', {text})" if missing else text)
    return f"[{', '.join(filled)}]"


def _numbers(number: int, rule: EventRule) -> str:
    """Pairs of a tagged path, its tags in order, and a value, NULL when it is no number."""
    pairs = []
    for metric in rule.metrics:
        tags = []
        for name, template in sorted({"host": "{host}", **metric.tags}.items()):
            value = f"translate({_filled(number, rule, template)[0]}, {literal(UNSAFE)}, {literal('_' * len(UNSAFE))})"
            tags += [literal(f";{name}="), f"if(empty({value}), '_', {value})"]
        path = f"concat({literal(metric.name)}, {', '.join(tags)})"
        pairs.append(f"({path}, toFloat64OrNull({_filled(number, rule, metric.value)[0]}))")
    return f"[{', '.join(pairs)}]"


def _finite(told: Sequence[str]) -> str:
    """What is no number is none."""
    if not told:
        return _NO_NUMBERS
    pairs = _joined(told, "CAST([], 'Array(Tuple(String, Nullable(Float64)))')")
    finite = f"arrayFilter(pair -> ifNull(isFinite(pair.2), 0), {pairs})"
    return f"arrayMap(pair -> (pair.1, assumeNotNull(pair.2)), {finite})"


def _filled(number: int, rule: EventRule, template: str) -> tuple[str, list[str]]:
    """SQL of a template's text, and of each place in it."""
    parts, places, names = [], [], _names(rule)
    for index, part in enumerate(_PLACE.split(template)):
        if index % 2 == 0:
            parts.append(literal(part))
            continue
        places.append(f"{_groups(number)}[{names[part]}]" if part in names else f"toString({part})")
        parts.append(places[-1])
    return f"concat({', '.join([*parts, literal('')])})", places


def _joined(arrays: Sequence[str], none: str) -> str:
    return f"arrayConcat({', '.join([none, *arrays])})"


def _lane() -> str:
    """The lane of a chart an event is drawn in: by what happened, else by who said it."""
    by_kind = f"transform(splitByChar('.', kind)[1], {literal(list(LANES))}, {literal(list(LANES.values()))}, 'other')"
    return f"if(kind != '', {by_kind}, {_lane_of_app()})"


def _lane_of_app() -> str:
    by_app = f"transform(app, {literal(list(_APP_LANES))}, {literal(list(_APP_LANES.values()))}, 'other')"
    return f"if(startsWith(app, 'slurm_'), 'application', {by_app})"
