"""Points sent on: to a real carbon-cache, to a second QNIB, through kills of either side; to ones that are away."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import whisper

from qnib.monitoring.carbon_target import frames
from qnib.monitoring.mirror import Mirror
from qnib.monitoring.targets import connect
from qnib.settings import MetricsTarget, MirrorSettings
from tests.conftest import World, free_ports, serving, started

from .conftest import LOOPBACK, NOW, Plant
from .live import served
from .metric_senders import sender_python
from .test_captured import load
from .test_mirror import settled

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


def sends_on(plant: Plant, *to: str, sender: Callable[[Any], Any] = connect, **options: Any) -> Mirror:
    limits = {"max_bytes": options.pop("max_bytes")} if "max_bytes" in options else {}
    plant.settings.mirror = MirrorSettings(metrics=[MetricsTarget(to=one, **options) for one in to], **limits)
    plant.mirror = Mirror(plant.settings, plant.clock, sender)
    return plant.mirror


class Collected:
    """A target that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def send(self, lines: Sequence[bytes]) -> int:
        self.got += [line.decode() for line in lines]
        return 0

    def close(self) -> None: ...


# ── a real carbon ─────────────────────────────────────────────────────────────────────────────

CACHE = """
[cache]
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
LOCAL_DATA_DIR = {home}/whisper
LOG_DIR = {home}
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_TAGS = False
CARBON_METRIC_INTERVAL = 0
"""


