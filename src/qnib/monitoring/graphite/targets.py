"""Parses Graphite targets: ``aliasSub(sumSeries(servers.*.cpu.user), "(^.*$)", "\\1 A")`` to a small tree.

Paths with globs, nested calls, quoted strings, numbers, booleans, None, keyword arguments, and pipes
(``a.b | scale(2)`` is ``scale(a.b, 2)``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qnib.errors import WrongUse

Value = str | float | int | bool | None
_DEEPEST = 60
_LONGEST_INTEGER = 300  # digits
_LONGEST = 50_000
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?=\s*(?:[,)|]|$))
    |(?P<call>[A-Za-z_]\w*)\s*\(
    |(?P<key>[A-Za-z_]\w*)\s*=(?!=)
    |(?P<path>(?:[^\s,(){}|"'=;\[\]]|\{(?:[^{}()]|\{[^{}()]*\})*\}|\[[^\[\]()]*\]|;[^\s,()]*)+)
    |(?P<mark>[(),|])
    )""",
    re.VERBOSE,
)
_WORDS: dict[str, Value] = {
    "true": True, "false": False, "none": None, "null": None, "inf": float("inf"), "infinity": float("inf"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Path:
    """Series by name; may have globs."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: list[Node]
    named: dict[str, Node] = field(default_factory=dict)


Node = Path | Call | Value


def parse(target: str) -> Path | Call:
    """The tree of one target. Raises WrongUse with the place where it stops making sense."""
    if len(target) > _LONGEST:
        raise WrongUse("The target is too long.", where=target[:80], try_next=f"use at most {_LONGEST} characters.")
    reader = _Reader(target)
    tree = reader.expression(0)
    reader.end()
    if not isinstance(tree, Path | Call):
        raise WrongUse("The target names no series.", where=target, try_next="name a path or call a function.")
    return tree


def first_path(target: str) -> str:
    """The first path inside a series' name, which may be a nest of calls; the name itself when there is none."""
    try:
        node: Node = parse(target)
    except WrongUse:
        return target
    while isinstance(node, Call):
        series = [arg for arg in node.args if isinstance(arg, Path | Call)]
        if not series:
            return target
        node = series[0]
    return node.text if isinstance(node, Path) else target


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._pipes = 0

    def expression(self, depth: int) -> Node:
        node = self._plain(depth)
        while self._take("|"):
            self._pipes += 1
            if self._pipes > _DEEPEST:
                raise self._wrong("there are too many pipes")
            piped = self._plain(depth)
            if not isinstance(piped, Call):
                raise self._wrong("a pipe leads to a function")
            node = Call(piped.name, [node, *piped.args], piped.named)
        return node

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise self._wrong("there is something left")

    def _plain(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self._wrong("calls are nested too deeply")
        found = _TOKEN.match(self._text, self._at)
        if not found or found["mark"] or found["key"]:
            raise self._wrong("a path, a call or a value should be here")
        self._at = found.end()
        if found["string"]:
            return _unquoted(found["string"])
        if number := found["number"]:
            whole = len(number) <= _LONGEST_INTEGER and not re.search(r"[.eE]", number)
            return int(number) if whole else float(number)
        if found["call"]:
            return self._arguments(found["call"], depth)
        word = found["path"]
        return _WORDS[word.lower()] if word.lower() in _WORDS else Path(word)

    def _arguments(self, name: str, depth: int) -> Call:
        args: list[Node] = []
        named: dict[str, Node] = {}
        while not self._take(")"):
            if (args or named) and not self._take(","):
                raise self._wrong("a comma or a closing bracket should be here")
            found = _TOKEN.match(self._text, self._at)
            if found and found["key"]:
                self._at = found.end()
                named[found["key"]] = self.expression(depth + 1)
            elif named:
                raise self._wrong("arguments with a name come last")
            else:
                args.append(self.expression(depth + 1))
        return Call(name, args, named)

    def _take(self, mark: str) -> bool:
        found = _TOKEN.match(self._text, self._at)
        if found and found["mark"] == mark:
            self._at = found.end()
            return True
        return False

    def _wrong(self, why: str) -> WrongUse:
        return WrongUse(
            f"The target cannot be read: {why}.", where=f"{self._text[:200]} at character {self._at + 1}",
            try_next="check brackets, commas and quotes.",
        )  # fmt: skip


def _unquoted(text: str) -> str:
    """A string as it was meant; only its own quote is escaped, so that regular expressions stay as they are."""
    quote = text[0]
    return text[1:-1].replace(f"\\{quote}", quote)
