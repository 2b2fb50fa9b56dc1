"""What people bring with ``qnib load``: each form in which SLURM, or a tool that keeps its records, tells of itself.

`command` shows how such a file is made; no agent runs it. None of them says anything of what it leaves out: an answer
about one job looks like one about all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from qnib.domains.slurm.happened import job_events
from qnib.domains.slurm.identity import join
from qnib.domains.slurm.jobcomp import parse_jobcomp
from qnib.domains.slurm.rest import parse_jobs, parse_nodes, parse_partitions, parse_past, parse_qos, parse_reservations
from qnib.domains.slurm.sacct import parse_sacct
from qnib.domains.slurm.show import parse_show
from qnib.domains.slurm.tables import parse_sinfo, parse_squeue
from qnib.model import Capture, Snapshot

_SACCT = (
    "JobIDRaw,JobID,User,Group,Account,Partition,QOS,State,Submit,Start,End,ExitCode,TimelimitRaw,NodeList,NNodes,"
    "NCPUS,ReqMem,AllocTRES,NTasks,MaxRSS,WorkDir,JobName"
)
_SQUEUE = "%A|%i|%V|%u|%a|%P|%T|%r|%S|%e|%l|%N|%D|%C|%j"

def _file(name: str, command: str, parse: Callable[[str, datetime], Snapshot], *, jobs: bool = False) -> Capture:
    def some(text: str, at: datetime) -> Snapshot:
        return replace(parse(text, at), partial=True)

    return Capture(name, command.split(" "), some, 3600, "file", settle=join if jobs else None)


FILES = (
    _file("jobs-json", "squeue --all --states=all --json", parse_jobs, jobs=True),
    _file("nodes-json", "scontrol show nodes --json", parse_nodes),
    _file("partitions-json", "scontrol show partitions --json", parse_partitions),
    _file("reservations-json", "scontrol show reservations --json", parse_reservations),
    _file("qos-json", "sacctmgr show qos --json", parse_qos),
    _file("sacct-json", "sacct --allusers --duplicates --json", parse_past, jobs=True),
    _file("sacct", f"env TZ=UTC sacct -a -D -P -o {_SACCT}", parse_sacct, jobs=True),
    _file("scontrol", "env TZ=UTC scontrol -d show jobs", parse_show, jobs=True),
    _file("squeue", f"env TZ=UTC squeue -a -r -t all -o {_SQUEUE}", parse_squeue, jobs=True),
    _file("sinfo", "env TZ=UTC sinfo -a -N -o %N|%n|%o|%T|%P|%C|%m|%f|%G|%u|%H|%E", parse_sinfo),
    # Pushed as each job ends, mostly before anybody asked the controller: its end, and of a short job all, is news.
    replace(_file("jobcomp", "cat jobcomp.json", parse_jobcomp, jobs=True), events=job_events, first_is_news=True),
)
