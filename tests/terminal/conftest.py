"""One small real cluster for the tests of this folder, with a state directory and a name of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qnib import terminal
from qnib.settings import Settings
from tests.conftest import container_engine, skip

NODES = 3


@dataclass(frozen=True)
class Lab:
    """A running cluster without a server."""

    settings: Settings
    name: str

    def qnib(self, *words: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """The command line, as its user would call it."""
        done = subprocess.run(
            [sys.executable, "-m", "qnib", *words], env=self.environment, capture_output=True, text=True,
            timeout=timeout, check=False,
        )
        said = f"qnib {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def run(self, host: str, *command: str, user: str = "", check: bool = True) -> str:
        """What a command on a host printed."""
        options = ["--user", user] if user else []
        return self.qnib("exec", *options, host, "--", *command, check=check).stdout

    @property
    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("QNIB_")}
        return plain | {"QNIB_HOME": str(self.settings.home), "QNIB_CLUSTER": self.name}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three nodes and a fabric; taken down at the end."""
    if reason := container_engine():
        skip(reason)
    made = Lab(Settings(home=Path(tmp_path_factory.mktemp("lab"))), f"lab{os.getpid()}")
    made.qnib("up", "--name", made.name, "--nodes", str(NODES), timeout=600)
    try:
        yield made
    finally:
        terminal.down(made.settings, name=made.name)
