"""The virtual cluster as it really is: containers, SLURM, MPI, OpenSM."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qnib import clusters, terminal
from qnib.terminal.engines import ContainerEngine, open_engine
from tests.terminal.conftest import NODES, Lab

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ALLREDUCE = "from mpi4py import MPI; w = MPI.COMM_WORLD; print(w.allreduce(w.rank), MPI.Get_processor_name())"


def until(seen: object, seconds: float = 15) -> bool:
    """Whether `seen()` became true in time."""
    deadline = time.monotonic() + seconds
    while not seen():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def engine_of(lab: Lab) -> ContainerEngine:
    return open_engine(lab.settings, clusters.load(lab.settings.clusters, lab.name).engine)  # type: ignore[arg-type]


def links_of(lab: Lab) -> str:
    return lab.run("fabric", "iblinkinfo", "-l")


def test_a_step_runs_on_every_node(lab: Lab) -> None:
    told = lab.run("controller", "srun", f"-N{NODES}", "hostname", user="alice").split()
    assert sorted(told) == [f"compute{n}" for n in range(NODES)]


def test_mpi_over_all_nodes(lab: Lab) -> None:
    told = lab.run(
        "controller", "srun", "--mpi=pmix", f"-N{NODES}", "python3", "-c", ALLREDUCE, user="bob"
    ).splitlines()
    assert {line.split()[0] for line in told} == {str(sum(range(NODES)))}


def test_partitions_by_number(lab: Lab) -> None:
    told = dict(line.split() for line in lab.run("controller", "sinfo", "-h", "-o", "%R %N").splitlines())
    assert told == {"all": "compute[0-2]", "odd": "compute1", "even": "compute[0,2]"}


def test_users_are_the_same_everywhere(lab: Lab) -> None:
    for user, group in (("carol", "clusers"), ("john", "guests")):
        told = {lab.run(host, "id", user).strip() for host in ("controller", "compute0", "compute2")}
        assert len(told) == 1 and f"({group})" in told.pop()


def test_homes_are_shared_and_private(lab: Lab) -> None:
    lab.run("compute0", "sh", "-c", "echo hello >here", user="dave")
    assert lab.run("compute2", "cat", "here", user="dave") == "hello\n"
    assert lab.qnib("exec", "--user", "jane", "compute0", "--", "cat", "/home/dave/here", check=False).returncode != 0


def test_exit_status_and_streams_pass_through(lab: Lab) -> None:
    done = lab.qnib("exec", "compute0", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err" in done.stderr
    missing = lab.qnib("exec", "compute9", "--", "true", check=False)
    assert missing.returncode == 1 and "no host 'compute9'" in missing.stderr


def test_nothing_is_privileged(lab: Lab) -> None:
    for host in ("controller", "compute0", "fabric"):
        told = lab.run(host, "cat", "/proc/1/status")
        effective = int(told.split("CapEff:")[1].split()[0], 16)
        # CHOWN 0, DAC_OVERRIDE 1, KILL 5, SETGID 6, SETUID 7
        assert effective & ~0b11100011 == 0, f"{host}: {effective:#x}"
        assert told.split("NoNewPrivs:")[1].split()[0] == "1"


def test_users_cannot_read_keys(lab: Lab) -> None:
    for file in ("/etc/qnib/agent.json", "/etc/qnib/munge.key", "/run/munge/key"):
        done = lab.qnib("exec", "--user", "jane", "compute0", "--", "cat", file, check=False)
        assert done.returncode != 0 and "denied" in done.stderr


def test_the_best_rung_of_this_host_is_taken(lab: Lab) -> None:
    """A host that can hold jobs to their limits does, so that the tests below cannot skip there."""
    if clusters.load(lab.settings.clusters, lab.name).engine != "podman":
        pytest.skip("Docker lays out its own cgroups where systemd is its driver")
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert terminal.status(lab.settings, lab.name)["rung"] == ("cgroup-v2" if v2 else "cgroup-v1")


def rung_that_limits_jobs(lab: Lab) -> str:
    rung = str(terminal.status(lab.settings, lab.name)["rung"])
    if rung == "node-limits":
        pytest.skip("this host has the rung node-limits, which holds no job to anything")
    return rung


def test_a_node_is_limited(lab: Lab) -> None:
    rung = rung_that_limits_jobs(lab)
    place = {"cgroup-v1": "memory/{}/memory.limit_in_bytes", "cgroup-v2": "{}/memory.max"}[rung]
    wall = Path("/sys/fs/cgroup") / place.format(f"qnib-{lab.name}/compute0")
    assert int(wall.read_text()) == lab.settings.terminal.node_memory << 20
    wrote = lab.run("compute0", "sh", "-c", f"echo 1 >{wall} || echo refused")
    assert wrote.strip().endswith("refused")


def test_a_job_over_its_memory_is_ended_and_its_neighbour_lives(lab: Lab) -> None:
    rung_that_limits_jobs(lab)
    sbatch = ("controller", "sbatch", "--parsable", "-n1", "-w", "compute0", "--output=/dev/null")
    neighbour = lab.run(*sbatch, "--mem=60", "--wrap", "sleep 300", user="bob").strip()
    state = ("scontrol", "show", "job", neighbour)
    assert until(lambda: "JobState=RUNNING" in lab.run("controller", *state), 60)
    greedy = "x = bytearray(200 << 20); x[::4096] = b'1' * len(x[::4096])"
    done = lab.qnib(
        "exec", "--user", "alice", "controller", "--", "srun", "--mpi=none", "-n1", "-w", "compute0", "-J", "greedy",
        "--mem=50", "python3", "-c", greedy, check=False,
    )
    assert done.returncode != 0 and "Out Of Memory" in done.stderr
    told = lab.run("controller", "squeue", "-h", "-t", "all", "-n", "greedy", "-o", "%T")
    assert told.split() == ["OUT_OF_MEMORY"]
    assert "JobState=RUNNING" in lab.run("controller", *state)
    lab.run("controller", "scancel", neighbour)
    assert until(lambda: "JobState=CANCELLED" in lab.run("controller", *state), 30)


def test_a_one_core_job_uses_one_core(lab: Lab) -> None:
    rung = rung_that_limits_jobs(lab)
    if rung == "cgroup-v1-joined":
        pytest.skip("where cpu and cpuacct are one hierarchy, cores are said not to be limited")
    busy = (
        "import os, time\n"
        "before, end = sum(os.times()[:4]), time.time() + 3\n"  # starting Python is not part of it
        "twin = os.fork()\n"
        "while time.time() < end: pass\n"
        "twin or os._exit(0)\n"
        "os.wait(); print(sum(os.times()[:4]) - before, time.time() - end + 3)\n"
    )
    srun = ("srun", "--mpi=none", "-n1", "-c1", "-w", "compute0", "python3", "-c", busy)
    used, wall = map(float, lab.run("controller", *srun, user="alice").split())
    assert used < 1.1 * wall + 0.2
    mine = {
        "cgroup-v2": 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/../../../cpu.max"',
        "cgroup-v1": 'cd /sys/fs/cgroup/cpu/slurm_jobs/"$(basename "$(grep :cpu: /proc/self/cgroup)")" && '
                     "cat cpu.cfs_quota_us cpu.cfs_period_us",
    }[rung]
    for cpus in ("1", "2"):
        told = lab.run("controller", "srun", "--mpi=none", "-n1", "-c", cpus, "-w", "compute0", "sh", "-c", mine)
        assert told.split() == [f"{cpus}00000", "100000"]
    batch = ("sbatch", "--wait", "-n1", "-w", "compute0", "-o", "quota", "--wrap", mine)
    lab.run("controller", *batch, user="alice")
    assert lab.run("controller", "cat", "quota", user="alice").split() == ["100000", "100000"]


def test_what_limits_a_jobs_cores_goes_with_it_and_is_not_its_users(lab: Lab) -> None:
    if rung_that_limits_jobs(lab) != "cgroup-v1":
        pytest.skip("elsewhere it is SLURM's own cgroup")
    jobs = "/sys/fs/cgroup/cpu/slurm_jobs"
    escape = (
        f"cd {jobs}/job_*; echo -1 >cpu.cfs_quota_us || echo refused; echo $$ >../cgroup.procs || echo refused; "
        "echo $$ >../../cgroup.procs || echo refused"
    )
    told = lab.run("controller", "srun", "--mpi=none", "-n1", "-w", "compute0", "sh", "-c", escape, user="alice")
    assert told.split() == ["refused"] * 3
    batch = ("sbatch", "--parsable", "-c1", "-w", "compute1", "--wrap", "sleep 90")
    job = lab.run("controller", *batch, user="bob").strip()
    quota = ("compute1", "sh", "-c", f"cat {jobs}/job_{job}_1/cpu.cfs_quota_us")
    assert until(lambda: lab.run(*quota, check=False).strip() == "100000")
    lab.qnib("fault", "node-slow", "compute1", "25%")
    assert lab.run(*quota).strip() == "50000"
    lab.qnib("fault", "clear")
    assert lab.run(*quota).strip() == "100000"
    lab.run("controller", "scancel", job)
    assert until(lambda: not lab.run("compute0", "find", jobs, "-mindepth", "1", "-type", "d"))


def test_the_agent_reads_what_a_task_uses(lab: Lab) -> None:
    rung_that_limits_jobs(lab)
    hold = "x = bytearray(40 << 20); x[::4096] = b'1' * len(x[::4096]); import time; time.sleep(300)"
    job = lab.run(
        "controller", "sbatch", "--parsable", "-n1", "-w", "compute0", "--mem=90", "--output=/dev/null",
        "--wrap", f'exec python3 -c "{hold}"', user="carol",
    ).strip()
    look = (
        "from qnib.domains.host import cgroup; from qnib.domains.slurm import accounting; "
        "[print(*task) for task in accounting.tasks(cgroup.roots(), 'compute0')]"
    )

    def seen() -> list[str]:
        told = lab.run("compute0", "env", "PYTHONPATH=/usr/lib/qnib", "python3", "-c", look)
        return next((line.split() for line in told.splitlines() if line.startswith(f"{job} batch 0 ")), [])

    assert until(lambda: seen() and float(seen()[4]) > 40 << 20, 60), seen()
    assert float(seen()[3]) > 0
    lab.run("controller", "scancel", job)


def test_a_users_running_job_can_be_cancelled(lab: Lab) -> None:
    job = lab.run("controller", "sbatch", "--parsable", "-N2", "--wrap", "srun sleep 300", user="eve").strip()
    assert until(lambda: lab.run("controller", "squeue", "-h", "-j", job, "-t", "running", "-o", "%A").strip() == job)
    lab.run("controller", "scancel", job, user="eve")
    assert until(lambda: not lab.run("controller", "squeue", "-h", "-j", job, "-o", "%A").strip(), 30)
    assert until(lambda: not lab.qnib("exec", "compute0", "--", "pgrep", "-x", "sleep", check=False).stdout)


def test_ordinary_tools_see_the_fabric(lab: Lab) -> None:
    told = lab.run("fabric", "ibnetdiscover")
    for name in ("compute0", "compute1", "compute2", "SW1", "SW2", "SPINE1", "SPINE2", "fabric"):
        assert f'"{name}"' in told
    assert '"compute3"' not in told and '"SW3"' not in told
    assert "PortXmitData" in lab.run("fabric", "perfquery", "-x")
    assert "nodes checked, 0 bad nodes found" in lab.run("fabric", "ibqueryerrors")


def test_a_cable_pulled_and_put_back(lab: Lab) -> None:
    lab.qnib("fault", "cable-out", "SW1/3")
    assert until(lambda: '"compute0"' not in links_of(lab))
    assert until(lambda: "Removed port" in lab.run("fabric", "cat", "/var/log/opensm.log"), 5)
    told = json.loads(lab.qnib("fault", "list", "--json").stdout)
    assert (told[-1]["kind"], told[-1]["target"], told[-1]["cleared"]) == ("cable-out", "SW1/3", None)
    again = lab.qnib("fault", "cable-out", "SW1/3", check=False)
    assert again.returncode == 1 and "out already" in again.stderr
    lab.qnib("fault", "clear")
    assert until(lambda: '"compute0"' in links_of(lab))
    assert json.loads(lab.qnib("fault", "list", "--json").stdout)[-1]["cleared"]


def test_scale_up_and_down(lab: Lab) -> None:
    lab.qnib("scale", "--nodes", str(NODES + 2))
    try:
        told = lab.run("controller", "srun", f"-N{NODES + 2}", "hostname").split()
        assert sorted(told) == [f"compute{n}" for n in range(NODES + 2)]
        assert '"compute4"' in links_of(lab)
    finally:
        lab.qnib("scale", "--nodes", str(NODES))
    assert lab.run("controller", "sinfo", "-h", "-p", "all", "-o", "%N").strip() == f"compute[0-{NODES - 1}]"
    assert until(lambda: '"compute4"' not in links_of(lab))
    assert not cgroups_of(lab.name, "compute4")


def test_scaling_waits_for_jobs_on_leaving_nodes(lab: Lab) -> None:
    last = f"compute{NODES - 1}"
    job = lab.run("controller", "sbatch", "--parsable", "-w", last, "--wrap", "sleep 60", user="alice").strip()
    assert until(lambda: lab.run("controller", "squeue", "-h", "-j", job, "-t", "running", "-o", "%A").strip() == job)
    done = lab.qnib("scale", "--nodes", str(NODES - 1), "--patience", "1", check=False)
    assert done.returncode == 1 and job in done.stderr
    lab.run("controller", "scancel", job)
    state = ("controller", "sinfo", "-h", "-n", last, "-p", "all", "-o", "%t")
    assert until(lambda: lab.run(*state).strip() == "idle", 30)


def test_a_second_up_and_a_second_cluster(lab: Lab) -> None:
    done = lab.qnib("up", "--name", lab.name, check=False)
    assert done.returncode == 1 and "there already" in done.stderr
    other = f"{lab.name}b"
    lab.qnib("up", "--name", other, "--nodes", "1", "--demo")
    try:
        subnets = {c.details["subnet"] for c in clusters.load_all(lab.settings.clusters)}
        assert len(subnets) == 2
        running = ("squeue", "-h", "-t", "running", "-o", "%j")
        assert lab.qnib("exec", "--name", other, "controller", "--", *running).stdout.split() == ["gemm"]
    finally:
        lab.qnib("down", "--name", other)
    assert_nothing_of(lab, other)


def test_ctrl_c_in_the_middle_of_up_leaves_nothing(lab: Lab) -> None:
    name = f"{lab.name}c"
    begun = subprocess.Popen(
        [sys.executable, "-m", "qnib", "up", "--name", name, "--nodes", "2"], env=lab.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    engine = engine_of(lab)
    try:
        assert until(lambda: engine.containers(f"qnib={name}"), 60)
    finally:
        engine.close()
        begun.send_signal(signal.SIGINT)
    _, told = begun.communicate(timeout=60)
    assert begun.returncode == 130, told
    assert "Traceback" not in told
    assert_nothing_of(lab, name)


def cgroups_of(name: str, host: str = "") -> list[Path]:
    """What is left of a cluster, or of one host in it, in any tree."""
    return [path for top in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{top}qnib-{name}/{host}".rstrip("/"))]


def assert_nothing_of(lab: Lab, name: str) -> None:
    engine = engine_of(lab)
    try:
        assert not engine.containers(f"qnib={name}")
        assert not engine.networks(f"qnib={name}")
        assert not engine.volumes(f"qnib={name}")
    finally:
        engine.close()
    assert not cgroups_of(name)
    assert not (lab.settings.clusters / name / "cluster.json").exists()
    assert name not in Path("/proc/mounts").read_text()
