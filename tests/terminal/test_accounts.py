"""Accounts and QOS in blueprints: what is refused, where it stands, and what sacctmgr is told."""

from __future__ import annotations

import pytest

from qnib.errors import WrongUse
from qnib.terminal.accounts import Account, by_groups, commands
from qnib.terminal.reading import parse

HEAD = """\
[services]
accounting = true
[[groups]]
name = "chemistry"
users = ["ada", "emil"]
[[qos]]
name = "high"
priority = 100
"""
GROUPS = {"chemistry": ["ada", "emil"], "guests": ["jane"]}


def told(text: str) -> list[list[str]]:
    made = parse(HEAD + text, "lab.toml")
    return list(commands("lab", made.accounts, made.qos, {group.name: group.users for group in made.groups}))


@pytest.mark.parametrize(("text", "line", "said"), [
    ('[[accounts]]\nname = "root"', 10, "all others are below"),
    ('[[accounts]]\nname = "a"\n[[accounts]]\nname = "a"', 12, "there already"),
    ('[[accounts]]\nname = "a"\nparent = "b"', 11, "no account 'b'; there are a"),
    ('[[accounts]]\nname = "a"\nparent = "b"\n[[accounts]]\nname = "b"\nparent = "a"', 11, "below itself"),
    ('[[accounts]]\nname = "a"\nparent = "a"', 11, "below itself"),
    ('[[accounts]]\nname = "a"\nusers = ["john"]', 11, "no user 'john'; there are ada, emil"),
    ('[[accounts]]\nname = "a"\ngroups = ["physics"]', 11, "no group 'physics'; there are chemistry"),
    ('[[accounts]]\nname = "a"\nqos = ["hihg"]', 11, "no QOS 'hihg'; there are high, normal"),
    ('[[accounts]]\nname = "a"\nqos = ["normal"]\ndefault_qos = "high"', 12, "no QOS of this account 'high'"),
    ('[[accounts]]\nname = "a"\ngrp_tres = "cpus=8"', 11, "'cpus=8' is no limit"),
    ('[[accounts]]\nname = "a"\ngrp_tres = "cpu=8G"', 11, "'cpu=8G' is no limit"),
    ('[[accounts]]\nname = "a"\ngrp_tres = "cpu=8,cpu=9"', 11, "limited twice"),
    ('[[accounts]]\nname = "a"\nmax_wall = "soon"', 11, "pattern"),
    ('[[accounts]]\nname = "a"\nfairshare = -1', 11, "greater than or equal to 0"),
    ('[[accounts]]\nname = "a"\ndescription = "a|b"', 11, "nothing else"),
    ('[[accounts]]\nname = "a"\nfairshares = 1', 11, "no such key"),
    ('[[qos]]\nname = "high"', 10, "there already"),
    ('[[qos]]\nname = "low"\npreempt = ["lowest"]', 11, "no QOS 'lowest'"),
    ('[[qos]]\nname = "low"\npreempt = ["low"]', 11, "cannot both make room"),
    ('[[qos]]\nname = "low"\npreempt_mode = "shoot"', 11, "requeue"),
])  # fmt: skip
def test_what_cannot_be_is_refused_where_it_stands(text: str, line: int, said: str) -> None:
    with pytest.raises(WrongUse, match=said) as error:
        parse(HEAD + text, "lab.toml")
    assert error.value.where.startswith(f"lab.toml:{line}:"), error.value.where


def test_without_accounting_nobody_keeps_accounts() -> None:
    for kind in ("accounts", "qos"):
        with pytest.raises(WrongUse, match="accounting = true") as error:
            parse(f'[[{kind}]]\nname = "a"\n', "lab.toml")
        assert error.value.where == "lab.toml:1:1"


def test_two_qos_do_not_displace_each_other() -> None:
    with pytest.raises(WrongUse, match="cannot both make room"):
        parse(HEAD + 'preempt = ["low"]\n[[qos]]\nname = "low"\npreempt = ["high"]', "lab.toml")


def test_whoever_has_jobs_to_submit_has_an_account() -> None:
    text = 'jobs = "demo"\n' + HEAD
    parse(text, "lab.toml")  # without accounts each group is one
    parse(text + '[[accounts]]\nname = "a"\ngroups = ["chemistry"]', "lab.toml")
    with pytest.raises(WrongUse, match="emil could submit none"):
        parse(text + '[[accounts]]\nname = "a"\nusers = ["ada"]', "lab.toml")


def test_parents_come_first_and_users_once() -> None:
    said = told("""
[[accounts]]
name = "catalysis"
parent = "chemistry"
users = ["ada"]
groups = ["chemistry"]
grp_tres = "cpu=8, mem=4G"
max_wall = "4:00:00"
[[accounts]]
name = "chemistry"
users = ["emil"]
qos = ["high"]
""")
    added = [words for words in said if words[0] == "add"]
    assert [words[1:3] for words in added] == [
        ["cluster", "lab"], ["qos", "high"], ["account", "chemistry"], ["account", "catalysis"],
        ["user", "ada,emil"], ["user", "emil"],
    ]  # fmt: skip
    assert "Parent=chemistry" in added[3] and not any(word.startswith("Parent=") for word in added[2])
    limits = next(words for words in said if words[:3] == ["modify", "account", "catalysis"])
    assert {"GrpTRES=cpu=8,mem=4G", "MaxWall=4:00:00", "Fairshare=1", "QOS=normal,high"} <= {*limits}
    assert ["modify", "account", "chemistry", "set", "Fairshare=1", "QOS=high", "DefaultQOS=high"] in said
    assert said[-1] == ["modify", "user", "ada,emil", "set", "DefaultAccount=catalysis"], "the first that lists them"


def test_whom_a_qos_displaces_is_told_when_all_are_there() -> None:
    said = told('preempt = ["low"]\nmax_tres_per_user = "cpu=2"\n[[qos]]\nname = "low"\nusage_factor = 0.5')
    assert said.index(["modify", "qos", "high", "set", "Preempt=low"]) > said.index(["add", "qos", "low"])
    high = next(words for words in said if words[:3] == ["modify", "qos", "high"])
    assert {"Priority=100", "MaxTRESPU=cpu=2"} <= {*high}
    assert ["modify", "account", "root", "set", "QOS=normal,high,low", "DefaultQOS=normal"] in said


def test_a_blueprint_that_names_no_accounts_has_one_for_each_group() -> None:
    assert by_groups(GROUPS) == [
        Account(name="chemistry", groups=["chemistry"]), Account(name="guests", groups=["guests"]),
    ]  # fmt: skip