@contextmanager
def carbon(home: Path, ports: Sequence[int]) -> Iterator[None]:
    """The carbon-cache that is listening on ports for lines, pickles and queries; ended as an operator would."""
    python = sender_python()
    places = dict(zip(("line", "pickle", "query"), ports, strict=True))
    (home / "carbon.conf").write_text(CACHE.format(home=home, **places))
    (home / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1d:20y\n")
    with (home / "out").open("a") as out:
        cache = subprocess.Popen(
            [python, str(Path(python).with_name("carbon-cache.py")), f"--config={home}/carbon.conf",
             f"--pidfile={home}/pid", f"--logdir={home}", "--debug", "start"],
            stdout=out, stderr=out, env={"GRAPHITE_ROOT": str(home), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            yield
        finally:
            cache.terminate()
            cache.wait(60)


def kept(home: Path) -> dict[str, float]:
    """The newest value of each of carbon's files, those of tagged series aside: their names are hashes."""
    found = {}
    for file in (home / "whisper/mirrored").glob("*.wsp"):
        try:
            _, values = whisper.fetch(str(file), T - 3 * 86_400)
        except whisper.CorruptWhisperFile:
            continue  # not yet written
        numbers = [value for value in values if value is not None]
        if numbers:
            found[f"mirrored.{file.stem}"] = numbers[-1]
    return found


def arrived(home: Path, wanted: dict[str, float]) -> None:
    end = time.monotonic() + 60
    while (found := kept(home)) != wanted:
        assert time.monotonic() < end, f"{len(found)} of {len(wanted)}: {(home / 'out').read_text()[-2000:]}"
        time.sleep(0.2)


def numbered(first: int, last: int) -> tuple[str, dict[str, float]]:
    told = {f"mirrored.n{n}": n / 4 - 7 for n in range(first, last)}
    return "".join(f"{path} {value!r} {T - 5}\n" for path, value in told.items()), told


@pytest.mark.parametrize(("scheme", "which"), [("carbon", 0), ("carbon+pickle", 1)])
def test_to_a_real_carbon(plant: Plant, tmp_path: Path, scheme: str, which: int) -> None:
    ports = free_ports(3)
    with carbon(tmp_path, ports):
        mirror = sends_on(plant, f"{scheme}://{LOOPBACK}:{ports[which]}")
        lines, told = numbered(0, 1500)
        plant.carbon(lines)
        plant.post("/write?precision=s", f"other,host=c1 f=1.25 {T - 5}".encode())
        mirror.start()
        (state,) = settled(mirror)
        mirror.stop()
        arrived(tmp_path, told)
    assert (state["sent"], state["refused"], state["dropped"], state["trouble"]) == (1501, 0, 0, "")


def test_a_carbon_that_is_restarted_misses_nothing(plant: Plant, tmp_path: Path) -> None:
    ports, wanted = free_ports(3), {}
    mirror = sends_on(plant, f"carbon://{LOOPBACK}:{ports[0]}")
    mirror.start()
    for turn in range(2):
        lines, told = numbered(1000 * turn, 1000 * turn + 500)
        plant.carbon(lines)  # while it is away
        wanted |= told
        with carbon(tmp_path, ports):
            settled(mirror)
            lines, told = numbered(1000 * turn + 500, 1000 * turn + 1000)
            plant.carbon(lines)
            wanted |= told
            settled(mirror)
            arrived(tmp_path, wanted)  # on its disk, for what is only in its memory ends with it
    (state,) = mirror.state()
    mirror.stop()
    assert (state["sent"], state["dropped"], state["trouble"]) == (2000, 0, "")


def test_one_that_dies_with_points_it_did_not_read_gets_them_again(plant: Plant) -> None:
    """A double of a carbon, as no real one dies on the word: reads some octets, and is gone."""
    got: list[bytes] = []
    lines, _ = numbered(0, 2000)
    with socket.create_server((LOOPBACK, 0)) as server:

        def dies_then_lives() -> None:
            wire, _ = server.accept()
            wire.recv(1000)
            wire.close()  # what it did not read makes this a reset
            wire, _ = server.accept()
            with wire:
                while some := wire.recv(65_536):
                    got.append(some)

        thread = threading.Thread(target=dies_then_lives)
        thread.start()
        mirror = sends_on(plant, f"carbon://{LOOPBACK}:{server.getsockname()[1]}")
        plant.carbon(lines)
        mirror.start()
        (state,) = settled(mirror)
        mirror.stop()
        thread.join()
    assert sorted(b"".join(got).decode().split("\n")[:-1]) == sorted(
        f"{path} {float(value):g} {time}" for path, value, time in map(str.split, lines.splitlines())
    )
    assert state["sent"] == 2000


# ── a second QNIB ─────────────────────────────────────────────────────────────────────────────


def counted(world: World, pattern: str) -> int:
    found = world.get("/render", target=f"sumSeries(countSeries({pattern}))", format="json", **{"from": "-5min"})
    return int(max((value for one in found for value, _ in one["datapoints"] if value is not None), default=0))


def test_to_a_second_qnib_through_a_kill_of_ours(plant: Plant, tmp_path: Path) -> None:
    config, count = tmp_path / "qnib.toml", "SELECT count() AS n, uniqExact(path) AS paths FROM qnib.series FINAL"
    with served(plant) as there:
        to = f"carbon://127.0.0.1:{there.ports['carbon/tcp']}"
        config.write_text(f'[[mirror.metrics]]\nto = "{to}"\nclusters = ["here"]\nmatch = "^k"\n')
        with serving(tmp_path / "here", "here", QNIB_CONFIG=str(config)) as here:
            port = int(here.env["QNIB_CARBON__PORT"])
            for turn in range(2):
                _send(port, "".join(f"k.t{turn}n{n} {n} -1\n" for n in range(300)))
                here.until("the points here", lambda turn=turn: counted(here, f"k.t{turn}n*") == 300, 30)
                if not turn:
                    os.kill(json.loads((here.home / "run/server.json").read_text())["pid"], signal.SIGKILL)
                    here.until("its end", lambda: not _listens(port), 20)
                    started(here)
            there.until(lambda: plant.rows(count) == [{"n": 600, "paths": 600}])
            (state,) = here.get("/api/health")["mirror"]
            assert (state["what"], state["to"], state["dropped"], state["trouble"]) == ("metrics", to, 0, "")
            said = here.qnib("metrics", "mirror").stdout
            assert to in said
            assert "[[mirror.events]]" in here.qnib("events", "mirror").stdout
    assert plant.rejects() == []


def _send(port: int, text: str) -> None:
    with socket.create_connection((LOOPBACK, port), 10) as wire:
        wire.sendall(text.encode())


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), 1).close()
    except OSError:
        return False
    return True


# ── what is sent ──────────────────────────────────────────────────────────────────────────────


def test_what_is_chosen_and_what_never_is_sent(plant: Plant) -> None:
    targets = {name: Collected() for name in ("all", "lab", "cpu", "samples")}
    plant.settings.mirror = MirrorSettings(
        metrics=[
            MetricsTarget(to="carbon://all"), MetricsTarget(to="carbon://lab", clusters=["lab"]),
            MetricsTarget(to="carbon://cpu", match=r"^servers\.[^.]+\.cpu\."),
            MetricsTarget(to="carbon://samples", samples=True, match="^slurm"),
        ]
    )  # fmt: skip
    mirror = plant.mirror = Mirror(plant.settings, plant.clock, lambda target: targets[target.to.rpartition("/")[2]])
    plant.carbon(f"servers.c1.cpu.used 1.5 {T}\nx;b=2;a=1 2 {T}.25\nbad line\nx nan {T}\n")
    plant.carbon(f"slurm.job.7.0.1.c1.cpu 9 {T}\n")
    plant.carbon(f"servers.c2.cpu.used 1e300 {T}\n", cluster="lab")
    plant.send("statsd/udp", b"visits:3|c")
    load(plant, "slurmctld", b"[2026-11-19T11:00:00.000] no metrics\n")
    mirror.start()
    settled(mirror)
    mirror.stop()
    visits = [f"stats.counters.visits.{what} {value} {T}\n" for what, value in (("count", "3"), ("rate", "0.3"))]
    used, tagged, lab = f"servers.c1.cpu.used 1.5 {T}\n", f"x;a=1;b=2 2 {T}.25\n", f"servers.c2.cpu.used 1e300 {T}\n"
    assert sorted(targets["all"].got) == sorted([used, tagged, lab, *visits])
    assert targets["lab"].got == [lab]
    assert targets["cpu"].got == [used, lab]
    assert targets["samples"].got == [f"slurm.job.7.0.1.c1.cpu 9 {T}\n"]
    plant.carbon(f"last 1 {T}\n")
    assert len(list((plant.settings.home / "mirror/metrics").glob("*.points.*"))) == 1, "what all have had is gone"


def test_what_waits_is_bounded_and_the_dropped_are_counted_for_those_who_wanted_them(plant: Plant) -> None:
    def nowhere(_target: Any) -> Any:
        raise ConnectionRefusedError("nobody there")

    plant.settings.mirror = MirrorSettings(
        metrics=[MetricsTarget(to="carbon://a"), MetricsTarget(to="carbon://b", match="two")], max_bytes=3 * 4096
    )
    mirror = plant.mirror = Mirror(plant.settings, plant.clock, nowhere)
    for n in range(10):
        plant.carbon(f"one {n} {T + n}\ntwo {n} {T + n}\n")
    assert [(one["dropped"], one["waiting"]) for one in mirror.state()] == [(14, 3), (7, 3)]
    again = Mirror(plant.settings, plant.clock, nowhere)
    assert [one["waiting"] for one in again.state()] == [3, 3], "a restart finds them"
    (count,) = plant.rows("SELECT count() AS n FROM qnib.points FINAL")
    assert count["n"] == 20, "what is stored is not touched"


def test_points_refused_for_too_many_series_are_not_sent_on(plant: Plant) -> None:
    to = Collected()
    mirror = sends_on(plant, "carbon://x", sender=lambda _: to)
    plant.settings.series.most = 3
    plant.carbon("".join(f"n{n} {n} {T}\n" for n in range(10)))
    mirror.start()
    settled(mirror)
    mirror.stop()
    stored = {row["path"] for row in plant.rows("SELECT path FROM qnib.series FINAL")}
    assert {line.split()[0] for line in to.got} == stored
    assert len(to.got) == 3


def test_a_file_that_somebody_removed_stops_nothing(plant: Plant) -> None:
    to = Collected()
    mirror = sends_on(plant, "carbon://x", sender=lambda _: to)
    for n in range(3):
        plant.carbon(f"x {n} {T + n}\n")
    files = sorted((plant.settings.home / "mirror/metrics").glob("*.points.*"))
    files[1].unlink()
    mirror.start()
    settled(mirror)
    mirror.stop()
    assert to.got == [f"x {n} {T + n}\n" for n in (0, 2)]


def test_pickles_have_frames_that_carbon_takes() -> None:
    lines = [f"{'p' * 1000}.{n} {n}.5 {T}\n".encode() for n in range(1200)]
    octets = b"".join(frames(lines))
    at, got = 0, []
    while at < len(octets):
        size = int.from_bytes(octets[at : at + 4])
        assert size < 1 << 20
        got += pickle.loads(octets[at + 4 : at + 4 + size])  # noqa: S301  our own
        at += 4 + size
    assert got == [(f"{'p' * 1000}.{n}", (float(T), n + 0.5)) for n in range(1200)]


@pytest.mark.parametrize(
    ("to", "match"),
    [("carbon://", ""), ("carbon://x:y", ""), ("carbon://u:p@x", ""), ("http://x", ""), ("x:2003", ""),
     ("carbon://x/y", ""), ("carbon://x", "(")],
)  # fmt: skip
def test_targets_that_are_none_are_told(to: str, match: str) -> None:
    with pytest.raises(ValueError, match=r"a target is|no regular expression|[Pp]ort"):
        MetricsTarget(to=to, match=match)
