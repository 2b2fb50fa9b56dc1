"""`qnib doctor`: what is missing, and what is proved where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qnib.settings import Settings
from qnib.terminal import doctor, stopping
from tests.terminal.conftest import Lab


def test_on_a_machine_with_nothing_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "up", lambda *_, **__: pytest.fail("nothing is started on a machine that lacks parts"))
    rows = list(doctor.examine(Settings(home=tmp_path)))
    assert [(row.check, row.state) for row in rows] == [("a container engine", "missing")]
    assert "apt-get install podman" in rows[0].told


def test_a_proof_that_cannot_be_had_takes_its_cluster_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    removed: list[str] = []

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "_there", lambda settings: iter([doctor.Row("all", "holds", "")]))
    monkeypatch.setattr(doctor, "up", broken)
    monkeypatch.setattr(doctor, "down", lambda settings, name: removed.append(name))
    with pytest.raises(KeyboardInterrupt):
        list(doctor.examine(Settings(home=tmp_path)))
    assert len(removed) == 1 and stopping  # only its own


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_every_limit_holds_or_is_said_not_to(lab: Lab) -> None:
    rows = json.loads(lab.qnib("doctor", "--json", timeout=280).stdout)
    states = {row["check"]: row["state"] for row in rows}
    assert len(states) >= 13
    assert set(states.values()) <= {"holds", "not on this rung"}, states
    assert states["a node cannot use more memory than its own"] == "holds"
    named = lab.qnib("cluster", "list", "--json").stdout
    assert "doctor" not in named
