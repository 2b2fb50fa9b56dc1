"""Syslog in SQL: spool file → staged lines and rejects. RFC 5424 and RFC 3164, told apart per message.

A message of RFC 3164 has no year and no zone: the year is the one that brings it nearest to its arrival, the zone is
what the settings say of its sender or host. A time that is missing, or too far from the arrival to be a clock, is
replaced by the arrival; what was sent stays as field ``sent``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qnib.engine.values import literal
from qnib.monitoring.frames import COLUMNS
from qnib.settings import Source

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
_NO_PRIORITY = 13  # user.notice, as RFC 3164 has it
AHEAD = 3600  # seconds a sender's clock may be ahead of ours
BEHIND = 366 * 86_400  # … and behind: messages may have waited long

LINE_COLUMNS = """
    cluster LowCardinality(String), id UInt64, time DateTime64(6, 'UTC'), received DateTime64(6, 'UTC'),
    sender LowCardinality(String), listener LowCardinality(String), host String, app String, pid String,
    facility LowCardinality(String), severity LowCardinality(String), message String,
    sent_fields Array(Tuple(String, String)), reason LowCardinality(String), raw String"""
"""What the lines of a file say, before any rule has looked at them: columns of `qnib_staging.lines`."""

_NEW_HEAD = r"^[1-9][0-9]{0,2}(?: (?:- |[0-9]{1,4}-[0-9]{2}-[0-9]{2}T)|(?: -)*$)"
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_OLD_STAMP = (
    r"^((?:[A-Z][a-z]{2} +[0-9]{1,2} (?:[0-9]{4} )?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,6})?"
    rf"|{_ISO}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)):? "
)
# One word; old syslogds add their version to it, login puts two dashes before the user's name. Neither the message nor
# a repeat that counts: either takes RE2 five times as long
_TAG = r"^(((?:-- )?[^\s:\[\]]+(?: \d+[.]\d[.\d]*)?)(?:\[([^\]\s]*)\])?:(?:\s|$))"
_LONGEST_TAG = 128  # characters of the program's name, or of its process
_ELEMENT = r'\[(?:[^"\]]|"(?:[^"\\]|\\.)*")*\]'
_MARK = "\ufeff"  # some senders begin their text with a byte order mark
_ELEMENT_ID = r"^\[([^\s\]]+)"
_ESCAPED, _UNESCAPED = r'\\(["\\\]])', r"\1"
_PARAMETER = r'([^\s="\]\[]+)="((?:[^"\\]|\\.)*)"'


def kinds(file: str) -> str:
    """How many lines of a spool file are of RFC 5424 (`modern_lines`), how many are not (`older_lines`)."""
    return f"SELECT countIf(modern) AS modern_lines, countIf(NOT modern) AS older_lines FROM ({_lines(file)})"


def parse(
    file: str, name: str, longest: int, sources: Mapping[str, Source], modern: bool, loaded: bool = False
) -> str:
    """Parse the lines of one kind; `name` makes the events' ids unique.

    `loaded`: from a captured file, so times may be of any past year, and ids are the same whenever it is loaded.

    One statement for both kinds would take twice as long to plan, and planning is most of the cost of a small file.
    """
    number = loaded_id() if loaded else f"cityHash64({literal(f'{name} {modern}')}, rowNumberInAllBlocks())"
    parsed, checks = (_modern(file), _MODERN_CHECKS) if modern else (_older(file, sources), _OLDER_CHECKS)
    return f"""
        INSERT INTO qnib_staging.lines
        SELECT cluster, {number} AS id,
            if(plausible, assumeNotNull(told), arrived) AS time, arrived AS received, sender, listener, host, app, pid,
            {literal(list(FACILITIES))}[intDiv(priority, 8) + 1] AS facility,
            {literal(list(SEVERITIES))}[priority % 8 + 1] AS severity, message,
            arrayConcat(more_fields, if(plausible OR stamp IN ('', '-'), [], [('sent', stamp)])) AS sent_fields,
            multiIf(length(line) > {longest}, 'longer than {longest} octets',
                    isNull(number), 'the priority is not 0 to 191', {checks}, '') AS reason,
            if(reason = '', '', substring(line, 1, 2048)) AS raw
        FROM (
            SELECT *,
                {plausible(loaded)} AS plausible,
                ifNull(number, {_NO_PRIORITY}) AS priority
            FROM ({parsed})
        )
    """


def loaded_id() -> str:
    """SQL for an event's id that depends on the line alone, and on how often the file said the same before."""
    return "cityHash64('load', cluster, listener, line, row_number() OVER (PARTITION BY cluster, listener, line))"


