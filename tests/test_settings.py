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


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[http]\nport = 'many'\n", "http.port"),
        ("speed = 3\n", "speed"),
        ("[http\n", "TOML"),
        ('[sources."switch7"]\nzone = "Europe/Atlantis"\n', "Atlantis"),
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
