"""The copy of this package that containers run the agent and the jobs from, compiled once for their Python.

A copy: a later edit or upgrade does not change a running cluster, and containers can read it whatever the
rights of the folder it was installed to. Compiled: sixteen agents that each compile the same modules would
take the two cores of a laptop for five seconds just when SLURM starts its first steps.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import qnib
from qnib import clusters
from qnib.errors import Unavailable
from qnib.settings import Settings
from qnib.terminal.engines import ULIMITS, command_line

INSIDE = "/usr/lib/qnib"
"""Where containers see the folder that holds the package; PYTHONPATH of the agent."""

COMPILE = ("python3", "-m", "compileall", "-q", *(
    # What only the server imports is not worth the time; what fails to compile there is never imported either.
    f"{INSIDE}/qnib/{part}" for part in ("__init__.py", "model.py", "agent", "domains")
))

_LEFT_OUT = ("__pycache__", "static", "samples")


def ensure(settings: Settings, engine: str, image: str, *, toolbox: bool = False) -> Path:
    """The folder to mount at INSIDE, made if it is not there yet. Raises Unavailable when it cannot be compiled.

    With a `toolbox` it holds a Python that runs in any image (inside/toolbox.py).
    """
    found = list(files())
    told = hashlib.sha256(f"{image}{' toolbox' if toolbox else ''}".encode())
    for inside, file in found:
        told.update(inside.removeprefix("qnib/").encode() + b"\0" + file.read_bytes())
    target = settings.home / "packages" / told.hexdigest()[:16]
    if target.is_dir():
        return target
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for inside, file in found:
            copy = part / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
        for path in [part, *part.rglob("*")]:
            # slurmd starts prolog.sh itself; the other scripts are given to a shell.
            path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
        _compile(settings, engine, image, part, toolbox)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _forget_unused(settings, target)
    return target


def files() -> Iterator[tuple[str, Path]]:
    """(path below INSIDE, file here) of everything containers run."""
    source = Path(qnib.__file__).parent
    for path in sorted(source.rglob("*")):
        if path.is_file() and not set(_LEFT_OUT) & set(path.relative_to(source).parts):
            yield f"qnib/{path.relative_to(source)}", path


def _compile(settings: Settings, engine: str, image: str, folder: Path, toolbox: bool) -> None:
    limits = [f"--ulimit={name}={soft}:{hard}" for name, soft, hard in ULIMITS]
    script = list(COMPILE)
    if toolbox:
        script += ["&&", "python3", "-IS", f"{INSIDE}/qnib/terminal/inside/toolbox.py", f"{INSIDE}/toolbox"]
    done = subprocess.run(
        [
            *command_line(settings, engine), "run", "--rm", "--network=none", "--cap-drop=ALL", *limits,
            f"--volume={folder}:{INSIDE}:rw", image, "sh", "-c", " ".join(script),
        ],
        capture_output=True, text=True, check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(
            f"The agent could not be compiled for the containers: {lines[-1] if lines else 'no reason was given'}.",
            where=engine, try_next=f"`{engine} info` shows whether the engine is well.",
        )


def _forget_unused(settings: Settings, newest: Path) -> None:
    used = {cluster.details.get("package") for cluster in clusters.load_all(settings.clusters)}
    for folder in newest.parent.iterdir():
        if folder != newest and str(folder) not in used:
            shutil.rmtree(folder, ignore_errors=True)
