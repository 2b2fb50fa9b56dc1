"""The story QNIBTerminal was first shown with, told again: four nodes and a matrix product, twelve nodes more, larger
matrices up to the end of the memory, a cable pulled and put back."""

from __future__ import annotations

import re
from typing import Any

from qnib.cli.stories import Story
from qnib.cli.stories.teller import Teller

MORE = 16
LADDER = (1024, 2048, 3072, 4096)
"""Rows of the matrices; the last does not fit into a node of 176 MiB."""
PROGRAM = "/usr/lib/qnib/qnib/terminal/workloads/gemm.py"
CABLE = "compute0/1"
_TOLD = re.compile(r"^progress |^gemm |oom_kill|Out Of Memory")
_RATE = re.compile(r"progress \d+/\d+ rate (?P<rate>[\d.]+) ")


def tell(teller: Teller) -> None:
    _four_nodes(teller)
    _first_job(teller)
    _sixteen(teller)
    rows = [_climb(teller, size) for size in LADDER]
    _cliff(teller, rows)
    _cable(teller)
    _machine(teller)
    _end(teller)


def _four_nodes(teller: Teller) -> None:
    teller.chapter(
        "Four nodes",
        "A SLURM controller, a fabric that a real OpenSM routes, and four compute nodes of 176 MiB, each a container",
        "with daemons, limits and an agent of its own. `up` returns when SLURM has run a step on all of them, three",
        "times in a row.",
    )
    teller.run("up", "--file", "seed", "--name", teller.cluster)
    teller.until("four nodes in the inventory", lambda: len(teller.ask("/api/nodes")["nodes"]) == 4)
    teller.run("node", "list", "--cluster", teller.cluster)
    teller.look("/", "four nodes in service, and no job yet")


def _first_job(teller: Teller) -> None:
    teller.chapter(
        "A matrix product on four nodes",
        "alice multiplies two matrices of 1024 rows. The program says how far it is by one line to syslog every two",
        "seconds; that is all a page needs to show progress, rate and expected end.",
    )
    teller.run("run", "gemm", "--name", teller.cluster, "--nodes", "4", "--user", "alice", "--mem", "0", "--",
               "--size", "1024", "--iterations", "160", "--rate", "16")  # fmt: skip
    job = teller.job("gemm", ended=False)
    teller.look(f"/job/{job['key']}", "progress, the nodes' CPU, memory and network, the log's lines over them")
    job = teller.job("gemm")
    teller.run("job", "show", str(job["id"]), "--cluster", teller.cluster)


def _sixteen(teller: Teller) -> None:
    teller.chapter(
        "Twelve nodes more",
        "The nodes register themselves with the controller (SLURM calls them dynamic), their cables are plugged in,",
        "and OpenSM routes the larger fabric. Jobs that run do not notice.",
    )
    teller.run("scale", "--nodes", str(MORE), "--name", teller.cluster)
    teller.until("sixteen nodes in the inventory", lambda: len(teller.ask("/api/nodes")["nodes"]) == MORE)
    teller.run("exec", "--name", teller.cluster, "controller", "--", "sinfo", "-p", "all")
    teller.look("/fabric", "four leaves with four hosts each, under two spines")


