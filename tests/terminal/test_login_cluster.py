"""Clusters with a login node, two MPIs and jobs in containers of their own: over real ssh, on both image lines."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnib import terminal
from qnib.settings import Settings
from qnib.terminal import wrapping
from qnib.terminal.engines import open_engine
from tests.conftest import container_engine, skip
from tests.terminal.conftest import Lab
from tests.terminal.test_cluster import cgroups_of, engine_of, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

BLUEPRINT = """
name = "{name}"
system = "{system}"
mpi = ["openmpi", "mpich"]
software = ["netpipe-mpich2"]

[[nodes]]
count = 2
memory = "384M"

[services]
login = true

[fabric]
shape = "none"

[[images]]
name = "other"
system = "{other}"
packages = ["openmpi-bin", "python3-mpi4py"]
"""

OTHER = {"debian13": "debian12", "debian12": "debian13"}
VERSION = {"debian13": "13 (trixie)", "debian12": "12 (bookworm)"}

OPENMPI = """
from mpi4py import MPI
w = MPI.COMM_WORLD
print(w.size, w.allreduce(w.rank + 1), MPI.Get_processor_name(), MPI.Get_library_version().split(",")[0])
"""

# MPICH through its C interface; the handles are those of its ABI, which does not change.
MPICH = """
import ctypes
mpi = ctypes.CDLL("libmpich.so.12")
mpi.MPI_Init(None, None)
world, integer, plus = 0x44000000, 0x4c000405, 0x58000003
rank, size, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mpi.MPI_Comm_size(world, ctypes.byref(size))
mine = ctypes.c_int(rank.value + 1)
mpi.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, integer, plus, world)
print(size.value, total.value)
mpi.MPI_Finalize()
"""


SCRIPT = """#!/bin/bash
#SBATCH -N2 --comment=image:other
. /etc/os-release
echo script $PRETTY_NAME
srun --mpi=none qnib-wrap sh -c '. /etc/os-release; echo task $PRETTY_NAME; hostname; id -un; pwd'
"""


@pytest.fixture(scope="module", params=OTHER)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lab(system: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := container_engine():
        skip(reason)
    home = Path(tmp_path_factory.mktemp("lab"))
    made = Lab(Settings(home=home), f"login{os.getpid()}-{system[-2:]}")
    file = home / "lab.toml"
    file.write_text(BLUEPRINT.format(name=made.name, system=system, other=OTHER[system]))
    try:
        made.qnib("up", "--file", str(file), timeout=800)
        for name, text in (("openmpi.py", OPENMPI), ("mpich.py", MPICH)):
            ssh(made, f"cat >{name}", given=text)
        yield made
    finally:
        terminal.down(made.settings, name=made.name)
        engine = open_engine(made.settings)
        left = [*engine.containers(f"qnib={made.name}"), *engine.networks(f"qnib={made.name}")]
        engine.close(end_service=True)
        assert not left and not cgroups_of(made.name) and not (made.settings.clusters / made.name / "ssh").exists()


def ssh(lab: Lab, *command: str, user: str = "alice", given: str = "", check: bool = True) -> str:
    """What `qnib ssh` printed, both ways together."""
    done = subprocess.run(
        [sys.executable, "-m", "qnib", "ssh", user, "--", *command], env=lab.environment, input=given,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


# ── the login node ────────────────────────────────────────────────────────────────────────────


def test_users_log_in_with_the_clusters_key(lab: Lab) -> None:
    assert ssh(lab, "hostname; id -un; pwd").split() == ["login", "alice", "/home/alice"]
    assert ssh(lab, "id -gn", user="john").strip() == "guests"
    done = lab.qnib("ssh", "alice", "--", "exit 7", check=False)
    assert done.returncode == 7
    stranger = lab.qnib("ssh", "mallory", "--", "true", check=False)
    assert stranger.returncode == 1 and "no user 'mallory'" in stranger.stderr


def test_nobody_comes_in_without_the_key_and_root_not_at_all(lab: Lab, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    folder = lab.settings.clusters / lab.name / "ssh"
    told = terminal.status(lab.settings, lab.name)

    def refused(key: Path, user: str, *more: str) -> str:
        done = subprocess.run(
            ["ssh", "-F", "none", *more, "-p", str(told["ssh"]), "-i", str(key), "-o", "IdentitiesOnly=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
             f"{user}@127.0.0.1", "true"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 255
        return done.stderr

    for key, user in ((tmp_path / "key", "alice"), (folder / "user_key", "root")):
        assert "Permission denied (publickey)" in refused(key, user)
    # Its host key is the one we know: somebody else on that port would be noticed.
    (tmp_path / "known").write_text(f"[127.0.0.1]:{told['ssh']} {(tmp_path / 'key.pub').read_text()}")
    checked = ("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={tmp_path / 'known'}")
    assert "verification failed" in refused(folder / "user_key", "alice", *checked)


def test_keys_are_the_clusters_own_and_nobody_elses_to_read(lab: Lab) -> None:
    folder = lab.settings.clusters / lab.name / "ssh"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("host_key", "user_key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    for file in ("/etc/qnib/ssh/host_key", "/run/sshd/host_key", "/etc/qnib/munge.key"):
        assert "denied" in ssh(lab, f"cat {file}", check=False)
    assert not lab.run("login", "sh", "-c", "ls /etc/ssh/ssh_host_* 2>/dev/null || true").strip()


def test_the_login_node_is_on_this_machines_loopback_only(lab: Lab) -> None:
    port = terminal.status(lab.settings, lab.name)["ssh"]
    engine = engine_of(lab)
    try:
        told = engine._client.api.inspect_container(f"qnib-{lab.name}-login")  # type: ignore[attr-defined]
    finally:
        engine.close()
    assert told["NetworkSettings"]["Ports"]["2222/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    assert f"ssh={port}" in lab.qnib("status").stdout


def test_the_login_node_has_one_right_more_than_a_node(lab: Lab) -> None:
    told = lab.run("login", "cat", "/proc/1/status")
    assert int(told.split("CapEff:")[1].split()[0], 16) == 0b11100011 | 1 << 18  # SYS_CHROOT
    assert told.split("NoNewPrivs:")[1].split()[0] == "1"


def test_jobs_are_submitted_from_the_login_node(lab: Lab) -> None:
    assert ssh(lab, "sinfo -h -p all -o %D").strip() == "2"
    assert sorted(ssh(lab, "srun -N2 hostname").split()) == ["compute0", "compute1"]
    ssh(lab, "printf '#!/bin/sh\\nsrun hostname\\n' >job.sh; sbatch --wait -N2 -o job.out job.sh")
    assert sorted(lab.run("compute0", "cat", "job.out", user="alice").split()) == ["compute0", "compute1"]


# ── two MPIs ──────────────────────────────────────────────────────────────────────────────────


def test_open_mpi_by_pmix(lab: Lab) -> None:
    told = [line.split(maxsplit=3) for line in ssh(lab, "srun --mpi=pmix -N2 python3 openmpi.py").splitlines()]
    assert sorted(words[:3] for words in told) == [["2", "3", "compute0"], ["2", "3", "compute1"]]
    assert all("Open MPI" in words[3] for words in told)


def test_mpich_by_pmi2(lab: Lab) -> None:
    assert "pmi2" in ssh(lab, "srun --mpi=list")
    assert ssh(lab, "srun --mpi=pmi2 -N2 python3 mpich.py").splitlines() == ["2 3", "2 3"]


def test_a_compiled_mpich_program(lab: Lab) -> None:
    """NetPIPE as Debian builds it: messages of up to 64 octets between the two nodes."""
    told = ssh(lab, "srun --mpi=pmi2 -N2 NPmpich2 -u 64 -n 20 -o /tmp/np.out")
    assert "0: compute" in told and "1: compute" in told
    assert " 64 bytes" in told and "Mbps" in told


# ── jobs in containers of their own ───────────────────────────────────────────────────────────


def test_tasks_run_in_the_image_and_the_script_on_the_node(lab: Lab, system: str) -> None:
    ssh(lab, "cat >wrapped.sh", given=SCRIPT)
    ssh(lab, "sbatch --wait -o wrapped.out wrapped.sh")
    told = ssh(lab, "cat wrapped.out").splitlines()
    assert told.count(f"script Debian GNU/Linux {VERSION[system]}") == 1
    assert told.count(f"task Debian GNU/Linux {VERSION[OTHER[system]]}") == 2
    assert sorted(told[1:]) == sorted(
        [f"task Debian GNU/Linux {VERSION[OTHER[system]]}", "alice", "/home/alice"] * 2 + ["compute0", "compute1"]
    )


def test_mpi_over_wrapped_tasks(lab: Lab, system: str) -> None:
    """Ranks of the other Debian's Open MPI, two on each node."""
    told = ssh(lab, "srun --mpi=pmix -N2 -n4 --comment=image:other qnib-wrap python3 openmpi.py").splitlines()
    assert sorted(line.split()[2] for line in told) == ["compute0", "compute0", "compute1", "compute1"]
    assert {tuple(line.split()[:2]) for line in told} == {("4", "10")}
    other = {"debian13": "v4.1", "debian12": "v5.0"}[system]
    assert all(f"Open MPI {other}" in line for line in told)


