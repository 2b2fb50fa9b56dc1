"""Who is looking, and the one function that decides what they may see."""

from __future__ import annotations

from dataclasses import dataclass

from qnib.model import Ref


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks. `name` is a user of the cluster or "operator" for the holder of the server's token."""

    name: str
    operator: bool = False


OPERATOR = Viewer("operator", operator=True)


def may_see(viewer: Viewer, cluster: str, about: Ref | None = None) -> bool:
    """Whether `viewer` may read `about` (None: the cluster as a whole).

    Today whoever holds the token sees everything. Every read passes here, so a site's policy has one place.
    """
    return viewer.operator
