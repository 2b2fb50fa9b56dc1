"""The first process of a job's container: runs the tasks that wrap.py hands over. wrapped.py UID IMAGE PARENT

A task comes over a socket, with its words, environment and open files. It runs here as the user who asked, which the
kernel tells, and in the cgroups of the process that asked: so the job's limits hold for it, SLURM counts what it uses
and ends it with the step. IMAGE is what it is told to be in, PARENT where the node's cgroups begin; empty where SLURM
limits no jobs.

Runs by the toolbox's Python, in any image: nothing but Python's own modules.
"""

from __future__ import annotations

import array  # noqa: F401 - socket.recv_fds imports it when it is called,
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import warnings  # noqa: F401 - and os.execvpe this

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would make the toolbox larger by a third
    from typing import Any

PLACE = "/run/qnib/job"
LARGEST = 16 << 20
MOST = 64
"""Open files of a task that are taken along."""
_ASIDE = 512


class Refused(Exception):
    """What the asking task is told."""


def main(owner: int, image: str, parent: str) -> None:
    add_users()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    before = os.umask(0)
    server.bind(f"{PLACE}/socket")
    os.umask(before)
    server.listen(128)
    os.close(os.open(f"{PLACE}/ready", os.O_WRONLY))
    while True:
        asking, _ = server.accept()
        if os.fork() == 0:
            server.close()
            serve(asking, owner, image, parent)
            os._exit(0)
        asking.close()


def add_users() -> None:
    """The cluster's users have names here, too."""
    for name in ("passwd", "group"):
        with open(f"/etc/qnib/{name}") as told:
            lines = told.read()
        with open(f"/etc/{name}", "a+") as there:
            there.seek(0)
            text = there.read()
            if lines not in text:
                there.write(("\n" if text and not text.endswith("\n") else "") + lines)


def serve(asking: socket.socket, owner: int, image: str, parent: str) -> None:
    """One task, from its request to its end. The answer is 0 (as the request is) or a text, then the wait status."""
    try:
        pid, uid, gid = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != owner:
            raise Refused("this container belongs to another user's job")
        request, files = receive(asking)
        request["environment"]["QNIB_JOB_IMAGE"] = image  # for the agent, and for whoever wants to know
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        told, telling = os.pipe()
        task = os.fork()
        if task == 0:
            begin(request, files, parent, pid, (uid, gid), telling)
        os.close(telling)
        for file in files:
            os.close(file)
        trouble = b""
        while part := os.read(told, 65536):  # closed by exec
            trouble += part
        if trouble:
            raise Refused(trouble.decode(errors="replace"))
    except Refused as error:
        answer(asking, str(error).encode())
        return
    except (OSError, ValueError, KeyError) as error:
        answer(asking, f"the request cannot be read: {error}".encode())
        return
    answer(asking, b"")
    attend(asking, task, woken)


def attend(asking: socket.socket, task: int, woken: socket.socket) -> None:
    """Until the task has ended: pass on signals, and how it ended."""
    while True:
        ready, _, _ = select.select([woken, asking], [], [])
        if woken in ready:
            woken.recv(64)
            done, status = os.waitpid(task, os.WNOHANG)
            if done:
                with contextlib.suppress(OSError):
                    asking.sendall(struct.pack("i", status))
                return
        if asking in ready:
            signals = asking.recv(64)
            for number in signals or [signal.SIGKILL]:  # who asked has gone, and the task goes with it
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(task, number)
            if not signals:
                return


def receive(asking: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, files, _, _ = socket.recv_fds(asking, 4, MOST)
    length = struct.unpack("I", head)[0] if len(head) == 4 else LARGEST + 1
    if length > LARGEST:
        raise Refused("the request is too long: a smaller environment is one")
    text = b""
    while len(text) < length:
        part = asking.recv(min(65536, length - len(text)))
        if not part:
            raise ValueError("it ended too soon")
        text += part
    return json.loads(text), files


def answer(asking: socket.socket, trouble: bytes) -> None:
    with contextlib.suppress(OSError):
        asking.sendall(struct.pack("I", len(trouble)) + trouble)


def begin(
    request: dict[str, Any], files: list[int], parent: str, pid: int, identity: tuple[int, int],
    telling: int,
) -> None:
    """In the child: become the task, or tell why not."""
    try:
        os.setsid()
        uid, gid = identity
        if os.stat(f"/proc/{pid}").st_uid != uid:  # it has gone, and another has its number
            raise Refused("who asked has gone")
        join(parent, pid)
        os.setgroups([gid])  # users of the cluster have one
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        os.umask(request["umask"])
        try:
            os.chdir(request["cwd"])
        except OSError:
            os.chdir("/tmp")  # noqa: S108 - as SLURM does, too
        telling = fcntl.fcntl(telling, fcntl.F_DUPFD_CLOEXEC, _ASIDE)
        aside = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _ASIDE) for file in files]
        for file, number in zip(aside, request["files"], strict=True):
            os.dup2(file, number)
        wanted = {*request["files"], telling}
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in wanted:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        words = request["words"]
        try:
            os.execvpe(words[0], words, request["environment"])  # noqa: S606 - that is what it is for
        except OSError as error:
            raise Refused(f"{words[0]}: {error.strerror} in this image") from error
    except BaseException as error:
        os.write(telling, str(error).encode() or repr(error).encode())
    os._exit(127)


def join(parent: str, pid: int, tree: str = "/sys/fs/cgroup") -> None:
    """Move this process to where `pid` is, of the cgroups that SLURM made. Raises Refused when there are none."""
    if not parent:
        return
    joined = False
    with open(f"/proc/{pid}/cgroup") as told:
        lines = told.read().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not path.startswith(f"{parent}/") or "/job_" not in path:
            continue
        if controllers:  # each controller's part of the node is bound over its mount point
            places = [f"{tree}/{one}{path[len(parent):]}" for one in controllers.split(",")]
        else:
            places = [f"{tree}{path}"]
        for place in places:
            if os.path.isdir(place):
                with open(f"{place}/cgroup.procs", "w") as procs:
                    procs.write(str(os.getpid()))
                joined = True
                break
    if not joined:
        raise Refused("only tasks of a job's step run in its container")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
