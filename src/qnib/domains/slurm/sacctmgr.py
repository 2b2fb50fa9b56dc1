"""Accounting asked by the agent: jobs that ended, who may charge which account, and what each QOS allows.

Both ask slurmdbd, never slurmctld, and only where slurm.conf says that there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from qnib.domains.slurm.happened import job_events
from qnib.domains.slurm.identity import join
from qnib.domains.slurm.sacct import parse_sacct
from qnib.domains.slurm.values import ENDED, duration, whole
from qnib.model import Capture, Entity, Known, Ref, Relation, Scalar, Snapshot

ONLY_WITH_ACCOUNTING = (
    'conf=${SLURM_CONF:-/etc/slurm/slurm.conf}; '
    'grep -qis "^ *AccountingStorageType *= *[^ ]*slurmdbd" "$conf" || exit 77; '
)
LATELY = "now-15minutes"
"""How far back the agent asks; a longer gap is closed by ``qnib load sacct``."""
FINAL = "BF,CA,CD,DL,F,NF,OOM,PR,TO"
JOB_FIELDS = (
    "JobIDRaw,JobID,User,Group,Account,Partition,QOS,State,Submit,Start,End,ExitCode,TimelimitRaw,NodeList,NNodes,"
    "NCPUS,AllocTRES,NTasks,MaxRSS,WorkDir,JobName"
)
SECTIONS: Mapping[str, Sequence[str]] = {
    "account": ("Account", "Description", "Organization"),
    "user": ("User", "DefaultAccount"),
    "assoc": (
        "Account", "User", "ParentName", "Share", "DefaultQOS", "QOS", "GrpTRES", "GrpJobs", "MaxJobs", "MaxSubmitJobs",
        "MaxWall",
    ),
    "qos": (
        "Name", "Description", "Priority", "Preempt", "PreemptMode", "UsageFactor", "GrpTRES", "GrpJobs", "MaxTRES",
        "MaxTRESPU", "MaxJobsPU", "MaxSubmitPU", "MaxWall",
    ),
}  # fmt: skip
"""What is asked of each of sacctmgr's lists."""
_ASSOC_OF_HERE = 'where cluster="$(sed -n "s/^ *ClusterName *= *//Ip" "$conf" | sed "s/[# ].*//;q" | tr A-Z a-z)"'


def _show(name: str) -> str:
    here = f" {_ASSOC_OF_HERE}" if name == "assoc" else ""
    return f'echo "[{name}]"; sacctmgr -nP show {name} format={",".join(SECTIONS[name])}{here} || exit 1; '


# ── jobs that ended ───────────────────────────────────────────────────────────────────────────


def parse_ended(text: str, at: datetime) -> Snapshot:
    return replace(parse_sacct(text, at), partial=True)


def settle_ended(seen: Snapshot, known: Known, at: datetime) -> Snapshot:
    """`seen` without what the queue told already: it knows more of a job than accounting does, and two voices that
    differ in a word would change the record at every look. Steps are accounting's alone. Pure."""
    seen = join(seen, known, at)
    told = {
        job.key for job in known.entities("Job") if job.until is not None and job.properties.get("state") in ENDED
    }

    def new(ref: Ref) -> bool:
        return ref.key.partition("#")[0] not in told if ref.kind in ("Job", "Attempt") else True

    ties = [tie for tie in seen.relations if tie.kind == "STEP_OF" or (new(tie.source) and new(tie.target))]
    tied = {ref for tie in ties if tie.kind != "STEP_OF" for ref in (tie.source, tie.target)}
    kept = [one for one in seen.entities if one.kind == "Step" or (new(one.ref) and one.ref in tied)]
    return replace(seen, entities=kept, relations=ties)


# ── accounts, users, QOS ──────────────────────────────────────────────────────────────────────


