"""Syslog in SQL: spool file → staged events → events and rejects. RFC 5424 and RFC 3164, told apart per message.

A message of RFC 3164 has no year and no zone: the year is the one that brings it nearest to its arrival, the zone is
what the settings say of its sender or host. A time that is missing, or too far from the arrival to be a clock, is
replaced by the arrival; what was sent stays as field ``sent``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnib.engine.values import literal
from qnib.model import EventRule
from qnib.monitoring.frames import COLUMNS
from qnib.monitoring.rules import event_columns, hits
from qnib.settings import Source

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
_NO_PRIORITY = 13  # user.notice, as RFC 3164 has it
_AHEAD = 3600  # seconds a sender's clock may be ahead of ours
_BEHIND = 366 * 86_400  # … and behind: messages may have waited long

LINES = """CREATE OR REPLACE TABLE qnib_staging.lines (
    cluster LowCardinality(String), id UInt64, time DateTime64(6, 'UTC'), received DateTime64(6, 'UTC'),
    sender LowCardinality(String), listener LowCardinality(String), host String, app String, pid String,
    facility LowCardinality(String), severity LowCardinality(String), message String,
    sent_fields Array(Tuple(String, String)), reason LowCardinality(String), raw String
) ENGINE = Memory"""
"""What the lines of a file say, before any rule has looked at them."""

STAGE = """CREATE OR REPLACE TABLE qnib_staging.syslog (
    cluster LowCardinality(String), id UInt64, time DateTime64(6, 'UTC'), received DateTime64(6, 'UTC'),
    sender LowCardinality(String), listener LowCardinality(String), host String, app String, pid String,
    facility LowCardinality(String), severity LowCardinality(String), message String, kind LowCardinality(String),
    rules Array(LowCardinality(String)), fields Map(LowCardinality(String), String), entities Array(String),
    hint LowCardinality(String), lane LowCardinality(String)
) ENGINE = Memory"""

_NEW_HEAD = r"^[1-9][0-9]{0,2}(?: (?:- |[0-9]{1,4}-[0-9]{2}-[0-9]{2}T)|(?: -)*$)"
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_OLD_STAMP = (
    r"^((?:[A-Z][a-z]{2} +[0-9]{1,2} (?:[0-9]{4} )?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,6})?"
    rf"|{_ISO}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)):? "
)
_TAG = r"(?s)^([^\s:\[\]]{1,128})(?:\[([^\]\s]{0,128})\])?:(?:\s|$)(.*)$"
_ELEMENT = r'\[(?:[^"\]]|"(?:[^"\\]|\\.)*")*\]'
_MARK = "^\ufeff"  # some senders begin their text with a byte order mark
_ELEMENT_ID = r"^\[([^\s\]]+)"
_ESCAPED, _UNESCAPED = r'\\(["\\\]])', r"\1"
_PARAMETER = r'([^\s="\]\[]+)="((?:[^"\\]|\\.)*)"'


def parse(file: str, name: str, longest: int, sources: Mapping[str, Source]) -> str:
    """Parse one spool file into the lines; `name` makes the events' ids unique."""
    return f"""
        INSERT INTO qnib_staging.lines
        SELECT cluster, cityHash64({literal(name)}, rowNumberInAllBlocks()) AS id,
            if(plausible, assumeNotNull(told), arrived) AS time, arrived AS received, sender, listener, host, app, pid,
            {literal(list(FACILITIES))}[intDiv(priority, 8) + 1] AS facility,
            {literal(list(SEVERITIES))}[priority % 8 + 1] AS severity, message,
            arrayConcat(
                data_fields, if(code IN ('', '-'), [], [('msgid', code)]),
                if(plausible OR stamp IN ('', '-'), [], [('sent', stamp)])) AS sent_fields,
            reason, if(reason = '', '', substring(line, 1, 2048)) AS raw
        FROM (
            SELECT *,
                ifNull(told BETWEEN addSeconds(arrived, -{_BEHIND}) AND addSeconds(arrived, {_AHEAD}), 0) AS plausible
            FROM ({_parsed(file, longest, sources)})
        )
    """


def classify(rules: Sequence[EventRule]) -> str:
    """What the parsed lines mean by these rules, into the stage of events."""
    return f"""
        INSERT INTO qnib_staging.syslog
        SELECT cluster, id, time, received, sender, listener, host, app, pid, facility,
            if(rule_severity != '', rule_severity, severity) AS severity, message, kind, rules,
            CAST(arrayConcat(sent_fields, rule_fields,
                 if(startsWith(app, 'slurm_') AND match(app, '^slurm_[0-9]+$') AND NOT has(rule_fields.1, 'job'),
                    [('job', substring(app, 7))], [])),
                 'Map(LowCardinality(String), String)') AS fields,
            entities, hint, lane
        FROM (SELECT *, {event_columns(rules)} FROM qnib_staging.lines WHERE reason = '')
    """


def matching(rules: Sequence[EventRule]) -> str:
    """Numbers, from 1, of the rules that match any of the lines."""
    return f"SELECT DISTINCT arrayJoin({hits(rules)}) AS number FROM qnib_staging.lines WHERE reason = ''"


