"""Accounting and slurmrestd as planned: image, files, containers, what is waited for. On an engine in memory."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from qnib import clusters, terminal
from qnib.errors import NotFound, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal import image, memory, record, services
from qnib.terminal.accounts import QOS, Account
from qnib.terminal.blueprint import Blueprint, Services
from qnib.terminal.cgroups import NODES_ONLY
from qnib.terminal.engines import Container
from qnib.terminal.slurm_conf import slurm_conf, slurmdbd_conf
from tests.terminal.fake import FakeEngine, in_place
from tests.terminal.plans import plan
from tests.terminal.test_slurm_conf import settings as keys_of

NAME = f"svc{os.getpid()}"
READY = "registered 600\nsrun 400 0\nsrun 390 0\nsrun 380 0\nready 1900\n"
BOTH = Services(accounting=True, rest=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cluster=NAME)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    made = FakeEngine()
    made.images_there = {image.tag(Blueprint(services=told)) for told in (Services(), BOTH)}
    made.answer = lambda name, command: (0, READY if "ready.sh" in " ".join(command) else "")
    return in_place(made, monkeypatch, tmp_path)


def container(engine: FakeEngine, host: str) -> Container:
    return next(one for one in engine.made if one.hostname == host)


def say(settings: Settings, **told: object) -> None:
    (services.folder(settings, NAME) / "accounting.json").write_text(json.dumps(told))


def test_a_services_packages_are_in_the_image_only_where_it_is_asked_for() -> None:
    plain, both = image.packages(Blueprint()), image.packages(Blueprint(services=BOTH))
    assert not {"slurmdbd", "mariadb-server-core", "slurmrestd"} & {*plain}
    assert {"slurmdbd", "mariadb-server-core", "slurmrestd", "slurm-wlm-jwt-plugin"} <= {*both}
    told = [Services(), Services(accounting=True), Services(rest=True), BOTH]
    assert len({image.tag(Blueprint(services=one)) for one in told}) == 4
    accounts = Blueprint(services=BOTH, accounts=[Account(name="a")])
    assert image.tag(accounts) == image.tag(Blueprint(services=BOTH)), "who is charged is not in an image"


def test_without_services_nothing_of_them_is_there(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=1)
    assert len(engine.there) == 3 and len(engine.volumes_there) == 1
    home = settings.clusters / NAME
    assert not (home / "services").exists() and not list((home / "etc").glob("*jwt*"))
    assert "jwt" not in (home / "etc" / "slurm.conf").read_text()
    assert terminal.status(settings)["services"] == {}


def test_they_start_when_the_cluster_is_ready_and_are_not_waited_for(engine: FakeEngine, settings: Settings) -> None:
    order: list[str] = []
    engine.before = lambda what, name: order.append(f"{what} {name.removeprefix(f'qnib-{NAME}-')}")
    engine.answer = lambda name, command: (
        (order.append("ready"), (0, READY))[1] if "ready.sh" in " ".join(command) else (0, "")
    )
    told = terminal.up(settings, nodes=1, accounting=True, rest=True)
    assert order.index("start compute0") < order.index("ready") < order.index("start database")
    assert order.index("create database") < order.index("ready"), "made while the controller starts"
    assert (services.folder(settings, NAME) / "begin").exists()
    assert told.details["state"] == "ready"
    found = terminal.status(settings)
    assert found["services"]["accounting"] == {"state": "starting", "seconds": None, "trouble": ""}
    assert found["services"]["rest"]["url"] == f"http://127.0.0.1:{told.details['rest_port']}"
    terminal.down(settings)
    assert not (engine.there or engine.volumes_there or engine.networks_there)


def test_who_may_do_and_read_what(engine: FakeEngine, settings: Settings) -> None:
    told = terminal.up(settings, nodes=1, accounting=True, rest=True)
    rest, database = container(engine, "rest"), container(engine, "database")
    assert rest.ports == {told.details["rest_port"]: 6820} and not database.ports
    assert set(rest.capabilities) == {"SETUID", "SETGID", "KILL"}

    def mounted(host: str) -> set[str]:
        return {inside for _, inside, _ in container(engine, host).binds if inside.startswith("/etc/qnib/")}

    names = ("agent.json", "passwd", "group", "accounting.conf")
    assert mounted("rest") == {f"/etc/qnib/{name}" for name in names}, "no key"
    assert "/etc/qnib/jwt.key" in mounted("controller") & mounted("database")
    assert "/etc/qnib/jwt.key" not in mounted("compute0")
    key = settings.clusters / NAME / "etc" / "jwt.key"
    assert key.stat().st_mode & 0o777 == 0o400 and len(key.read_bytes()) == 32
    for one in engine.made:
        assert key.read_bytes().hex() not in str(one)
        assert one.labels["qnib"] == NAME


def test_no_key_is_made_twice(engine: FakeEngine, settings: Settings) -> None:
    keys = set()
    for _ in range(2):
        terminal.up(settings, nodes=1, accounting=True, rest=True)
        keys.add((settings.clusters / NAME / "etc" / "jwt.key").read_bytes())
        terminal.down(settings)
    assert len(keys) == 2


def test_a_service_that_does_not_start_ends_the_up_and_nothing_is_left(engine: FakeEngine, settings: Settings) -> None:
    def fails(what: str, name: str) -> None:
        if what == "start" and name.endswith("database"):
            raise Unavailable("no memory")

    engine.before = fails
    with pytest.raises(Unavailable, match="no memory"):
        terminal.up(settings, nodes=1, accounting=True, rest=True)
    assert not (engine.there or engine.volumes_there or engine.networks_there)
    assert not (settings.clusters / NAME).exists()


def test_a_dead_database_breaks_no_cluster_and_is_started_again(engine: FakeEngine, settings: Settings) -> None:
    cluster = terminal.up(settings, nodes=1, accounting=True, rest=True)
    say(settings, state="ready", seconds=4.5, trouble="")
    engine.kill(f"qnib-{NAME}-database")
    told = terminal.status(settings)
    assert told["state"] == "ready" and told["services"]["accounting"]["state"] == "away"
    services.revive(settings, cluster)
    assert engine.there[f"qnib-{NAME}-database"].state == "exited", "not before slurmctld has missed it"
    say(settings, state="away", seconds=4.5, trouble="slurmdbd does not answer")
    services.revive(settings, cluster)
    assert engine.there[f"qnib-{NAME}-database"].state == "running"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"state": 1', "null", "\0" * 100])
def test_what_a_container_says_is_not_trusted(engine: FakeEngine, settings: Settings, content: str) -> None:
    terminal.up(settings, nodes=1, accounting=True, rest=True)
    file = services.folder(settings, NAME) / "accounting.json"
    file.write_text(content)
    assert services.accounting(settings, NAME) == {}
    file.unlink()
    file.symlink_to("/etc/hostname")
    assert services.accounting(settings, NAME) == {}
    file.unlink()
    os.mkfifo(file)
    assert services.accounting(settings, NAME) == {}


def test_slurmctld_begins_without_accounting() -> None:
    made = plan(services=BOTH, accounts=[Account(name="a")], qos=[QOS(name="high", preempt=["normal"])])
    first, then = (keys_of(slurm_conf(made, NODES_ONLY, accounting=kept)) for kept in (False, True))
    assert first["AccountingStorageType"] == "accounting_storage/none" and "AccountingStorageEnforce" not in first
    assert first["PriorityType"] == "priority/basic" and "PreemptType" not in first
    assert then["AccountingStorageType"] == "accounting_storage/slurmdbd"
    assert then["AccountingStorageHost"] == made.address("database")
    assert then["AccountingStorageEnforce"] == "associations,limits,qos"
    assert then["PreemptType"] == "preempt/qos" and then["PriorityType"] == "priority/multifactor"
    assert first["AuthAltParameters"] == then["AuthAltParameters"] == "jwt_key=/run/slurm/jwt.key"


def test_without_accounts_nobody_is_held_to_any() -> None:
    then = keys_of(slurm_conf(plan(services=Services(accounting=True)), NODES_ONLY, accounting=True))
    assert "AccountingStorageEnforce" not in then and then["PriorityType"] == "priority/basic"
    assert "AuthAltTypes" not in then


def test_slurmdbd_listens_on_the_clusters_network_and_knows_no_password() -> None:
    made = plan(services=BOTH)
    told = keys_of(slurmdbd_conf(made))
    assert told["DbdAddr"] == made.address("database") and "StoragePass" not in told
    assert "jwt" not in slurmdbd_conf(plan(services=Services(accounting=True)))


def test_hosts_beside_the_nodes() -> None:
    made = plan(services=BOTH)
    assert made.beside == ["database", "rest"] and not plan().beside
    addresses = [made.address(host) for host in ("controller", "fabric", "database", "rest", "compute0")]
    assert len(set(addresses)) == 5 and {made.hosts()[host] for host in made.beside} <= {*addresses}
    assert "database" not in plan().hosts()


def test_each_version_of_slurmrestd_is_told_its_own_parts() -> None:
    told = {
        (system, accounting): services.environment(
            plan(system=system, services=Services(rest=True, accounting=accounting)), "rest"
        )
        for system in ("debian13", "debian12") for accounting in (False, True)
    }
    assert told["debian13", False] == {"QNIB_OPENAPI": "slurmctld", "QNIB_PARSER": "v0.0.42"}
    assert told["debian13", True]["QNIB_OPENAPI"] == "slurmctld,slurmdbd"
    assert told["debian12", False] == {"QNIB_OPENAPI": "openapi/v0.0.38", "QNIB_PARSER": ""}
    assert told["debian12", True]["QNIB_OPENAPI"] == "openapi/v0.0.38,openapi/dbv0.0.38"


def test_tokens(engine: FakeEngine, settings: Settings) -> None:
    terminal.up(settings, nodes=1)
    with pytest.raises(WrongUse, match="no slurmrestd"):
        terminal.token(settings, "alice")
    terminal.down(settings)
    terminal.up(settings, nodes=1, accounting=True, rest=True)
    for user in ("mallory", "root", ""):
        with pytest.raises(NotFound, match="user"):
            terminal.token(settings, user)
    for lifespan in (0, -5, services.LONGEST + 1):
        with pytest.raises(WrongUse, match="holds for 1 to"):
            terminal.token(settings, "alice", lifespan=lifespan)
    engine.answer = lambda name, command: (0, "SLURM_JWT=a.b.c\n")
    assert terminal.token(settings, "alice", lifespan=60) == "a.b.c"
    assert engine.ran[-1] == (f"qnib-{NAME}-controller", ["scontrol", "token", "username=alice", "lifespan=60"])
    engine.answer = lambda name, command: (1, "scontrol: error: cannot reach the controller")
    with pytest.raises(Unavailable, match="cannot reach"):
        terminal.token(settings, "alice")


def test_the_demo_needs_an_account_for_everybody(engine: FakeEngine, settings: Settings) -> None:
    made = Blueprint(services=BOTH, accounts=[Account(name="a", groups=["clusers"])])
    with pytest.raises(WrongUse, match="john, jane could submit no job"):
        terminal.up(settings, made, demo=True)


def test_the_port_is_free_when_it_is_chosen(engine: FakeEngine, settings: Settings) -> None:
    port = terminal.up(settings, nodes=1, accounting=True, rest=True).details["rest_port"]
    with socket.socket() as held:
        held.bind(("127.0.0.1", port))


def test_what_they_take_is_counted_before_anything_starts() -> None:
    meminfo = "MemTotal: 4096000 kB\nMemAvailable: 300000 kB\n"
    assert memory.enough(Blueprint(), meminfo) == []
    with pytest.raises(Unavailable, match="free here"):
        memory.enough(Blueprint(services=BOTH), meminfo)


def test_the_agents_of_services_are_those_of_nodes(engine: FakeEngine, settings: Settings) -> None:
    cluster = terminal.up(settings, nodes=1, accounting=True, rest=True)
    for host, role in (("database", "node"), ("rest", "node"), ("controller", "controller")):
        told = json.loads((record.folder(settings, NAME) / "etc" / f"agent-{host}.json").read_text())
        assert (told["host"], told["role"]) == (host, role)
    assert clusters.load(settings.clusters, NAME).details["rest_port"] == cluster.details["rest_port"]
