"""Every error QNIB raises on purpose.

    QnibError                what happened, where, what to try next
    ├── WrongUse             the request itself is wrong (HTTP 400, exit status 2); Unsupported: in this form (HTTP 415)
    ├── NotFound             no such cluster, node, job … (HTTP 404)
    ├── Conflict             it is there already, or someone else holds it (HTTP 409)
    ├── NotAllowed           no token (HTTP 401); Forbidden: what nobody may, or this viewer may not (HTTP 403)
    ├── Unavailable          a part we need is not there: no engine, no rights, no server (HTTP 503)
    └── TooMuch              a query or a sender asked for more than the limit (HTTP 422); TooLarge: a body (HTTP 413);
                             TooFast: a sender must wait (HTTP 429)

Anything else that escapes is a defect and may show its traceback.
"""

from __future__ import annotations

import re

NO_REGEX = (re.error, ValueError, OverflowError, RecursionError)
"""What `re.compile` raises for a pattern that a person wrote: repetitions too large, groups too deep, among others."""


class QnibError(Exception):
    """A foreseen failure, told in three short parts.

    Parameters
    ----------
    what: one sentence, what happened.
    where: the thing it happened to: a path, a port, a node, a line.
    try_next: what the reader can do now.
    """

    status = 500
    exit_code = 1

    def __init__(self, what: str, *, where: str = "", try_next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.try_next = try_next

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"Where: {self.where}.")
        if self.try_next:
            parts.append(f"Try: {self.try_next}")
        return " ".join(parts)

    def as_dict(self) -> dict[str, str]:
        """The one shape errors have on the wire."""
        return {"what": self.what, "where": self.where, "try_next": self.try_next}


class WrongUse(QnibError):
    status = 400
    exit_code = 2


class Unsupported(WrongUse):
    """In another form it would be understood, and clients know to try it."""

    status = 415


class NotFound(QnibError):
    status = 404


class Conflict(QnibError):
    status = 409


class NotAllowed(QnibError):
    status = 401


class Forbidden(NotAllowed):
    """Known who asks, and it is not to be had: asking for the token again would not help."""

    status = 403


class Unavailable(QnibError):
    status = 503


class TooMuch(QnibError):
    status = 422


class TooLarge(TooMuch):
    """A body that would fit if it were cut in pieces; shippers know to do that."""

    status = 413


class TooFast(TooMuch):
    """Asked again later it will do. `retry`: after how many seconds."""

    status = 429

    def __init__(self, what: str, *, where: str = "", try_next: str = "", retry: float = 1) -> None:
        super().__init__(what, where=where, try_next=try_next)
        self.retry = retry
