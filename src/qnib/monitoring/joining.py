"""Lines that a program wrote one by one and that mean one thing: a kernel's oops or call trace, a Python traceback.

Records of such a run have one host and program; the first keeps its head, of the others only the text is added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEAD = re.compile(
    rb"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?[\d:.]+|\d{4}-\d\d-\d\d[T ][^ ]+) "
    rb"(?P<source>[^ ]+ [^ :\[]+(?:\[\d*\])?):(?: \[ *\d+\.\d+\])? ?"
)
_OOPS = re.compile(
    rb"BUG: |Oops[: ]|general protection fault|divide error|[Uu]nable to handle kernel|kernel BUG at|WARNING: CPU|"
    rb"INFO: task .{1,40} blocked for more than|-+\[ cut here|rcu: INFO|watchdog: BUG|Kernel panic|"
    rb".{1,40} invoked oom-killer|Call Trace:|.{1,40}page allocation failure"
)
_MORE = re.compile(
    rb"\s|Call Trace:|</?[A-Z]+>|R[A-Z0-9]{1,2}[: ]|RIP[: ]|E?IP: |[CDEFGS]S: |[CD]R[0-9][: ]|PKRU|EFLAGS|"
    rb"PGD |PUD |P4D |PMD |"
    rb"Modules linked in|CPU: |Hardware name|Code: |Stack:|Workqueue: |Comm: |Tainted|task: |Process |Oops[: ]|#PF: |"
    rb"Supported: |note: |last sysfs|invalid opcode|kernel BUG at|WARNING: |---\[ end trace|------------\[|"
    rb"\"echo 0 > |[0-9a-f]{16} |\[<[0-9a-f]+>\]|\? ?[\w.]+\+0x|[\w.]+\+0x[0-9a-f]+/0x|"
    rb"[\w./:-]+ +[RSDTZXI] [0-9a-f]{8,}|"
    rb"Mem-Info|active_|Node \d|lowmem_reserve|\d+ (?:total|pages|slab)|Free swap|Total swap|Swap cache|Tasks state|"
    rb"\[ *pid *\]|\[ *\d+\] |Allocated by|Freed by|The buggy|page:|raw: |Memory state|dump_stack|state:|"
    rb"R13: |ORIG_RAX|Kernel Offset"
)
_LAST = re.compile(rb"-+\[ end (?:trace|Kernel panic)|Kernel panic - not syncing")
_TRACEBACK = b"Traceback (most recent call last):"
_MOST = 500  # lines of one record


def joined(records: Sequence[bytes]) -> list[bytes]:
    """The records, with those that belong together as one, in the order of their first."""
    found: list[bytes] = []
    parts: list[bytes] = []
    source, of_kernel = b"", False
    for record in records:
        head = _HEAD.match(record)
        text = record[head.end() :] if head else b""
        if parts:
            same = head is not None and head["source"] == source and len(parts) < _MOST
            if same and (not of_kernel or _MORE.match(text)):
                parts.append(text)
                # A traceback ends with its first line that is not indented: the exception
                ended = _LAST.match(text) if of_kernel else not text[:1].isspace()
                if not ended:
                    continue
                found[-1] = b"\n".join(parts)
                parts = []
                continue
            found[-1] = b"\n".join(parts)
            parts = []
        found.append(record)
        if head is None:
            continue
        source, of_kernel = head["source"], b" kernel" in head["source"]
        if (of_kernel and _OOPS.match(text)) or text.startswith(_TRACEBACK):
            parts = [record]
    if parts:
        found[-1] = b"\n".join(parts)
    return found

