"""InfluxDB's line protocol in SQL: spool file → carbon's stage; from there on points are points.

``measurement,tag=value field=1.5,other=2i time``: each field is a point of the series ``measurement.field;tag=value``;
a field called ``value`` needs no name of its own. Lines that SLURM's ``acct_gather_profile/influxdb`` makes of a job
(tags job, step and host) are samples of that job. A row's first record is the unit of its times.
"""

from __future__ import annotations

from qnib.engine.values import literal
from qnib.monitoring.carbon import AHEAD, TEXT
from qnib.monitoring.frames import COLUMNS
from qnib.monitoring.naming import JOB_PREFIX

PRECISIONS = {
    "n": 1e9, "ns": 1e9, "u": 1e6, "us": 1e6, "µ": 1e6, "ms": 1e3, "s": 1.0, "m": 1 / 60, "h": 1 / 3600,
}  # fmt: skip
"""How many of a unit a second has; ``ns`` is meant when none is told."""

_STEPS = {
    "4294967291": "batch", "-5": "batch", "4294967292": "extern", "-4": "extern", "4294967290": "interactive",
    "-6": "interactive",
}  # fmt: skip
"""Steps without a number, as SLURM writes them: its numbers for them, with sign or without."""

_OURS = {"CPUUtilization": ("cpu", 1.0), "RSS": ("memory", 1024.0)}
"""SLURM's names of what the agent measures, too: our name and how many of our units one of SLURM's is."""

_MOST_TIMES = 4
"""How many times larger than the longest line the names of its points may be: each repeats the tags."""

_KEY = r"(?:[^,= \\]|\\.)+"
_TAG_VALUE = r"(?:[^, \\]|\\.)*"
_FIELD_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^, "\r\n]+)'
_TAG = rf"(?s),({_KEY})=({_TAG_VALUE})"
_FIELD = rf"(?s)({_KEY})=({_FIELD_VALUE})"
_FIELDS = rf"{_KEY}={_FIELD_VALUE}(?:,{_KEY}={_FIELD_VALUE})*"
_LINE = rf"(?s)^((?:[^, \\]|\\.)+)((?:,{_KEY}={_TAG_VALUE})*) +({_FIELDS})(?: +(-?[0-9]+))?\s*$"
_INTEGER = r"^([-+]?[0-9]+)[iu]$"
_ESCAPED, _WHAT_WAS = r"\\([, =])", r"\1"
_ENDS_NAMES = r"[\s;=]"


def stage(file: str, longest: int) -> str:
    """Parse one spool file into carbon's stage; `longest` line in octets.

    What is long (lines, tags) is left behind before a line becomes its fields: it would be copied for each of them.
    """
    ours = {name: name_of for name, (name_of, _) in _OURS.items()}
    times = {name: times for name, (_, times) in _OURS.items()}
    return f"""
        INSERT INTO qnib_staging.carbon
        SELECT cluster, sender, listener, arrived AS received, path, cityHash64(cluster, path) AS series,
            ifNull(number, 0.) * if(job, {_chosen("metric", times, "1.")}, 1.) AS value, time, job,
            multiIf(
                line_reason != '', line_reason,
                startsWith(field[2], '"'), {literal(TEXT)},
                isNull(number), 'the value is no number',
                NOT isFinite(assumeNotNull(number)), 'the value is not finite',
                '') AS reason,
            multiIf(reason = '', '', line_reason != '', raw_line,
                    reason = {literal(TEXT)}, substring(arrayStringConcat(field, '='), 1, 2048),
                    substring(concat(measurement, ' ', arrayStringConcat(field, '=')), 1, 2048)) AS raw
        FROM (
            SELECT *,
                multiIf(field[2] IN ('t', 'T', 'true', 'True', 'TRUE'), 1.,
                        field[2] IN ('f', 'F', 'false', 'False', 'FALSE'), 0.,
                        toFloat64OrNull(replaceRegexpOne(field[2], {literal(_INTEGER)}, '\\1'))) AS number,
                if(field[1] = 'value', '', {_plain("field[1]")}) AS field_name,
                if(field_name = '', measurement, field_name) AS metric,
                multiIf(job, concat(labels, {_chosen("metric", ours)}),
                        field_name = '', concat(measurement, labels),
                        concat(measurement, '.', field_name, labels)) AS path
            FROM (
                SELECT cluster, sender, listener, arrived, measurement, labels, job, time, line_reason, raw_line,
                    arrayJoin(fields) AS field
                FROM ({_lines(file, longest)})
            )
        )
    """


