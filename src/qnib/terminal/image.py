"""Builds the image of a virtual cluster from Debian packages: no registry, no Dockerfile, one step.

Controller, nodes and fabric share it, so it is fetched and stored once. Its tag is a hash of the recipe: a
changed recipe is a new image, an unchanged one is never built twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qnib.errors import Conflict, NotAllowed, Unavailable
from qnib.settings import Settings
from qnib.terminal import login, mirror
from qnib.terminal.blueprint import Blueprint
from qnib.terminal.engines import ContainerEngine, open_engine
from qnib.terminal.plan import LABEL
from qnib.terminal.systems import SERVICES, SYSTEMS, System

REPOSITORY = "localhost/qnib/slurm"

# Installed only because UCX was built with AMD GPU support, or documentation: half the image's size.
LEFT_OUT = (
    "/usr/lib/*/libLLVM*", "/usr/lib/*/libamd*", "/usr/lib/*/libz3*", "/usr/lib/*/libhsa*", "/usr/lib/*/ucx/*rocm*",
    "/usr/lib/*/*.a", "/usr/lib/*/perl/*", "/usr/share/perl/*", "/usr/include/*",
    "/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*",
)


def customize(system: System) -> list[str]:
    """Commands run on the finished tree (``$1``), as mmdebstrap's hooks. Users come with a cluster."""
    lines = " ".join(f"'{line}'" for line in system.mpi)
    return [
        # The package makes a key when it is installed; a cluster's key is its own and never in an image.
        'rm -f "$1/etc/munge/munge.key"',
        # Names come from /etc/hosts first; a name outside the cluster may still be asked for, briefly.
        'sed -i "s/^hosts:.*/hosts: files dns/" "$1/etc/nsswitch.conf"',
        'rm -rf "$1/var/log/apt" "$1/var/log/dpkg.log" "$1/var/cache/debconf" "$1/var/lib/apt/lists"',
        f"""printf '%s\\n' {lines} >> "$1/etc/openmpi/openmpi-mca-params.conf" """.strip(),
        # PMIx hands its data over in files it must give to the job's user; through memory it needs rights to that.
        f"""echo "gds = hash" >> "$(echo "$1"/{system.pmix})" """.strip(),
    ]


def packages(blueprint: Blueprint) -> list[str]:
    """What the image is made of: a service's packages, or a second MPI's, only where they are asked for."""
    system, found = SYSTEMS[blueprint.system], [*SYSTEMS[blueprint.system].packages]
    found += login.PACKAGES if blueprint.services.login else ()
    for name, needed in SERVICES.items():
        found += needed if getattr(blueprint.services, name) else ()
    found += [system.mpich] if "mpich" in blueprint.mpi else []
    return found


def hooks(blueprint: Blueprint) -> list[str]:
    # The package makes host keys when it is installed; a cluster's are its own. MariaDB's server without the package
    # that would start it brings no user of its own.
    return [
        *customize(SYSTEMS[blueprint.system]),
        *(['rm -f "$1"/etc/ssh/ssh_host_*'] if blueprint.services.login else []),
        *(['chroot "$1" useradd --system --no-create-home mysql'] if blueprint.services.accounting else []),
    ]


def tag(blueprint: Blueprint) -> str:
    system = SYSTEMS[blueprint.system]
    recipe = json.dumps([system.suite, packages(blueprint), blueprint.software, LEFT_OUT, hooks(blueprint)])
    return f"{REPOSITORY}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure(settings: Settings, engine: ContainerEngine, blueprint: Blueprint, say: Callable[[str], None]) -> str:
    """The image's tag, after building it when this engine does not have it. `say` is told each step.

    Raises Unavailable when a tool is missing or a package cannot be fetched; nothing is left behind then.
    """
    wanted = tag(blueprint)
    if engine.has_image(wanted):
        return wanted
    with one_at_a_time(settings.run / "image.lock", say):
        if engine.has_image(wanted):  # another `qnib up` built it while we waited
            return wanted
        build(settings, engine, wanted, Recipe(
            SYSTEMS[blueprint.system].suite, (*packages(blueprint), *blueprint.software), tuple(hooks(blueprint)),
            LEFT_OUT,
        ), say)
    return wanted


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Debian suite, its packages, hooks of mmdebstrap, and patterns of files that are not unpacked."""

    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...]
    left_out: tuple[str, ...]


def build(settings: Settings, engine: ContainerEngine, tag: str, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Make an image and hand it to the engine. Raises Unavailable; nothing is left behind then."""
    _check_tools()
    settings.home.mkdir(parents=True, exist_ok=True)
    # Beside the state, not in /tmp: that may be memory.
    with tempfile.TemporaryDirectory(prefix="image-", dir=settings.home) as folder:
        archive = Path(folder) / "image.tar"
        _bootstrap(settings, recipe, archive, say)
        say("handing the image to the engine")
        engine.import_image(archive, tag)


