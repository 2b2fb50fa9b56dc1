"""``python3 -m qnib.agent CONFIG``: reads the configuration, finds the domains, runs the loop."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import qnib.domains

if TYPE_CHECKING:
    from qnib.model import Domain

CACHE = Path("/run/qnib-agent")
"""Byte code of this package where its own folder is read-only; ours alone, because what lies there is run."""


def compiled() -> bool:
    """Whether Python finds this package's byte code. Else it compiles, and the compiler's memory stays for good."""
    return Path(importlib.util.cache_from_source(str(Path(__file__).with_name("loop.py")))).exists()


def private(folder: Path) -> bool:
    """Whether `folder` is there (it is made if need be) and nobody else can put anything into it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and state.st_uid == os.geteuid() and not state.st_mode & 0o022


def domains(others: list[str]) -> list[Domain]:
    """Built-in domains, and those in the modules named. Not `all_domains`: what finds packages costs 3 MB."""
    found: list[str] = []
    for folder in qnib.domains.__path__:
        found += [f"qnib.domains.{file.parent.name}" for file in sorted(Path(folder).glob("*/__init__.py"))]
    return [import_module(name).DOMAIN for name in [*found, *others]]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python3 -m qnib.agent CONFIG", file=sys.stderr)  # noqa: T201 - standard error is its log
        return 2
    if not compiled() and private(CACHE):
        sys.pycache_prefix, sys.dont_write_bytecode = str(CACHE), False
    cold = not compiled()
    from qnib.agent.config import load
    from qnib.agent.loop import Loop

    try:
        config = load(arguments[0])
    except ValueError as error:
        print(f"qnib-agent: {arguments[0]}: {error}", file=sys.stderr)  # noqa: T201 - as above
        return 2
    found = domains([str(name) for name in config.domains])
    if unknown := config.only - {domain.name for domain in found}:
        print(f"qnib-agent: {arguments[0]}: only: no domain {', '.join(sorted(unknown))}", file=sys.stderr)  # noqa: T201 - as above
        return 2
    found = [domain for domain in found if not config.only or domain.name in config.only]
    if cold and compiled():  # it was just compiled: start over, and be small
        os.execv(sys.executable, (sys.executable, "-m", "qnib.agent", *arguments))  # noqa: S606 - ourselves, no shell
    os.environ.update(config.environment)
    loop = Loop(config, found)
    gc.collect()
    gc.freeze()  # what the imports left is here to stay: no need to look at it again and again
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
