"""The template of a log line, in SQL: what stays when names and numbers go. ``link <*> went down``.

It needs no state and no training: the same line has the same template always, on every machine, so that counting is a
GROUP BY. How well that groups beside drain3: docs/decisions/0009.
"""

from __future__ import annotations

from qnib.engine.values import literal

GAP = "<*>"
LONGEST = 1000
"""Octets of a message that are looked at: its first line's beginning says what it is."""
_NOT_IN_WORDS = r"""\s=,;:()\[\]<>{}"'"""
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +[0-9]+"
_STEPS = (
    (r"\b(user|from|by|password for) +[\w.@-]+", r"\1 <*>"),  # whoever it was
    (r"=[\w-]+(?:\.[\w-]+)+", "=<*>"),  # a host's name as a value
    (r"\(\)", "(<*>)"),  # a value that is empty
    (
        "|".join((
            f"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?{_MONTH}",  # a date in words
            rf"[^{_NOT_IN_WORDS}]*[0-9][^{_NOT_IN_WORDS}]*",  # whatever holds a digit: ids, sizes, addresses, node12
            r"(?:/[\w.+-]+)+",  # a path
            r"[\w-]+(?:\.[\w-]+){2,}",  # a name with dots
        )),
        GAP,
    ),
    (r"<\*>(?:[ .:,/x-]*<\*>)+", GAP),  # a list of any length
)  # fmt: skip


def template(message: str) -> str:
    """SQL for the template of the column or expression `message`."""
    text = f"substring(substringIndex(trim({message}), '\\n', 1), 1, {LONGEST})"
    for pattern, instead in _STEPS:
        text = f"replaceRegexpAll({text}, {literal(pattern)}, {literal(instead)})"
    return text
