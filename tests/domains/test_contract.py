"""What every domain must keep, built in or not: adding a layer is adding a folder that passes this."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from tests.domains.golden import Sample, samples

from qnib.domains import all_domains
from qnib.domains.events import load_rules
from qnib.model import Domain, EventRule, Metric

DOMAINS = {domain.name: domain for domain in all_domains()}
RULES = [(domain.name, rule) for domain in all_domains() for rule in load_rules(domain)]
COLUMNS = {"host", "app", "cluster", "pid"}
"""What every log record has beside a rule's fields."""
MTYPES = {"gauge", "counter", "rate"}

each_domain = pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)


@each_domain
def test_domain_is_described(domain: Domain) -> None:
    assert domain.title and domain.description
    assert (domain.folder / "README.md").is_file(), "one page that says what is here"


@each_domain
def test_metrics_have_unit_and_description(domain: Domain) -> None:
    for metric in domain.metrics:
        assert metric.unit, metric.name
        assert metric.description, metric.name
        assert metric.source, metric.name
        assert metric.mtype in MTYPES, metric.name


def test_metric_names_and_paths_are_unique() -> None:
    metrics: list[Metric] = [metric for domain in DOMAINS.values() for metric in domain.metrics]
    assert len({metric.name for metric in metrics}) == len(metrics)
    assert len({re.sub(r"\{\w+\}", "*", metric.path) for metric in metrics}) == len(metrics)


@pytest.mark.parametrize("sample", list(samples()), ids=lambda s: f"{s.domain.name}/{s.file.stem}")
def test_sample_has_its_golden_meaning(sample: Sample) -> None:
    assert json.loads(json.dumps(sample.meaning())) == json.loads(sample.golden.read_text())


@each_domain
def test_every_capture_has_a_sample(domain: Domain) -> None:
    shown = {sample.name for sample in samples() if sample.domain is domain}
    assert {capture.name for capture in domain.captures} <= shown


@each_domain
def test_captures_are_bounded(domain: Domain) -> None:
    for capture in domain.captures:
        assert capture.command and capture.interval >= 1 and capture.timeout <= 60
        for trigger in capture.triggers:
            re.compile(trigger)


@pytest.mark.parametrize(("name", "rule"), RULES, ids=[f"{name}/{rule.name}" for name, rule in RULES])
def test_event_rule_matches_its_sample(name: str, rule: EventRule) -> None:
    assert rule.sample, "a rule shows the line it is for"
    found = re.search(rule.match, rule.sample)
    assert found, rule.sample
    fields = {key: value for key, value in found.groupdict().items() if value}
    assert fields == dict(rule.expect)
    for template in rule.entities:
        kind = template.partition(":")[0]
        assert kind in {entity.name for domain in DOMAINS.values() for entity in domain.entities}
        assert set(re.findall(r"\{(\w+)\}", template)) <= {*fields, *COLUMNS}


@pytest.mark.parametrize(("name", "rule"), RULES, ids=[f"{name}/{rule.name}" for name, rule in RULES])
def test_event_rule_is_re2(name: str, rule: EventRule) -> None:
    """What RE2 and Hyperscan do not have: looking around, back references, possessive and atomic groups."""
    assert not re.search(r"\(\?[=!>]|\(\?<[=!]|\(\?P=|\\[1-9]|[*+?}]\+", rule.match)


def test_event_rule_names_are_unique() -> None:
    names = [rule.name for _, rule in RULES]
    assert len(set(names)) == len(names)


@each_domain
def test_panels_name_declared_metrics(domain: Domain) -> None:
    declared = {metric.name for other in DOMAINS.values() for metric in other.metrics}
    kinds = {entity.name for other in DOMAINS.values() for entity in other.entities}
    for panel in domain.panels:
        assert set(panel.metrics) <= declared, panel.title
        assert panel.entity in kinds, panel.title
        if panel.kind in ("series", "heatmap", "stat"):
            assert panel.metrics and panel.unit, panel.title
        if panel.kind == "table":
            assert panel.query and panel.columns, panel.title
        if panel.kind in ("log", "timeline"):
            assert panel.events, panel.title


@each_domain
def test_checks_have_advice(domain: Domain) -> None:
    for check in domain.checks:
        assert check.advice and check.description, check.name
        assert check.find({}) == () or list(check.find({})) == [], "nothing is known: nothing is found"


@each_domain
def test_relations_name_declared_kinds(domain: Domain) -> None:
    kinds = {entity.name for other in DOMAINS.values() for entity in other.entities}
    for relation in domain.relations:
        assert {relation.source, relation.target} <= kinds, relation.name


def test_what_parsers_tell_is_declared() -> None:
    kinds = {e.name: e for d in DOMAINS.values() for e in d.entities}
    ties = {(r.name, r.source, r.target): r for d in DOMAINS.values() for r in d.relations}
    for sample in samples():
        capture = next((c for c in sample.domain.captures if c.name == sample.name), None)
        if capture is None:
            continue
        told = sample.meaning()
        for ref, entity in told["entities"].items():
            assert set(entity["properties"]) <= set(kinds[ref.partition(":")[0]].properties), ref
        for line in told["relations"]:
            found = re.match(r"(\w+):.* -(\w+)-> (\w+):", line)
            assert found and (found[2], found[1], found[3]) in ties, line
        assert set(told["complete"]) <= {*kinds, *(name for name, _, _ in ties)}


def test_domains_import_the_standard_library_only() -> None:
    """The agent on a node imports every domain and has 15 MB to live in."""
    code = (
        "import sys\n"
        f"import {', '.join(f'qnib.domains.{name}' for name in DOMAINS)}\n"
        "allowed = set(sys.stdlib_module_names) | {'qnib', '__main__'}\n"
        "print(*{name.partition('.')[0] for name in sys.modules} - allowed)\n"
        "print(*[name for name in ('asyncio', 'subprocess', 'email', 'tomllib', 'logging') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(next(iter(DOMAINS.values())).folder.parents[2])})
    assert done.stdout.split() == []
