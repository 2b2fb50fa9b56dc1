"""Finds the domains: one folder here each, and outsiders by the entry-point group `qnib.domains`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from qnib.model import Domain


@cache
def all_domains() -> tuple[Domain, ...]:
    """Built-in domains in order of name, then those other packages declare."""
    from importlib.metadata import entry_points

    names = [module.name for module in pkgutil.iter_modules(__path__) if module.ispkg]
    built_in = [importlib.import_module(f"{__name__}.{name}").DOMAIN for name in names]
    return (*built_in, *(point.load() for point in entry_points(group="qnib.domains")))
