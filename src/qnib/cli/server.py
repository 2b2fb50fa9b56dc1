"""The running server of the settings in force, for every command that asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnib.cli.client import Client


def server() -> Client:
    """``server().get("/api/jobs")``; what speaks HTTP is imported only here, as `qnib --help` needs none of it."""
    from qnib.cli.client import Client
    from qnib.settings import load

    return Client(load())
