"""Settings: defaults < qnib.toml < QNIB_* < flags, each with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnib import settings
from qnib.errors import WrongUse


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "qnib.toml"
    monkeypatch.setenv("QNIB_CONFIG", str(file))
    return file


def told(name: str) -> tuple[object, str]:
    return next((value, origin) for n, value, origin, _ in settings.origins(settings.load()) if n == name)


def test_each_layer_wins_over_the_one_before(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml.write_text("[http]\nport = 1111\n")
    assert told("http.port") == (1111, str(toml))
    assert told("carbon.port") == (2003, "default")
    monkeypatch.setenv("QNIB_HTTP__PORT", "2222")
    assert told("http.port") == (2222, "QNIB_HTTP__PORT")
    assert settings.load(http={"port": 3333}).http.port == 3333


def test_a_source_has_its_own_zone(toml: Path) -> None:
    toml.write_text('[sources."switch7"]\nzone = "Europe/Berlin"\n')
    assert settings.load().sources["switch7"].zone == "Europe/Berlin"


def test_racks_are_the_clusters_they_are_told_of(toml: Path) -> None:
    toml.write_text('[racks]\nr1 = "compute[0-15]"\n[racks.blue]\na = "node[0-3]"\n')
    known = settings.load()
    assert known.racks_of("demo") == {"r1": "compute[0-15]"}
    assert known.racks_of("blue") == {"a": "node[0-3]"}
    assert known.racks_of("green") == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[http]\nport = 'many'\n", "http.port"),
        ("speed = 3\n", "speed"),
        ("[http\n", "TOML"),
        ('[sources."switch7"]\nzone = "Europe/Atlantis"\n', "Atlantis"),
        ('[racks]\nr1 = "c[0-1"\n', "r1"),
        ('[racks]\n"row 1" = "c0"\n', "row 1"),
        ('[racks]\nr1 = "c[0-1]"\nr2 = "c1"\n', "c1 cannot stand in r1 and in r2"),
        ('[racks]\nr1 = "c[0-99999999]"\n', "name at most 10000"),
        ('[racks]\nr1 = "c[0-9999]n[0-9999]"\n', "name at most 10000"),
        ('[racks.Blue]\nr1 = "c1"\n', "Blue"),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(toml: Path, text: str, named: str) -> None:
    toml.write_text(text)
    with pytest.raises(WrongUse) as caught:
        settings.load()
    assert named in caught.value.what
    assert caught.value.where == str(toml)
    assert caught.value.try_next


def test_a_named_file_must_exist(toml: Path) -> None:
    with pytest.raises(WrongUse, match="does not exist"):
        settings.load()


def test_every_setting_says_what_it_means() -> None:
    assert all(meaning for _, _, _, meaning in settings.origins(settings.load()))
