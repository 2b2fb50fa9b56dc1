"""whisper's storage-schemas and storage-aggregation: what carbon makes of them, and errors with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnib.errors import NotFound, WrongUse
from qnib.monitoring.storage.rules import Archive, Rule, Rules, rules_of
from qnib.monitoring.storage.whisper_files import Stored, take
from qnib.settings import Settings, Storage

# As carbon ships them, but for the comments
SHIPPED_SCHEMAS = """
[carbon]
pattern = ^carbon\\.
retentions = 60:90d

[default_1min_for_1day]
pattern = .*
retentions = 60s:1d
"""
SHIPPED_AGGREGATION = """
[min]
pattern = \\.min$
xFilesFactor = 0.1
aggregationMethod = min

[max]
pattern = \\.max$
xFilesFactor = 0.1
aggregationMethod = max

[sum]
pattern = \\.count$
xFilesFactor = 0
aggregationMethod = sum

[default_average]
pattern = .*
xFilesFactor = 0.5
aggregationMethod = average
"""


def read(folder: Path, schemas: str, aggregation: str | None = None, drop_raw: bool = False) -> Rules:
    (folder / "schemas.conf").write_text(schemas)
    if aggregation is not None:
        (folder / "aggregation.conf").write_text(aggregation)
    told = Storage(
        schemas=folder / "schemas.conf", drop_raw=drop_raw,
        aggregation=folder / "aggregation.conf" if aggregation is not None else None,
    )  # fmt: skip
    return rules_of(Settings(home=folder, storage=told))


def test_the_shipped_files(tmp_path: Path) -> None:
    rules = read(tmp_path, SHIPPED_SCHEMAS, SHIPPED_AGGREGATION)
    assert rules.of("carbon.agents.a.max") == Rule((Archive(60, 129_600),), "max", 0.1)
    assert rules.of("servers.a.cpu") == Rule((Archive(60, 1440),), "average", 0.5)
    assert rules.of("a.count") == Rule((Archive(60, 1440),), "sum", 0.0)


def test_sections_in_order_units_legacy_and_search(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        "# a comment\n[first]\nPATTERN: cpu\nRetentions: 10s:6h, 1min:7d,1hour:5years\npriority = 1\n"
        "[legacy]\npattern = ^old\\.\nretentions = 60:1440,900:192\n[late]\npattern = cpu\nretentions = 1s:1d\n"
        "[tagged]\npattern = ;dc=one\nretentions = 1w:4y\n",
    )  # fmt: skip
    assert rules.of("a.cpu.b").archives == (Archive(10, 2160), Archive(60, 10_080), Archive(3600, 43_800))
    assert rules.of("x;dc=one").archives == (Archive(604_800, 208),)
    # Nothing matches: carbon's own default
    assert rules.of("other") == Rule((Archive(60, 10_080),), "average", 0.5)


def test_legacy_seconds_and_points(tmp_path: Path) -> None:
    rules = read(tmp_path, "[old]\npattern = .\nretentions = 900:192,60:1440\n")
    assert rules.of("x").archives == (Archive(60, 1440), Archive(900, 192)), "sorted by their step, as whisper does"


def test_match_all_and_a_missing_method(tmp_path: Path) -> None:
    rules = read(tmp_path, "[all]\nmatch-all = true\nretentions = 60s:1d\n", "[some]\npattern = x\nxFilesFactor = 1\n")
    assert rules.of("x") == Rule((Archive(60, 1440),), "average", 1.0)


def test_without_files_all_is_kept() -> None:
    assert rules_of(Settings()).of("x") == Rule()
    with pytest.raises(WrongUse, match=r"storage\.schemas"):
        rules_of(Settings(storage=Storage(drop_raw=True)))


@pytest.mark.parametrize(
    ("schemas", "aggregation", "line", "what"),
    [
        ("[a]\npattern = .\nretentions = 60s:1d,90s:7d\n", None, "schemas.conf:3", "evenly divide"),
        ("[a]\npattern = .\nretentions = 60s:1d,60s:7d\n", None, "schemas.conf:3", "same precision"),
        ("[a]\npattern = .\nretentions = 60s:7d,300s:1d\n", None, "schemas.conf:3", "larger time intervals"),
        ("[a]\npattern = .\nretentions = 60s:2m,1h:1d\n", None, "schemas.conf:3", "enough points"),
        ("[a]\npattern = .\n\nretentions = often\n", None, "schemas.conf:4", "often"),
        ("[a]\npattern = .\nretentions = 1x:7d\n", None, "schemas.conf:3", "unit"),
        ("[a]\npattern = .\nretentions = 0s:7d\n", None, "schemas.conf:3", ""),
        ("[b]\npattern = .\nretentions = 1m:1d\n[a]\npattern = (\nretentions = 1m:1d\n", None, "schemas.conf:5", ""),
        ("[a]\nretentions = 1m:1d\n", None, "schemas.conf:1", "no pattern"),
        ("\n[a]\npattern = .\n", None, "schemas.conf:2", "no retentions"),
        ("[a]\npattern = .\nnonsense\n", None, "schemas.conf:3", "well formed"),
        ("pattern = .\n", None, "schemas.conf:1", "well formed"),
        ("[a]\npattern = .\nretentions = 1m:1d\n", "[x]\npattern=.\nxFilesFactor = 2\n", "aggregation.conf:3",
         "0 to 1"),
        ("[a]\npattern = .\nretentions = 1m:1d\n", "[x]\npattern=.\naggregationMethod = p99\n", "aggregation.conf:3",
         "no method"),
    ],
)  # fmt: skip
def test_an_error_names_file_and_line(
    tmp_path: Path, schemas: str, aggregation: str | None, line: str, what: str
) -> None:
    with pytest.raises(WrongUse) as told:
        read(tmp_path, schemas, aggregation)
    assert told.value.where.endswith(line), told.value.where
    assert what in told.value.what.lower()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        rules_of(Settings(storage=Storage(schemas=tmp_path / "nowhere")))


def test_a_slot_whose_points_are_here_in_part_stays_as_whisper_had_it() -> None:
    """The finest archive begins within a slot of each coarser one: of its points alone that would be too empty."""
    start = 36_000 * 50 - 240
    fine = Stored(60, np.arange(start, start + 1200, 60), np.ones(20))
    coarse = [
        Stored(step, np.arange(start - start % step - 9 * step, start, step), np.ones(10)) for step in (300, 3600)
    ]
    rule = Rule((Archive(60, 20), Archive(300, 100), Archive(3600, 100)))
    taken = take([fine, *coarse], rule)
    assert len(taken.points) == 20
    assert [(step, at) for step, at, _, part in taken.coarser if part] == [(300, start - 60), (3600, start - 3360)]


def test_a_slot_that_whisper_does_not_know_is_not_filled_from_a_coarser_one() -> None:
    hours = np.arange(3600 * 90, 3600 * 100, 3600)
    slots = np.arange(3600 * 98, 3600 * 100, 300)
    slots = slots[slots != 3600 * 99]  # too few of its points were known
    fine = np.arange(3600 * 100 - 600, 3600 * 100, 60)
    stored = [Stored(step, t, np.full(len(t), step)) for step, t in ((60, fine), (300, slots), (3600, hours))]
    taken = take(stored, Rule((Archive(60, 10), Archive(300, 600), Archive(3600, 100))))
    own = {at: value for step, at, value, _ in taken.coarser if step == 300}
    assert 3600 * 99 not in own and own[3600 * 98] == 300
    assert own[3600 * 97] == 3600, "older than the archive of that step: what there is"
