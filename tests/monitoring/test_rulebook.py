"""Rules change without a restart: a site's file added, corrected, spoilt, removed; numbers in lines become series."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnib.errors import WrongUse
from qnib.model import EventMetric, EventRule
from qnib.monitoring.rulebook import Rulebook
from qnib.monitoring.rules import check
from qnib.monitoring.writer import Writer

from .conftest import Plant
from .test_exactly_once import file_again

pytestmark = pytest.mark.engine
RULE = """
[[rule]]
name = "pump"
app = ["bmc", "bmc2"]
match = 'pump (?P<pump>\\d+) at (?P<flow>[0-9.]+) l/min'
kind = "cooling.pump"
severity = "{severity}"
tags = ["cooling"]
entities = ["Host:{{host}}"]
hint = "The loop of this rack."
metric = {{ name = "cooling.flow", unit = "l/min", value = "{{flow}}", tags = {{ pump = "{{pump}}" }} }}
sample = "pump 3 at 12.5 l/min"
expect = {{ pump = "3", flow = "12.5" }}
"""
LINE = "<30>1 2026-11-20T11:00:00Z rack1.example bmc - - - pump {} at 12.5 l/min"


@pytest.fixture
def served(plant: Plant) -> tuple[Plant, Writer, Path]:
    """One writer for a whole test, as in a server: it starts with the files' rules."""
    folder = plant.settings.home / "rules"
    folder.mkdir(parents=True)
    plant.rules = None  # type: ignore[assignment]
    return plant, plant.writer(plant.spool()), folder


