"""`qnib load carbon`, `qnib load whisper`, `qnib metrics delete`: as an operator uses them, on a real server."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import whisper

from tests.conftest import World, free_ports
from tests.data import real

pytestmark = pytest.mark.engine


@contextmanager
def server(home: Path, **settings: str) -> Iterator[World]:
    http, carbon, syslog, json_lines = free_ports(4)
    env = {key: value for key, value in os.environ.items() if not key.startswith("QNIB_")} | {
        "QNIB_HOME": str(home), "QNIB_CLUSTER": "lab", "QNIB_HTTP__PORT": str(http), "QNIB_GELF__PORT": "0",
        "QNIB_PICKLE__PORT": "0", "QNIB_STATSD__PORT": "0",
        "QNIB_CARBON__PORT": str(carbon), "QNIB_SYSLOG__PORT": str(syslog), "QNIB_JSON_LINES__PORT": str(json_lines),
        **settings,
    }  # fmt: skip
    world = World(home, "lab", env, f"http://127.0.0.1:{http}", "")
    try:
        world.qnib("serve", "--background")
        yield replace(world, token=(home / "run/token").read_text().strip())
    finally:
        world.qnib("stop", check=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with server(tmp_path_factory.mktemp("plain")) as world:
        yield world


SCHEMAS = "[all]\npattern = .\nretentions = 60s:3h,5m:2d,1h:60d\n"


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("ruled")
    (home / "storage-schemas.conf").write_text(SCHEMAS)
    with server(home, QNIB_STORAGE__SCHEMAS=str(home / "storage-schemas.conf")) as world:
        yield world


def loaded(world: World, *words: str) -> dict[str, Any]:
    (told,) = json.loads(world.qnib("load", *words, "--json").stdout)
    return dict(told)


def values(world: World, target: str, start: int, end: int) -> dict[int, float]:
    (line,) = world.get("/render", target=target, **{"from": start, "until": end, "format": "json"})
    return {at: value for value, at in line["datapoints"] if value is not None}


def test_lines_of_a_file_plain_packed_and_from_standard_input(plain: World, tmp_path: Path) -> None:
    now = int(time.time()) - 86_400
    lines = "".join(f"file.a.load {n} {now + 10 * n}\n" for n in range(1000)) + "nonsense\nfile.b x 1\n"
    (tmp_path / "lines").write_text(lines)
    (tmp_path / "lines.gz").write_bytes(gzip.compress(lines.encode()))
    assert loaded(plain, "carbon", str(tmp_path / "lines")) == {"points": 1000, "rejected": 2}
    assert loaded(plain, "carbon", str(tmp_path / "lines.gz")) == {"points": 1000, "rejected": 2}
    said = subprocess.run(
        [sys.executable, "-m", "qnib", "load", "carbon", "-"], env=plain.env, input=lines, text=True,
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    assert said.stdout == "1000 points; 2 rejected.\n"
    assert len(values(plain, "file.a.load", now - 10, now + 10_000)) == 1000, "three times the same counts once"
    (tmp_path / "broken.gz").write_bytes(gzip.compress(lines.encode())[:200])
    assert "broken" in plain.qnib("load", "carbon", str(tmp_path / "broken.gz"), check=False).stderr


def test_a_real_sites_history(plain: World, tmp_path: Path) -> None:
    info = json.loads(real("graphite/graphiteweb_emmy1403244_whisper_info.json").read_text())["metrics"]
    with tarfile.open(real("graphite/graphiteweb_emmy1403244_whisper.tar.gz")) as archive:
        archive.extractall(tmp_path / "whisper", filter="data")
    told = loaded(plain, "whisper", str(tmp_path / "whisper"))
    assert (told["files"], told["rejected"], told["unreadable"]) == (len(info), 0, {})
    for path, known in info.items():
        found = values(plain, path, known["first"] - 60, known["last"])
        assert (len(found), min(found), max(found)) == (known["points"], known["first"], known["last"]), path
    assert loaded(plain, "whisper", str(tmp_path / "whisper")) == told
    for path, known in info.items():
        assert len(values(plain, path, known["first"] - 60, known["last"])) == known["points"], path


def site(folder: Path) -> dict[str, Path]:
    """Files as a carbon leaves them, after forty days."""
    now = int(time.time())
    made = {}
    for seed, (name, method) in enumerate([
        ("web/a/load", "average"), ("web/b/count", "sum"), ("_tagged/12a/bcd/disk_DOT_used;dc=one;host=a", "max"),
    ]):  # fmt: skip
        file = folder / f"{name}.wsp"
        file.parent.mkdir(parents=True)
        whisper.create(str(file), [(60, 180), (300, 576), (3600, 1440)], 0.5, method)
        dice = random.Random(seed)
        for at in range(now - 40 * 86_400, now, 7200):
            times = [t for t in range(at - at % 60, min(at + 7200, now), 60) if dice.random() < 0.9]
            points = [(t, dice.uniform(0, 9)) for t in times]
            whisper.update_many(str(file), points, now=at + 7200)
        made[name] = file
    return made


def test_archives_stay_archives(ruled: World, plain: World, tmp_path: Path) -> None:
    folder = tmp_path / "whisper"
    made = site(folder)
    (folder / "bad.wsp").write_bytes(b"\0" * 10)
    (folder / "short.wsp").write_bytes(made["web/a/load"].read_bytes()[:5000])
    (folder / "white space.wsp").write_bytes(made["web/a/load"].read_bytes())
    (folder / "link.wsp").symlink_to(made["web/a/load"])
    (folder / "loop").symlink_to(folder)
    told = loaded(ruled, "whisper", str(folder))
    assert told["files"] == 6
    assert set(told["unreadable"]) == {"bad.wsp", "short.wsp", "white space.wsp"}
    again = loaded(ruled, "whisper", str(folder))
    assert {**again, "points": 0} == {**told, "points": 0}
    now = int(time.time())
    tagged = "disk.used;dc=one;host=a"
    for path, file in (("web.a.load", made["web/a/load"]), ("web.b.count", made["web/b/count"])):
        for back, until in ((9000, now), (100_000, now - 12_000), (30 * 86_400, now - 12_000)):
            (start, end, step), kept = whisper.fetch(str(file), now - back, until, now=now)
            wanted = {at: v for at, v in zip(range(start, end, step), kept, strict=True) if v is not None}
            found = values(ruled, path, now - back, until)
            assert found == pytest.approx(wanted), (path, back)
    assert len(values(ruled, f"seriesByTag('name={tagged.partition(';')[0]}')", now - 9000, now)) > 100
    # A site without rules has the same history as points
    assert loaded(plain, "whisper", str(folder))["coarser"] == 0
    (start, end, step), kept = whisper.fetch(str(made["web/a/load"]), now - 30 * 86_400, now - 3 * 86_400, now=now)
    wanted = {at: v for at, v in zip(range(start, end, step), kept, strict=True) if v is not None}
    assert values(plain, "web.a.load", now - 30 * 86_400, now - 3 * 86_400) == pytest.approx(wanted)


def test_series_are_told_then_taken_away(plain: World, tmp_path: Path) -> None:
    now = int(time.time()) - 10_000
    (tmp_path / "lines").write_text("".join(f"old.h{h}.x {n} {now + n}\n" for h in range(3) for n in range(10)))
    loaded(plain, "carbon", str(tmp_path / "lines"))
    said = plain.qnib("metrics", "delete", "old.h[01].*").stdout
    assert "old.h0.x" in said
    assert "2 series with 20 points in cluster lab; nothing was deleted: --yes does it." in said
    assert "deleted." in plain.qnib("metrics", "delete", "old.h[01].*", "--yes").stdout
    assert [leaf["text"] for leaf in plain.get("/metrics/find", query="old.*")] == ["h2"]
    assert "No series matches" in plain.qnib("metrics", "delete", "old.h0.*", check=False).stderr


def test_rules_that_are_wrong_keep_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "schemas").write_text("[a]\npattern = .\nretentions = 60s:1d,90s:7d\n")
    wrong = {"QNIB_STORAGE__SCHEMAS": f"{tmp_path}/schemas"}
    with pytest.raises(AssertionError, match="schemas:3"), server(tmp_path, **wrong):
        """It does not come so far."""
