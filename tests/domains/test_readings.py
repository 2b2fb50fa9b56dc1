"""Numbers of machines and of jobs' tasks: cgroup v1, v2 and none, from trees laid out as the kernel lays them out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qnib.domains.host import cgroup
from qnib.domains.host.collect import start_machine
from qnib.domains.infiniband.collect import parse_counters
from qnib.domains.slurm import accounting

MOUNTS = """\
24 1 0:22 / /proc rw - proc proc rw
30 24 0:26 /qnib/compute0 /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
31 24 0:27 /qnib/compute0 /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
garbage
"""


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_mounts_of_all_kinds() -> None:
    assert cgroup.mounts(MOUNTS) == {
        "memory": "/sys/fs/cgroup/memory", "cpuacct": "/sys/fs/cgroup/cpuacct", "cpu": "/sys/fs/cgroup/cpuacct",
        "unified": "/sys/fs/cgroup/unified",
    }  # fmt: skip


def test_a_virtual_nodes_own_part_of_the_v2_tree_is_found() -> None:
    """As a node on Debian 13 sees it: the host's tree to read, its own part over itself to write."""
    seen = (
        "377 364 0:30 / /sys/fs/bpf ro - bpf bpf rw\n"
        "378 364 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n"
        "379 378 0:27 /qnib-demo/compute0/in /sys/fs/cgroup/qnib-demo/compute0/in rw,nosuid,nodev,noexec,relatime"
        " - cgroup2 cgroup2 rw\n"
    )
    assert cgroup.mounts(seen) == {"unified": "/sys/fs/cgroup/qnib-demo/compute0/in"}
    elsewhere = "390 1 0:27 / /srv/chroot/sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    assert cgroup.mounts(seen + elsewhere) == cgroup.mounts(seen)


def v1(root: Path) -> dict[str, str]:
    memory, cpu = root / "memory", root / "cpuacct"
    write(memory, memory__usage_in_bytes="300\n", memory__stat="cache 1\ntotal_cache 120\ntotal_inactive_file 100\n"
          "hierarchical_memory_limit 512\nodd line here\n")
    write(cpu, cpuacct__usage="5000000000\n", cpuacct__usage_user="3000000000\n", cpuacct__usage_sys="2000000000\n")
    task = "slurm_compute0/uid_2001/job_42/step_0/task_1"
    write(memory / task, memory__usage_in_bytes="77\n", memory__stat="total_inactive_file 7\n")
    write(cpu / task, cpuacct__usage="1500000000\n")
    write(memory / "slurm_compute0/uid_2001/job_42/step_extern/task_special", memory__usage_in_bytes="9\n")
    write(memory / "slurm_compute0/uid_2001/job_42/step_batch/task_special", memory__usage_in_bytes="9\n")
    write(memory / "slurm_compute1/uid_2001/job_43/step_0/task_0", memory__usage_in_bytes="9\n")
    return {"memory": str(memory), "cpuacct": str(cpu)}


def v2(root: Path) -> dict[str, str]:
    write(root, memory__current="300\n", memory__max="max\n", memory__stat="file 120\ninactive_file 100\n",
          cpu__stat="usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\n", cgroup__type="domain\n")
    write(root / "system.slice/compute0_slurmstepd.scope/job_42/step_batch/user/task_special",
          memory__current="70\n", memory__stat="inactive_file 0\n", cpu__stat="usage_usec 1500000\n")
    (root / "system.slice/compute0_slurmstepd.scope/job_42/step_extern/user/task_0").mkdir(parents=True)
    return {"unified": str(root)}


def test_machine_figures(tmp_path: Path) -> None:
    old, new = v1(tmp_path / "v1"), v2(tmp_path / "v2")
    assert cgroup.cpu_v1(old["cpuacct"]) == cgroup.cpu_v2(new["unified"]) == (5.0, 3.0, 2.0)
    assert cgroup.memory_v1(old["memory"]) == {"used": 200, "cache": 120, "limit": 512}
    assert cgroup.memory_v2(new["unified"]) == {"used": 200, "cache": 120}
    assert cgroup.memory_host("MemTotal: 10 kB\nMemAvailable: 4 kB\nCached: 1 kB\nodd\n") == {
        "used": 6144.0, "cache": 1024.0, "limit": 10240.0
    }  # fmt: skip
    for way in (cgroup.cpu_v1, cgroup.cpu_v2, cgroup.memory_v1, cgroup.memory_v2):
        assert not way(str(tmp_path / "vanished"))
    assert cgroup.memory_host("") == {}


