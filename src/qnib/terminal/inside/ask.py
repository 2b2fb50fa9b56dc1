"""Asks the attendant outside for a job's container, or for its end: ask.py begin IMAGE | ask.py end

Called by the prolog and the epilog, as root, with SLURM's environment. Never fails the prolog: that would drain the
node, for a user's slip. What went wrong is told by the job's own tasks (wrap.py).
"""

import contextlib
import json
import os
import socket
import sys
import time

SOCKET = "/run/qnib/jobs/ask"
PATIENCE = 15
"""Seconds until the attendant listens: it looks for new nodes every other second."""


def main(do: str, image: str = "") -> None:
    request = {
        "do": do, "job": int(os.environ["SLURM_JOB_ID"]), "uid": int(os.environ["SLURM_JOB_UID"]), "image": image,
    }
    deadline = time.monotonic() + PATIENCE
    while True:
        asked = socket.socket(socket.AF_UNIX)
        try:
            asked.connect(SOCKET)
            break
        except OSError as error:
            asked.close()
            if time.monotonic() > deadline:
                print(f"nobody outside listens: {error}", file=sys.stderr)
                return
            time.sleep(0.1)
    asked.settimeout(60)
    asked.sendall(json.dumps(request).encode() + b"\n")
    with contextlib.suppress(OSError):
        told = asked.makefile().read()
        if told:
            print(told, file=sys.stderr)


main(*sys.argv[1:])
