"""The text of slurm.conf and cgroup.conf for one cluster, and what each node tells about itself."""

from __future__ import annotations

from qnib.terminal.blueprint import MAX_NODES, Blueprint
from qnib.terminal.cgroups import V1, V2, Rung
from qnib.terminal.package import INSIDE

SLURM_CONF = """\
ClusterName={name}
# The address is part of the name: nobody ever asks a DNS server for the controller.
SlurmctldHost=controller({controller})
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
MailProg=/bin/true

# Nodes come and go: they register themselves (slurmd -Z) and fetch this file from the controller.
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
MaxNodeCount={max_nodes}
ReturnToService=2
# A node that died is noticed within a minute.
SlurmdTimeout=60
SlurmctldTimeout=30
MessageTimeout=10
# Messages go straight to every node: a fan-out through nodes makes a launch wait for the slowest relay.
TreeWidth={max_nodes}

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={default_memory}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
MpiDefault=pmix
PriorityType=priority/basic

ProctrackType={proctrack}
TaskPlugin={task}
JobAcctGatherType={gather}
JobAcctGatherFrequency=task=5
PropagateResourceLimitsExcept=MEMLOCK,NOFILE,NPROC

KillWait=5
CompleteWait=0
# With an epilog every node reports the end of a job by a message of its own, and the last of them wakes the scheduler.
# Without one some answer "already over" at once, which wakes nobody: the next job waits for the next full second.
Epilog=/bin/true
{prolog}InactiveLimit=0
MinJobAge=600
JobRequeue=1
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none

SlurmctldDebug=info
SlurmdDebug=info
SlurmctldSyslogDebug=info
SlurmdSyslogDebug=info
LogTimeFormat=iso8601_ms

# NodeSets by feature, not by name: the nodes are not known when this file is read.
NodeSet=odd Feature=odd
NodeSet=even Feature=even
PartitionName=all Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=odd Nodes=odd MaxTime=1-00:00:00 State=UP
PartitionName=even Nodes=even MaxTime=1-00:00:00 State=UP
"""

CGROUP_V1 = """\
CgroupPlugin=cgroup/v1
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

CGROUP_NONE = "CgroupPlugin=disabled\n"


PROLOG = f"""\
# Holds the job to its share of the node's CPU time before its first process starts.
Prolog={INSIDE}/qnib/terminal/inside/prolog.sh
"""


def slurm_conf(plan: Blueprint, rung: Rung) -> str:
    per_job = rung.jobs_limited
    return SLURM_CONF.format(
        name=plan.name, controller=plan.address("controller"), max_nodes=MAX_NODES + 1,
        default_memory=max(32, plan.declared_memory // (2 * plan.declared_cpus)),
        proctrack="proctrack/cgroup" if per_job else "proctrack/linuxproc",
        task="task/cgroup" if per_job else "task/none",
        gather="jobacct_gather/cgroup" if per_job else "jobacct_gather/linux",
        prolog=PROLOG if rung is V2 else "",
    )


def cgroup_conf(rung: Rung) -> str:
    return {V1: CGROUP_V1, V2: CGROUP_V2}.get(rung, CGROUP_NONE)


def node_line(plan: Blueprint, number: int) -> str:
    """What ``slurmd -Z --conf`` declares. CPUs and memory are the container's, not the host's."""
    parity = "odd" if number % 2 else "even"
    return f"CPUs={plan.declared_cpus} RealMemory={plan.declared_memory} Feature={parity}"