def write(file: Path, text: str) -> None:
    """As an editor does: a new file under the old name."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


def take(plant: Plant, writer: Writer, *lines: str) -> None:
    plant.spool_only("syslog/tcp", "".join(f"{line}\n" for line in lines).encode())
    writer.drain()
    assert not writer.trouble, writer.trouble


def kinds(plant: Plant) -> list[tuple[str, str]]:
    return [(r["kind"], r["severity"]) for r in plant.rows("SELECT kind, severity FROM qnib.events ORDER BY message")]


def test_a_change_takes_effect_without_a_restart(served: tuple[Plant, Writer, Path]) -> None:
    plant, writer, folder = served
    take(plant, writer, LINE.format(1))
    write(folder / "ours.toml", RULE.format(severity="warning"))
    take(plant, writer, LINE.format(2))
    write(folder / "ours.toml", RULE.format(severity="err"))
    take(plant, writer, LINE.format(3))
    (folder / "ours.toml").unlink()
    take(plant, writer, LINE.format(4))
    assert kinds(plant) == [("", "info"), ("cooling.pump", "warning"), ("cooling.pump", "err"), ("", "info")]
    told = plant.rows("SELECT tags, entities, hint FROM qnib.events WHERE kind != '' LIMIT 1")
    assert told == [{"tags": ["cooling"], "entities": ["Host:rack1.example"], "hint": "The loop of this rack."}]


@pytest.mark.parametrize(
    ("spoilt", "line", "told"),
    [
        ("[[rule]\nname = 1", 1, "not TOML"),
        ("\n\n[[rule]]\nname = 'a'\nmatch = '('\nkind = 'a.b'\nsample = 'x'", 3, "pattern is wrong"),
        ("[[rule]]\nname = 'a'\nmatch = 'a(?=b)'\nkind = 'a.b'\nsample = 'ab'", 1, "looks around"),
        ("[[rule]]\nname = 'a'\nmatch = 'ab'\nkind = 'a.b'\nsample = 'cd'", 1, "its own sample"),
        ("[[rule]]\nname = 'a'\nmatch = 'ab'\nkind = 'a.b'", 1, "no line it is for"),
        ("[[rule]]\nname = 'a'\nmatch = 'a(?P<b>.)'\nkind = 'a.b'\nsample = 'ab'", 1, "not those expected"),
        ("[[rule]]\nname = 'a'\nmatch = 'ab'\nkind = 'a.b'\nsample = 'ab'\ncolour = 'red'", 1, "colour"),
        ("[[rule]]\nname = 'a'\nmatch = 'ab'\nkind = 'a.b'\nsample = 'ab'\nentities = ['Host:{node}']", 1, "node"),
        ("[[rule]]\nname = 'a'\nmatch = 'ab'\nkind = 'a.b'\nsample = 'ab'\nmetric = { name = 'x' }", 1, "unit, value"),
        (f"{RULE.format(severity='err')}\n{RULE.format(severity='err')}", 16, "two event rules"),
    ],
)  # fmt: skip
def test_a_mistake_changes_nothing_and_is_told(
    served: tuple[Plant, Writer, Path], spoilt: str, line: int, told: str
) -> None:
    plant, writer, folder = served
    write(folder / "ours.toml", RULE.format(severity="warning"))
    take(plant, writer, LINE.format(1))
    write(folder / "ours.toml", spoilt)
    take(plant, writer, LINE.format(2))
    assert kinds(plant) == [("cooling.pump", "warning")] * 2, "the rules before stay in force"
    assert told in writer.rulebook.trouble
    assert f"{folder / 'ours.toml'}:{line}." in writer.rulebook.trouble
    write(folder / "ours.toml", RULE.format(severity="err"))
    take(plant, writer, LINE.format(3))
    assert writer.rulebook.trouble == "" and kinds(plant)[-1] == ("cooling.pump", "err")


def test_at_the_start_files_with_mistakes_are_left_out(plant: Plant) -> None:
    folder = plant.settings.home / "rules"
    folder.mkdir(parents=True)
    write(folder / "a.toml", RULE.format(severity="err"))
    write(folder / "b.toml", "[[rule]]\nname = 'half'")
    book = Rulebook(plant.clock, plant.engine, folder)
    rules = book.current()
    assert rules.rules[0].name == "pump" and rules.site == 1 and len(rules.rules) > 10
    assert "b.toml:1" in book.trouble


def test_a_rule_of_the_site_stands_in_a_domains_place(served: tuple[Plant, Writer, Path]) -> None:
    _, writer, folder = served
    shipped = writer.rulebook.current().rules
    own = next(rule for rule in shipped if rule.name == "network_link_down")
    write(folder / "ours.toml", f"""
        [[rule]]
        name = "network_link_down"
        match = 'Link is Down'
        kind = "site.link"
        sample = "{own.sample}"
    """)
    rules = writer.rulebook.current().rules
    assert [rule.kind for rule in rules if rule.name == own.name] == ["site.link"]
    assert len(rules) == len(shipped) and rules[0].name == own.name


def test_numbers_become_a_series_once(served: tuple[Plant, Writer, Path]) -> None:
    plant, writer, folder = served
    write(folder / "ours.toml", RULE.format(severity="err"))
    take(plant, writer, *(LINE.format(n) for n in (1, 2, 2)), "<30>1 2026-11-20T11:00:01Z rack1.example bmc2 - - - "
         "pump 1 at 1.2.3 l/min")
    file_again(plant, writer)
    assert plant.rows("SELECT path, tags, unit, mtype, host FROM qnib.series FINAL ORDER BY path") == [
        {"path": f"cooling.flow;host=rack1_example;pump={n}", "tags": {"host": "rack1_example", "pump": str(n)},
         "unit": "l/min", "mtype": "gauge", "host": "rack1_example"} for n in (1, 2)
    ]  # fmt: skip
    assert plant.rows("SELECT count() n, sum(value) s FROM qnib.points FINAL") == [{"n": 2, "s": 25.0}]
    assert plant.rows("SELECT count() n FROM qnib.points") == [{"n": 3}], "each line once, however often inserted"


def test_a_metric_names_its_fields() -> None:
    rule = EventRule("a", "a(?P<b>.)", "a.b", sample="ab", expect={"b": "b"}, metrics=(EventMetric("x", "s", "{c}"),))
    with pytest.raises(WrongUse, match="unknown fields: c"):
        check(rule)


def test_re2_has_the_last_word(plant: Plant) -> None:
    """Vectorscan finds [^(\\s] in a bracket; what RE2 does not confirm is a line that no rule knows."""
    plant.rules = [EventRule("list", r"NodeList=(?P<nodes>[^(\s]\S*)", "job.allocate", sample="NodeList=a")]
    plant.syslog("<30>1 - h a - - - NodeList=(null)", "<30>1 - h a - - - NodeList=c1")
    rows = plant.rows("SELECT message, kind, pattern != 0 AS shaped FROM qnib.events ORDER BY message")
    assert rows == [
        {"message": "NodeList=(null)", "kind": "", "shaped": 1},
        {"message": "NodeList=c1", "kind": "job.allocate", "shaped": 0},
    ]
