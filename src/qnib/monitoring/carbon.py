"""Carbon's plaintext in SQL: spool file → staged rows → points, series, samples of jobs, rejects.

A line is ``path value time``, separated by white space; time -1 means the moment of arrival. What is no such line
goes to the rejects with its reason.
"""

from __future__ import annotations

from qnib.engine.values import literal
from qnib.monitoring.frames import COLUMNS
from qnib.monitoring.naming import JOB_PREFIX

STAGE = """CREATE OR REPLACE TABLE qnib_staging.carbon (
    cluster LowCardinality(String), sender LowCardinality(String), listener LowCardinality(String),
    received DateTime64(6, 'UTC'), path String, series UInt64, value Float64, time DateTime64(3, 'UTC'),
    job Bool, reason LowCardinality(String), raw String
) ENGINE = Memory"""

AHEAD = 86_400
"""Seconds a sender's clock may be ahead of ours; more would make partitions of the far future."""

TEXT = "fields of text, of which no number is kept"
"""The reason of what is not wrong, only nothing for us: counted in one reject for each sender and file."""


def stage(file: str, longest: int) -> str:
    """Parse one spool file into the stage."""
    return f"""
        INSERT INTO qnib_staging.carbon
        SELECT cluster, sender, listener, arrived AS received, path, cityHash64(cluster, path) AS series,
            ifNull(number, 0.) AS value,
            if(stamp = -1, toDateTime64(arrived, 3, 'UTC'),
               fromUnixTimestamp64Milli(toInt64(round(if(in_range, assumeNotNull(stamp), 0.) * 1000)), 'UTC')) AS time,
            startsWith(path, {literal(JOB_PREFIX)}) AS job,
            multiIf(
                length(line) > {longest}, 'longer than {longest} octets',
                length(words) != 3, 'not path, value and time',
                isNull(number), 'the value is no number',
                NOT isFinite(assumeNotNull(number)), 'the value is not finite',
                isNull(stamp), 'the time is no number',
                stamp != -1 AND NOT in_range, 'the time is before 1970 or a day ahead',
                NOT isValidUTF8(path), 'the path is not UTF-8',
                job AND (length(splitByChar('.', path)) < 7 OR isNull(toUInt64OrNull(splitByChar('.', path)[3]))),
                'not a sample of a job',
                '') AS reason,
            if(reason = '', '', substring(line, 1, 2048)) AS raw
        FROM (
            SELECT cluster, sender, listener, fromUnixTimestamp64Micro(received, 'UTC') AS arrived,
                arrayJoin(if(framed, records, splitByChar('\\n', records[1]))) AS line,
                splitByWhitespace(line) AS words, {canonical("words[1]")} AS path,
                toFloat64OrNull(words[2]) AS number, toFloat64OrNull(words[3]) AS stamp,
                ifNull(stamp >= 0 AND stamp <= received / 1000000 + {AHEAD}, 0) AS in_range
            FROM file({literal(file)}, 'RowBinary', {literal(COLUMNS)})
        ) WHERE notEmpty(words)
    """


def canonical(path: str) -> str:
    """A tagged path with its tags in order, so that their order does not make another series."""
    parts = f"splitByChar(';', {path})"
    return (
        f"if(position({path}, ';') = 0, {path},"
        f" arrayStringConcat(arrayConcat([{parts}[1]], arraySort(arrayPopFront({parts}))), ';'))"
    )


def points(which: str) -> str:
    """The staged points into the record; `which`: a condition on their series."""
    return f"""
        INSERT INTO qnib.points (cluster, series, time, told)
        SELECT cluster, series, time, value FROM qnib_staging.carbon WHERE reason = '' AND NOT job AND {which}
    """



JOB_SAMPLES = """
    INSERT INTO qnib.job_samples (cluster, job, step, task, host, metric, time, value)
    SELECT cluster, toUInt64(s[3]), s[4], s[5], s[6], arrayStringConcat(arraySlice(s, 7), '.'), time, value
    FROM (SELECT *, splitByChar('.', path) AS s FROM qnib_staging.carbon WHERE reason = '' AND job)
"""

REJECTS = f"""
    INSERT INTO qnib.rejects (cluster, received, listener, sender, reason, raw)
    SELECT cluster, received, listener, sender, reason, toValidUTF8(raw) FROM qnib_staging.carbon
    WHERE reason NOT IN ('', {literal(TEXT)})
"""

TEXTS = f"""
    INSERT INTO qnib.rejects (cluster, received, listener, sender, reason, raw)
    SELECT cluster, max(received), listener, sender, any(reason),
        toValidUTF8(concat(toString(count()), ', as ', min(raw)))
    FROM qnib_staging.carbon WHERE reason = {literal(TEXT)} GROUP BY cluster, listener, sender
"""

SUMMARY = f"""
    SELECT cluster, sender, listener, max(received) AS last, maxIf(time, reason = '') AS newest,
        countIf(reason = '' AND NOT job) AS points, countIf(reason = '' AND job) AS samples,
        countIf(reason NOT IN ('', {literal(TEXT)})) AS rejects,
        toUInt64(countIf(reason = {literal(TEXT)}) > 0) AS texts
    FROM qnib_staging.carbon GROUP BY cluster, sender, listener
"""


STAGED = (
    "(SELECT cluster, series, path, time, sender, listener, received FROM qnib_staging.carbon"
    " WHERE reason = '' AND NOT job)"
)
"""The staged points and where they came from."""