def _parsed(file: str, longest: int, sources: Mapping[str, Source]) -> str:
    return f"""
        SELECT *,
            if(modern, words[2], old_stamp) AS stamp,
            {_told(sources)} AS told,
            arrayFlatten(arrayMap(
                element -> arrayMap(
                    pair -> (concat(extract(element, {literal(_ELEMENT_ID)}), '.', pair[1]),
                             replaceRegexpAll(pair[2], {literal(_ESCAPED)}, {literal(_UNESCAPED)})),
                    extractAllGroupsVertical(element, {literal(_PARAMETER)})),
                extractAll(data, {literal(_ELEMENT)}))) AS data_fields,
            multiIf(
                length(line) > {longest}, 'longer than {longest} octets',
                has_priority AND isNull(told_priority), 'the priority is not 0 to 191',
                NOT has_priority AND old_stamp = '', 'neither priority nor time',
                modern AND length(words) != 7, 'RFC 5424 fields are missing',
                modern AND (data = '' OR substring(rest, length(data) + 1, 1) NOT IN ('', ' ')), 'bad structured data',
                modern AND stamp != '-' AND isNull(told), 'bad RFC 5424 time',
                '') AS reason
        FROM (
            SELECT *,
                if(modern, words[7], '') AS rest,
                multiIf(NOT modern, '', startsWith(rest, '['), extract(rest, {literal(f"^((?:{_ELEMENT})+)")}),
                        startsWith(rest, '-'), '-', '') AS data,
                if(modern, words[6], '') AS code,
                if(modern, words[3], if(with_host, first_word, '')) AS named,
                if(named IN ('', '-'), toString(sender), named) AS host,
                if(with_host, trimLeft(substring(old_rest, length(first_word) + 2)), old_rest) AS tagged,
                if(modern, [], extractGroups(tagged, {literal(_TAG)})) AS tag,
                if(modern, if(words[4] = '-', '', words[4]), tag[1]) AS app,
                if(modern, if(words[5] = '-', '', words[5]), tag[2]) AS pid,
                multiIf(modern, replaceRegexpOne(substring(rest, length(data) + 2), {literal(_MARK)}, ''),
                        empty(tag), tagged, trimLeft(tag[3])) AS message
            FROM (
                SELECT *,
                    if(has_priority, toUInt16OrNull(substring(line, 2, bracket - 2)), {_NO_PRIORITY}) AS number,
                    if(number <= 191, number, NULL) AS told_priority,
                    ifNull(told_priority, {_NO_PRIORITY}) AS priority,
                    if(has_priority, substring(line, bracket + 1), line) AS body,
                    has_priority AND match(body, {literal(_NEW_HEAD)}) AS modern,
                    if(modern, splitByChar(' ', body, 7), []) AS words,
                    if(modern, '', extract(body, {literal(_OLD_STAMP)})) AS old_stamp,
                    if(modern, '', trimLeft(substring(body, length(old_stamp) + 1), ': ')) AS old_rest,
                    substringIndex(old_rest, ' ', 1) AS first_word,
                    old_stamp != '' AND NOT endsWith(first_word, ':') AND position(first_word, '[') = 0 AS with_host
                FROM (
                    SELECT cluster, sender, listener, fromUnixTimestamp64Micro(received, 'UTC') AS arrived,
                        trimRight(toValidUTF8(arrayJoin(if(framed, records, splitByChar('\\n', records[1])))),
                                  '\\n\\r\\0 ') AS line,
                        startsWith(line, '<') AS has_priority,
                        position(line, '>') AS bracket
                    FROM file({literal(file)}, 'RowBinary', {literal(COLUMNS)})
                ) WHERE line != ''
            )
        )
    """


def _told(sources: Mapping[str, Source]) -> str:
    """The time a message tells, in UTC, or NULL; read in the zone of its sender, else of its host."""
    zones = sorted({source.zone for source in sources.values()} - {"UTC"})
    if not zones:
        return _told_in("UTC")
    names, own = list(sources), [source.zone for source in sources.values()]
    asked = f"if(has({literal(names)}, sender), toString(sender), host)"
    zone = f"transform({asked}, {literal(names)}, {literal(own)}, 'UTC')"
    branches = "".join(f"{zone} = {literal(z)}, {_told_in(z)}, " for z in zones)
    return f"multiIf({branches}{_told_in('UTC')})"


def _told_in(zone: str) -> str:
    def read(text: str) -> str:
        return f"toTimeZone(parseDateTime64BestEffortOrNull({text}, 6, {literal(zone)}), 'UTC')"

    def in_year(shift: int) -> str:
        return read(f"concat(toString(toYear(toTimeZone(arrived, {literal(zone)})) + {shift}), ' ', stamp)")

    day = 86_400
    with_year = "match(stamp, '^[0-9]') OR match(stamp, '^[A-Z][a-z]{2} +[0-9]{1,2} [0-9]{4} ')"
    return f"""multiIf(
        stamp IN ('', '-'), NULL,
        {with_year}, {read("replaceOne(stamp, ',', '.')")},
        {in_year(0)} > addSeconds(arrived, {day}), {in_year(-1)},
        {in_year(0)} < addSeconds(arrived, -{364 * day}), {in_year(1)},
        {in_year(0)})"""


EVENTS = """
    INSERT INTO qnib.events (cluster, id, time, received, sender, listener, host, app, pid, facility, severity,
        message, kind, rules, fields, entities, hint, lane)
    SELECT cluster, id, time, received, sender, listener, host, app, pid, facility, severity,
        message, kind, rules, fields, entities, hint, lane
    FROM qnib_staging.syslog
"""

REJECTS = """
    INSERT INTO qnib.rejects (cluster, received, listener, sender, reason, raw)
    SELECT cluster, received, listener, sender, reason, raw FROM qnib_staging.lines WHERE reason != ''
"""

SUMMARY = """
    SELECT cluster, countIf(reason = '') AS events, countIf(reason != '') AS rejects,
        maxIf(received, reason = '') AS newest
    FROM qnib_staging.lines GROUP BY cluster
"""
