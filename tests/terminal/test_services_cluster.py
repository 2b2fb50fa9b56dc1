"""Accounting and slurmrestd for real, on both image lines: one cluster and one server each for all of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qnib import clusters, terminal
from qnib.domains.slurm.rest import parse_jobs, parse_qos
from qnib.settings import Settings
from qnib.terminal import services
from qnib.terminal.engines import ContainerEngine, open_engine
from tests.conftest import World, container_engine, served, skip
from tests.domains.golden import AT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

BLUEPRINT = """
system = "{system}"
[[nodes]]
count = 2
memory = "256M"
[fabric]
shape = "none"
[services]
accounting = true
rest = true
login = true

[[accounts]]
name = "chemistry"
description = "Department of chemistry"
fairshare = 10
[[accounts]]
name = "catalysis"
parent = "chemistry"
groups = ["clusers"]
max_jobs = 3
[[accounts]]
name = "teaching"
users = ["john", "alice"]
qos = ["normal", "low"]
grp_tres = "cpu=1"

[[qos]]
name = "high"
priority = 100
preempt = ["low"]
[[qos]]
name = "low"
usage_factor = 0.5
max_wall = "1:00:00"
"""
VERSIONS = {"debian13": "v0.0.42", "debian12": "v0.0.38"}


@pytest.fixture(scope="module", params=VERSIONS)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def world(system: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if reason := container_engine():
        skip(reason)
    home = tmp_path_factory.mktemp("services")
    file = home / "lab.toml"
    file.write_text(BLUEPRINT.format(system=system))
    with served(home, f"svc{os.getpid()}-{system[-2:]}", "--file", str(file)) as running:
        yield running


def run(world: World, host: str, *command: str, user: str = "", check: bool = True) -> str:
    options = ["--user", user] if user else []
    return world.qnib("exec", "--name", world.name, *options, host, "--", *command, check=check).stdout.strip()


def settings(world: World) -> Settings:
    return Settings(home=world.home, cluster=world.name)


def service(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = terminal.status(settings(world))["services"][name]
    return found


def ready(world: World, seconds: float = 90) -> None:
    world.until("accounting is ready", lambda: service(world, "accounting")["state"] == "ready", seconds)


def engine_of(world: World) -> ContainerEngine:
    return open_engine(settings(world), clusters.load(settings(world).clusters, world.name).engine)  # type: ignore[arg-type]


def sacct(world: World, *options: str) -> list[list[str]]:
    told = run(world, "controller", "sacct", "-a", "-X", "-n", "-P", *options)
    return [line.split("|") for line in told.splitlines()]


def ask(world: World, path: str, user: str = "alice", token: str | None = None) -> httpx.Response:
    told = token if token is not None else world.qnib("token", "--name", world.name, user).stdout.strip()
    headers = {"X-SLURM-USER-NAME": user, "X-SLURM-USER-TOKEN": told}
    return httpx.get(service(world, "rest")["url"] + path, headers=headers, timeout=30)


def test_the_cluster_is_ready_before_its_accounting(world: World) -> None:
    """Jobs run while nobody keeps accounts yet, or while slurmctld is started anew."""
    held = json.loads((world.home / "clusters" / world.name / "cluster.json").read_text())["details"]
    print(f"ready after {held['seconds']} s")
    assert run(world, "controller", "srun", "--mpi=none", "-N2", "-J", "early", "hostname").split()
    ready(world)
    told = service(world, "accounting")
    print(f"accounting {told['seconds']} s later")
    assert told["trouble"] == "" and told["seconds"] > 0
    assert "accounting  state=ready" in world.qnib("status", "--name", world.name).stdout


def test_nothing_of_it_is_privileged(world: World) -> None:
    for host, daemon, owner in (("database", "mariadbd", "mysql"), ("database", "slurmdbd", "slurm"),
                                ("rest", "slurmrestd", "nobody")):  # fmt: skip
        effective = int(run(world, host, "cat", "/proc/1/status").split("CapEff:")[1].split()[0], 16)
        assert effective & ~0b11100011 == 0, f"{host}: {effective:#x}"
        world.until(f"{daemon} runs", lambda d=daemon, h=host: run(world, h, "pgrep", "-x", d, check=False), 20)
        assert set(run(world, host, "ps", "-o", "user=", "-C", daemon).split()) == {owner}
    assert run(world, "database", "stat", "-c", "%a %U", "/run/slurm/jwt.key") == "400 slurm"
    listens = run(world, "database", "sh", "-c", "cat /proc/net/tcp /proc/net/tcp6")
    ports = {int(line.split()[1].split(":")[1], 16) for line in listens.splitlines() if line.split()[3] == "0A"}
    assert ports == {6819}, "slurmdbd alone; MariaDB has a socket"


def test_the_login_node_asks_accounting(world: World) -> None:
    ready(world)
    ask_there = ("ssh", "--name", world.name, "alice", "--", "sacctmgr", "-nP", "show", "cluster", "format=cluster")
    world.until("it answers there", lambda: world.qnib(*ask_there, check=False).stdout.strip() == world.name, 20)


def test_accounts_and_qos_of_the_blueprint(world: World) -> None:
    ready(world)
    show = ("sacctmgr", "-n", "-P", "show", "assoc", "format=account,user,parentname,share,qos,grptres,maxjobs")
    told = [line.split("|") for line in run(world, "controller", *show).splitlines()]
    accounts = {row[0]: row[2:] for row in told if not row[1]}
    assert accounts["catalysis"] == ["chemistry", "1", "high,low,normal", "", "3"]
    assert accounts["chemistry"][:2] == ["root", "10"]
    assert accounts["teaching"] == ["root", "1", "low,normal", "cpu=1", ""]
    members = {(row[0], row[1]) for row in told if row[1]}
    users = ("alice", "bob", "carol", "dave", "eve")
    assert members == {("root", "root"), ("teaching", "john"), ("teaching", "alice"),
                       *(("catalysis", user) for user in users)}  # fmt: skip
    show = ("sacctmgr", "-n", "-P", "show", "qos", "format=name,priority,preempt,usagefactor,maxwall")
    assert run(world, "controller", *show).splitlines()[1:] == ["high|100|low|1.000000|", "low|0||0.500000|01:00:00"]


def test_jobs_are_held_to_their_accounts(world: World) -> None:
    ready(world)
    srun = ("controller", "srun", "--mpi=none", "-J", "held")
    assert run(world, *srun, "id", "-un", user="alice") == "alice"
    assert run(world, *srun, "--qos=high", "-A", "catalysis", "id", "-un", user="bob") == "bob"
    for user, option, said in (("jane", "-n1", "Invalid account"), ("john", "--qos=high", "Invalid qos"),
                               ("john", "-Acatalysis", "Invalid account")):  # fmt: skip
        refused = world.qnib("exec", "--name", world.name, "--user", user, *srun[:1], "--", *srun[1:], option, "true",
                             check=False)  # fmt: skip
        assert refused.returncode and said in refused.stderr
    world.until("sacct has both", lambda: len(sacct(world, "--name=held")) == 2, 20)
    assert sorted(row[1:] for row in sacct(world, "--name=held", "-o", "jobid,user,account,qos")) == [
        ["alice", "catalysis", "normal"], ["bob", "catalysis", "high"],
    ]  # fmt: skip
    there = ("compute0", "sacct", "-n", "-X", "--name=held", "-o", "jobname")
    world.until("nodes know of it, too", lambda: "held" in run(world, *there, user="alice", check=False), 20)
    wait = "sbatch --parsable -J limited -o /dev/null --wrap 'sleep 60'"
    for _ in range(2):
        run(world, "controller", "sh", "-c", wait, user="john")
    queue = ("squeue", "-h", "-n", "limited", "-o", "%T %r")
    world.until("its account runs one", lambda: "RUNNING" in run(world, "controller", *queue), 20)
    world.until("and keeps the other", lambda: "AssocGrpCpuLimit" in run(world, "controller", *queue), 20)
    run(world, "controller", "scancel", "-n", "limited")


def test_one_qos_displaces_another(world: World) -> None:
    ready(world)
    whole = "-N2 --ntasks-per-node=2 -o /dev/null --parsable --wrap 'sleep 300'"
    cheap = run(world, "controller", "sh", "-c", f"sbatch --qos=low -t 30 -J cheap {whole}", user="alice")
    world.until("it runs", lambda: run(world, "controller", "squeue", "-h", "-j", cheap, "-o", "%T") == "RUNNING", 30)
    dear = ("srun", "--mpi=none", "--qos=high", "-N2", "--ntasks-per-node=2", "-J", "dear", "hostname")
    assert len(run(world, "controller", *dear, user="bob").split()) == 4
    assert "Restarts=1" in run(world, "controller", "scontrol", "show", "job", cheap)
    run(world, "controller", "scancel", cheap)


def test_the_same_blueprint_told_again_changes_nothing(world: World) -> None:
    ready(world)
    show = ("sh", "-c", "sacctmgr -n -P show assoc; sacctmgr -n -P show qos; sacctmgr -n -P show account")
    before = run(world, "controller", *show)
    again = "import sys; sys.path.insert(0, '/usr/lib/qnib/qnib/terminal/inside'); import accounting, json; " \
        "sys.exit(accounting.apply(json.load(open('/etc/qnib/accounts.json'))) or 0)"
    run(world, "controller", "python3", "-c", again)
    assert run(world, "controller", *show) == before


def test_rest_answers_who_shows_a_token(world: World, system: str) -> None:
    ready(world)
    version = VERSIONS[system]
    assert service(world, "rest")["version"] == version
    run(world, "controller", "srun", "--mpi=none", "-J", "told", "true", user="alice")
    world.until("it listens", lambda: "LISTEN" in run(world, "rest", "sh", "-c", "grep -q ':1AA4 .* 0A ' /proc/net/tcp "
                                                      "&& echo LISTEN", check=False), 20)  # fmt: skip
    answer = ask(world, f"/slurm/{version}/jobs")
    assert answer.status_code == 200
    jobs = [one.properties for one in parse_jobs(answer.text, AT).entities if one.kind == "Job"]
    assert {("alice", "catalysis", "normal")} == {
        (one["user"], one["account"], one["qos"]) for one in jobs if one["name"] == "told"
    }
    told = parse_qos(ask(world, f"/slurmdb/{version}/qos").text, AT)
    assert {one.key: one.properties["priority"] for one in told.entities} == {"normal": 0, "high": 100, "low": 0}


def test_rest_refuses_everybody_else(world: World, system: str) -> None:
    path = f"/slurm/{VERSIONS[system]}/jobs"
    token = world.qnib("token", "--name", world.name, "alice", "--lifespan", "1m").stdout.strip()
    assert httpx.get(service(world, "rest")["url"] + path, timeout=30).status_code == 401
    head, body, mark = token.split(".")
    for user, shown in (("alice", f"{head}.{body}.{'A' * len(mark)}"), ("alice", ""), ("root", token), ("bob", token)):
        answer = ask(world, path, user, shown)
        assert answer.status_code >= 400, f"{user}: {answer.text[:200]}"
        assert '"job_id"' not in answer.text
    refused = world.qnib("token", "--name", world.name, "mallory", check=False)
    assert refused.returncode and "no user 'mallory'" in refused.stderr
    port = int(service(world, "rest")["url"].rpartition(":")[2])
    tables = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listens = {row[1].split(":")[0] for row in tables if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    assert listens <= {"0100007F"}, "on loopback only"


def test_jobs_run_on_when_the_database_dies_and_nothing_is_lost(world: World) -> None:
    ready(world)
    engine = engine_of(world)
    begun = run(world, "controller", "sbatch", "--parsable", "-J", "over", "-o", "/dev/null", "--wrap", "sleep 4",
                user="bob")  # fmt: skip
    engine.kill(f"qnib-{world.name}-database")
    began = time.monotonic()
    assert run(world, "controller", "srun", "--mpi=none", "-J", "during", "id", "-un", user="alice") == "alice"
    print(f"a job without the database took {time.monotonic() - began:.1f} s")
    world.until("it is missed", lambda: service(world, "accounting")["state"] == "away", 60)
    assert terminal.status(settings(world))["state"] == "ready"
    ready(world)
    print(f"accounting is back after {time.monotonic() - began:.1f} s")
    # What slurmctld kept arrives: both jobs with their ends.
    names = ("--name=over,during", "-o", "jobname,state")
    world.until(
        "both have ended in accounting",
        lambda: sorted(sacct(world, *names)) == [["during", "COMPLETED"], ["over", "COMPLETED"]], 60,
    )
    assert begun in {row[0] for row in sacct(world, "--name=over", "-o", "jobid")}
    engine.close()


def test_slurmctld_starts_again_without_the_database(world: World) -> None:
    ready(world)
    engine = engine_of(world)
    engine.kill(f"qnib-{world.name}-database")
    run(world, "controller", "sh", "-c", "touch /run/slurmctld.again; pkill -o -x slurmctld")
    world.until("it is up", lambda: " is UP" in run(world, "controller", "scontrol", "ping", check=False), 60)
    assert run(world, "controller", "srun", "--mpi=none", "id", "-un", user="carol") == "carol"
    engine.close()
    ready(world)


def test_mariadb_alone_dying_is_no_more(world: World) -> None:
    ready(world)
    run(world, "database", "pkill", "-KILL", "-x", "mariadbd")
    run(world, "controller", "srun", "--mpi=none", "-J", "meanwhile", "true", user="dave")
    world.until("it arrives", lambda: sacct(world, "--name=meanwhile", "-o", "state") == [["COMPLETED"]], 60)


def test_the_graph_knows_accounts_qos_and_steps(world: World) -> None:
    ready(world)
    run(world, "controller", "srun", "--mpi=none", "-J", "charged", "--qos=high", "true", user="eve")

    def cypher(query: str) -> list[Any]:
        told: list[Any] = world.post("/api/graph/cypher", query=query, cluster=world.name)["rows"]
        return [list(row.values()) if isinstance(row, dict) else list(row) for row in told]

    of_job = "MATCH (j:Job)-[:CHARGED_TO]->(a:Account) WHERE j.name = 'charged' RETURN a.name, j.qos"
    world.until("the job is charged", lambda: cypher(of_job) == [["catalysis", "high"]], 90)
    below = "MATCH (a:Account)-[:BELOW]->(p:Account) WHERE a.name = 'catalysis' RETURN p.name, p.shares, p.description"
    world.until("accounts are told", lambda: cypher(below) == [["chemistry", 10, "department of chemistry"]], 90)
    may = "MATCH (u:User)-[m:MAY_CHARGE]->(a:Account) WHERE a.name = 'teaching' RETURN u.name ORDER BY u.name"
    assert cypher(may) == [["alice"], ["john"]]
    quality = "MATCH (q:QOS) WHERE q.name = 'high' RETURN q.priority, q.preempt"
    assert cypher(quality) == [[100, "low"]]
    step = "MATCH (s:Step)-[:STEP_OF]->(:Attempt)-[:ATTEMPT_OF]->(j:Job) WHERE j.name = 'charged' RETURN s.state"
    world.until("its step is told", lambda: ["COMPLETED"] in cypher(step), 120)


def test_it_grows_and_shrinks_as_without(world: World) -> None:
    world.qnib("scale", "--name", world.name, "--nodes", "3")
    told = run(world, "controller", "srun", "--mpi=none", "-J", "new", "-w", "compute2", "hostname", user="alice")
    assert told == "compute2"
    world.qnib("scale", "--name", world.name, "--nodes", "2")
    again = world.qnib("up", "--name", world.name, "--nodes", "1", check=False)
    assert again.returncode and "is there already" in again.stderr


def test_what_they_take(world: World) -> None:
    """Resident memory of all processes of a container, shared pages counted in each."""
    ready(world)
    for host, most in (("database", 256), ("rest", 64)):
        told = sum(int(size) for size in run(world, host, "ps", "-eo", "rss=").split()) >> 10
        print(f"{host}: {told} MiB")
        assert 8 < told < most


def test_nothing_of_it_is_left(world: World) -> None:
    world.qnib("down", "--name", world.name)
    engine = open_engine(settings(world))
    label = f"qnib={world.name}"
    assert not [*engine.containers(label), *engine.volumes(label), *engine.networks(label)]
    engine.close()
    assert not services.folder(settings(world), world.name).exists()
    assert not (world.home / "clusters" / world.name).exists()
