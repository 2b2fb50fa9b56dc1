"""Jobs that failed and nodes that became unusable or usable, told in a sentence: the logs tell them in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qnib.domains.slurm.values import moment
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
    """``job.began`` for every run that began, ``job.ended`` for every job that ended well or was cancelled, and
    ``job.failed`` for one that ended badly: with all whom it concerns, which the scheduler's own lines name in part."""
    found = []
    for change in changes:
        job = change.after
        if not isinstance(job, Entity) or job.kind != "Job":
            continue
        before = change.before.properties if isinstance(change.before, Entity) else {}
        start = moment(str(job.properties.get("start") or ""))
        if start is not None and before.get("start") != job.properties.get("start"):
            found.append(_told(job, "began", start, f"began{_on(job)}"))
        if change.what == "ended":
            bad = job.properties.get("state") in FAILED
            found.append(_failed(job, at) if bad else _told(job, "ended", job.until or at, _ending(job)))
    return found


def _ending(job: Entity) -> str:
    state = str(job.properties.get("state") or "")
    return f"{'ended well' if state == 'COMPLETED' else f'ended: {state.lower()}'}{_on(job)}"


def _on(job: Entity) -> str:
    nodes = str(job.properties.get("nodes") or "")
    return f" on {nodes}" if nodes else ""


def _told(job: Entity, what: str, when: datetime, how: str) -> Event:
    told = job.properties
    user, partition = str(told.get("user") or ""), str(told.get("partition") or "")
    refs = [job.ref, *([Ref("User", user)] if user else []), *([Ref("Partition", partition)] if partition else [])]
    return Event(
        time=when, kind=f"job.{what}", entities=refs,
        message=f"job {told.get('id')} ({told.get('name')}) of {user or 'unknown'} {how}",
        fields={"job": str(told.get("id")), "state": str(told.get("state") or ""), "user": user,
                "nodes": str(told.get("nodes") or "")},
    )  # fmt: skip


def partition_events(changes: Sequence[Change], known: Known, at: datetime) -> list[Event]:
    """``config.partition`` where a partition was made, changed or taken away."""
    found = []
    for change in changes:
        part = change.after
        if not isinstance(part, Entity) or part.kind != "Partition":
            continue
        if change.what == "changed" and change.before is not None:
            before = change.before.properties if isinstance(change.before, Entity) else {}
            told = ", ".join(
                f"{word} {_plain(before.get(name))} → {_plain(part.properties.get(name))}"
                for name, word in _SETTINGS.items() if before.get(name) != part.properties.get(name)
            )
            sentence = f"partition {part.key} changed: {told}" if told else ""
        else:
            sentence = f"partition {part.key} {'is new' if change.what == 'began' else 'is gone'}"
        if sentence:
            found.append(Event(
                time=at, kind="config.partition", message=sentence, entities=[part.ref],
                fields={"partition": part.key},
            ))  # fmt: skip
    return found


_SETTINGS = {"state": "state", "limit": "time limit", "nodes": "nodes", "default": "default"}


def _plain(value: object) -> str:
    return "none" if value in (None, "") else str(value)


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
