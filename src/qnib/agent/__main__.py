"""``python3 -m qnib.agent CONFIG``: reads the configuration, finds the domains, runs the loop."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path

import qnib.domains
from qnib.agent.config import load
from qnib.agent.loop import Loop
from qnib.model import Domain


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
    try:
        config = load(arguments[0])
    except ValueError as error:
        print(f"qnib-agent: {arguments[0]}: {error}", file=sys.stderr)  # noqa: T201 - as above
        return 2
    os.environ.update(config.environment)
    loop = Loop(config, domains([str(name) for name in config.domains]))
    gc.collect()
    gc.freeze()  # what the imports left is here to stay: no need to look at it again and again
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
