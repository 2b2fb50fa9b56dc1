"""What SLURM is told."""

from __future__ import annotations

from ipaddress import IPv4Network

from qnib.terminal.blueprint import Blueprint
from qnib.terminal.cgroups import NODES_ONLY, V1, V2
from qnib.terminal.slurm_conf import cgroup_conf, node_line, slurm_conf

PLAN = Blueprint("demo", IPv4Network("10.213.7.0/24"), node_cpus=2, node_memory=512, leaf=2)


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
    assert node_line(PLAN, 3) == "CPUs=2 RealMemory=461 Feature=odd"
    assert node_line(PLAN, 0).endswith("Feature=even")


def test_the_rung_decides_how_jobs_are_held() -> None:
    held, free = settings(slurm_conf(PLAN, V1)), settings(slurm_conf(PLAN, NODES_ONLY))
    assert held["TaskPlugin"] == "task/cgroup"
    assert free["ProctrackType"] == "proctrack/linuxproc"
    assert "ConstrainRAMSpace=yes" in cgroup_conf(V1)
    assert settings(slurm_conf(PLAN, V2))["Prolog"].endswith("inside/prolog.sh")
    assert settings(cgroup_conf(V2))["IgnoreSystemd"] == "yes"
    for rung in (V1, NODES_ONLY):
        assert "Prolog" not in settings(slurm_conf(PLAN, rung))
    assert cgroup_conf(NODES_ONLY) == "CgroupPlugin=disabled\n"


def test_half_of_a_nodes_memory_is_left_when_every_cpu_of_half_of_them_is_taken() -> None:
    default = int(settings(slurm_conf(PLAN, V1))["DefMemPerCPU"])
    assert default * PLAN.declared_cpus <= PLAN.declared_memory / 2
