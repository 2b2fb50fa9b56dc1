"""The ladder of limits, on a made-up cgroup tree."""

from __future__ import annotations

import os
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from qnib.terminal import cgroups
from qnib.terminal.cgroups import CONTROLLERS, NODES_ONLY, V1, V1_JOINED, V2


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """The root of a v2 host as systemd leaves it."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return tmp_path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for controller in CONTROLLERS:
        (tmp_path / controller).mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("0")
    (tmp_path / "cpuset/cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset/cpuset.mems").write_text("0\n")
    return tmp_path


def test_v1_needs_every_controller_and_an_engine_that_leaves_the_tree_to_us(tree: Path) -> None:
    assert cgroups.choose("cgroupfs", tree) is V1
    assert cgroups.choose("systemd", tree) is NODES_ONLY
    (tree / "cpu/cpuacct.usage").write_text("0\n")
    joined = cgroups.choose("cgroupfs", tree)
    assert joined is V1_JOINED and "not to its cores" in joined.sentence
    (tree / "freezer").rmdir()
    assert cgroups.choose("cgroupfs", tree) is NODES_ONLY


def test_the_wall_stands_above_what_is_bound(tree: Path) -> None:
    cgroups.make(V1, "demo", "compute0", memory=512 << 20, cpus=1.5, root=tree)
    assert (tree / "memory/qnib-demo/compute0/memory.limit_in_bytes").read_text() == str(512 << 20)
    assert (tree / "cpu/qnib-demo/compute0/cpu.cfs_quota_us").read_text() == "150000"
    assert (tree / "cpuset/qnib-demo/compute0/in/cpuset.cpus").read_text() == "0-1\n"
    bound = {source for source, _, _ in cgroups.binds(V1, "demo", "compute0")}
    assert str(cgroups.ROOT / "memory/qnib-demo/compute0/in") in bound


def test_a_slower_node_slows_its_jobs_and_gives_them_back_what_they_had(tree: Path) -> None:
    cgroups.make(V1, "demo", "compute0", memory=0, cpus=2, root=tree)
    job = tree / "cpu/qnib-demo/compute0/in/slurm_jobs/job_7_1"
    job.mkdir(parents=True)
    (job / "cpu.cfs_quota_us").write_text("100000")
    told = []
    for cpus in (0.5, 1.5, 2):
        cgroups.set_cpus(V1, "demo", "compute0", cpus, root=tree)
        parts = (job.parent.parent.parent, job.parent.parent, job)
        told.append([int((part / "cpu.cfs_quota_us").read_text()) for part in parts])
    assert told == [[50000, 50000, 50000], [150000, 150000, 100000], [200000, 200000, 100000]]


def test_removing_takes_only_the_named_host_and_may_be_repeated(tree: Path) -> None:
    for host in ("compute0", "compute1"):
        for controller in CONTROLLERS:
            (tree / controller / "qnib-demo" / host / "in/slurm_x/uid_0").mkdir(parents=True)
    cgroups.remove("demo", "compute0", root=tree)
    assert not (tree / "memory/qnib-demo/compute0").exists()
    assert (tree / "memory/qnib-demo/compute1").exists()
    cgroups.remove("demo", root=tree)
    cgroups.remove("demo", root=tree)
    assert not list(tree.glob("*/qnib-demo"))


def test_v2_needs_controllers_that_can_be_handed_on(unified: Path) -> None:
    assert cgroups.choose("cgroupfs", unified) is V2
    assert cgroups.choose("systemd", unified) is NODES_ONLY
    # Inside a container the visible root is no real one: what it has not handed on yet, it cannot.
    (unified / "cgroup.type").write_text("domain\n")
    assert cgroups.choose("cgroupfs", unified) is V2
    (unified / "cgroup.subtree_control").write_text("\n")
    assert cgroups.choose("cgroupfs", unified) is NODES_ONLY
    (unified / "cgroup.type").unlink()
    (unified / "cgroup.controllers").write_text("cpuset io\n")
    assert cgroups.choose("cgroupfs", unified) is NODES_ONLY


def test_a_hybrid_tree_without_controllers_is_not_v2(tree: Path) -> None:
    (tree / "unified").mkdir()
    (tree / "unified/cgroup.controllers").write_text("\n")
    assert cgroups.choose("cgroupfs", tree) is V1
    (tree / "memory/memory.limit_in_bytes").unlink()
    assert cgroups.choose("cgroupfs", tree) is NODES_ONLY


def test_the_wall_of_v2_stands_above_what_is_bound(unified: Path) -> None:
    unified.joinpath("cgroup.subtree_control").write_text("pids\n")
    cgroups.make(V2, "demo", "compute0", memory=512 << 20, cpus=1.5, root=unified)
    node = unified / "qnib-demo/compute0"
    assert (node / "memory.max").read_text() == (node / "in/memory.max").read_text() == str(512 << 20)
    assert (node / "cpu.max").read_text() == "150000 100000"
    for part in (unified, unified / "qnib-demo", node, node / "in", node / "in/system.slice"):
        assert (part / "cgroup.subtree_control").read_text() == "+cpu +memory +pids +cpuset"
    assert (node / "in/system.slice/compute0_slurmstepd.scope").is_dir()
    inside = str(cgroups.ROOT / "qnib-demo/compute0/in")
    assert cgroups.binds(V2, "demo", "compute0") == [(inside, inside, "rw")]


def test_v2_never_swaps_where_the_kernel_can_be_told(unified: Path) -> None:
    node = unified / "qnib-demo/compute0"
    (node / "in").mkdir(parents=True)
    (node / "memory.swap.max").write_text("max\n")
    cgroups.make(V2, "demo", "compute0", memory=1 << 20, cpus=0, root=unified)
    assert (node / "memory.swap.max").read_text() == "0"
    assert not (node / "cpu.max").exists()


def test_only_nodes_get_a_place_for_jobs(unified: Path) -> None:
    cgroups.make(V2, "demo", "controller", memory=0, cpus=1, slurmd=False, root=unified)
    assert not (unified / "qnib-demo/controller/in/system.slice").exists()


@pytest.mark.parametrize(
    ("host", "nodes", "cpus", "quota"),
    [
        ("compute0", "compute0", "1", "100000"),
        ("compute3", "compute[0-3]", "2(x4)", "200000"),
        ("compute7", "compute[0-1,5-8,12]", "1(x2),3,2(x4)", "200000"),
        ("compute5", "compute[0-1,5-8,12]", "1(x2),3,2(x4)", "300000"),
        ("compute12", "compute[0-1,5-8,12]", "1(x2),3,2(x3),4", "400000"),
        ("compute10", "compute[8-10]", "1,2,8", "800000"),
    ],
)
def test_the_prolog_gives_a_job_the_cores_it_asked_for(
    host: str, nodes: str, cpus: str, quota: str, tmp_path: Path
) -> None:
    scope = tmp_path / f"qnib-demo/{host}/in/system.slice/{host}_slurmstepd.scope"
    scope.mkdir(parents=True)
    assert prolog(tmp_path, host, nodes, cpus).returncode == 0
    assert (scope / "job_42/cpu.max").read_text() == f"{quota} 100000\n"
    assert prolog(tmp_path, host, nodes, cpus).returncode == 0, "a requeued job comes back"


def test_on_v1_the_prolog_makes_a_cgroup_that_is_the_users_to_enter(tree: Path) -> None:
    (tree / "cpu/cpu.cfs_quota_us").write_text("200000\n")
    job = tree / "cpu/slurm_jobs/job_42_1"
    assert prolog(tree, "compute1", "compute[0-1]", "1(x2)").returncode != 0, "the kernel would have made the files"
    (job / "cgroup.procs").write_text("")
    assert prolog(tree, "compute1", "compute[0-1]", "1(x2)").returncode == 0
    assert (job / "cpu.cfs_quota_us").read_text() == "100000\n"


def test_a_prolog_that_cannot_limit_the_job_fails(tmp_path: Path) -> None:
    assert prolog(tmp_path, "compute0", "compute0", "1").returncode != 0
    (tmp_path / "qnib-demo/compute2/in/system.slice/compute2_slurmstepd.scope").mkdir(parents=True)
    done = prolog(tmp_path, "compute2", "compute[0-2]", "1(x2)")
    assert done.returncode != 0 and "no CPUs of compute2" in done.stderr


def prolog(tree: Path, host: str, nodes: str, cpus: str) -> subprocess.CompletedProcess[str]:
    script = Path(str(files("qnib.terminal") / "inside/prolog.sh"))
    told = {
        "SLURMD_NODENAME": host, "SLURM_JOB_NODELIST": nodes, "SLURM_JOB_CPUS_PER_NODE": cpus,
        "SLURM_CLUSTER_NAME": "demo", "SLURM_JOB_ID": "42", "SLURM_JOB_UID": str(os.getuid()),
        "QNIB_CGROUPS": str(tree), "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(["/bin/bash", str(script)], env=told, capture_output=True, text=True, check=False)