def test_a_container_lives_as_long_as_its_job(lab: Lab) -> None:
    job = ssh(lab, "sbatch --parsable -N2 --comment=image:other -o /dev/null --wrap 'srun qnib-wrap sleep 300'").strip()
    assert until(lambda: "qnib-wra" in ssh(lab, "squeue", "-h", "-s", "-j", job), 30)
    there = json.loads(lab.qnib("status", "--json").stdout)["clusters"][0]["jobs"]
    assert [(one["job"], one["node"], one["state"]) for one in there] == [
        (int(job), "compute0", "running"), (int(job), "compute1", "running"),
    ]
    engine = engine_of(lab)
    try:
        labels = wrapping.of_jobs(engine, lab.name)[0].labels
        told = engine._client.api.inspect_container(there[0]["name"])  # type: ignore[attr-defined]
    finally:
        engine.close()
    assert (labels["qnib.cluster"], labels["qnib.job"]) == (lab.name, job)
    assert told["HostConfig"]["Privileged"] is False
    assert not any("sock" in bind.partition(":")[0] for bind in told["HostConfig"]["Binds"])
    # The agent tells the inventory what the job runs in.
    look = (
        "import time; from qnib.domains.software.looks import start_loaded; look = start_loaded('compute0')\n"
        "for _ in range(100): told = look(); told and print(told); time.sleep(0.1)"
    )
    seen = lab.run("compute0", "env", "PYTHONPATH=/usr/lib/qnib", "python3", "-c", look)
    assert f"job\t{job}\ncontainer\tqnib\tlocalhost/qnib/job:other-" in seen
    # One of the nodes sees the tasks as its own: so SLURM ends them.
    assert "sleep 300" in lab.run("compute0", "ps", "-o", "args", "-u", "alice")
    ssh(lab, "scancel", job)
    assert until(lambda: not ssh(lab, "squeue", "-h", "-j", job).strip(), 40)
    assert not terminal.status(lab.settings, lab.name)["jobs"]
    assert not (wrapping.folder(lab.settings, lab.name, "compute0") / job).exists()


