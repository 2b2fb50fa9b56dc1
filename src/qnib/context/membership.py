"""Which hosts belonged to whom in a window: what Graphite's virtual roots and the page of series are resolved by.

Hosts of partitions and racks by the facts' intervals, hosts of jobs by their allocations; a requeued or resized job has
several. A host is whatever the record's names mean by the values of the tag `host`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from qnib.clock import EPOCH, micros
from qnib.context.known import Sources
from qnib.domains.paths import natural, segment
from qnib.errors import TooMuch
from qnib.inventory import whereabouts
from qnib.inventory.whereabouts import SECOND, Groups
from qnib.monitoring.graphite.views import Member

MOST_ALLOCATIONS = 20_000
"""Hosts of jobs that one question may be about."""


class Membership:
    """`monitoring.graphite.views.Tree` over the record of one cluster."""

    def __init__(self, sources: Sources, cluster: str) -> None:
        self._sources, self._cluster = sources, cluster

    def groups(self, root: str, group: str, start: datetime, end: datetime) -> list[str]:
        first, last = micros(start), micros(end)
        if root == "by_job":
            told = self._allocations(group, first, last)
            return sorted({_label(key, group) for key in told["source_key"].unique().to_pylist()}, key=natural)
        wanted = re.compile(group)
        return sorted(
            (
                segment(name) for name, spans in self._groups(root).items()
                if wanted.fullmatch(segment(name)) and any(since <= last and until > first for since, until, _ in spans)
            ), key=natural,
        )  # fmt: skip

    def members(self, root: str, group: str, host: str, start: datetime, end: datetime) -> list[Member]:
        first, last = micros(start), micros(end)
        wanted = re.compile(host)
        tags = self._tags(last, start if root == "by_host" else None)
        if root == "by_host":
            all_of_them = [Member("", segment(name), tuple(own)) for name, own in tags.items()]
            return sorted((one for one in all_of_them if wanted.fullmatch(one.host)), key=lambda one: natural(one.host))
        spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for name, member, since, until in self._spans(root, group, first, last):
            if wanted.fullmatch(segment(member)):
                spans.setdefault((name, member), []).append((since / SECOND, until / SECOND))
                if len(spans) > MOST_ALLOCATIONS:
                    raise TooMuch(
                        f"More than {MOST_ALLOCATIONS} hosts of jobs are meant.", where=f"{root} {group}",
                        try_next="name a job, or a shorter time.",
                    )
        found = [
            Member(segment(name) if root != "by_job" else name, segment(member),
                   tuple(tags.get(member) or [segment(member)]), tuple(sorted(own)))
            for (name, member), own in spans.items()
        ]  # fmt: skip
        return sorted(found, key=lambda one: (natural(one.group), natural(one.host)))

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _spans(self, root: str, group: str, first: int, last: int) -> Iterable[tuple[str, str, int, int]]:
        """Group, host, since and until of what meets the window."""
        if root == "by_job":
            told = self._allocations(group, first, last)
            columns = (told[name].to_pylist() for name in ("source_key", "target_key", "since", "until"))
            for key, host, since, until in zip(*columns, strict=True):
                yield _label(key, group), host, since, until
            return
        wanted = re.compile(group)
        for name, spans in self._groups(root).items():
            if wanted.fullmatch(segment(name)):
                for since, until, host in spans:
                    if since <= last and until > first:
                        yield name, host, since, until

    def _groups(self, root: str) -> Groups:
        make: Callable[..., Groups] = whereabouts.racks if root == "by_rack" else whereabouts.partitions
        return make(self._sources.engine, self._sources.facts, self._cluster)

    def _allocations(self, group: str, first: int, last: int):  # type: ignore[no-untyped-def]
        asked = "source_key" if "@" in group else "splitByChar('@', source_key)[1]"
        return whereabouts.intervals(
            self._sources.engine, self._cluster, "relation", "JOBCLIENT", first, last,
            where=f"match({asked}, {{group:String}})", params={"group": group},
        )  # fmt: skip

    def _tags(self, at: int, since: datetime | None) -> dict[str, list[str]]:
        """By host the values of the tag `host` that mean it; only of those heard `since`."""
        names = whereabouts.names(self._sources.engine, self._sources.facts, self._cluster)
        found: dict[str, list[str]] = {}
        for row in self._sources.engine.rows(
            "SELECT host FROM qnib.heard WHERE cluster = {cluster:String} AND host != ''"
            " GROUP BY host HAVING max(last) >= {since:DateTime64(3, 'UTC')}",
            {"cluster": self._cluster, "since": since or EPOCH},
        ):
            told = row["host"]
            host = names.meaning(told, at)
            if host == told and told not in names.spans:  # as a segment of a path, perhaps: an FQDN's dots are gone
                host = self._sources.facts.resolve(self._cluster, told) or told
            found.setdefault(host, []).append(told)
        return found


def _label(key: str, group: str) -> str:
    """A job goes by its number, unless its key was asked for: ``42``, ``42@1763640000``."""
    return key if "@" in group else key.partition("@")[0]