def _climb(teller: Teller, size: int) -> dict[str, Any]:
    """One product on all nodes with all their memory; what came of it."""
    if size == LADDER[0]:
        teller.chapter(
            f"Larger and larger, on {MORE} nodes",
            "The same program with matrices that grow, as quickly as this machine can and with all the memory of a",
            "node. Rank 0 holds one of them whole, so the nodes' 176 MiB are the end of it somewhere.",
        )
    name = f"gemm-{size}"
    lines = teller.run(
        "exec", "--name", teller.cluster, "--user", "alice", "controller", "--", "srun", f"--nodes={MORE}",
        "--ntasks-per-node=1", f"--job-name={name}", "--mem=0", "--mpi=pmix", "python3", PROGRAM, "--size", str(size),
        "--iterations", "64", "--rate", "50", well=False, shown=lambda line: bool(_TOLD.search(line)),
    )
    job = teller.job(name)
    rates = [float(found["rate"]) for line in lines if (found := _RATE.search(line))]
    middle = sorted(rates)[len(rates) // 2] if rates else None
    return {"size": size, "matrix": size * size * 8 >> 20, "rate": middle, "job": job}


def _cliff(teller: Teller, rows: list[dict[str, Any]]) -> None:
    teller.say()
    teller.say("  rows   one matrix   iterations a second   SLURM says")
    for row in rows:
        rate = f"{row['rate']:.1f}" if row["rate"] else "none"
        teller.say(f"  {row['size']:4}   {row['matrix']:6} MiB   {rate:>19}   {row['job']['state']}")
    last = rows[-1]["job"]
    well = [node for node in teller.ask("/api/nodes")["nodes"] if node["status"] == "fine"]
    # On a machine that holds nodes, not jobs, to their limits the kernel may have chosen a daemon.
    teller.say(f"The cliff: with {rows[-1]['size']} rows it is {last['state']}; {len(well)} of {MORE} nodes are in "
               "service all the same.")
    teller.run("job", "show", str(last["id"]), "--cluster", teller.cluster)
    teller.look(f"/job/{last['key']}", "what the job's page says of its end, and the memory of its nodes until then")


def _cable(teller: Teller) -> None:
    teller.chapter(
        "A cable is pulled, and put back",
        "The simulator unplugs the cable of compute0. Nobody tells QNIB: OpenSM notices, its log and the next look at",
        "the fabric say so, and the event lies over whatever chart shows that time.",
    )
    since = teller.now()
    teller.run("fault", "cable-out", CABLE, "--name", teller.cluster)
    down = teller.until("the link down in the events", lambda: _event(teller, "down", since))
    teller.say(f"  event    {down['message']}")
    teller.run("fabric", "links", "--limit", "3", "--cluster", teller.cluster)
    teller.look("/fabric?show=compute0", "the red link, what it was joined with, and since when it is not")
    teller.run("fault", "clear", "--name", teller.cluster)
    up = teller.until("the link up in the events", lambda: _event(teller, "up", down["time"]))
    teller.say(f"  event    {up['message']}")
    teller.run("fault", "list", "--name", teller.cluster)


def _event(teller: Teller, what: str, since: str) -> dict[str, Any] | None:
    found = teller.ask("/api/events", kind=f"link.{what}", limit=20, **{"from": since})["events"]
    return next((event for event in found if "compute0" in f"{event['message']} {event['entities']}"), None)


def _machine(teller: Teller) -> None:
    teller.chapter(
        "The machine below",
        "All of that ran in containers on one machine, which is watched as well: the same agent, as one more host.",
    )
    question = ("MATCH (c:Container {cluster: $cluster})-[t:STANDS_ON]->(m:Host) WHERE t.until IS NULL "
                "RETURN m.key AS machine, count(DISTINCT c.key) AS containers")
    teller.until("the machine in the graph", lambda: teller.rows(question))
    teller.run("graph", "cypher", question, "--cluster", teller.cluster)
    machine = str(teller.rows(question)[0][0])
    teller.run("node", "show", machine, "--cluster", teller.cluster)
    teller.look(f"/node/{machine}", "its CPU, memory, network and disks while the cluster worked")


def _end(teller: Teller) -> None:
    teller.chapter("The end", "Three questions to go on with:")
    teller.say("  qnib graph ask failed_jobs_sharing_a_node     what do jobs that failed have in common?")
    teller.say("  qnib fault score                              was the cable noticed, how soon, and rightly named?")
    teller.say("  qnib run                                      what else can be run on it")


STORY = Story(
    "seed", "4 nodes, a matrix product, 12 nodes more, matrices up to the cliff of memory, a cable pulled and put back",
    "about two minutes", tell,
)
