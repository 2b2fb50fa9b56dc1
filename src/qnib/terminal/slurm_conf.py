"""The text of slurm.conf and cgroup.conf for one cluster, and what each node tells about itself."""

from __future__ import annotations

from qnib.terminal.blueprint import Partition
from qnib.terminal.cgroups import V1, V1_JOINED, V2, Rung
from qnib.terminal.package import INSIDE
from qnib.terminal.plan import Plan, node_names
from qnib.terminal.systems import SYSTEMS

KEY = "/run/slurm/jwt.key"
"""Where slurmctld and slurmdbd find the key that tokens are signed with."""

SECONDS, SECONDS_OVER_HOSTS = 60, 20
"""Until SLURM calls a silent node down. Machines vanish whole, so that one is not waited for as long."""

SLURM_CONF = """\
ClusterName={name}
# The address is part of the name: nobody ever asks a DNS server for the controller.
SlurmctldHost=controller({controller})
SlurmUser=slurm
AuthType=auth/munge
{tokens}CredType=cred/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir={spool}
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile={pid}
MailProg=/bin/true

# Nodes come and go: they register themselves (slurmd -Z) and fetch this file from the controller.
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
MaxNodeCount={max_nodes}
ReturnToService=2
# A node that died is noticed within so many seconds and the time of a message or two.
SlurmdTimeout={patience}
SlurmctldTimeout=30
MessageTimeout=10
# Messages go straight to every node: a fan-out through nodes makes a launch wait for the slowest relay.
TreeWidth={tree_width}

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={default_memory}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
MpiDefault=pmix
{priority}

ProctrackType={proctrack}
TaskPlugin={task}
JobAcctGatherType={gather}
JobAcctGatherFrequency=task=5
PropagateResourceLimitsExcept=MEMLOCK,NOFILE,NPROC

KillWait=5
CompleteWait=0
# With an epilog every node reports the end of a job by a message of its own, and the last of them wakes the scheduler.
# Without one some answer "already over" at once, which wakes nobody: the next job waits for the next full second.
Epilog={epilog}
{prolog}InactiveLimit=0
MinJobAge=600
JobRequeue=1
{jobcomp}
{accounting}

SlurmctldDebug=info
SlurmdDebug=info
SlurmctldSyslogDebug=info
SlurmdSyslogDebug=info
LogTimeFormat=iso8601_ms

{nodes}# NodeSets by feature, not by name: the nodes are not known when this file is read.
{partitions}
"""

CGROUP_V1 = """\
CgroupPlugin=cgroup/v1
# As on v2, below: by quota, in a cgroup that prolog.sh makes.
ConstrainCores=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=no
MinRAMSpace=8
"""

CGROUP_V2 = """\
CgroupPlugin=cgroup/v2
# There is no systemd in the node, and the controllers are handed on already.
IgnoreSystemd=yes
# By cores it would be the first core of every node, which are all one core of the host: prolog.sh sets a quota.
ConstrainCores=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=no
MinRAMSpace=8
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
{tokens}DbdHost=database
DbdAddr={address}
DbdPort=6819
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageLoc=slurm_acct_db
StorageUser=slurm
PidFile=/run/slurm/slurmdbd.pid
DebugLevel=info
DebugLevelSyslog=info
LogTimeFormat=iso8601_ms
"""

CGROUP_NONE = "CgroupPlugin=disabled\n"


_SCRIPTS = f"{INSIDE}/qnib/terminal/inside"

PROLOG = f"""\
# Holds the job to its share of the node's CPU time before its first process starts.
Prolog={_SCRIPTS}/prolog.sh
"""

TASK_PROLOG = f"""\
# SLURM's plugin puts nothing into the controller cpu: each task goes there by itself.
TaskProlog={_SCRIPTS}/task_prolog.sh
"""


IMAGES = f"""\
# A job that asks for an image (--comment=image:NAME) has a container on each node before its first task starts.
Prolog={_SCRIPTS}/begin.sh
PrologFlags=Alloc
"""


TOKENS = f"""\
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={KEY}
"""

