"""Reads the questions that are shipped: each domain's questions.toml, and those that cross layers beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from qnib.domains import all_domains
from qnib.errors import WrongUse
from qnib.model import Parameter, Question

_TEXT = ("name", "ask", "cypher", "why")
_TYPES = ("string", "int")
CROSSING = "across"
"""What those are filed under that belong to no single domain."""


@cache
def library() -> dict[str, tuple[str, Question]]:
    """All questions by name, with the domain they belong to. Raises WrongUse naming file and question."""
    found: dict[str, tuple[str, Question]] = {}
    places = [(CROSSING, Path(__file__).parent), *((domain.name, domain.folder) for domain in all_domains())]
    for owner, folder in places:
        for question in read(folder / "questions.toml"):
            if question.name in found:
                raise WrongUse(
                    f"Two questions are called {question.name}.", where=str(folder / "questions.toml"),
                    try_next="rename one of them.",
                )
            found[question.name] = owner, question
    return found


def read(file: Path) -> Iterator[Question]:
    """The questions of one file; none when there is no such file."""
    if not file.is_file():
        return
    try:
        told = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(
            f"The questions are not TOML: {error}.", where=str(file), try_next="correct that line.",
        ) from error
    for number, entry in enumerate(told.get("question", ()), 1):
        yield _question(entry, number, file)


def _question(entry: dict[str, Any], number: int, file: Path) -> Question:
    wrong = sorted(entry.keys() - {*_TEXT, "params"})
    wrong += [name for name in _TEXT if not str(entry.get(name, "")).strip()]
    params = [Parameter(**one) for one in entry.get("params", ()) if one.keys() <= {"name", "about", "kind", "type"}]
    if len(params) != len(entry.get("params", ())) or any(one.type not in _TYPES for one in params):
        wrong.append("params")
    if wrong:
        raise WrongUse(
            f"Question {entry.get('name') or number} has entries that are missing or wrong: {', '.join(wrong)}.",
            where=str(file), try_next="it has name, ask, why, cypher, and params with name, about, kind, type.",
        )
    return Question(**{name: str(entry[name]).strip() for name in _TEXT}, params=tuple(params))