def _lines(file: str, longest: int) -> str:
    """SQL: a row for each line; `labels`: the end of its paths, of a job's samples the beginning."""
    return f"""
        SELECT cluster, sender, listener, arrived,
            extractGroups(if(length(line) > {longest}, '', line), {literal(_LINE)}) AS parts,
            {_plain("parts[1]")} AS measurement,
            arrayFilter(tag -> tag[2] != '', extractAllGroupsVertical(parts[2], {literal(_TAG)})) AS told,
            arrayMap(tag -> {_plain("tag[1]")}, told) AS keys,
            arrayMap(key -> if(key = 'hostname' AND NOT has(keys, 'host'), 'host', key), keys) AS names,
            arrayMap(tag -> {_plain("tag[2]")}, told) AS held,
            mapFromArrays(names, held) AS tags,
            isNotNull(toUInt64OrNull(tags['job'])) AND has(names, 'step') AND has(names, 'host') AS job,
            if(job,
               concat({literal(JOB_PREFIX)}, tags['job'], '.', {_chosen("tags['step']", _STEPS)}, '.',
                      tags['task'], '.', replaceAll(tags['host'], '.', '_'), '.'),
               arrayStringConcat(arraySort(arrayMap((name, one) -> concat(';', name, '=', one), names, held)))
            ) AS labels,
            toFloat64OrZero(parts[4]) / {_chosen("precision", PRECISIONS, "1e9")} AS stamp,
            stamp >= 0 AND stamp <= toFloat64(arrived) + {AHEAD} AS in_range,
            if(parts[4] = '', toDateTime64(arrived, 3, 'UTC'),
               fromUnixTimestamp64Milli(toInt64(round(if(in_range, stamp, 0.) * 1000)), 'UTC')) AS time,
            extractAllGroupsVertical(parts[3], {literal(_FIELD)}) AS found,
            multiIf(
                length(line) > {longest}, 'longer than {longest} octets',
                NOT isValidUTF8(line), 'the line is not UTF-8',
                empty(parts), 'not a line of measurement, tags, fields and time',
                NOT in_range, 'the time is before 1970 or a day ahead',
                (length(measurement) + length(labels)) * length(found) > {_MOST_TIMES * longest},
                'more tags and fields than one line may have',
                '') AS line_reason,
            if(line_reason = '', '', substring(line, 1, 2048)) AS raw_line,
            if(line_reason = '', found, [['', '']]) AS fields
        FROM (
            SELECT cluster, sender, listener, arrived, precision, arrayJoin(lines) AS line
            FROM (
                SELECT cluster, sender, listener, fromUnixTimestamp64Micro(received, 'UTC') AS arrived,
                    records[1] AS precision,
                    arrayFilter(one -> NOT match(one, '^\\s*(#|$)'), arrayPopFront(records)) AS lines
                FROM file({literal(file)}, 'RowBinary', {literal(COLUMNS)})
            )
        )
    """


def _plain(text: str) -> str:
    """SQL: `text` without its escapes, and as carbon's names have it: what would end them becomes ``_``."""
    bare = f"replaceRegexpAll({text}, {literal(_ESCAPED)}, {literal(_WHAT_WAS)})"
    return f"replaceRegexpAll({bare}, {literal(_ENDS_NAMES)}, '_')"


def _chosen(of: str, choice: dict[str, float] | dict[str, str], otherwise: str = "") -> str:
    """SQL: what `choice` says for `of`, else `otherwise`, or `of` itself."""
    values = list(choice.values())
    return f"transform({of}, {literal(list(choice))}, {literal(values)}, {otherwise or of})"
