"""Events that come as JSON documents, in SQL: spool file → staged lines, as `syslog.parse` makes them.

Every shipper has its own names for host, time, level and text. The first of the names below that holds something is
taken; what is left over stays as fields, nested objects with dotted names. A document without any text is its own text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnib.engine.values import literal
from qnib.monitoring.frames import COLUMNS
from qnib.monitoring.syslog import FACILITIES, SEVERITIES, loaded_id, plausible, zoned
from qnib.settings import Source

TEXT = (
    "message", "msg", "log", "short_message", "MESSAGE", "@message", "text", "body", "event.original", "event.message",
    "log.original",
)
TIME = (
    "@timestamp", "timestamp", "time", "ts", "date", "datetime", "_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP",
)
HOST = (
    "host", "hostname", "host.name", "host.hostname", "_HOSTNAME", "@source_host", "source_host", "syslog.hostname",
    "log.syslog.hostname", "k8s.node.name", "kubernetes.host", "agent.hostname", "beat.hostname", "nodename", "node",
)
APP = (
    "app", "app_name", "appname", "application", "program", "SYSLOG_IDENTIFIER", "syslogtag", "ident", "process.name",
    "service.name", "service", "log.syslog.appname", "_COMM", "logger", "logger_name", "log.logger", "facility_name",
    "unit", "job", "service_name", "container_name", "container.name",
)
PID = ("pid", "procid", "process.pid", "_PID", "SYSLOG_PID", "log.syslog.procid", "process_id")
LEVEL = (
    "level", "severity", "log.level", "loglevel", "log_level", "levelname", "lvl", "PRIORITY", "severity_label",
    "syslogseverity-text", "syslogseverity", "severity_text", "log.syslog.severity.name", "detected_level",
)
FACILITY = (
    "facility", "syslogfacility-text", "syslogfacility", "log.syslog.facility.name", "SYSLOG_FACILITY",
    "facility_label",
)
POSTED = "graphite/http"
"""The listener of events posted as to graphite-web; their tags are tags of the event."""
_LEVELS = {
    "emerg": "emerg panic emergency", "alert": "alert", "crit": "crit critical fatal", "err": "err error eror severe",
    "warning": "warning warn", "notice": "notice", "info": "info information informational inf i",
    "debug": "debug dbg trace verbose fine finer finest",
}  # fmt: skip
_WORDS = {word: name for name, words in _LEVELS.items() for word in words.split()}
_WORDS |= {str(number): name for number, name in enumerate(SEVERITIES)}
_WORDS |= {"10": "debug", "20": "debug", "30": "info", "40": "warning", "50": "err", "60": "crit"}  # Bunyan's, Pino's
_NESTED = 4
"""Depth to which objects become dotted names; what is deeper stays JSON."""

MOST_FIELDS = 200
_FIELD_KEPT = 8192
_RAW_KEPT = 2048


def parse(file: str, name: str, longest: int, sources: Mapping[str, Source], loaded: bool = False) -> str:
    """Parse a file of documents into the lines; `name` and `loaded` as in `syslog.parse`."""
    return f"""
        INSERT INTO qnib_staging.lines
        SELECT cluster, {loaded_id() if loaded else f"cityHash64({literal(name)}, rowNumberInAllBlocks())"} AS id,
            if(plausible, assumeNotNull(told), arrived) AS time, arrived AS received, sender, listener,
            if(told_host = '', toString(sender), told_host) AS host, trimRight(told_app, ':') AS app, told_pid AS pid,
            {_facility()} AS facility, {_severity()} AS severity,
            if(text = '', substring(line, 1, {_RAW_KEPT}), text) AS message,
            arrayConcat(more_fields, if(plausible OR stamp = '', [], [('sent', stamp)])) AS sent_fields,
            multiIf(length(line) > {longest}, 'longer than {longest} octets', NOT whole, 'not a JSON object', '')
                AS reason,
            if(reason = '', '', substring(line, 1, {_RAW_KEPT})) AS raw
        FROM (
            SELECT *, {_told(sources)} AS told,
                {plausible(loaded)} AS plausible,
                arraySlice(
                    arrayMap(p -> (p.1, substringUTF8(p.2, 1, {_FIELD_KEPT})),
                        arrayFilter(p -> p.2 NOT IN ('', 'null', text) AND NOT has(taken, p.1), pairs)),
                    1, {MOST_FIELDS}) AS more_fields
            FROM (
                SELECT *, trimRight(doc[taken[1]], '\\n\\r\\0 ') AS text, doc[taken[2]] AS stamp,
                    doc[taken[3]] AS told_host, doc[taken[4]] AS told_app, doc[taken[5]] AS told_pid,
                    doc[taken[6]] AS level, doc[taken[7]] AS told_facility
                FROM (
                    SELECT *, mapFromArrays(pairs.1, pairs.2) AS doc,
                        [{", ".join(map(_first, (TEXT, TIME, HOST, APP, PID, LEVEL, FACILITY)))},
                         '@version', if(gelf, 'version', '')] AS taken
                    FROM ({_pairs(file)})
                )
            )
        )
    """


def _pairs(file: str) -> str:
    """Each document with its values by dotted name, as `pairs` of texts."""
    opened = """arrayFlatten(arrayMap(p -> if(startsWith(p.2, '{'),
        arrayMap(q -> (concat(p.1, '.', q.1), q.2), JSONExtractKeysAndValuesRaw(p.2)), [p]), raw))"""
    lines = f"""
        SELECT *, if(whole, JSONExtractKeysAndValuesRaw(line), []) AS raw FROM (
            SELECT cluster, sender, listener, fromUnixTimestamp64Micro(received, 'UTC') AS arrived,
                startsWith(listener, 'gelf/') AS gelf,
                trimBoth(toValidUTF8(arrayJoin(if(framed, records, splitByChar('\\n', records[1])))), '\\n\\r\\0 ')
                    AS line,
                startsWith(line, '{{') AND isValidJSON(line) AS whole
            FROM file({literal(file)}, 'RowBinary', {literal(COLUMNS)})
        ) WHERE line != ''"""
    for _ in range(_NESTED - 1):
        nested = "arrayExists(p -> startsWith(p.2, '{'), raw)"
        lines = f"SELECT * REPLACE (if({nested}, {opened}, raw) AS raw) FROM ({lines})"
    return f"""
        SELECT * EXCEPT raw,
            arrayMap(p -> (if(gelf AND startsWith(p.1, '_'), substring(p.1, 2), p.1),
                           toValidUTF8(if(startsWith(p.2, '"'), JSONExtractString(p.2), p.2))), raw) AS pairs
        FROM ({lines})"""


def _first(names: Sequence[str]) -> str:
    """The first of the names under which there is something."""
    return f"arrayFirst(n -> doc[n] NOT IN ('', 'null', '{{}}'), {literal(list(names))})"


def _severity() -> str:
    word = "lower(trimBoth(level))"
    return f"""transform({word}, {literal(list(_WORDS))}, {literal(list(_WORDS.values()))}, 'info')"""


def _facility() -> str:
    number = "toUInt8OrNull(told_facility)"
    return f"""multiIf(has({literal(list(FACILITIES))}, lower(told_facility)), lower(told_facility),
        ifNull({number} < 24, 0), {literal(list(FACILITIES))}[ifNull({number}, 0) + 1], 'user')"""


def _told(sources: Mapping[str, Source]) -> str:
    """The document's time in UTC or NULL: text, or seconds, milliseconds, micro- or nanoseconds since 1970."""
    read = "toTimeZone(parseDateTime64BestEffortOrNull(replaceOne(stamp, ',', '.'), 6, {}), 'UTC')"
    text = zoned(sources, "told_host", lambda zone: read.format(literal(zone)))
    whole, rest = "splitByChar('.', stamp)[1]", "splitByChar('.', stamp)[2]"
    number, fraction = f"toInt64OrZero({whole})", "toInt64OrZero(rightPad(substring({0}, 1, {1}), {1}, '0'))"
    micros = f"""multiIf(
        length({whole}) <= 11, {number} * 1000000 + {fraction.format(rest, 6)},
        length({whole}) <= 14, {number} * 1000 + {fraction.format(rest, 3)},
        length({whole}) <= 17, {number}, intDiv({number}, 1000))"""
    rounded = "toInt64(least(toFloat64OrZero(stamp), 9e12) * 1000000)"  # an infinity would fail the whole file
    return f"""multiIf(
        stamp = '', NULL,
        match(stamp, '^[0-9]{{1,19}}([.][0-9]*)?$'), toNullable(fromUnixTimestamp64Micro({micros}, 'UTC')),
        match(stamp, '^[0-9.]+[eE][+]?[0-9]+$'), toNullable(fromUnixTimestamp64Micro({rounded}, 'UTC')),
        {text})"""