KEPT = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={database}
# A node that fetched its configuration before has another one, which is nothing to slurmd.
DebugFlags=NO_CONF_HASH"""

ENFORCED = """
AccountingStorageEnforce=associations,limits,qos"""

BY_SHARE = """\
PriorityType=priority/multifactor
PriorityCalcPeriod=1
PriorityWeightQOS=10000
PriorityWeightFairshare=5000
PriorityWeightAge=1000"""

DISPLACING = """
PreemptType=preempt/qos
PreemptMode=REQUEUE
PreemptExemptTime=00:00:00"""


def slurm_conf(plan: Plan, rung: Rung, jobs_url: str = "", *, accounting: bool = False) -> str:
    """The text of slurm.conf; `jobs_url` is where slurmctld pushes each job that ended, empty: nowhere.

    `accounting`: as it is from the moment on in which slurmdbd knows accounts and users. slurmctld does not start for
    the first time without slurmdbd, nor would it take a job of somebody without an account.
    """
    per_job = rung.jobs_limited
    # A node that says nothing of memory per core gets half of it for all its cores: there is room for a newcomer.
    hosts = node_names(plan.blueprint.count)
    old = SYSTEMS[plan.blueprint.system].slurm < (23, 11)
    return SLURM_CONF.format(
        name=plan.name, controller=plan.address("controller"), max_nodes=plan.capacity + 1,
        # Before 23.11 a relay cannot reach nodes that registered by themselves: this width means "no relays".
        tree_width=65533 if old else plan.capacity + 1,
        default_memory=max(
            32, min(plan.declared_memory(host) // (2 * plan.declared_cpus(host)) for host in hosts)
        ),
        proctrack="proctrack/cgroup" if per_job else "proctrack/linuxproc",
        task="task/cgroup" if per_job else "task/none",
        gather="jobacct_gather/cgroup" if per_job else "jobacct_gather/linux",
        jobcomp=f"JobCompType=jobcomp/elasticsearch\nJobCompLoc={jobs_url}" if jobs_url else "JobCompType=jobcomp/none",
        prolog=_prolog(plan, rung),
        epilog=_epilog(plan),
        spool="/var/spool/slurmd/%n" if plan.dense else "/var/spool/slurmd",
        pid="/run/slurmd-%n.pid" if plan.dense else "/run/slurmd.pid",
        # A thousand daemons on a few cores are asked more seldom whether they live.
        patience=300 if plan.dense else SECONDS_OVER_HOSTS if plan.blueprint.hosts else SECONDS,
        nodes=_dense_nodes(plan) if plan.dense else "",
        partitions="\n".join(_partitions(plan)),
        tokens=TOKENS if plan.blueprint.services.rest else "",
        accounting=_accounting(plan) if accounting else "AccountingStorageType=accounting_storage/none",
        priority=_priority(plan) if accounting else "PriorityType=priority/basic",
    )


def _accounting(plan: Plan) -> str:
    return KEPT.format(database=plan.address("database")) + (ENFORCED if plan.blueprint.enforces else "")


def _priority(plan: Plan) -> str:
    displaces = any(one.preempt for one in plan.blueprint.qos)
    return (BY_SHARE if plan.blueprint.enforces else "PriorityType=priority/basic") + (DISPLACING if displaces else "")


def slurmdbd_conf(plan: Plan) -> str:
    """No password in it: MariaDB asks the kernel who is at the other end of its socket, and listens nowhere else."""
    return SLURMDBD_CONF.format(
        address=plan.address("database"), tokens=TOKENS if plan.blueprint.services.rest else "",
    )


def _prolog(plan: Plan, rung: Rung) -> str:
    # begin.sh does what prolog.sh does, where that is to be done.
    begin = IMAGES if plan.blueprint.images else PROLOG if rung in (V1, V2) else ""
    return begin + (TASK_PROLOG if rung is V1 else "")


def _epilog(plan: Plan) -> str:
    return f"{_SCRIPTS}/{'end' if plan.blueprint.images else 'epilog'}.sh"


def _dense_nodes(plan: Plan) -> str:
    """Nodes that share a container differ by their port, which a node that registers by itself cannot say."""
    from ClusterShell.NodeSet import NodeSet
    from ClusterShell.RangeSet import RangeSet

    alike: dict[tuple[str, str], list[str]] = {}
    for host in node_names(plan.blueprint.count):
        alike.setdefault((plan.place(host), node_line(plan, host)), []).append(host)
    lines = [
        f"NodeName={NodeSet.fromlist(hosts)} NodeHostname={place} NodeAddr={plan.address(place)} "
        f"Port=[{RangeSet.fromlist([str(plan.port(host)) for host in hosts])}] {line}"
        for (place, line), hosts in alike.items()
    ]
    # PMIx meets its tasks in files there.
    return "\n".join(["TmpFS=/tmp/%n", *lines]) + "\n"


def _partitions(plan: Plan) -> list[str]:
    lines, features = [], []
    if plan.whole not in [partition.name for partition in plan.blueprint.partitions]:
        lines.append(f"PartitionName={plan.whole} Nodes=ALL Hidden=YES RootOnly=YES State=UP")
    for partition in plan.blueprint.partitions:
        feature = "" if partition.nodes == "all" else _feature(partition)
        if feature and feature not in features:
            features.append(feature)
            lines.append(f"NodeSet={feature} Feature={feature}")
        default = " Default=YES" if partition.default else ""
        lines.append(
            f"PartitionName={partition.name} Nodes={feature or 'ALL'}{default} MaxTime={partition.limit} State=UP"
        )
    return lines


def _feature(partition: Partition) -> str:
    """What marks the nodes of a partition: a feature they have anyway, or one made for it when it lists names."""
    return f"in_{partition.name}" if partition.lists_names else partition.nodes


def features(plan: Plan, host: str) -> list[str]:
    """The features node `host` declares: its parity, those of its group, and its partitions'."""
    from ClusterShell.NodeSet import NodeSet

    found = ["odd" if plan.number(host) % 2 else "even", *plan.group(host).features]
    listed = [partition for partition in plan.blueprint.partitions if partition.lists_names]
    return [*found, *(_feature(partition) for partition in listed if host in NodeSet(partition.nodes))]


def cgroup_conf(plan: Plan, rung: Rung) -> str:
    old = SYSTEMS[plan.blueprint.system].slurm < (24, 5)
    # Before 24.05 the plugin cannot be switched off; with the other plug-ins chosen as above nobody calls it.
    return {V1: CGROUP_V1, V1_JOINED: CGROUP_V1, V2: CGROUP_V2}.get(rung, "" if old else CGROUP_NONE)


def node_line(plan: Plan, host: str) -> str:
    """What ``slurmd -Z --conf`` declares. CPUs and memory are the container's, not the host's."""
    told = ",".join(features(plan, host))
    return f"CPUs={plan.declared_cpus(host)} RealMemory={plan.declared_memory(host)} Feature={told}"
