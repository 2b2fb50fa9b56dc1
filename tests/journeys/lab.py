"""A small cluster that has happened: told to a server of its own by the ways a real one uses, without containers.

Four hosts on two leaf switches; herbert's PingPong dies on compute3 while its switch's cables are pulled and its
kernel complains in a bare line; ann's job beside it goes on.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.conftest import World, serving

_SAMPLES = Path(__file__).parents[2] / "src/qnib/domains/infiniband/samples"
HOSTILE = "session <img src=x onerror=\"document.title='broken'\"> <script>document.title='broken'</script>"


@contextmanager
def lab(home: Path, **settings: str) -> Iterator[World]:
    with serving(home, "lab", **settings) as world:
        now = datetime.now(UTC)
        _tell(world, now)
        yield world


def _tell(world: World, now: datetime) -> None:
    died = now - timedelta(minutes=10)
    _fabric(world, now - timedelta(minutes=50), (_SAMPLES / "iblinkinfo.small.txt").read_text())
    _jobs(world, now, died)
    _numbers(world, now)
    lines = _chatter(now)
    lines += [
        _line(
            died - timedelta(seconds=20), 3, "compute3", "kernel", "mlx5_core 0000:3b:00.0: Port 1 link down, waiting"
        ),
        _line(
            died - timedelta(seconds=6), 3, "compute3", "slurmd", "error: Node communication failure for StepId=42.0"
        ),
        _line(died - timedelta(seconds=4), 6, "compute2", "slurmstepd", "PMIX ERROR: peer compute3 lost"),
        _line(died, 6, "control", "slurmctld", "_job_complete: JobId=42 WEXITSTATUS 1"),
        _line(died + timedelta(seconds=1), 6, "control", "slurmctld", "_job_complete: JobId=42 done"),
        _line(died + timedelta(seconds=30), 6, "compute1", "sshd", HOSTILE),
    ]
    with socket.create_connection(("127.0.0.1", int(world.env["QNIB_SYSLOG__PORT"])), timeout=5) as wire:
        wire.sendall("".join(f"{line}\n" for line in lines).encode())
    text = (_SAMPLES / "iblinkinfo.small.txt").read_text()
    _fabric(world, died - timedelta(seconds=21), _without(text, "SW2", 1, "SPINE1"))
    world.until("all lines", lambda: world.get(
        "/api/events/search", q="", limit=0, **{"from": "-1h"})["total"] >= len(lines), 30)  # fmt: skip


def _without(text: str, *_: object) -> str:
    """The fabric after somebody pulled the cables between SW2 and the spines."""
    down = '==(                Down/ Polling)==>             [  ] "" ( )'
    kept = []
    for line in text.splitlines():
        pulled = ('"SPINE1"' in line or '"SPINE2"' in line) and line.lstrip().startswith("4 ")
        pulled = pulled or ('"SW2"' in line and line.lstrip().startswith(("5 ", "7 ")))
        kept.append(f"{line[: line.index('==(')]}{down}" if pulled else line)
    return "\n".join(kept) + "\n"


def _fabric(world: World, at: datetime, text: str) -> None:
    file = world.home / "iblinkinfo.txt"
    file.write_text(text)
    world.qnib("load", "iblinkinfo", str(file), "--at", f"{at:%Y-%m-%dT%H:%M:%SZ}")


def _jobs(world: World, now: datetime, died: datetime) -> None:
    start = now - timedelta(minutes=40)
    stamp = "%Y-%m-%dT%H:%M:%S"
    rows = [
        "JobIDRaw|JobID|User|Group|Account|Partition|State|Submit|Start|End|ExitCode|NodeList|NNodes|NCPUS|JobName",
        f"42|42|herbert|docker|physics|odd|FAILED|{start:{stamp}}|{start:{stamp}}|{died:{stamp}}|1:0|compute[2-3]|2|4|PingPong",
        f"43|43|ann|users|chem|all|COMPLETED|{start:{stamp}}|{start:{stamp}}|{now - timedelta(minutes=2):{stamp}}|0:0"
        "|compute1|1|2|gemm",
    ]
    file = world.home / "sacct.txt"
    file.write_text("\n".join(rows) + "\n")
    world.qnib("load", "sacct", str(file))


def _numbers(world: World, now: datetime) -> None:
    lines = []
    for host in range(4):
        for back in range(0, 3600, 15):
            at = int(now.timestamp()) - back
            busy = 150 + 20 * ((back // 15 + host) % 5) if 600 < back < 2400 or host == 1 else 3
            lines.append(f"servers.compute{host}.cpu.used {busy} {at}\n")
            lines.append(f"servers.compute{host}.memory.used {1e9 + 1e8 * host + 1e5 * (back % 700)} {at}\n")
    with socket.create_connection(("127.0.0.1", int(world.env["QNIB_CARBON__PORT"])), timeout=5) as wire:
        wire.sendall("".join(lines).encode())


def _chatter(now: datetime) -> list[str]:
    """What a quiet cluster says all day."""
    found = []
    for n in range(400):
        at, host = now - timedelta(seconds=9 * n), f"compute{n % 4}"
        text = ("session opened for user root", "systemd: Started Session 12", "usb 1-1: reset high-speed USB device",
                "CPU0: Package temperature above threshold")[n % 4 if n % 9 else 3]  # fmt: skip
        found.append(
            _line(
                at,
                4 if text.startswith("CPU0") else 6,
                host,
                "kernel" if "usb" in text or "CPU" in text else "sshd",
                text,
            )
        )
    return found


def _line(at: datetime, severity: int, host: str, app: str, text: str) -> str:
    return f"<{24 + severity}>1 {at:%Y-%m-%dT%H:%M:%S.%fZ} {host} {app} - - - {text}"
