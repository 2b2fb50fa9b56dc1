"""What is known to go wrong with links.

The facts a check is given about one port: ``port`` (key), ``symbol_error`` and ``link_downed`` (growth within the
window asked about), ``window`` (seconds), ``link`` ("up" or "down"), ``peer`` (key of the other port, last known).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnib.model import Check, Finding, Ref

ERRORS_ADVICE = (
    "Move the cable to another port: if the errors move along it is the cable, if they stay it is the port. "
    "The record knows which cable was where."
)
DOWN_ADVICE = "Reseat or replace the cable; `qnib graph ask history_of_cables` shows what was plugged there before."


def symbol_errors(facts: Mapping[str, object]) -> Sequence[Finding]:
    errors = facts.get("symbol_error")
    if not isinstance(errors, int | float) or errors <= 0:
        return ()
    port = str(facts.get("port", ""))
    return (Finding(
        "symbol_errors", "warn", f"{port} received {errors:.0f} damaged symbols in the last {facts.get('window')} s.",
        ERRORS_ADVICE, (f"symbol_error grew by {errors:.0f}",), Ref("PORT", port),
    ),)


def link_down(facts: Mapping[str, object]) -> Sequence[Finding]:
    if facts.get("link") != "down":
        return ()
    port, peer = str(facts.get("port", "")), str(facts.get("peer") or "")
    return (Finding(
        "link_down", "critical", f"{port} has lost its link{f' to {peer}' if peer else ''}.", DOWN_ADVICE,
        (f"{port} is missing from the fabric's topology",), Ref("PORT", port),
    ),)


CHECKS = (
    Check("symbol_errors", "A port that receives damaged symbols", ERRORS_ADVICE, "PORT", symbol_errors),
    Check("link_down", "A port that lost its link", DOWN_ADVICE, "PORT", link_down),
)
