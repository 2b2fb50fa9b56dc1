"""What the parts of a blueprint are made of: tables without unknown keys, names, and errors that know their place."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def at(path: list[int | str], what: str) -> PydanticCustomError:
    """An error about what stands at `path`, whoever notices it."""
    return PydanticCustomError("blueprint", "{what}", {"path": path, "what": what})
