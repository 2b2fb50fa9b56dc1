"""The image's recipe, and what is said when it cannot be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnib.errors import Unavailable
from qnib.settings import Settings
from qnib.terminal import image, mirror
from qnib.terminal.blueprint import Blueprint, Services
from qnib.terminal.systems import SYSTEMS
from tests.terminal.fake import FakeEngine

DEBIAN = """\
Packages|Debian|Debian|http://mirror.example/debian/
Packages|Debian|Debian-Security|http://mirror.example/debian-security/
Packages|Other|Other|http://other.example/apt/
Translations|Debian|Debian|http://mirror.example/debian/
"""

BROKEN = """#!/bin/sh
cat >/dev/null
echo 'I: running apt-get update...' >&2
echo 'E: apt-get update failed: Could not resolve mirror' >&2
exit 25
"""


def test_the_tag_follows_the_recipe() -> None:
    tags = [image.tag(Blueprint()), image.tag(Blueprint(software=["vim"])), image.tag(Blueprint(system="debian12"))]
    assert len(set(tags)) == 3
    assert tags[0] == image.tag(Blueprint(name="other", software=[])), "only what is in the image counts"


def test_packages_of_a_service_or_an_mpi_are_there_only_when_asked_for() -> None:
    plain = image.packages(Blueprint())
    assert not {"openssh-server", "libmpich12"} & set(plain)
    login = Blueprint(services=Services(login=True))
    assert "openssh-server" in image.packages(login)
    assert "libmpich12" in image.packages(Blueprint(mpi=["openmpi", "mpich"]))
    assert any("ssh_host_" in hook and hook.startswith("rm ") for hook in image.hooks(login))
    assert not any("ssh_host_" in hook for hook in image.hooks(Blueprint()))


def test_no_key_stays_in_the_image() -> None:
    for system in SYSTEMS.values():
        assert any("munge.key" in command and command.startswith("rm ") for command in image.customize(system))


def test_packages_come_from_the_hosts_own_mirror() -> None:
    assert mirror.sources("", DEBIAN, "trixie").splitlines() == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_a_host_that_is_not_debian_leaves_the_choice_to_debians_tools() -> None:
    assert mirror.sources("", "Packages|Ubuntu|Ubuntu|http://mirror.example/ubuntu/\n", "trixie") == ""
    chosen = mirror.sources("http://chosen.example/debian/", DEBIAN, "bookworm")
    assert chosen.startswith("deb http://chosen.example/debian bookworm")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with Debian's keys."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "debian-archive-keyring.gpg").touch()
    monkeypatch.setattr(mirror, "KEYRINGS", tmp_path)
    monkeypatch.setattr(mirror, "index_targets", lambda: DEBIAN)
    monkeypatch.setattr(image.os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return tools


def test_a_build_that_fails_tells_why_and_leaves_nothing(host: Path, tmp_path: Path) -> None:
    (host / "mmdebstrap").write_text(BROKEN)
    (host / "mmdebstrap").chmod(0o755)
    home = tmp_path / "home"
    said: list[str] = []
    with pytest.raises(Unavailable) as error:
        image.ensure(Settings(home=home), FakeEngine(), Blueprint(), said.append)
    assert "Could not resolve mirror" in error.value.what
    assert "mirror.example" in error.value.where
    assert "QNIB_TERMINAL__MIRROR" in error.value.try_next
    assert said == ["reading package lists"]
    assert not list(home.glob("image-*"))


def test_a_missing_tool_is_named(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(host))
    with pytest.raises(Unavailable) as error:
        image.ensure(Settings(home=tmp_path / "home"), FakeEngine(), Blueprint(), print)
    assert error.value.try_next == "apt-get install mmdebstrap"


def test_missing_keys_are_named(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "mmdebstrap").write_text(BROKEN)
    (host / "mmdebstrap").chmod(0o755)
    (tmp_path / "debian-archive-keyring.gpg").unlink()
    with pytest.raises(Unavailable) as error:
        image.ensure(Settings(home=tmp_path / "home"), FakeEngine(), Blueprint(), print)
    assert "debian-archive-keyring" in error.value.try_next


def test_an_image_that_is_there_is_not_built_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    wanted = image.tag(Blueprint())
    engine.images_there.add(wanted)
    assert image.ensure(Settings(home=tmp_path), engine, Blueprint(), print) == wanted
