"""Reads blueprints from files, and says of a mistake where it is and what may stand there."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError

from qnib.errors import NotFound, QnibError, WrongUse
from qnib.terminal.blueprint import Blueprint
from qnib.terminal.schema import Word
from qnib.terminal.units import Rate, Size, Span, mebibytes, octets_a_second, seconds


def shipped() -> list[Path]:
    """The examples, by name."""
    return sorted((Path(__file__).parent / "examples").glob("*.toml"))


def file_of(name: Path) -> Path:
    """The file a person means: one that is there, else a shipped one of that name."""
    if not name.exists() and len(name.parts) == 1:
        return next((file for file in shipped() if file.stem == name.name.removesuffix(".toml")), name)
    return name


def find(name: Path) -> Blueprint:
    """The blueprint in a file, or the shipped one of that name."""
    return read(file_of(name))


def about(file: Path) -> str:
    """What a blueprint says of itself: its first comment."""
    return file.read_text().splitlines()[0].lstrip("# ")


def keys(model: type[BaseModel] | None = None, prefix: str = "") -> Iterator[dict[str, str]]:
    """Every key as (key, type, default, meaning), tables opened: ``nodes[].count``."""
    inner = tables(model or Blueprint)
    for key, field in (model or Blueprint).model_fields.items():
        if key in inner:
            many = "[]" if "list" in str(field.annotation) else ""
            yield from keys(inner[key], f"{prefix}{key}{many}.")
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        written = next((_WRITTEN[v.func] for v in field.metadata if isinstance(v, BeforeValidator)), "")
        yield {
            "key": f"{prefix}{key}", "type": written or _type(field.annotation),
            "default": "" if default is None else str(default), "meaning": field.description or "",
        }


_SPOKEN = {Size: "size", Rate: "rate", Span: "span", Word: "name", str: "text", int: "whole number", float: "number",
           bool: "true or false"}
_WRITTEN: dict[Any, str] = {mebibytes: "size", octets_a_second: "rate", seconds: "span"}


def _type(annotation: Any) -> str:
    """What may stand there, in words."""
    if annotation in _SPOKEN:
        return _SPOKEN[annotation]
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is Literal:
        return " or ".join(str(part) for part in inner)
    return f"list of {_type(inner[0])}s" if get_origin(annotation) is list else _type(inner[0])


def read(file: Path) -> Blueprint:
    """The blueprint in a file. Raises NotFound without the file, WrongUse with line and column of what is wrong."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        raise NotFound(
            "There is no such blueprint.", where=str(file), try_next="`qnib blueprint list` names the shipped ones.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(
            f"The blueprint cannot be read: {error}.", where=str(file), try_next="name a TOML file.",
        ) from error
    return parse(text, str(file))


def parse(text: str, name: str) -> Blueprint:
    """The blueprint in a text; `name` is what errors call it."""
    try:
        return Blueprint.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        line, column = (int(found[1]), int(found[2])) if found and found[1] else (len(text.splitlines()), 1)
        told = re.sub(r" \(at .*\)$", "", str(error))
        raise WrongUse(
            f"The blueprint is not TOML: {told[0].lower()}{told[1:]}.", where=f"{name}:{line}:{column}",
            try_next="correct that line.",
        ) from error
    except ValidationError as error:
        raise _explained(error, text, name) from error


def _explained(error: ValidationError, text: str, name: str) -> QnibError:
    first = error.errors()[0]
    path = list(first.get("ctx", {}).get("path", first["loc"]))
    line, column = position(text, path)
    told = first["msg"].removeprefix("Value error, ")
    dotted = ".".join(str(part) for part in path)
    advice = "correct that line; `qnib blueprint keys` lists every key."
    if first["type"] == "extra_forbidden":
        told = "there is no such key"
        if near := difflib.get_close_matches(str(path[-1]), _keys(path[:-1]), 1):
            advice = f"did you mean {near[0]!r}?"
    what = f"{dotted}: {told[0].lower()}{told[1:]}" if dotted else f"{told[0].upper()}{told[1:]}"
    return WrongUse(f"{what}.", where=f"{name}:{line}:{column}", try_next=advice)


def _keys(path: Sequence[int | str]) -> list[str]:
    """Keys there are in the table at `path`."""
    model: Any = Blueprint
    for part in path:
        if isinstance(part, str):
            model = tables(model).get(part)
            if model is None:
                return []
    return list(model.model_fields)


def tables(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The keys of a table that are tables themselves."""
    found = {}
    for key, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found[key] = kind
    return found


_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?")
_ENTRY = re.compile(r"""\s*([\w.-]+|"[^"]*"|'[^']*')\s*=""")


def position(text: str, path: Sequence[int | str]) -> tuple[int, int]:
    """Line and column (from 1) of the entry at `path`, or of the nearest table around it.

    >>> position('name = "a"\\n[[nodes]]\\ncount = 1\\n[[nodes]]\\n  cont = 2\\n', ["nodes", 1, "cont"])
    (5, 3)
    """
    best, depth = (1, 1), 0
    here: list[int | str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            here = [part.strip(" \"'") for part in header[2].split(".")]
            if header[1] == "[[":
                seen[header[2]] = seen.get(header[2], -1) + 1
                here.append(seen[header[2]])
            found = here
        elif entry := _ENTRY.match(line):
            found = [*here, *(part.strip("\"'") for part in entry[1].split("."))]
        else:
            continue
        if len(found) > depth and list(path[: len(found)]) == found:
            best, depth = (number, len(line) - len(line.lstrip()) + 1), len(found)
    return best
