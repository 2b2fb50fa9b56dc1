"""The language events are searched with, from text to a tree: ``host:compute[0-7] severity>=warning "out of memory"``.

Terms side by side must all hold; ``OR``, ``-`` (or ``NOT``) and parentheses say the rest. A word is a token of the
message in any case, a quoted text its tokens in a row, ``field:value`` asks a field. What the fields are is declared
once, in `FIELDS`; help, completion and errors are made from that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from qnib.errors import WrongUse

LONGEST = 2000
"""Characters of a query."""
DEEPEST = 40
"""Parentheses and negations in one another."""

Sort = Literal["text", "severity", "time", "number", "host", "record"]


@dataclass(frozen=True, slots=True)
class Field:
    """One name before the colon. `sort` decides which comparisons it takes and how it is answered: "record" and "host"
    are not in the line but joined to it in time."""

    name: str
    about: str
    example: str
    sort: Sort = "text"
    column: str = ""


FIELDS = (
    Field("host", "the machine it came from, as a node set; all of its names count", "host:compute[0-7]", "host"),
    Field("app", "the program that said it", "app:slurmd", column="app"),
    Field("severity", "as syslog has it, emerg to debug; >= is as bad or worse", "severity>=warning", "severity"),
    Field("kind", "what happened, where a rule knows it", "kind:link.*", column="kind"),
    Field("rule", "the rule that recognised it", "rule:oom_kill"),
    Field("tag", "what a rule tags its lines with", "tag:hardware"),
    Field("pattern", "lines no rule knows, by the number of their template", "pattern:4711", "number", "pattern"),
    Field("lane", "the layer: scheduler, fabric, kernel, application, container, other", "lane:fabric", column="lane"),
    Field("job", "lines of this job, and lines of its hosts while it ran there", "job:42", "record"),
    Field("user", "the same of all jobs of a user", "user:herbert", "record"),
    Field("group", "… of a group", "group:docker", "record"),
    Field("account", "… charged to an account", "account:physics", "record"),
    Field("partition", "… of a partition", "partition:odd", "record"),
    Field("switch", "about a switch or its ports, or from a host that was plugged into it", "switch:SW1", "record"),
    Field("entity", "a thing it names, kind and key", "entity:PORT:SW1/3"),
    Field("field.NAME", "a field a rule or structured data gave; compares as a number", "field.exit_code:3"),
    Field("facility", "as syslog has it", "facility:kern", column="facility"),
    Field("pid", "the process that said it", "pid:4711", column="pid"),
    Field("sender", "the address it was received from", "sender:10.0.0.7", column="sender"),
    Field("listener", "how it came in", "listener:syslog/udp", column="listener"),
    Field("cluster", "the cluster it belongs to", "cluster:demo", column="cluster"),
    Field("message", "a part of the text, wherever it begins", "message:*xid*", column="message"),
    Field("time", "when it happened: a time, or -15m before now", "time>=-15m", "time", "time"),
    Field("received", "when it came in", "received>=2026-11-20T12:00:00Z", "time", "received"),
    Field("id", "one event", "id:1234", "number", "id"),
)
_BY_NAME = {one.name: one for one in FIELDS}
_OTHER_NAMES = {
    "level": "severity", "sev": "severity", "program": "app", "service": "app", "node": "host", "msg": "message",
}  # fmt: skip
EXTRACTED = _BY_NAME["field.NAME"]

Op = Literal[":", ">=", "<=", ">", "<"]


@dataclass(frozen=True, slots=True)
class Words:
    """One word as it was typed; its tokens must all be there. With `open_end` the last one only begins so."""

    text: str
    open_end: bool = False

    def __str__(self) -> str:
        return _quoted(self.text) if self.text in ("AND", "OR", "NOT") else self.text + "*" * self.open_end


@dataclass(frozen=True, slots=True)
class Phrase:
    text: str

    def __str__(self) -> str:
        return _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Term:
    """``field op value,value``. `name` is the field's, ``exit_code`` of ``field.exit_code``; `at` where it stands."""

    field: Field
    name: str
    op: Op
    values: tuple[str, ...]
    at: int = 0

    def __str__(self) -> str:
        name = f"field.{self.name}" if self.field is EXTRACTED else self.name
        return f"{name}{self.op}{','.join(map(_value, self.values))}"