def test_tasks_in_either_tree(tmp_path: Path) -> None:
    old, new = v1(tmp_path / "v1"), v2(tmp_path / "v2")
    assert sorted(accounting.tasks(old, "compute0")) == [("42", "0", "1", 1.5, 70), ("42", "batch", "0", None, 9)]
    assert list(accounting.tasks(new, "compute0")) == [("42", "batch", "0", 1.5, 70)]
    assert list(accounting.tasks({**old, **new}, "compute1")) == [("43", "0", "0", None, 9)]


def process(proc: Path, pid: int, parent: int, title: str, ticks: int = 0, pages: int = 0) -> None:
    stat = f"{pid} (a name) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 100 4096 {pages} 0 0\n"
    write(proc / str(pid), stat=stat, cmdline=title + "\0")


def test_tasks_without_cgroups_are_children_of_slurmstepd(tmp_path: Path) -> None:
    hertz, page = accounting._CLOCK, accounting._PAGE
    process(tmp_path, 1, 0, "init")
    process(tmp_path, 10, 1, "slurmstepd: [42.0]")
    process(tmp_path, 11, 10, "gemm", ticks=hertz * 2, pages=3)
    process(tmp_path, 12, 10, "gemm", ticks=hertz, pages=1)
    process(tmp_path, 13, 11, "helper", ticks=hertz, pages=1)
    process(tmp_path, 20, 1, "slurmstepd: [42.extern]")
    process(tmp_path, 21, 20, "sleep", ticks=hertz, pages=1)
    process(tmp_path, 30, 1, "sshd", ticks=hertz, pages=9)
    (tmp_path / "40").mkdir()  # it ended while we looked
    assert list(accounting.tasks({}, "compute0", str(tmp_path))) == [
        ("42", "0", "0", 3.0, 4.0 * page), ("42", "0", "1", 1.0, 1.0 * page)
    ]  # fmt: skip


def test_step_daemons_are_found_among_many_processes(tmp_path: Path) -> None:
    """Only new processes are looked at, and still none is missed."""
    process(tmp_path, 1, 0, "init")
    process(tmp_path, 5, 1, "/usr/sbin/slurmd -D")
    daemons = accounting.Stepds(str(tmp_path))
    assert daemons.find() == {}
    process(tmp_path, 10, 5, "/usr/sbin/slurmd -D")
    assert daemons.find() == {}, "slurmd has forked and not yet become another program"
    process(tmp_path, 10, 1, "slurmstepd: [42.0]")
    process(tmp_path, 11, 1, "slurmstepd: [42.extern]")
    assert daemons.find() == {10: ("42", "0")}
    shutil.rmtree(tmp_path / "10")
    assert daemons.find() == {}
    process(tmp_path, 1, 0, "slurmstepd: [43.0]")  # a number that was another program's is seen at the next full look
    seen = [daemons.find() for _ in range(accounting.Stepds.ALL)]
    assert {1: ("43", "0")} in seen


def test_rates_are_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = v2(tmp_path)
    monkeypatch.setattr(cgroup, "roots", lambda: new)
    clock = iter([100.0, 100.0, 102.0, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    machine, jobs = start_machine("compute0.site"), accounting.start_jobs("compute0")
    first = dict(machine())
    assert first["servers.compute0_site.memory.used"] == 200
    assert not any(".cpu." in path for path in first)
    assert dict(jobs()) == {"slurm.job.42.batch.0.compute0.memory": 70}
    write(tmp_path, cpu__stat="usage_usec 8000000\nuser_usec 5000000\nsystem_usec 3000000\n")
    write(tmp_path / "system.slice/compute0_slurmstepd.scope/job_42/step_batch/user/task_special",
          cpu__stat="usage_usec 4500000\n")
    again = dict(machine())
    assert [again[f"servers.compute0_site.cpu.{name}"] for name in ("used", "user", "system")] == [150, 100, 50]
    assert dict(jobs())["slurm.job.42.batch.0.compute0.cpu"] == 150


def test_counters_of_two_nodes_with_one_name_stay_apart() -> None:
    text = (
        'Data Counters for 0x1 "MT4119"\n   GUID 0x1 port 1: [PortXmitData == 5 (20.000B)]\n'
        'Data Counters for 0x2 "MT4119"\n   GUID 0x2 port 1: [PortXmitData == 7 (28.000B)]\n'
    )
    assert parse_counters(text) == {("MT4119", 1): {"xmit_data": 5}, ("MT4119 0x2", 1): {"xmit_data": 7}}
    with pytest.raises(ValueError, match="not an answer"):
        parse_counters("ibwarn: can't open umad port\n")
