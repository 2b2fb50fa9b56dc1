"""Values of coarser steps that another Graphite made, in SQL: spool file → roll-ups, taken as they are.

A line is ``path step time value``; one more word says that its points are here in part only: the slot is then not
computed again.
"""

from __future__ import annotations

from qnib.engine.values import literal
from qnib.monitoring.carbon import canonical
from qnib.monitoring.frames import COLUMNS
from qnib.monitoring.storage.levels import FOR_GOOD


def _lines(file: str) -> str:
    return f"""
        SELECT cluster, sender, listener, fromUnixTimestamp64Micro(received, 'UTC') AS received,
            splitByWhitespace(arrayJoin(splitByChar('\\n', records[1]))) AS words,
            {canonical("words[1]")} AS path, toUInt32OrNull(words[2]) AS step, toUInt32OrNull(words[3]) AS at,
            toFloat64OrNull(words[4]) AS number,
            length(words) IN (4, 5) AND step > 0 AND at > 0 AND isFinite(number) AND isValidUTF8(path) AS good
        FROM file({literal(file)}, 'RowBinary', {literal(COLUMNS)})
    """


def rows(file: str) -> str:
    """A subquery of ``cluster, series, path, time, step, value, version`` and where from."""
    return f"""(
        SELECT cluster, cityHash64(cluster, path) AS series, path,
            toDateTime64(assumeNotNull(at), 3, 'UTC') AS time, assumeNotNull(step) AS step,
            assumeNotNull(number) AS value, if(length(words) = 5, {FOR_GOOD}, 0) AS version,
            sender, listener, received
        FROM ({_lines(file)}) WHERE good
    )"""


def rollups(rows: str) -> str:
    return f"""
        INSERT INTO qnib.rollups
            (cluster, series, step, time, count, sum, min, max, last, nearest, expected, version)
        SELECT cluster, series, step, toDateTime(time, 'UTC'), 1, value, value, value, value, value, 1, version
        FROM {rows}
    """


def counts(file: str, rows: str) -> str:
    return f"""
        SELECT (SELECT count() FROM {rows}) AS events,
            (SELECT count() FROM ({_lines(file)}) WHERE notEmpty(words) AND NOT ifNull(good, 0)) AS rejects
    """