@dataclass(frozen=True, slots=True)
class Not:
    item: Node

    def __str__(self) -> str:
        return f"-{_grouped(self.item)}"


@dataclass(frozen=True, slots=True)
class All:
    items: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(f"({one})" if isinstance(one, Any_) else str(one) for one in self.items)


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801  `Any` is taken by typing
    items: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(map(str, self.items))


Node = Words | Phrase | Term | Not | All | Any_
EVERYTHING = All(())


def parse(text: str) -> Node:
    """The tree of a query; an empty one asks for everything. Raises WrongUse that says where it went wrong."""
    if len(text) > LONGEST:
        raise WrongUse(
            f"A query has at most {LONGEST} characters, this one {len(text)}.", where="q", try_next="ask for less.",
        )
    return _Parser(text.encode("utf-8", "replace").decode()).query()  # half a character is nobody's


def terms(node: Node) -> Iterator[Term]:
    """All terms, in order."""
    match node:
        case Term():
            yield node
        case Not(item):
            yield from terms(item)
        case All(items) | Any_(items):
            for one in items:
                yield from terms(one)
        case _:
            return


def tokens(text: str) -> list[str]:
    """The words of a text as the index has them: runs of letters and digits, in small letters."""
    return re.findall(r"(?:[0-9a-z]|[^\x00-\x7f])+", text.lower())


def explained() -> list[dict[str, str]]:
    """The fields for help and completion: name, about, example."""
    return [{"name": one.name, "about": one.about, "example": one.example, "sort": one.sort} for one in FIELDS]


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

