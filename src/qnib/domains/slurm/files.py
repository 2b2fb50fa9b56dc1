"""What people bring with ``qnib load``: each form in which SLURM, or a tool that keeps its records, tells of itself.

`command` shows how such a file is made; no agent runs it. None of them ends what it leaves out.
"""

from __future__ import annotations

from qnib.domains.slurm.identity import join
from qnib.domains.slurm.jobcomp import parse_jobcomp
from qnib.domains.slurm.rest import parse_jobs, parse_nodes, parse_partitions, parse_past, parse_qos, parse_reservations
from qnib.domains.slurm.sacct import parse_sacct
from qnib.domains.slurm.show import parse_show
from qnib.domains.slurm.tables import parse_sinfo, parse_squeue
from qnib.model import Capture

_ONCE = 3600.0
_SACCT = (
    "JobIDRaw,JobID,User,Group,Account,Partition,QOS,State,Submit,Start,End,ExitCode,TimelimitRaw,NodeList,NNodes,"
    "NCPUS,ReqMem,AllocTRES,NTasks,MaxRSS,WorkDir,JobName"
)
_SQUEUE = "%A|%i|%V|%u|%a|%P|%T|%r|%S|%e|%l|%N|%D|%C|%j"

FILES = (
    Capture("jobs-json", ("squeue", "--all", "--states=all", "--json"), parse_jobs, _ONCE, "file", settle=join),
    Capture("nodes-json", ("scontrol", "show", "nodes", "--json"), parse_nodes, _ONCE, "file"),
    Capture("partitions-json", ("scontrol", "show", "partitions", "--json"), parse_partitions, _ONCE, "file"),
    Capture(
        "reservations-json", ("scontrol", "show", "reservations", "--json"), parse_reservations, _ONCE, "file",
    ),
    Capture("qos-json", ("sacctmgr", "show", "qos", "--json"), parse_qos, _ONCE, "file"),
    Capture("sacct-json", ("sacct", "--allusers", "--duplicates", "--json"), parse_past, _ONCE, "file", settle=join),
    Capture(
        "sacct", ("env", "TZ=UTC", "sacct", "-a", "-D", "-P", "-o", _SACCT), parse_sacct, _ONCE, "file", settle=join,
    ),
    Capture("scontrol", ("env", "TZ=UTC", "scontrol", "-d", "show", "jobs"), parse_show, _ONCE, "file", settle=join),
    Capture(
        "squeue", ("env", "TZ=UTC", "squeue", "-a", "-r", "-t", "all", "-o", _SQUEUE),
        parse_squeue, _ONCE, "file", settle=join,
    ),
    Capture("sinfo", ("env", "TZ=UTC", "sinfo", "-a", "-N", "-o", "%N|%n|%o|%T|%P|%C|%m|%f|%G|%u|%H|%E"),
            parse_sinfo, _ONCE, "file"),
    Capture("jobcomp", ("cat", "jobcomp.json"), parse_jobcomp, _ONCE, "file", settle=join),
)