def test_the_jobs_limits_hold_for_wrapped_tasks(lab: Lab) -> None:
    if terminal.status(lab.settings, lab.name)["rung"] == "node-limits":
        pytest.skip("this host has the rung node-limits, which holds no job to anything")
    greedy = "x = bytearray(200 << 20); x[::4096] = b'1' * len(x[::4096])"
    ssh(lab, "cat >greedy.py", given=greedy)
    told = ssh(
        lab, "srun --mpi=none -n1 --mem=60 -J greedy --comment=image:other qnib-wrap python3 greedy.py", check=False
    )
    assert "Out Of Memory" in told
    assert ssh(lab, "squeue -h -t all -n greedy -o %T").strip() == "OUT_OF_MEMORY"


def test_input_output_and_status_are_the_tasks_own(lab: Lab) -> None:
    wrapped = "srun --mpi=none -n1 --comment=image:other qnib-wrap"
    assert ssh(lab, f"ASKED=yes {wrapped} sh -c 'cat; echo $ASKED'", given="given ") == "given yes\n"
    assert "Exited with exit code 7" in ssh(lab, f"{wrapped} sh -c 'exit 7'", check=False)
    assert "Terminated" in ssh(lab, f"{wrapped} sh -c 'kill -TERM $$'", check=False)
    assert "nothing: No such file or directory in this image" in ssh(lab, f"{wrapped} nothing", check=False)


