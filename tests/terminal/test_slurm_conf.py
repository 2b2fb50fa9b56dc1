"""What SLURM is told."""

from __future__ import annotations

from qnib.terminal.blueprint import Image, Nodes, Partition
from qnib.terminal.cgroups import NODES_ONLY, V1, V1_JOINED, V2
from qnib.terminal.slurm_conf import cgroup_conf, node_line, slurm_conf
from tests.terminal.plans import plan

PLAN = plan()


def settings(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, value in pairs if name not in ("PartitionName", "NodeSet")}


def test_the_controller_is_found_by_address() -> None:
    assert settings(slurm_conf(PLAN, V1))["SlurmctldHost"] == "controller(10.213.7.2)"


def test_partitions_and_their_node_sets() -> None:
    text = slurm_conf(PLAN, V1)
    assert [line.split()[0] for line in text.splitlines() if line.startswith("PartitionName")] == [
        "PartitionName=all", "PartitionName=odd", "PartitionName=even",
    ]
    assert "NodeSet=odd Feature=odd" in text
    assert node_line(PLAN, "compute3") == "CPUs=2 RealMemory=461 Feature=odd"
    assert node_line(PLAN, "compute0").endswith("Feature=even")


def test_the_rung_decides_how_jobs_are_held() -> None:
    held, free = settings(slurm_conf(PLAN, V1)), settings(slurm_conf(PLAN, NODES_ONLY))
    assert held["TaskPlugin"] == "task/cgroup"
    assert free["ProctrackType"] == "proctrack/linuxproc"
    assert "ConstrainRAMSpace=yes" in cgroup_conf(PLAN, V1)
    assert settings(slurm_conf(PLAN, V2))["Prolog"].endswith("inside/prolog.sh")
    assert settings(cgroup_conf(PLAN, V2))["IgnoreSystemd"] == "yes"
    assert held["TaskProlog"].endswith("inside/task_prolog.sh") and held["Epilog"].endswith("inside/epilog.sh")
    for rung in (V1_JOINED, NODES_ONLY):
        told = settings(slurm_conf(PLAN, rung))
        assert "Prolog" not in told and "TaskProlog" not in told and told["Epilog"] == "/bin/true"
    assert cgroup_conf(PLAN, NODES_ONLY) == "CgroupPlugin=disabled\n"


def test_jobs_may_ask_for_images_only_where_there_are_some() -> None:
    told = settings(slurm_conf(plan(images=[Image(name="old", system="debian12")]), V2))
    assert told["Prolog"].endswith("inside/begin.sh") and told["Epilog"].endswith("inside/end.sh")
    assert told["PrologFlags"] == "Alloc"  # on every node of the job before its first task
    assert "TaskProlog" not in told
    old = settings(slurm_conf(plan(images=[Image(name="old", system="debian12")]), V1))
    assert old["Prolog"].endswith("begin.sh") and old["TaskProlog"].endswith("task_prolog.sh")
    assert settings(slurm_conf(PLAN, V2))["Epilog"] == "/bin/true"


def test_half_of_a_nodes_memory_is_left_when_every_cpu_of_half_of_them_is_taken() -> None:
    default = int(settings(slurm_conf(PLAN, V1))["DefMemPerCPU"])
    assert default * PLAN.declared_cpus("compute0") <= PLAN.declared_memory("compute0") / 2


def test_partitions_of_features_and_of_names() -> None:
    lab = plan(
        nodes=[Nodes(count=2), Nodes(count=2, cpus=1, memory=1024, features=["bigmem"])],
        partitions=[
            Partition(name="main", default=True), Partition(name="fat", nodes="bigmem", limit="4:00:00"),
            Partition(name="debug", nodes="compute[0,3]"),
        ],
    )
    text = slurm_conf(lab, V1)
    assert "PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP" in text
    assert "NodeSet=bigmem Feature=bigmem\nPartitionName=fat Nodes=bigmem MaxTime=4:00:00 State=UP" in text
    assert "NodeSet=in_debug Feature=in_debug\nPartitionName=debug Nodes=in_debug" in text
    assert node_line(lab, "compute0") == "CPUs=2 RealMemory=461 Feature=even,in_debug"
    assert node_line(lab, "compute3") == "CPUs=1 RealMemory=922 Feature=odd,bigmem,in_debug"
    assert node_line(lab, "compute9") == "CPUs=1 RealMemory=922 Feature=odd,bigmem", "added later: like the last group"


def test_an_older_slurm_is_told_what_it_understands() -> None:
    old = plan(system="debian12")
    assert settings(slurm_conf(old, V1))["TreeWidth"] == "65533"
    assert "CgroupPlugin" not in cgroup_conf(old, NODES_ONLY)
