"""A film converted by a real ffmpeg on a cluster whose blueprint asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnib import terminal
from qnib.settings import Settings
from tests.conftest import container_engine, skip
from tests.terminal.conftest import Lab

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if reason := container_engine():
        skip(reason)
    made = Lab(Settings(home=tmp_path), f"film{os.getpid()}")
    try:
        made.qnib("up", "--file", "video", "--name", made.name, timeout=560)
        yield made
    finally:
        terminal.down(made.settings, name=made.name)


def test_a_film_is_converted_in_parts_and_joined_whole(lab: Lab) -> None:
    told = lab.qnib("run", "video", "--nodes", "2", "--user", "carol", "--wait", "--", "--frames", "101").stdout
    assert told.count("convert COMPLETED on compute") == 4 and "join COMPLETED" in told
    assert "joined 4 parts" in told and ": 101 frames" in told
    films = lab.run("controller", "sh", "-c", "ls video-*/", user="carol").split()
    assert films == ["film.mp4"], "what is not needed any more is gone"
    said = lab.run("controller", "sh", "-c", "cat convert-*_2.out", user="carol")
    assert "progress 25/25 rate" in said or "progress 26/26 rate" in said, "frames are its iterations"
