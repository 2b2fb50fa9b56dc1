"""``qnib load carbon FILE`` and ``qnib load whisper DIR``: numbers of another system, in pieces of bounded size."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from qnib.cli.output import show_rows
from qnib.cli.server import server
from qnib.errors import NotFound, WrongUse

if TYPE_CHECKING:
    from qnib.cli.client import Client

KINDS = {
    "carbon": "a file of lines: path value time; plain or gzip",
    "whisper": "a directory of a Graphite's *.wsp files",
}
_PIECE = 4 << 20  # octets sent together
_TOLD = 20  # files that could not be read, told one by one


def load(kind: str, file: Path, cluster: str, *, as_json: bool, as_csv: bool) -> None:
    """Send it and say what became of it. What is loaded twice counts once."""
    to = _Server(server(), cluster)
    if kind == "carbon":
        with ExitStack() as opened:
            for piece in _pieces(opened.enter_context(_open(file)), file):
                to.send("carbon", piece, file.name or "-")
                to.progress(f"{to.counts['points']} points")
        told: dict[str, Any] = dict(to.counts)
    else:
        told = _load_whisper(to, file)
    if as_json or as_csv:
        show_rows([told], tuple(told), as_json=as_json, as_csv=as_csv, empty="")
        return
    to.progress("")
    for name, why in list(told.get("unreadable", {}).items())[:_TOLD]:
        print(f"  {name}: {why}", file=sys.stderr)
    files = f"{told['files']} files, {len(told['unreadable'])} of them not read; " if kind == "whisper" else ""
    coarser = f", {told['coarser']} values of coarser steps" if kind == "whisper" else ""
    print(f"{files}{told['points']} points{coarser}; {told['rejected'] or 'none'} rejected.")


class _Server:
    def __init__(self, client: Client, cluster: str) -> None:
        self._client = client
        self._cluster = cluster
        self._gathered: dict[str, bytearray] = {"carbon": bytearray(), "rollup": bytearray()}
        self.counts = {"points": 0, "rejected": 0}
        self.coarser = 0

    def gather(self, form: str, lines: str) -> None:
        """Send them once there are enough."""
        held = self._gathered[form]
        held += lines.encode()
        while len(held) > _PIECE:
            cut = held.rfind(b"\n", 0, _PIECE) + 1
            self.send(form, bytes(held[:cut]), "whisper")
            del held[:cut]

    def finish(self) -> None:
        for form, held in self._gathered.items():
            if held:
                self.send(form, bytes(held), "whisper")

    def send(self, form: str, lines: bytes, source: str) -> None:
        told = self._client.send(f"/api/load-metrics/{form}", lines, cluster=self._cluster, source=source)
        self.counts["rejected"] += told["rejected"]
        if form == "carbon":
            self.counts["points"] += told["taken"]
        else:
            self.coarser += told["taken"]

    def progress(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _open(file: Path) -> IO[bytes]:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        opened = file.open("rb")
    except OSError as error:
        raise NotFound(f"Cannot read it: {error.strerror}.", where=str(file), try_next="name another file.") from error
    packed = opened.peek(2)[:2] == b"\x1f\x8b"
    if not packed:
        return opened
    opened.close()
    return cast(IO[bytes], gzip.open(file, "rb"))


def _pieces(opened: IO[bytes], file: Path) -> Iterator[bytes]:
    """Whole lines, some megabytes together."""
    rest = b""
    try:
        while chunk := opened.read(_PIECE):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield whole + newline
            elif len(rest) > 2 * _PIECE:
                raise WrongUse("This is no file of lines.", where=str(file), try_next="lines are: path value time.")
    except (OSError, EOFError, zlib.error) as error:
        raise WrongUse(f"The file is broken: {error}.", where=str(file), try_next="unpack it by hand.") from error
    if rest:
        yield rest + b"\n"


def _load_whisper(to: _Server, folder: Path) -> dict[str, Any]:
    from qnib.monitoring.storage.rules import rules_of
    from qnib.monitoring.storage.whisper_files import Unreadable, archives, files, path_of, take
    from qnib.settings import load as settings

    if not folder.is_dir():
        raise NotFound("There is no such directory.", where=str(folder), try_next="name the folder of *.wsp files.")
    rules = rules_of(settings())
    unreadable: dict[str, str] = {}
    number = 0
    for number, file in enumerate(files(folder), 1):
        name = str(file.relative_to(folder))
        try:
            path = path_of(file, folder)
            taken = take(archives(file), rules.of(path))
        except Unreadable as error:
            unreadable[name.encode("utf-8", "replace").decode()] = str(error)
            continue
        to.gather("carbon", "".join(f"{path} {value!r} {at}\n" for at, value in taken.points))
        to.gather(
            "rollup",
            "".join(f"{path} {step} {at} {value!r}{' part' * part}\n" for step, at, value, part in taken.coarser),
        )
        to.progress(f"{number} files, {to.counts['points']} points  {name[-60:]}")
    to.finish()
    if not number:
        raise NotFound("There are no *.wsp files.", where=str(folder), try_next="name Graphite's whisper folder.")
    return {"files": number, **to.counts, "coarser": to.coarser, "unreadable": unreadable}
