"""A query's tree as SQL over `qnib.events`: values travel as parameters, never as text of the statement."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from qnib.errors import WrongUse
from qnib.monitoring.query import EXTRACTED, All, Any_, Node, Not, Phrase, Term, Words, tokens
from qnib.monitoring.syslog import SEVERITIES
from qnib.nodes import count_names

_SEVERITY_NAMES = {
    "emergency": "emerg", "panic": "emerg", "critical": "crit", "error": "err", "warn": "warning",
    "information": "info",
    **{str(number): name for number, name in enumerate(SEVERITIES)},
}  # fmt: skip
Related = Callable[[Term], str]
"""SQL for a term that the line alone does not answer: who ran there, which machine is meant."""
Moment = Callable[[str], datetime]
"""A time as people write it. Raises WrongUse."""


class Conditions:
    """`sql(tree)` gives a condition and fills `params`. Names of parameters begin with `prefix`."""

    def __init__(self, moment: Moment, related: Related | None = None, prefix: str = "q") -> None:
        self._prefix = prefix
        self.params: dict[str, Any] = {}
        self._moment = moment
        self._related = related or self._plainly

    def sql(self, node: Node) -> str:
        match node:
            case All(items):
                return " AND ".join(self._part(one) for one in items) if items else "1"
            case Any_(items):
                return " OR ".join(self._part(one) for one in items)
            case Not(item):
                return f"NOT {self._part(item, always=True)}"
            case Words():
                return self._words(node)
            case Phrase(text):
                own = self.value(tokens(text), "Array(String)")
                # The index knows which words are in a line; only lines that have them all are looked at for their order
                return f"(hasAllTokens(message, {own}) AND hasPhrase(message, {self.value(' '.join(tokens(text)))}))"
            case Term():
                return self._term(node)

    def value(self, value: Any, kind: str = "String") -> str:
        """A parameter for `value`, as it stands in the SQL."""
        name = f"{self._prefix}{len(self.params)}"
        self.params[name] = value
        return f"{{{name}:{kind}}}"

    def matches(self, column: str, values: tuple[str, ...]) -> str:
        """Any of these values, exactly or with ``*`` for whatever may stand there; a lone ``*`` is any but none."""
        if "*" in values:
            return f"{column} != ''"
        plain = [value for value in values if "*" not in value]
        either = [f"{column} IN {self.value(plain, 'Array(String)')}"] if plain else []
        either += [f"{column} LIKE {self.value(like(value))}" for value in values if "*" in value]
        return _either(either)

    def _part(self, node: Node, always: bool = False) -> str:
        told = self.sql(node)
        return f"({told})" if always or isinstance(node, All | Any_) else told

    def _words(self, words: Words) -> str:
        *whole, last = tokens(words.text)
        if not words.open_end:
            return f"hasAllTokens(message, {self.value([*whole, last], 'Array(String)')})"
        begins = self.value(rf"(?i)(^|[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]){re.escape(last)}")
        part = f"(message ILIKE {self.value(f'%{_escaped(last)}%')} AND match(message, {begins}))"
        return f"(hasAllTokens(message, {self.value(whole, 'Array(String)')}) AND {part})" if whole else part

    def _term(self, term: Term) -> str:  # noqa: PLR0911  one line per kind of field reads best
        if term.field is EXTRACTED:
            return self._extracted(term)
        match term.field.sort:
            case "record" | "host":
                return self._related(term)
            case "severity":
                return self._severity(term)
            case "time":
                return self._time(term)
            case "number":
                return self._number(term, term.field.column, "UInt64")
        match term.name:
            case "rule":
                return self._among("rules", term.values)
            case "tag":
                return self._among("tags", term.values)
            case "entity":
                return self._among("entities", term.values)
            case "message":
                return _either([f"message ILIKE {self.value(like(value))}" for value in term.values])
            case _:
                return self.matches(term.field.column, term.values)

    def _plainly(self, term: Term) -> str:
        """Without a record: a host by the name that stands in the line, a job by the number that does."""
        if term.field.sort == "host":
            return self.matches("host", tuple(name for value in term.values for name in names(value, term)))
        if term.name == "job":
            return self.matches("job", term.values)
        return "0"

    def _among(self, column: str, values: tuple[str, ...]) -> str:
        plain = [value for value in values if "*" not in value]
        either = [f"hasAny({column}, {self.value(plain, 'Array(String)')})"] if plain else []
        either += [
            f"arrayExists(one -> one LIKE {self.value(like(value))}, {column})" for value in values if "*" in value
        ]
        return _either(either)

    def _extracted(self, term: Term) -> str:
        told = f"fields[{self.value(term.name)}]"
        if term.op == ":":
            return f"({told} != '' AND {self.matches(told, term.values)})"
        try:
            number = float(term.values[0])
        except ValueError:
            raise _not(term, term.values[0], "a number", "field.exit_code>=3") from None
        return f"ifNull(toFloat64OrNull({told}) {term.op} {self.value(number, 'Float64')}, 0)"

    def _severity(self, term: Term) -> str:
        known = [_SEVERITY_NAMES.get(value.lower(), value.lower()) for value in term.values]
        for value, name in zip(term.values, known, strict=True):
            if name not in SEVERITIES:
                raise _not(term, value, f"a severity; they are {', '.join(SEVERITIES)}", "severity>=warning")
        level = SEVERITIES.index(known[0])
        chosen = {
            ":": tuple(known), ">=": SEVERITIES[: level + 1], ">": SEVERITIES[:level], "<=": SEVERITIES[level:],
            "<": SEVERITIES[level + 1 :],
        }[term.op]  # fmt: skip
        return f"severity IN {self.value(list(chosen), 'Array(String)')}"

    def _time(self, term: Term) -> str:
        column, kind = term.field.column, "DateTime64(6, 'UTC')"
        if term.op == ":":
            raise WrongUse(
                f"The query is wrong at character {term.at + 1}: a time is compared.", where=str(term),
                try_next=f"write {term.name}>= or {term.name}<.",
            )
        return f"{column} {term.op} {self.value(self._moment(term.values[0]), kind)}"

    def _number(self, term: Term, column: str, kind: str) -> str:
        for value in term.values:
            if not value.isascii() or not value.isdigit() or int(value) >= 1 << 64:
                raise _not(term, value, "a whole number", term.field.example)
        if term.op == ":":
            return f"{column} IN {self.value([int(value) for value in term.values], f'Array({kind})')}"
        return f"{column} {term.op} {self.value(int(term.values[0]), kind)}"


def names(value: str, term: Term) -> list[str]:
    """The names a node set stands for; one with ``*`` stays as it is. Raises WrongUse for what is none."""
    if "*" in value or "[" not in value:
        return [value]
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
    from ClusterShell.RangeSet import RangeSetException

    if (count := count_names(value)) > MOST_NAMES:
        raise WrongUse(
            f"{value[:100]} stands for {count} names; at most {MOST_NAMES} are looked for.",
            where=f"character {term.at + 1}", try_next="write compute* for all of a kind.",
        )
    try:
        found = NodeSet(value, resolver=RESOLVER_NOGROUP)
    except (NodeSetException, RangeSetException) as error:
        raise _not(term, value, f"a set of nodes ({error})", "host:compute[0-7]") from error
    return [str(name) for name in found]


MOST_NAMES = 20_000


def like(value: str) -> str:
    """``link.*`` as a LIKE pattern."""
    return "%".join(_escaped(part) for part in value.split("*"))


def _escaped(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _either(conditions: list[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' OR '.join(conditions)})"


def _not(term: Term, value: str, what: str, example: str) -> WrongUse:
    return WrongUse(
        f"The query is wrong at character {term.at + 1}: {value!r} is not {what}.", where=str(term),
        try_next=f"write {example}.",
    )
