"""Functions that drop single values of each series."""

from __future__ import annotations

import numpy as np

from qnib.monitoring.graphite.functions.calculate import of_series
from qnib.monitoring.graphite.functions.line import Lines
from qnib.monitoring.graphite.functions.registry import graphite
from qnib.monitoring.graphite.functions.transform import each


@graphite("Filter Data", "removeAboveValue")
def remove_above_value(seriesList: Lines, n: float) -> Lines:
    """Without values above `n`."""
    label = f"removeAboveValue({{}}, {n:g})"
    return each(seriesList, label, lambda line: np.where(line.values > n, np.nan, line.values))


@graphite("Filter Data", "removeBelowValue")
def remove_below_value(seriesList: Lines, n: float) -> Lines:
    """Without values below `n`."""
    label = f"removeBelowValue({{}}, {n:g})"
    return each(seriesList, label, lambda line: np.where(line.values < n, np.nan, line.values))


@graphite("Filter Data", "removeAbovePercentile")
def remove_above_percentile(seriesList: Lines, n: float) -> Lines:
    """Without values above the series' own n-th percentile."""
    label = f"removeAbovePercentile({{}}, {n:g})"
    return each(seriesList, label, lambda line: np.where(line.values > of_series(line, n), np.nan, line.values))


@graphite("Filter Data", "removeBelowPercentile")
def remove_below_percentile(seriesList: Lines, n: float) -> Lines:
    """Without values below the series' own n-th percentile."""
    label = f"removeBelowPercentile({{}}, {n:g})"
    return each(seriesList, label, lambda line: np.where(line.values < of_series(line, n), np.nan, line.values))
