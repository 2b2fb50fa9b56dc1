"""The records of clusters: whole or not at all, readable by their owner only."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnib import clusters
from qnib.errors import NotFound, WrongUse


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = clusters.Cluster("lab", gateway="10.1.2.1", ingest_token="t", details={"nodes": ["compute0"]})
    clusters.save(tmp_path, made)
    assert clusters.load(tmp_path, "lab") == made
    assert clusters.load_all(tmp_path) == [made]
    assert (tmp_path / "lab/cluster.json").stat().st_mode & 0o077 == 0


def test_an_unknown_cluster_names_the_known_ones(tmp_path: Path) -> None:
    clusters.save(tmp_path, clusters.Cluster("lab"))
    with pytest.raises(NotFound, match="known: lab"):
        clusters.load(tmp_path, "demo")


@pytest.mark.parametrize("name", ["", "../etc", "Lab", "a" * 40, "lab;rm", "1lab"])
def test_odd_names_never_become_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongUse):
        clusters.load(tmp_path, name)