def plausible(loaded: bool) -> str:
    """SQL for whether `told` can be a clock's, given that it arrived when it did."""
    behind = 100 * BEHIND if loaded else BEHIND
    return f"ifNull(told BETWEEN subtractSeconds(arrived, {behind}) AND addSeconds(arrived, {AHEAD}), 0)"


def _lines(file: str) -> str:
    """The lines that hold anything, each with its priority's `number` (NULL: a wrong one) and the `body` after it."""
    return f"""
        SELECT *, match(body, {literal(_NEW_HEAD)}) AND has_priority AS modern FROM (
            SELECT *, startsWith(line, '<') AS has_priority, position(line, '>') AS bracket,
                if(has_priority, toUInt16OrNull(substring(line, 2, bracket - 2)), {_NO_PRIORITY}) AS told_number,
                if(told_number <= 191, told_number, NULL) AS number,
                if(has_priority, substring(line, bracket + 1), line) AS body
            FROM (
                SELECT cluster, sender, listener, fromUnixTimestamp64Micro(received, 'UTC') AS arrived,
                    trimRight(toValidUTF8(arrayJoin(if(framed, records, splitByChar('\\n', records[1])))),
                              '\\n\\r\\0 ') AS line
                FROM file({literal(file)}, 'RowBinary', {literal(COLUMNS)})
            ) WHERE line != ''
        )
    """


_MODERN_CHECKS = """
    length(words) != 7, 'RFC 5424 fields are missing',
    data = '' OR substring(rest, length(data) + 1, 1) NOT IN ('', ' '), 'bad structured data',
    stamp != '-' AND isNull(told), 'bad RFC 5424 time'"""
_OLDER_CHECKS = "NOT has_priority AND stamp = '', 'neither priority nor time'"


def _modern(file: str) -> str:
    return f"""
        SELECT *, if(words[3] IN ('', '-'), toString(sender), words[3]) AS host,
            if(words[4] = '-', '', words[4]) AS app, if(words[5] = '-', '', words[5]) AS pid,
            parseDateTime64BestEffortOrNull(stamp, 6, 'UTC') AS told,
            substring(rest, length(data) + 2) AS text,
            if(startsWith(text, {literal(_MARK)}), substring(text, 4), text) AS message,
            arrayConcat(
                if(words[6] IN ('', '-'), [], [('msgid', words[6])]),
                if(data IN ('', '-'), [], arrayFlatten(arrayMap(
                    element -> arrayMap(
                        pair -> (concat(extract(element, {literal(_ELEMENT_ID)}), '.', pair[1]),
                                 replaceRegexpAll(pair[2], {literal(_ESCAPED)}, {literal(_UNESCAPED)})),
                        extractAllGroupsVertical(element, {literal(_PARAMETER)})),
                    extractAll(data, {literal(_ELEMENT)}))))) AS more_fields
        FROM (
            SELECT *, words[2] AS stamp,
                multiIf(startsWith(rest, '['), extract(rest, {literal(f"^((?:{_ELEMENT})+)")}),
                        startsWith(rest, '-'), '-', '') AS data
            FROM (SELECT *, splitByChar(' ', body, 7) AS words, words[7] AS rest FROM ({_lines(file)}) WHERE modern)
        )
    """


def _older(file: str, sources: Mapping[str, Source]) -> str:
    return f"""
        SELECT *, {_told(sources)} AS told FROM (
            SELECT *, if(tagless, '', tag[2]) AS app, if(tagless, '', tag[3]) AS pid,
                if(tagless, tagged, trimLeft(substring(tagged, length(tag[1]) + 1))) AS message,
                CAST([], 'Array(Tuple(String, String))') AS more_fields
            FROM (
                SELECT *, if(with_host, first_word, toString(sender)) AS host,
                    if(with_host, trimLeft(substring(rest, length(first_word) + 2)), rest) AS tagged,
                    extractGroups(tagged, {literal(_TAG)}) AS tag,
                    empty(tag) OR greatest(lengthUTF8(tag[2]), lengthUTF8(tag[3])) > {_LONGEST_TAG} AS tagless
                FROM (
                    SELECT *, substringIndex(rest, ' ', 1) AS first_word,
                        stamp != '' AND NOT endsWith(first_word, ':') AND position(first_word, '[') = 0 AS with_host
                    FROM (
                        SELECT *, extract(body, {literal(_OLD_STAMP)}) AS stamp,
                            trimLeft(substring(body, length(stamp) + 1), ': ') AS rest
                        FROM ({_lines(file)}) WHERE NOT modern
                    )
                )
            )
        )
    """