_BLANK = re.compile(r"\s+")
_HEAD = re.compile(r"(field\.[^\s:=<>!()\"]+|[A-Za-z_][A-Za-z0-9_.]*)(:|>=|<=|!=|=|>|<)")
_PLAIN = re.compile(r"[^\s()\",\[\]]+")
_WORD = re.compile(r"[^\s()\"]+")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def query(self) -> Node:
        self._blank()
        if self._at == len(self._text):
            return EVERYTHING
        found = self._either()
        if self._at < len(self._text):
            raise self._wrong("a closing parenthesis without an opening one", self._at, "take it out, or quote it")
        return found

    def _either(self) -> Node:
        items = [self._both()]
        while self._keyword("OR") or self._sign("|"):
            items.append(self._both())
        return items[0] if len(items) == 1 else Any_(tuple(items))

    def _both(self) -> Node:
        items: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] not in ")|" and not self._peek("OR"):
            if self._keyword("AND"):
                if not items:
                    raise self._wrong("AND without anything before it", self._at - 4, "write a term before it")
                continue
            items.append(self._one())
        if not items:
            raise self._wrong("a term is missing", self._at, 'write a word, "a text" or field:value here')
        return items[0] if len(items) == 1 else All(tuple(items))

    def _one(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong("too many parentheses and negations in one another", self._at, "write it flatter")
        began, found = self._at, self._text[self._at]
        node: Node
        if self._keyword("NOT") or (found == "-" and self._sign("-", glued=True)):
            if self._at >= len(self._text) or self._text[self._at] in ")|":
                raise self._wrong("nothing follows the negation", began, "write what must not be there after it")
            node = Not(self._one())
        elif self._sign("("):
            node = self._either()
            if not self._sign(")"):
                raise self._wrong("an opening parenthesis is never closed", began, "close it, or quote it")
        elif found == '"':
            node = Phrase(self._text_in_quotes())
            if not tokens(node.text):
                raise self._wrong("a quoted text without letters or digits", began, "use message:*text* for signs")
        elif head := _HEAD.match(self._text, self._at):
            node = self._term(head)
        else:
            node = self._word()
        self._depth -= 1
        self._blank()
        return node

    def _word(self) -> Node:
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise self._wrong(f"{self._text[self._at]!r} does not belong here", self._at, "quote it")
        text = found[0]
        if not tokens(text):
            raise self._wrong(f"{text!r} has neither letters nor digits", self._at, "use message:*text* for signs")
        self._at = found.end()
        if "*" in text.rstrip("*"):
            return Term(_BY_NAME["message"], "message", ":", (f"*{text.strip('*')}*",), found.start())
        return Words(text.rstrip("*"), text.endswith("*"))

    def _term(self, head: re.Match[str]) -> Node:
        told, sign = head[1], head[2]
        name = _OTHER_NAMES.get(told.lower(), told.lower())
        field, own = _BY_NAME.get(name), name
        if told.lower().startswith("field."):
            field, own = EXTRACTED, told[len("field."):]
        if field is None:
            near = [one.name for one in FIELDS if one.name.startswith(name[:2])]
            hint = f"did you mean {near[0]}: ? " if near else ""
            raise self._wrong(
                f"there is no field {told!r}", head.start(),
                f'{hint}Fields are {", ".join(one.name for one in FIELDS)}; text with a colon is written in quotes',
            )
        op = ":" if sign in ("=", "!=") else sign
        if op != ":" and field.sort not in ("severity", "time", "number") and field is not EXTRACTED:
            raise self._wrong(f"{name} cannot be compared with {sign}", head.start(2), f"write {field.example}")
        self._at = head.end()
        values = tuple(self._values(field, head))
        if op != ":" and len(values) > 1:
            raise self._wrong(f"{sign} compares with one value", head.start(2), "write a single value after it")
        term = Term(field, own, op, values, head.start())  # type: ignore[arg-type]
        return Not(term) if sign == "!=" else term

    def _values(self, field: Field, head: re.Match[str]) -> Iterator[str]:
        """What stands after the sign, parted at commas outside of brackets and quotes."""
        part, began, any_told = "", self._at, False
        while self._at < len(self._text):
            found = self._text[self._at]
            if found == '"':
                part += self._text_in_quotes()
            elif found == "[":
                close = self._text.find("]", self._at)
                if close < 0:
                    raise self._wrong("an opening bracket is never closed", self._at, "close it: compute[0-7]")
                part += self._text[self._at : close + 1]
                self._at = close + 1
            elif found == ",":
                if not part:
                    raise self._wrong("a value is missing before the comma", self._at, f"write {field.example}")
                yield part
                part, any_told = "", True
                self._at += 1
            elif run := _PLAIN.match(self._text, self._at):
                part += run[0]
                self._at = run.end()
            elif found == "]":
                raise self._wrong("a closing bracket without an opening one", self._at, "take it out, or quote it")
            else:
                break
        if not part:
            what = "a value is missing after the comma" if any_told else f"{head[1]}{head[2]} has no value"
            raise self._wrong(what, began if not any_told else self._at, f"write it without a blank: {field.example}")
        yield part

    def _text_in_quotes(self) -> str:
        began = self._at
        found = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(self._text, self._at)
        if found is None:
            raise self._wrong("an opening quote is never closed", began, "close it")
        self._at = found.end()
        return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)

    def _sign(self, sign: str, glued: bool = False) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        if not glued:
            self._blank()
        return True

    def _peek(self, word: str) -> bool:
        return re.compile(rf"{word}(?=[\s()]|$)").match(self._text, self._at) is not None

    def _keyword(self, word: str) -> bool:
        if not self._peek(word):
            return False
        self._at += len(word)
        self._blank()
        return True

    def _blank(self) -> None:
        if found := _BLANK.match(self._text, self._at):
            self._at = found.end()

    def _wrong(self, what: str, at: int, advice: str) -> WrongUse:
        start = max(0, at - 30)
        shown = self._text[start : at + 30]
        return WrongUse(
            f"The query is wrong at character {at + 1}: {what}.",
            where=f"{'…' * (start > 0)}{shown[: at - start]}▸{shown[at - start:]}", try_next=f"{advice}.",
        )


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _value(text: str) -> str:
    return text if re.fullmatch(r'(?:[^\s()",\[\]]|\[[^\]]*\])+', text) else _quoted(text)


def _grouped(node: Node) -> str:
    many: Sequence[type] = (All, Any_)
    return f"({node})" if isinstance(node, tuple(many)) else str(node)
