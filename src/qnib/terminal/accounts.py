"""Accounts and qualities of service as a blueprint writes them, what must hold between them, and what is told sacctmgr.

Their keys are SLURM's own words for them, written small: ``grp_tres`` is GrpTRES.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from qnib.terminal.schema import LIMIT, Part, Word, at

_TRES = re.compile(r"(cpu|mem|node|billing)=(\d+)([KMGT]?)")
_SAID = re.compile(r"[\w .,:()/&+-]*")


def _resources(value: str) -> str:
    """``cpu=8,mem=4G``: raises ValueError for what SLURM would not take, or take for something else."""
    names = []
    for part in value.split(",") if value else []:
        found = _TRES.fullmatch(part.strip())
        if not found or (found[3] and found[1] != "mem"):
            raise ValueError(f'{part.strip()!r} is no limit of cpu, mem, node or billing: write "cpu=8,mem=4G"')
        if found[1] in names:
            raise ValueError(f"{found[1]} is limited twice")
        names.append(found[1])
    return value.replace(" ", "")


def _plain(text: str) -> str:
    if not _SAID.fullmatch(text):
        raise ValueError("SLURM keeps letters, digits, blanks and .,:()/&+- here, nothing else")
    return text


class Account(Part):
    """What jobs are charged to. Limits are those of all its jobs together, or of each of its users."""

    name: Word
    parent: Word | None = Field(None, description="The account it is a part of; empty: the root of all")
    description: str = Field("", description="What it is for")
    organization: str = Field("", description="Whose it is")
    users: list[Word] = Field(default_factory=list, description="Who may charge it")
    groups: list[Word] = Field(default_factory=list, description="Groups whose users may")
    fairshare: int = Field(1, ge=0, le=65535, description="Its share among its siblings")
    grp_tres: str = Field("", description='What its jobs may have at once: "cpu=8,mem=4G,node=2"')
    grp_jobs: int | None = Field(None, ge=0, description="How many of its jobs may run at once")
    max_jobs: int | None = Field(None, ge=0, description="How many of each user's")
    max_submit: int | None = Field(None, ge=0, description="How many of each user's may wait and run")
    max_wall: str = Field("", pattern=f"^$|^{LIMIT}$", description='Longest time limit of a job: "4:00:00"')
    qos: list[Word] = Field(default_factory=list, description="Qualities of service it may use; empty: all")
    default_qos: Word | None = Field(None, description="What its jobs get when they ask for none; empty: normal")

    @field_validator("description", "organization")
    @classmethod
    def _words(cls, value: str) -> str:
        return _plain(value)

    @field_validator("grp_tres")
    @classmethod
    def _limits(cls, value: str) -> str:
        return _resources(value)

    def told(self) -> dict[str, str]:
        """Its limits in sacctmgr's words."""
        return _options({
            "Fairshare": self.fairshare, "GrpTRES": self.grp_tres, "GrpJobs": self.grp_jobs, "MaxJobs": self.max_jobs,
            "MaxSubmitJobs": self.max_submit, "MaxWall": self.max_wall,
        })  # fmt: skip


class QOS(Part):
    name: Word
    description: str = Field("", description="What it is for")
    priority: int = Field(0, ge=0, description="More comes first")
    preempt: list[Word] = Field(default_factory=list, description="Whose jobs have to make room for its jobs")
    preempt_mode: Literal["requeue", "cancel"] | None = Field(
        None, description="What happens to its own jobs when they have to; empty: requeue"
    )
    usage_factor: float = Field(1, ge=0, description="How much of what its jobs use is charged")
    grp_tres: str = Field("", description="What all its jobs may have at once")
    grp_jobs: int | None = Field(None, ge=0, description="How many of its jobs may run at once")
    max_tres: str = Field("", description="What a job may have")
    max_tres_per_user: str = Field("", description="What a user's jobs may have at once")
    max_jobs_per_user: int | None = Field(None, ge=0, description="How many of a user's jobs may run at once")
    max_submit_per_user: int | None = Field(None, ge=0, description="How many may wait and run")
    max_wall: str = Field("", pattern=f"^$|^{LIMIT}$", description="Longest time limit of a job")

    @field_validator("description")
    @classmethod
    def _words(cls, value: str) -> str:
        return _plain(value)

    @field_validator("grp_tres", "max_tres", "max_tres_per_user")
    @classmethod
    def _limits(cls, value: str) -> str:
        return _resources(value)

    def told(self) -> dict[str, str]:
        """As sacctmgr wants it; whom its jobs displace is told when all are there."""
        return _options({
            "Description": self.description, "Priority": self.priority, "PreemptMode": self.preempt_mode,
            "UsageFactor": f"{self.usage_factor:g}", "GrpTRES": self.grp_tres, "GrpJobs": self.grp_jobs,
            "MaxTRES": self.max_tres, "MaxTRESPU": self.max_tres_per_user, "MaxJobsPU": self.max_jobs_per_user,
            "MaxSubmitJobsPU": self.max_submit_per_user, "MaxWall": self.max_wall,
        })  # fmt: skip