def _told(sources: Mapping[str, Source]) -> str:
    """The time a message tells, in UTC, or NULL."""
    return zoned(sources, "host", _told_in)


def zoned(sources: Mapping[str, Source], host: str, read: Callable[[str], str]) -> str:
    """SQL that reads a time in the zone the settings say of its sender, else of its `host`, else in UTC.

    `read`: SQL for the time, by zone.
    """
    zones = sorted({source.zone for source in sources.values()} - {"UTC"})
    if not zones:
        return read("UTC")
    names, own = list(sources), [source.zone for source in sources.values()]
    asked = f"if(has({literal(names)}, sender), toString(sender), {host})"
    zone = f"transform({asked}, {literal(names)}, {literal(own)}, 'UTC')"
    branches = "".join(f"{zone} = {literal(z)}, {read(z)}, " for z in zones)
    return f"multiIf({branches}{read('UTC')})"


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


KNOWN = """
    SELECT id FROM qnib.events PREWHERE time >= (SELECT min(time) FROM qnib_staging.lines WHERE reason = '')
        AND time <= (SELECT max(time) FROM qnib_staging.lines WHERE reason = '')
        AND cluster IN (SELECT DISTINCT cluster FROM qnib_staging.lines)
    WHERE startsWith(listener, 'load/')
"""
"""Ids of events of the stage's time that were loaded before."""

NEW_LINES = f"""
    ALTER TABLE qnib_staging.lines DELETE WHERE (reason = '' AND id IN ({KNOWN}))
        OR (reason != '' AND (cluster, listener, raw) IN (
            SELECT cluster, listener, raw FROM qnib.rejects WHERE startsWith(listener, 'load/')))
"""

CLAIMS = """
    SELECT DISTINCT cluster, sender, host FROM qnib_staging.lines
    WHERE reason = '' AND listener != 'qnib' AND NOT startsWith(listener, 'load/')
"""
"""Who says to speak for whom."""

_CLAIM = "concat(cluster, ' ', sender, ' ', host)"


def mark(told: Mapping[tuple[str, ...], str]) -> str:
    """Give the lines with these claims (cluster, sender, host) the field ``sent_by``."""
    claims, hosts = [" ".join(claim) for claim in told], list(told.values())
    value = f"transform({_CLAIM}, {literal(claims)}, {literal(hosts)}, '')"
    return f"""ALTER TABLE qnib_staging.lines UPDATE sent_fields = arrayConcat(sent_fields, [('sent_by', {value})])
        WHERE reason = '' AND listener != 'qnib' AND {_CLAIM} IN {literal(claims)}"""


def refuse(told: Mapping[tuple[str, ...], str]) -> str:
    """Turn the lines with these claims into rejects."""
    claims, reasons = [" ".join(claim) for claim in told], list(told.values())
    return f"""ALTER TABLE qnib_staging.lines UPDATE raw = substring(message, 1, 2048),
        reason = transform({_CLAIM}, {literal(claims)}, {literal(reasons)}, '')
        WHERE reason = '' AND listener != 'qnib' AND {_CLAIM} IN {literal(claims)}"""


REJECTS = """
    INSERT INTO qnib.rejects (cluster, received, listener, sender, reason, raw)
    SELECT cluster, received, listener, sender, reason, raw FROM qnib_staging.lines WHERE reason != ''
"""

LOADED = """
    SELECT countIf(reason = '') AS events, countIf(reason != '') AS rejects,
        minOrNullIf(time, reason = '') AS first, maxOrNullIf(time, reason = '') AS last
    FROM qnib_staging.lines
"""

SUMMARY = """
    SELECT cluster, countIf(reason = '') AS events, countIf(reason != '') AS rejects,
        maxIf(received, reason = '') AS newest
    FROM qnib_staging.lines GROUP BY cluster
"""