def clean(settings: Settings) -> list[str]:
    """Remove every image this project ever built here; the tags that were removed.

    Raises Conflict while a cluster uses them.
    """
    engine = open_engine(settings)
    try:
        users = {found.labels[LABEL] for found in engine.containers(LABEL)}
        if users:
            raise Conflict(
                f"Clusters still use the image: {', '.join(sorted(users))}.", where=engine.name,
                try_next="`qnib down --all`, then clean again.",
            )
        found = [*engine.images("qnib/slurm:"), *engine.images("qnib/job:")]
        for each in found:
            engine.remove_image(each)
        shutil.rmtree(settings.home / "packages", ignore_errors=True)
        return found
    finally:
        engine.close(end_service=not engine.containers(LABEL))


def _check_tools() -> None:
    if not shutil.which("mmdebstrap"):
        raise Unavailable(
            "mmdebstrap is not installed; it builds the cluster's image.", where="PATH",
            try_next="apt-get install mmdebstrap",
        )
    if os.geteuid() != 0:
        raise NotAllowed(
            "Only root may build the image.", where="mmdebstrap", try_next="run the same command with sudo.",
        )
    if mirror.keyring() is None:
        raise Unavailable(
            "Debian's archive keys are not on this machine.", where=str(mirror.KEYRINGS),
            try_next="apt-get install debian-archive-keyring",
        )


def _bootstrap(settings: Settings, recipe: Recipe, archive: Path, say: Callable[[str], None]) -> None:
    listed = mirror.sources(settings.terminal.mirror, mirror.index_targets(), recipe.suite)
    included = [f"--include={','.join(recipe.packages)}"] if recipe.packages else []
    command = [
        "mmdebstrap", "--variant=minbase", "--mode=root", "--format=tar", *included,
        f"--keyring={mirror.keyring()}",
        "--aptopt=Apt::Install-Recommends false", "--aptopt=Acquire::Retries 3", "--aptopt=Acquire::http::Timeout 30",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.left_out),
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        *(f"--customize-hook={hook}" for hook in recipe.hooks),
        recipe.suite, str(archive),
    ]
    if listed:
        command.append("-")
    build = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(archive.parent)},
    )
    told: list[str] = []
    try:
        assert build.stdin is not None and build.stderr is not None  # noqa: S101 - both were asked for above
        build.stdin.write(listed + "\n" if listed else "")
        build.stdin.close()
        for line in build.stderr:
            told = [*told[-30:], line.rstrip()]
            if step := _step(line):
                say(step)
        build.wait()
    except BaseException:
        # mmdebstrap removes its own half-built tree when it is asked to stop.
        os.killpg(build.pid, signal.SIGINT)
        build.wait()
        raise
    if build.returncode:
        complaint = next((t for t in told if t.startswith("E:")), told[-1] if told else "it said nothing")
        raise Unavailable(
            f"The image could not be built: {complaint.removeprefix('E:').strip().rstrip('.')}.",
            where=listed.splitlines()[0] if listed else "Debian's default mirror",
            try_next="check the network or a proxy, or name another mirror: QNIB_TERMINAL__MIRROR=http://…/debian.",
        )


_STEPS = {
    "running apt-get update": "reading package lists",
    "downloading packages": "fetching base packages",
    "extracting archives": "unpacking the base system",
    "installing essential": "installing the base system",
    "installing remaining": "installing packages",
    "running --customize-hook": "adjusting settings",
    "cleaning package": "cleaning up",
    "creating tarball": "packing the image",
}


def _step(line: str) -> str:
    """What a line of mmdebstrap means to people; empty for the rest."""
    return next((said for part, said in _STEPS.items() if part in line), "") if line.startswith("I:") else ""


@contextmanager
def one_at_a_time(lock: Path, say: Callable[[str], None]) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the image")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
