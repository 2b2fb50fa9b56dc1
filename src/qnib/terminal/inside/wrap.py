"""Runs a command in the container of its job: qnib-wrap CMD …

The other end is wrapped.py. Open files go along, so input, output and what an MPI was given are the task's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

JOBS = "/run/qnib/jobs"
FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH")


def main(words: list[str]) -> None:
    if not words:
        fail("usage: qnib-wrap CMD …: runs it in the image that the job asked for with --comment=image:NAME")
    job = os.environ.get("SLURM_JOB_ID", "")
    place = f"{JOBS}/{job}"
    if not job.isdigit() or not os.path.isdir(place):
        fail("this is no job with an image: submit it with --comment=image:NAME")
    if os.path.exists(f"{place}/trouble"):
        with open(f"{place}/trouble") as told:
            fail(told.read().strip())
    files = [int(name) for name in os.listdir("/proc/self/fd")]
    files = [file for file in files if is_inherited(file)]
    asked = socket.socket(socket.AF_UNIX)
    try:
        asked.connect(f"{place}/socket")
    except OSError as error:
        fail(f"the job's container does not answer ({error.strerror}): was it ended?")
    mask = os.umask(0)
    os.umask(mask)
    text = json.dumps({
        "words": words, "environment": dict(os.environ), "cwd": os.getcwd(), "umask": mask, "files": files,
    }).encode()
    # Where the task is in our own cgroups SLURM signals it as well as us: only then there would be two.
    wait_for_signals = [getattr(signal, name) for name in FORWARDED]
    alone = "/job_" not in own_cgroups()
    for each in wait_for_signals:
        signal.signal(each, (lambda number, _: pass_on(asked, number)) if alone else (lambda *_: None))
    socket.send_fds(asked, [struct.pack("I", len(text))], files)
    asked.sendall(text)
    length = struct.unpack("I", read(asked, 4))[0]
    if length:
        fail(read(asked, length).decode(errors="replace"), 127)
    status = struct.unpack("i", read(asked, 4))[0]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.WEXITSTATUS(status))


def is_inherited(file: int) -> bool:
    with contextlib.suppress(OSError):
        return os.get_inheritable(file)
    return False  # the listing's own


def own_cgroups() -> str:
    with open("/proc/self/cgroup") as told:
        return told.read()


def pass_on(asked: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        asked.send(bytes([number]))


def read(asked: socket.socket, length: int) -> bytes:
    text = b""
    while len(text) < length:
        part = asked.recv(length - len(text))
        if not part:
            fail("the job's container has ended")
        text += part
    return text


def fail(what: str, status: int = 1) -> NoReturn:
    print(f"qnib-wrap: {what}", file=sys.stderr)
    sys.exit(status)


main(sys.argv[1:])
