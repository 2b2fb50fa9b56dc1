"""Images that jobs may run in: staged before the cluster starts, by a blueprint or by `qnib images add`."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qnib.errors import NotFound, Unavailable, WrongUse
from qnib.settings import Settings
from qnib.terminal.blueprint import Blueprint, Image
from qnib.terminal.engines import ContainerEngine, command_line, open_engine
from qnib.terminal.image import LEFT_OUT, Recipe, build, one_at_a_time
from qnib.terminal.schema import WORD
from qnib.terminal.systems import SYSTEMS

BUILT = "localhost/qnib/job"
ADDED = "localhost/qnib/added"

_NAME = re.compile(WORD)
_WANTED = ("perl", "include", ".a")
_LEFT_OUT = tuple(pattern for pattern in LEFT_OUT if not any(part in pattern for part in _WANTED))


def recipe(image: Image) -> Recipe:
    """How an image of the blueprint is built. Its MPI is set up as the nodes' is: no hardware to look for."""
    system = SYSTEMS[image.system or "debian13"]
    lines = " ".join(f"'{line}'" for line in system.mpi)
    hooks = (
        f"""[ ! -d "$1/etc/openmpi" ] || printf '%s\\n' {lines} >> "$1/etc/openmpi/openmpi-mca-params.conf" """.strip(),
        f"""for conf in "$1"/{system.pmix}; do [ ! -f "$conf" ] || echo "gds = hash" >> "$conf"; done""",
        'rm -rf "$1/var/log/apt" "$1/var/log/dpkg.log" "$1/var/cache/debconf" "$1/var/lib/apt/lists"',
    )
    return Recipe(system.suite, tuple(image.packages), hooks, _LEFT_OUT)


def tag(image: Image) -> str:
    """The engine's name of an image of a blueprint; it changes with the recipe of one that is built."""
    if image.system is None:
        return f"{ADDED}:{image.name}"
    made = recipe(image)
    told = json.dumps([made.suite, made.packages, made.hooks, made.left_out])
    return f"{BUILT}:{image.name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def ensure(settings: Settings, engine: ContainerEngine, blueprint: Blueprint, say: Callable[[str], None]) -> None:
    """Have all images of a blueprint. Raises NotFound for one that was to be added, Unavailable when a build fails."""
    for image in blueprint.images:
        wanted = tag(image)
        if engine.has_image(wanted):
            continue
        if image.system is None:
            raise NotFound(
                f"There is no image {image.name!r} on this machine.", where="images of the blueprint",
                try_next=f"`qnib images add {image.name} FILE.tar`, or say of which `system` it is built.",
            )
        with one_at_a_time(settings.run / "image.lock", say):
            if not engine.has_image(wanted):
                say(f"building the image {image.name}")
                build(settings, engine, wanted, recipe(image), say)


def find(engine: ContainerEngine, blueprint: Blueprint, name: str) -> str:
    """The engine's name of the image a job asked for. Raises NotFound with those that are staged."""
    staged = {image.name: tag(image) for image in blueprint.images}
    wanted = staged.get(name) or (f"{ADDED}:{name}" if _NAME.fullmatch(name) else "")
    if not wanted or not engine.has_image(wanted):
        there = sorted({*staged, *(one.rpartition(":")[2] for one in engine.images("qnib/added:"))})
        raise NotFound(
            f"no image {name!r} is staged here; there are {', '.join(there)}.", where="--comment=image:NAME",
            try_next="`qnib images add` brings one.",
        )
    return wanted


# ── brought by hand ───────────────────────────────────────────────────────────────────────────


def add(settings: Settings, name: str, archive: Path) -> str:
    """Take an image from a file, for jobs of every cluster here; the engine's name of it.

    The file is what `podman save` or `docker save` writes, or the tar of a root file system. Raises WrongUse for a
    name or file that is neither, Unavailable when the engine does not take it.
    """
    if not _NAME.fullmatch(name):
        raise WrongUse(f"{name!r} is no name for an image.", where="NAME", try_next="use a-z, 0-9, '-' and '_'.")
    try:
        with tarfile.open(archive) as tar:
            names = set()
            for member in tar:
                names.add(member.name.removeprefix("./").partition("/")[0])
                if len(names) > 200:
                    break
    except (OSError, tarfile.TarError) as error:
        raise WrongUse(
            f"This is no image: {error}.", where=str(archive),
            try_next="name a tar file, such as `podman save` writes.",
        ) from error
    engine = open_engine(settings)
    try:
        target = f"{ADDED}:{name}"
        if names & {"manifest.json", "oci-layout", "repositories"}:
            line = command_line(settings, engine.name)
            loaded = _told([*line, "load", "--input", str(archive)], archive)
            found = re.findall(r"Loaded image(?: ID)?(?:\(s\))?: (\S+)", loaded)
            if not found:
                raise Unavailable(
                    f"{engine.name} did not say what it loaded.", where=str(archive),
                    try_next=f"`{engine.name} load -i {archive}` shows what it makes of the file.",
                )
            _told([*line, "tag", found[0], target], archive)
        elif names & {"bin", "usr", "etc"}:
            engine.import_image(archive, target)
        else:
            raise WrongUse(
                "This tar holds neither an image nor a root file system.", where=str(archive),
                try_next="make one by `podman save -o FILE IMAGE`.",
            )
        return target
    finally:
        engine.close()


def _told(command: list[str], archive: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Unavailable(
            f"The engine does not take the image: {lines[-1] if lines else 'no reason was given'}.",
            where=str(archive), try_next="look whether the file is whole and the disk has room.",
        )
    return done.stdout


def every(settings: Settings) -> list[dict[str, Any]]:
    """Images on this machine that are QNIB's: name, kind (``cluster``, ``built``, ``added``), tag."""
    engine = open_engine(settings)
    try:
        rows = [("cluster", found) for found in engine.images("qnib/slurm:")]
        rows += [("built", found) for found in engine.images("qnib/job:")]
        rows += [("added", found) for found in engine.images("qnib/added:")]
    finally:
        engine.close()
    return [{"kind": kind, "name": _name(kind, found.rpartition(":")[2]), "tag": found} for kind, found in rows]


def _name(kind: str, version: str) -> str:
    """What jobs call an image, by the last part of its tag."""
    return {"cluster": "", "built": version.rpartition("-")[0], "added": version}[kind]


def remove(settings: Settings, name: str) -> None:
    """Remove an image that was added. Raises NotFound when there is none."""
    engine = open_engine(settings)
    try:
        if not engine.has_image(f"{ADDED}:{name}"):
            raise NotFound(f"No image {name!r} was added.", where=engine.name, try_next="`qnib images list`")
        engine.remove_image(f"{ADDED}:{name}")
    finally:
        engine.close()