def parse_accounts(text: str, at: datetime) -> Snapshot:
    """Accounts and what they are below, users and what they may charge, QOS. Raises ValueError with the line that has
    not the columns asked for."""
    entities: list[Entity] = []
    ties: list[Relation] = []
    accounts: dict[str, dict[str, Scalar]] = {}
    users: dict[str, dict[str, Scalar]] = {}
    seen = set()
    for section, row in _rows(text):
        seen.add(section)
        if section == "account":
            accounts[row["Account"]] = {
                "name": row["Account"], "description": row["Description"], "organization": row["Organization"],
            }
        elif section == "user":
            users[row["User"]] = {"name": row["User"], "default_account": row["DefaultAccount"]}
        elif section == "assoc":
            _association(row, accounts, users, ties)
        else:
            entities.append(Entity("QOS", row["Name"], _quality(row)))
    if "qos" not in seen:
        raise ValueError("there is always a QOS, here is none: the answer is cut off")
    entities += [Entity("Account", name, facts) for name, facts in accounts.items()]
    entities += [Entity("User", name, facts) for name, facts in users.items()]
    return Snapshot(entities, ties, frozenset({"QOS", "BELOW", "MAY_CHARGE"}))


def _rows(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1] == "[" and line[1:-1] in SECTIONS:
            section = line[1:-1]
            continue
        values = line.split("|")
        if not section or len(values) != len(SECTIONS[section]):
            told = f"{len(values)} columns, not those of {section or 'any list'}"
            raise ValueError(f"line {number}: {told}: {line[:100]!r}")
        yield section, dict(zip(SECTIONS[section], values, strict=True))


def _association(
    row: Mapping[str, str], accounts: dict[str, dict[str, Scalar]], users: dict[str, dict[str, Scalar]],
    ties: list[Relation],
) -> None:
    account, limits = Ref("Account", row["Account"]), _limits(row)
    if row["User"]:
        users.setdefault(row["User"], {"name": row["User"]})
        ties.append(Relation("MAY_CHARGE", Ref("User", row["User"]), account, limits))
        return
    accounts.setdefault(account.key, {"name": account.key}).update(limits)
    if row["ParentName"]:
        ties.append(Relation("BELOW", account, Ref("Account", row["ParentName"])))


def _limits(row: Mapping[str, str]) -> dict[str, Scalar]:
    return {
        "shares": whole(row["Share"]), "default_qos": row["DefaultQOS"], "qos": row["QOS"], "grp_tres": row["GrpTRES"],
        "grp_jobs": whole(row["GrpJobs"]), "max_jobs": whole(row["MaxJobs"]),
        "max_submit": whole(row["MaxSubmitJobs"]), "max_wall": duration(row["MaxWall"]),
    }  # fmt: skip


def _quality(row: Mapping[str, str]) -> dict[str, Scalar]:
    return {
        "name": row["Name"], "description": row["Description"], "priority": whole(row["Priority"]),
        "preempt": row["Preempt"], "preempt_mode": row["PreemptMode"], "usage_factor": float(row["UsageFactor"] or 1),
        "grp_tres": row["GrpTRES"], "grp_jobs": whole(row["GrpJobs"]), "max_tres": row["MaxTRES"],
        "max_tres_per_user": row["MaxTRESPU"], "max_jobs_per_user": whole(row["MaxJobsPU"]),
        "max_submit_per_user": whole(row["MaxSubmitPU"]), "max_wall": duration(row["MaxWall"]),
    }  # fmt: skip


CAPTURES = (
    Capture(
        "accounting",
        ("sh", "-c", f"{ONLY_WITH_ACCOUNTING}echo TZ=UTC; TZ=UTC exec sacct -a -P -S {LATELY} -E now -s {FINAL} "
         f"-o {JOB_FIELDS}"),
        parse_ended, 60, "controller", settle=settle_ended, events=job_events,
    ),
    Capture(
        "accounts", ("sh", "-c", ONLY_WITH_ACCOUNTING + "".join(_show(name) for name in SECTIONS)), parse_accounts, 300,
        "controller", (r"Registering slurmctld at port \d+ with slurmdbd",),
    ),
)
