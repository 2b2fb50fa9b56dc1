"""Programs that send numbers, for the tests of the edges: in an environment of their own, or unpacked only."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import skip

HERE = Path(__file__).parents[2] / ".make"


def sender_python() -> str:
    """The Python that has carbon and the clients of statsd and InfluxDB."""
    home = HERE / "metric-senders"
    if not (home / "complete").exists():
        skip("carbon and the clients are not here: `tools/setup test` gets them")
    return str(home / "bin/python")


def unpacked(name: str) -> Path:
    """The root of a package of Debian's."""
    if not (HERE / "senders" / name / "complete").exists():
        skip(f"{name} is not here: `tools/setup test` gets it")
    return HERE / "senders" / name / "root"
