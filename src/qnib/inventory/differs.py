"""Which of some hosts differ from the others, and in what: the first question when a job fails on one node only.

Of every item the value most hosts have is the usual one, and the others are exceptions; of a tie nobody is right. A
host of which nothing is known in an aspect is named as such there: silence is no likeness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from qnib.inventory.facts import Facts
from qnib.inventory.profiles import ASPECTS, Asked, Aspect, Profile, Profiles

MOST = 500
"""Differences that are told; all are counted."""
LONG = timedelta(hours=3)
"""Everything that is compared is told again every hour at least."""


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts with one value of an item."""

    value: str
    hosts: list[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """`usual` is the value most hosts have, None where two are as frequent; `others` are all others then.

    `of_cluster`: among these hosts two are as frequent, but of the cluster's hosts most have the usual one.
    """

    aspect: str
    title: str
    item: str
    usual: Group | None
    others: list[Group]
    of_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """One aspect: how many items were compared on which hosts."""

    aspect: str
    title: str
    items: int
    hosts: list[str]
    unknown: list[str]
    differences: int
    silent: list[str]
    """Hosts of which nobody has told this for `LONG`: what is compared is what they were then."""
    oldest: datetime | None
    """When the one that was silent longest was last told of; None for an earlier time, or where nobody is silent."""


@dataclass(slots=True)
class Differing:
    hosts: list[str]
    compared: list[Compared] = field(default_factory=list)
    """Aspects of which at least one host is known."""
    untold: list[str] = field(default_factory=list)
    """Titles of those of which none is."""
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    """Of all differences, also of those that are not listed."""
    odd: list[str] = field(default_factory=list)
    """Hosts that are among the exceptions of at least one item."""


def differs(
    facts: Facts, cluster: str, hosts: Sequence[str], at: datetime | None = None, job: str = ""
) -> Differing:
    """Compare these hosts at a time (None: now), with a job's key also in what it had loaded."""
    asked = Asked(facts, cluster, hosts, at, job)
    found = Differing(list(hosts))
    odd: dict[str, None] = {}
    for aspect in ASPECTS:
        if aspect.of_job and not job:
            continue
        asked.told.clear()
        profiles = aspect.of(asked)
        told = dict(asked.told)
        known = [host for host in hosts if host in profiles]
        if not known or not any(profiles[host] for host in known):
            found.untold.append(aspect.title)
            continue
        rows = differences_of(aspect, {host: profiles[host] for host in known})
        if not aspect.of_job and any(row.usual is None for row in rows):
            rows = _by_cluster(rows, aspect, asked)
        items = len(set().union(*{id(profiles[host]): profiles[host] for host in known}.values()))
        unknown = [host for host in hosts if host not in profiles]
        silent = [host for host in known if host in told and told[host] < facts.now() - LONG]
        oldest = min((told[host] for host in silent), default=None)
        found.compared.append(Compared(aspect.name, aspect.title, items, known, unknown, len(rows), silent, oldest))
        found.count += len(rows)
        found.differences += rows[: MOST - len(found.differences)]
        odd.update((host, None) for row in rows if row.usual for group in row.others for host in group.hosts)
    found.odd = [host for host in hosts if host in odd]
    return found


def differences_of(aspect: Aspect, profiles: Profiles) -> list[Difference]:
    """The items in which these hosts are not alike."""
    groups: dict[int, tuple[Profile, list[str]]] = {}
    for host, profile in profiles.items():
        groups.setdefault(id(profile), (profile, []))[1].append(host)
    return list(_differences(aspect, list(groups.values())))


def _differences(aspect: Aspect, groups: list[tuple[Profile, list[str]]]) -> Iterable[Difference]:
    if len(groups) < 2:
        return
    first, *rest = (profile for profile, _ in groups)
    items = {name for other in rest for name in {*first, *other} if first.get(name) != other.get(name)}
    for item in sorted(items):
        held: dict[tuple[str, ...] | None, list[str]] = {}
        for profile, hosts in groups:
            held.setdefault(profile.get(item), []).extend(hosts)
        words = _words([value for value in held if value is not None], aspect.absent)
        made = [Group(words[value], hosts) for value, hosts in held.items()]
        made.sort(key=lambda group: (-len(group.hosts), group.value))
        tie = len(made[0].hosts) == len(made[1].hosts)
        yield Difference(aspect.name, aspect.title, item, None if tie else made[0], made if tie else made[1:])


def _by_cluster(rows: list[Difference], aspect: Aspect, asked: Asked) -> list[Difference]:
    """Where these hosts are divided, the cluster's hosts decide."""
    every = sorted({fact.key for fact in asked.entities("Host")} | set(asked.hosts))
    if len(every) == len(asked.hosts):
        return rows
    wide = differences_of(aspect, aspect.of(Asked(asked.facts, asked.cluster, every, asked.at)))
    usual = {row.item: set(row.usual.hosts) for row in wide if row.usual}
    found = []
    for row in rows:
        most = next((one for one in row.others if usual.get(row.item, set()).issuperset(one.hosts)), None)
        if row.usual is None and most is not None:
            others = [one for one in row.others if one is not most]
            found.append(replace(row, usual=most, others=others, of_cluster=True))
        else:
            found.append(row)
    return found


def _words(values: list[tuple[str, ...]], absent: str) -> dict[tuple[str, ...] | None, str]:
    """Each value by the parts in which they differ: the same version from two folders is told by its folder."""
    apart = [n for n in range(len(values[0])) if len({value[n] for value in values}) > 1] or [0]
    told: dict[tuple[str, ...] | None, str] = {None: absent}
    for value in values:
        shown = [value[n] for n in apart if value[n]]
        told[value] = " ".join(shown) or next((part for part in value if part), "there")
    return told
