"""Jobs that failed and nodes that became unusable or usable, told in a sentence: the logs tell them in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qnib.model import Change, Entity, Event, Known, Ref, Relation

FAILED = {
    "FAILED": "failed", "OUT_OF_MEMORY": "wanted more memory than it had asked for",
    "TIMEOUT": "reached its time limit",
    "NODE_FAIL": "lost a node", "BOOT_FAIL": "could not start: a node did not boot", "DEADLINE": "missed its deadline",
    "LAUNCH_FAILED": "could not be launched",
}
_UNUSABLE = ("DOWN", "NOT_RESPONDING", "FAIL", "ERROR")
_DRAIN = ("DRAIN", "MAINT")


def job_events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``job.failed`` for every job that ended badly."""
    return [
        _failed(change.after, at) for change in changes
        if change.what == "ended" and isinstance(change.after, Entity) and change.after.kind == "Job"
        and change.after.properties.get("state") in FAILED
    ]


def _failed(job: Entity, at: datetime) -> Event:
    told = job.properties
    state, signal, code = str(told.get("state")), told.get("signal"), told.get("exit_code")
    how = f" by signal {signal}" if signal else f" with exit code {code}" if code else ""
    nodes = str(told.get("nodes") or "")
    return Event(
        time=job.until or at, kind="job.failed",
        message=f"job {told.get('id')} ({told.get('name')}) of {told.get('user')} {FAILED[state]}"
                f"{how if state == 'FAILED' else ''}{f' on {nodes}' if nodes else ''}",
        severity="err", entities=[job.ref, Ref("User", str(told.get("user")))],
        fields={"job": str(told.get("id")), "state": state, "nodes": nodes, "user": str(told.get("user"))},
    )


def node_events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``node.down``, ``node.drain`` and ``node.up`` where a node's use changed; nodes that joined or left, too."""
    hosts = {tie.source.key: tie.target.key for tie in known.ties("IS")}
    for change in changes:
        if isinstance(change.after, Relation) and change.after.kind == "IS":
            hosts[change.after.source.key] = change.after.target.key
    found = []
    for change in changes:
        node = change.after
        if not isinstance(node, Entity) or node.kind != "Node":
            continue
        before = _use(change.before.properties.get("state")) if change.before else ""
        now = "gone" if change.what == "ended" else _use(node.properties.get("state"))
        if before != now and not (before == "" and change.what == "changed"):
            found.append(_node(node, now, hosts.get(node.key, node.key), at))
    return found


def _use(state: object) -> str:
    words = str(state or "")
    if any(word in words for word in _UNUSABLE):
        return "down"
    return "drain" if any(word in words for word in _DRAIN) else "up"


def _node(node: Entity, now: str, host: str, at: datetime) -> Event:
    state, reason = str(node.properties.get("state") or ""), str(node.properties.get("reason") or "")
    sentence = {
        "down": f"node {node.key} is down", "drain": f"node {node.key} takes no new jobs",
        "up": f"node {node.key} is ready for jobs", "gone": f"node {node.key} left the cluster",
    }[now]
    return Event(
        time=at, kind=f"node.{now}", host=host,
        message=f"{sentence} ({state.lower()}{f': {reason}' if reason else ''})",
        severity={"down": "err", "drain": "warning"}.get(now, "notice"),
        entities=[node.ref, Ref("Host", host)], fields={"node": node.key, "state": state, "reason": reason},
        hint="See the node's kernel and slurmd lines of the minute before." if now == "down" else "",
    )