def test_what_a_user_gets_wrong_is_told_and_harms_no_node(lab: Lab) -> None:
    told = ssh(lab, "srun -n1 --comment=image:absent qnib-wrap true", check=False)
    assert "no image 'absent' is staged here; there are" in told and "other" in told
    assert "submit it with --comment=image:NAME" in ssh(lab, "srun -n1 qnib-wrap true", check=False)
    assert ssh(lab, "sinfo -h -p all -t idle,alloc,mix,comp -o %D").split() in (["2"], ["1", "1"])


def test_nobody_but_root_of_a_node_asks_and_nobody_enters_anothers(lab: Lab) -> None:
    ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/qnib/jobs/ask')"
    ssh(lab, "cat >ask.py", given=ask)
    assert "Permission denied" in ssh(lab, "srun -n1 python3 ask.py", check=False)
    job = ssh(
        lab, "sbatch --parsable -w compute0 -n1 --mem=60 --comment=image:other -o /dev/null --wrap 'sleep 60'"
    ).strip()
    assert until((wrapping.folder(lab.settings, lab.name, "compute0") / job / "socket").exists, 20)
    told = ssh(
        lab, f"srun -w compute0 -n1 --mem=60 sh -c 'SLURM_JOB_ID={job} qnib-wrap id'", user="bob", check=False
    )
    assert "another user's job" in told and "uid=" not in told
    ssh(lab, "scancel", job)


def test_any_image_does_even_one_without_a_shell(lab: Lab, tmp_path: Path) -> None:
    """A root file system of one static program, brought by hand while the cluster runs."""
    name = f"bare{os.getpid()}"
    program = base64.b64decode(lab.run("compute0", "base64", "/usr/bin/tini-static"))
    with tarfile.open(tmp_path / "bare.tar", "w") as tar:
        for folder in ("bin", "etc", "home", "tmp", "run", "proc", "sys", "dev", "usr"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(made)
        made = tarfile.TarInfo("bin/tini")
        made.size, made.mode = len(program), 0o755
        tar.addfile(made, io.BytesIO(program))
    lab.qnib("images", "add", name, str(tmp_path / "bare.tar"))
    try:
        there = json.loads(lab.qnib("images", "list", "--json").stdout)
        assert {"kind": "added", "name": name, "tag": f"localhost/qnib/added:{name}"} in there
        told = ssh(lab, f"srun --mpi=none -n1 --comment=image:{name} qnib-wrap /bin/tini --version")
        assert told.startswith("tini version")
        assert "No such file" in ssh(lab, f"srun --mpi=none -n1 --comment=image:{name} qnib-wrap ls", check=False)
    finally:
        lab.qnib("images", "remove", name)


def test_a_node_that_dies_leaves_no_container_of_a_job(lab: Lab) -> None:
    job = ssh(
        lab, "sbatch --parsable -w compute1 -n1 --no-requeue --comment=image:other -o /dev/null --wrap 'sleep 300'"
    ).strip()
    assert until(lambda: terminal.status(lab.settings, lab.name)["jobs"], 20)
    lab.qnib("fault", "node-down", "compute1")
    try:
        assert until(lambda: not terminal.status(lab.settings, lab.name)["jobs"], 30)
    finally:
        lab.qnib("fault", "clear")
    ssh(lab, f"scancel {job}; true")
    state = "sinfo -h -n compute1 -p all -o %t"
    assert until(lambda: ssh(lab, state).strip() == "idle", 60), ssh(lab, state)
