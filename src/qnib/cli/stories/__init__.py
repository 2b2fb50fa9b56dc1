"""Stories that `qnib demo` tells: commands on a real cluster, one after the other, each with what to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnib.cli.stories.teller import Teller


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    about: str
    takes: str
    tell: Callable[[Teller], None]


def stories() -> dict[str, Story]:
    from qnib.cli.stories import seed

    return {one.name: one for one in (seed.STORY,)}
