"""What is known to go wrong with jobs and nodes.

The facts a check is given: for a job its properties (``state``, ``exit_code``, ``signal``, ``reason``, ``limit`` …)
with ``key``; for a node its properties (``state``, ``reason``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnib.model import Check, Finding, Ref

MEMORY_ADVICE = "Ask for more memory (`sbatch --mem=…`) or use less per task; the memory chart shows how it grew."
LIMIT_ADVICE = "Ask for a longer limit (`sbatch --time=…`) or write checkpoints, so that a rerun can go on."
EXIT_ADVICE = "Read the job's log below; the last lines before the end usually name the cause."
NODE_ADVICE = "See the node's kernel and slurmd lines, then `scontrol update nodename=… state=resume`."


def _text(facts: Mapping[str, object], name: str) -> str:
    return str(facts.get(name) or "")


def out_of_memory(facts: Mapping[str, object]) -> Sequence[Finding]:
    if _text(facts, "state") != "OUT_OF_MEMORY":
        return ()
    return (Finding(
        "out_of_memory", "critical", "The job wanted more memory than it had asked for, and the kernel ended it.",
        MEMORY_ADVICE, ("state OUT_OF_MEMORY",), Ref("Job", _text(facts, "key")),
    ),)


def time_limit(facts: Mapping[str, object]) -> Sequence[Finding]:
    if _text(facts, "state") != "TIMEOUT":
        return ()
    limit = f" of {facts['limit']} s" if facts.get("limit") else ""  # accounting may not tell it
    return (Finding(
        "time_limit", "warn", f"The job reached its time limit{limit} and was ended.",
        LIMIT_ADVICE, ("state TIMEOUT",), Ref("Job", _text(facts, "key")),
    ),)


def failed(facts: Mapping[str, object]) -> Sequence[Finding]:
    if _text(facts, "state") != "FAILED":
        return ()
    signal = facts.get("signal")
    how = f"was ended by signal {signal}" if signal else f"ended with exit code {facts.get('exit_code')}"
    return (Finding(
        "failed", "critical", f"The job's script {how}.", EXIT_ADVICE, (f"reason {_text(facts, 'reason') or 'none'}",),
        Ref("Job", _text(facts, "key")),
    ),)


def node_unusable(facts: Mapping[str, object]) -> Sequence[Finding]:
    state = _text(facts, "state").upper()
    bad = [word for word in ("DOWN", "FAIL", "NOT_RESPONDING", "DRAIN") if word in state]
    if not bad:
        return ()
    name, reason = _text(facts, "name"), _text(facts, "reason")
    severity = "warn" if bad == ["DRAIN"] else "critical"
    return (Finding(
        "node_unusable", severity, f"{name} takes no jobs: {state}{f' ({reason})' if reason else ''}.",  # type: ignore[arg-type]
        NODE_ADVICE, (f"state {state}",), Ref("Node", name),
    ),)


CHECKS = (
    Check("out_of_memory", "A job ended by its memory limit", MEMORY_ADVICE, "Job", out_of_memory),
    Check("time_limit", "A job ended by its time limit", LIMIT_ADVICE, "Job", time_limit),
    Check("failed", "A job whose script failed", EXIT_ADVICE, "Job", failed),
    Check("node_unusable", "A node that takes no jobs", NODE_ADVICE, "Node", node_unusable),
)
