"""Graphite's render functions over NumPy: each takes series and gives series, named as Graphite names them."""

from qnib.monitoring.graphite.functions import (  # noqa: F401  importing a group registers its functions
    aliases,
    calculate,
    combine,
    data,
    groups,
    intervals,
    moving,
    seasons,
    series,
    special,
    style,
    transform,
)
from qnib.monitoring.graphite.functions.line import CONSOLIDATIONS, Line, Lines, Window, consolidated
from qnib.monitoring.graphite.functions.registry import FUNCTIONS, Context, Function, Source, call

__all__ = [
    "CONSOLIDATIONS", "FUNCTIONS", "Context", "Function", "Line", "Lines", "Source", "Window", "call", "consolidated",
]  # fmt: skip