def _options(told: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in told.items() if value not in (None, "")}


# ── what must hold ────────────────────────────────────────────────────────────────────────────


def check(accounts: Sequence[Account], qualities: Sequence[QOS], groups: Mapping[str, Sequence[str]]) -> None:
    """Raises the first thing that cannot be, with its place. `groups` are the users by group."""
    known = {"normal", *(one.name for one in qualities)}
    _check_qos(qualities, known)
    people = {user for users in groups.values() for user in users}
    parents = {one.name: one.parent for one in accounts}
    seen: set[str] = set()
    for place, one in enumerate(accounts):
        path: list[int | str] = ["accounts", place]
        if one.name == "root":
            raise at([*path, "name"], "'root' is the account all others are below")
        if one.name in seen:
            raise at([*path, "name"], f"account {one.name!r} is there already")
        seen.add(one.name)
        if one.parent and one.parent not in {"root", *parents}:
            raise at([*path, "parent"], _no("account", one.parent, parents))
        if _circle(one.name, parents):
            raise at([*path, "parent"], f"{one.name!r} is below itself")
        for user in one.users:
            if user not in people:
                raise at([*path, "users"], _no("user", user, people))
        for group in one.groups:
            if group not in groups:
                raise at([*path, "groups"], _no("group", group, groups))
        for name in one.qos:
            if name not in known:
                raise at([*path, "qos"], _no("QOS", name, known))
        if one.default_qos and one.default_qos not in (one.qos or known):
            raise at([*path, "default_qos"], _no("QOS of this account", one.default_qos, one.qos or known))


def _check_qos(qualities: Sequence[QOS], known: set[str]) -> None:
    displaced = {one.name: one.preempt for one in qualities}
    seen: set[str] = set()
    for place, one in enumerate(qualities):
        if one.name in seen:
            raise at(["qos", place, "name"], f"QOS {one.name!r} is there already")
        seen.add(one.name)
        for name in one.preempt:
            if name not in known:
                raise at(["qos", place, "preempt"], _no("QOS", name, known))
            if name == one.name or one.name in displaced.get(name, []):
                raise at(["qos", place, "preempt"], f"{one.name!r} and {name!r} cannot both make room for the other")


def _circle(name: str, parents: Mapping[str, str | None]) -> bool:
    above, steps = parents.get(name), 0
    while above and above != name and steps <= len(parents):
        above, steps = parents.get(above), steps + 1
    return above == name


def _no(what: str, name: str, known: Any) -> str:
    return f"there is no {what} {name!r}; there are {', '.join(sorted(known)) or 'none'}"


# ── what is told ──────────────────────────────────────────────────────────────────────────────


def members(account: Account, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Who may charge an account, each once."""
    return list(dict.fromkeys([*account.users, *(user for group in account.groups for user in groups[group])]))


def by_groups(groups: Mapping[str, Sequence[str]]) -> list[Account]:
    """The accounts of a blueprint that names none: one for each group."""
    return [Account(name=name, groups=[name]) for name in groups]


def commands(
    cluster: str, accounts: Sequence[Account], qualities: Sequence[QOS], groups: Mapping[str, Sequence[str]],
) -> Iterator[list[str]]:
    """sacctmgr's arguments, in order. May be run again: what is there already is an error only of ``add``, and each
    thing added is changed afterwards, which fails where it is not there."""
    yield ["add", "cluster", cluster]
    every = ["normal", *(one.name for one in qualities if one.name != "normal")]
    for quality in qualities:
        yield ["add", "qos", quality.name]
        yield ["modify", "qos", quality.name, "set", *_said(quality.told())]
    for quality in qualities:
        if quality.preempt:
            yield ["modify", "qos", quality.name, "set", f"Preempt={','.join(quality.preempt)}"]
    yield ["modify", "account", "root", "set", f"QOS={','.join(every)}", "DefaultQOS=normal"]
    for one in _parents_first(accounts):
        more = {"Description": one.description or one.name, "Organization": one.organization or "qnib"}
        below = [f"Parent={one.parent}"] if one.parent else []
        yield ["add", "account", one.name, *below, *_said(more)]
        may = {"QOS": ",".join(one.qos or every), "DefaultQOS": one.default_qos or (one.qos or every)[0]}
        yield ["modify", "account", one.name, "set", *_said({**one.told(), **may})]
    first: dict[str, str] = {}
    for one in accounts:
        who = members(one, groups)
        if who:
            yield ["add", "user", ",".join(who), f"Account={one.name}"]
        for user in who:
            first.setdefault(user, one.name)
    for name in dict.fromkeys(first.values()):
        who = [user for user, account in first.items() if account == name]
        yield ["modify", "user", ",".join(who), "set", f"DefaultAccount={name}"]


def _said(told: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in told.items()]


def _parents_first(accounts: Sequence[Account]) -> list[Account]:
    left, done = list(accounts), ["root"]
    found: list[Account] = []
    while left:
        ready = [one for one in left if (one.parent or "root") in done]
        found += ready
        done += [one.name for one in ready]
        left = [one for one in left if one not in ready]
    return found
