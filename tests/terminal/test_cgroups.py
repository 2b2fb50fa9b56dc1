"""The ladder of limits, on a made-up cgroup tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnib.terminal import cgroups
from qnib.terminal.cgroups import CONTROLLERS, NODES_ONLY, V1


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
    (tree / "freezer").rmdir()
    assert cgroups.choose("cgroupfs", tree) is NODES_ONLY


def test_the_wall_stands_above_what_is_bound(tree: Path) -> None:
    cgroups.make("demo", "compute0", memory=512 << 20, cpus=1.5, root=tree)
    assert (tree / "memory/qnib-demo/compute0/memory.limit_in_bytes").read_text() == str(512 << 20)
    assert (tree / "cpu/qnib-demo/compute0/cpu.cfs_quota_us").read_text() == "150000"
    assert (tree / "cpuset/qnib-demo/compute0/in/cpuset.cpus").read_text() == "0-1\n"
    bound = {source for source, _, _ in cgroups.binds("demo", "compute0")}
    assert str(cgroups.ROOT / "memory/qnib-demo/compute0/in") in bound


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
