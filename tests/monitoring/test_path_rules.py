"""What dotted paths mean: rules of the domains and of a site, Telegraf's templates, and what is stored named anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qnib.domains import all_domains
from qnib.domains.path_rules import from_template, load_paths, read_paths
from qnib.errors import WrongUse
from qnib.model import PathRule
from qnib.monitoring.naming import named, reading, series_columns
from qnib.monitoring.rulebook import Rulebook
from qnib.monitoring.writer import Writer

from .conftest import NOW, Plant

T = int(NOW.timestamp())
DOMAINS = [rule for domain in all_domains() for rule in load_paths(domain)]
METRICS = [metric for domain in all_domains() for metric in domain.metrics]


def told(plant: Plant, *paths: str, rules: list[PathRule] = DOMAINS, site: int = 0) -> list[dict[str, Any]]:
    rows = named(plant.engine, series_columns(METRICS, rules, site), paths)
    assert [row.pop("path") for row in rows] == list(paths)
    return rows


@pytest.mark.engine
@pytest.mark.parametrize("rule", DOMAINS, ids=lambda rule: rule.path)
def test_every_rule_of_a_domain_means_what_it_says(plant: Plant, rule: PathRule) -> None:
    """Among all others: none before it takes its paths away."""
    [row] = told(plant, rule.sample)
    assert rule.expect
    assert {"name": row["name"], **row["tags"]} == rule.expect
    assert (row["unit"], row["mtype"]) == (rule.unit, rule.mtype)


@pytest.mark.engine
def test_what_is_declared_goes_before_the_domains_rules_and_the_sites_before_all(plant: Plant) -> None:
    [row] = told(plant, "servers.n1.cpu.used")
    assert (row["name"], row["unit"]) == ("cpu.used", "%")
    own = PathRule("servers.{host}.cpu.used", "ours", "servers.n1.cpu.used", "s", "rate", {"site": "eu"})
    [row] = told(plant, "servers.n1.cpu.used", rules=[own, *DOMAINS], site=1)
    assert row == {"name": "ours", "tags": {"host": "n1", "site": "eu"}, "unit": "s", "mtype": "rate", "host": "n1"}


@pytest.mark.engine
def test_a_tagged_path_says_its_unit_and_mtype(plant: Plant) -> None:
    rows = told(plant, "a.b;host=n1;mtype=counter;unit=B", "a.b;mtype=odd", "cpu.used;unit=jiffies", "plain")
    assert [(row["unit"], row["mtype"]) for row in rows] == [
        ("B", "counter"), ("", "gauge"), ("%", "gauge"), ("", "gauge"),
    ]  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize(
    ("path", "name", "sample", "meant"),
    [
        ("{}.{host}.{what*}", "{what}", "x.n1.a.b", {"name": "a.b", "host": "n1"}),
        ("a.{dc}.{rack}.{dc}", "m", "a.b.c.d", {"name": "m", "dc": "b.d", "rack": "c"}),
        ("it's.{host}", "o'{host}\\", "it's.n-1", {"name": "o'n-1\\"}),
        ("a.{n:[0-9]+}{*}", "a", "a.17", {"name": "a", "n": "17"}),
        ("a.{n:[0-9]+}{*}", "a", "a.17.b.c", {"name": "a", "n": "17"}),
        ("{host:(?:n|m)[0-9]}-{part}", "a", "m1-x-y", {"name": "a", "host": "m1", "part": "x-y"}),
    ],
)
def test_what_a_path_may_be(plant: Plant, path: str, name: str, sample: str, meant: dict[str, str]) -> None:
    [row] = told(plant, sample, rules=[PathRule(path, name, sample)])
    assert {"name": row["name"], **row["tags"]} == meant


@pytest.mark.parametrize(
    ("path", "name", "why"),
    [
        ("a.{host", "a", "not closed"), ("a.{ho st}", "a", "not closed"), ("a.{host:(x)}", "a", "groups of its own"),
        ("a.{host:[}", "a", "no expression"), ("a.{host}", "{what}", "uses what"), ("b.{host}", "b", "its sample"),
    ],
)  # fmt: skip
def test_what_is_no_path(path: str, name: str, why: str) -> None:
    with pytest.raises(WrongUse, match=why):
        reading(PathRule(path, name, "a.n1"))


@pytest.mark.parametrize(
    ("template", "path", "name"),
    [
        ("measurement.measurement.host", "{measurement}.{measurement}.{host}{*}", "{measurement}"),
        ("servers.* .host.measurement*", "servers.{host}.{measurement*}", "{measurement}"),
        ("*.app env.service.resource.measurement", "{env}.{service:app}.{resource}.{measurement}{*}", "{measurement}"),
        ("stats.* .host.measurement.field", "stats.{host}.{measurement}.{field}{*}", "{measurement}.{field}"),
        ("env.app*.x .measurement.measurement*", "env.{measurement:app[^.;]*}.{measurement*}", "{measurement}"),
        ("..measurement*", "{}.{}.{measurement*}", "{measurement}"),
    ],
)
def test_telegrafs_templates(template: str, path: str, name: str) -> None:
    assert from_template(template)[:2] == (path, name)


def test_templates_have_tags_of_their_own() -> None:
    assert from_template("a.* .host.measurement* zone=eu,dc=1")[2] == {"zone": "eu", "dc": "1"}
    for wrong in ("host.tags", "a b c measurement", ""):
        with pytest.raises(WrongUse):
            from_template(wrong)


SITE = """
[[path]]
template = "hpc.* .rack.host.measurement*"
sample = "hpc.r1.n1.fan.speed"
unit = "rpm"
"""


@pytest.mark.engine
def test_a_sites_rule_names_what_is_stored_anew(plant: Plant, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    plant.settings = plant.settings.model_copy(update={"rules": rules})
    spool = plant.spool()
    writer = Writer(plant.settings, plant.clock, plant.engine, spool)
    writer.prepare()

    def send(text: str) -> None:
        plant.spool_only("carbon/tcp", text.encode())
        writer.drain()
        assert not writer.trouble

    def names() -> list[tuple[Any, ...]]:
        rows = plant.rows("SELECT name, tags, unit, host FROM qnib.series FINAL ORDER BY path")
        return [(row["name"], row["tags"], row["unit"], row["host"]) for row in rows]

    send(f"hpc.r1.n1.fan.speed 900 {T}\n")
    assert names() == [("hpc.r1.n1.fan.speed", {}, "", "")]
    rules.mkdir()
    (rules / "paths.toml").write_text(SITE)
    send(f"hpc.r2.n2.fan.speed 900 {T + 1}\n")
    n1, n2 = (("fan.speed", {"rack": f"r{n}", "host": f"n{n}"}, "rpm", f"n{n}") for n in (1, 2))
    assert names() == [n1, n2]
    send(f"hpc.r1.n1.fan.speed 900 {T + 2}\n")
    assert [row["host"] for row in plant.rows("SELECT host FROM qnib.heard FINAL WHERE host != ''")] == ["n1", "n2"]
    Writer(plant.settings, plant.clock, plant.engine, spool).prepare()
    assert names() == [n1, n2]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[path]]\npath = 'a.{host}'\nname = 'a'\n", "lacks sample"),
        ("[[path]]\npath = 'a.{host}'\nname = 'a'\nsample = 'b.c'\n", "does not match its sample"),
        ("[[path]]\npath = 'a'\nname = 'a'\nsample = 'a'\nunits = 'B'\n", "unknown entries: units"),
        ("[[path]]\npath = 'a'\nname = 'a'\nsample = 'a'\nmtype = 'x'\n", "no mtype 'x'"),
        ("[[path]]\ntemplate = 'a.b'\nsample = 'a.b'\n", "names no measurement"),
        ("[[path]]\npath = 'a.{n:(?=x)x}'\nname = 'a'\nsample = 'a.x'\n", "engine does not read"),
        ("[[path]]\npath = 'a.{n}'\nname = 'a'\nsample = 'a.x'\nexpect = {name = 'b'}\n", "makes of its sample"),
        ("[[paths]]\n", "unknown: paths"),
    ],
)
def test_a_file_with_a_mistake_is_not_in_force(plant: Plant, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    book = Rulebook(plant.clock, plant.engine, tmp_path)
    assert book.current().site_paths == 0
    assert len(book.current().paths) == len(DOMAINS)
    assert why in book.trouble
    assert "own.toml:1" in book.trouble or "paths" in why


def test_events_and_paths_stand_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text(f"[[rule]]\nname='n'\nmatch='m'\nkind='k'\nsample='m'\n{SITE}")
    [rule] = read_paths(file)
    assert (rule.where, rule.path, rule.unit) == (f"{file}:7", "hpc.{rack}.{host}.{measurement*}", "rpm")
