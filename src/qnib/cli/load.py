"""``qnib load``: captures and logs from files, of today or of years ago, one after the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.cli.server import server
from qnib.errors import NotFound, WrongUse

if TYPE_CHECKING:
    from qnib.model import Capture

At = Annotated[
    str,
    typer.Option("--at", help="When it was captured: -1h, or ISO 8601 (UTC without zone); a log: its file's own time."),
]

SHOWN = 12
"""Changes that are shown to people one by one."""


def register(app: typer.Typer) -> None:
    @app.command("load")
    def load(
        kind: Annotated[
            str, typer.Argument(help="A log (syslog …), carbon, whisper, a capture or its tool. None: list them.")
        ] = "",
        file: Annotated[Path | None, typer.Argument(help="Log, or what the tool printed; - is standard input.")] = None,
        at: At = "",
        host: Annotated[str, typer.Option("--host", help="Who captured it; its files follow one another.")] = "file",
        zone: Annotated[str, typer.Option("--zone", help="Logs: zone of times that tell none.")] = "UTC",
        year: Annotated[int, typer.Option("--year", help="Logs: year of the first record; default: inferred.")] = 0,
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Take in a log file, or what a tool printed (--at says when; several are loaded in the order of their times).

        A file that was loaded before brings nothing new, one that grew brings what was added.
        """
        from qnib.cli import load_metrics
        from qnib.monitoring.captured import KINDS

        if not kind:
            rows = [{"kind": name, "tool": where} for name, where in KINDS.items()]
            rows += [{"kind": name, "tool": what} for name, what in load_metrics.KINDS.items()]
            rows += [{"kind": name, "tool": " ".join(one.command)} for name, one in _known().items()]
            show_rows(rows, ("kind", "tool"), as_json=as_json, as_csv=as_csv, empty="There are none.")
            return
        if file is None:
            raise WrongUse("There is no file.", where=f"qnib load {kind}", try_next="name one; - is standard input.")
        if kind in load_metrics.KINDS:
            load_metrics.load(kind, file, cluster, as_json=as_json, as_csv=as_csv)
            return
        if kind in KINDS:
            about = {"host": "" if host == "file" else host, "zone": zone, "year": year, "cluster": cluster}
            answer = _send_log(kind, file, at or _captured(file), about)
            if as_json or as_csv:
                show_rows([answer], tuple(answer), as_json=as_json, as_csv=as_csv, empty="")
            else:
                _tell_log(answer)
            return
        name = find(kind)
        answer = _send(name, _read(file), at, host, cluster)
        if as_json or as_csv:
            show_rows([answer], tuple(answer), as_json=as_json, as_csv=as_csv, empty="")
        else:
            _tell(answer)


def _known() -> dict[str, Capture]:
    from qnib.domains import all_domains

    return {f"{domain.name}/{one.name}": one for domain in all_domains() for one in domain.captures}


def find(kind: str) -> str:
    """``domain/capture`` for that, for the capture's name alone, or for its tool's. Raises NotFound, WrongUse."""
    known = _known()
    ways = (
        [name for name in known if name == kind],
        [name for name in known if name.partition("/")[2] == kind],
        [name for name, one in known.items() if Path(one.command[0]).name == kind],
    )
    found = next((names for names in ways if names), [])
    if not found:
        raise NotFound(
            f"Nothing is known of {kind!r}.", where="qnib load", try_next=f"known are: {', '.join(sorted(known))}."
        )
    if len(found) > 1:
        raise WrongUse(f"{kind!r} may be {' or '.join(found)}.", where="qnib load", try_next="name one of them.")
    return found[0]


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise NotFound(f"Cannot read it: {error.strerror}.", where=str(file), try_next="name another file.") from error
    if raw[:2] == b"\x1f\x8b":
        import gzip

        return gzip.decompress(raw)
    return raw


def _send(name: str, raw: bytes, at: str, host: str, cluster: str) -> dict[str, Any]:
    answer: dict[str, Any] = server().send(f"/api/load/{name}", raw, at=at, host=host, cluster=cluster)
    return answer


def _captured(file: Path) -> str:
    """A log was captured when it was last written."""
    from datetime import UTC, datetime

    try:
        return "" if str(file) == "-" else datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat()
    except OSError:
        return ""  # reading it will tell


def _send_log(kind: str, file: Path, at: str, about: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = server().send(f"/api/load-log/{kind}", _read(file), at=at, **about)
    return answer


def _tell_log(answer: dict[str, Any]) -> None:
    known = f", {answer['known']} of them loaded before" if answer["known"] else ""
    print(f"{answer['kind']} of cluster {answer['cluster']}: {answer['events']} events{known};"
          f" {answer['rejected'] or 'none'} rejected.")  # fmt: skip
    if answer["first"]:
        print(f"From {answer['first']} to {answer['last']}.")
    if answer["note"]:
        print(f"{answer['note'][:1].upper()}{answer['note'][1:]}.")


def _tell(answer: dict[str, Any]) -> None:
    if answer["numbers"]:
        print(f"{answer['capture']} of cluster {answer['cluster']} at {answer['at']}: {answer['numbers']} numbers.")
        return
    what = f"{answer['entities']} entities, {answer['relations']} relations"
    if answer["tables"]:
        what += f", {answer['tables']} forwarding tables"
    print(f"{answer['capture']} of cluster {answer['cluster']} at {answer['at']}: {what}; none rejected.")
    if answer["late"]:
        print("A later capture of the same source is known: this one changed nothing.")
        return
    changed = answer["began"] + answer["changed"] + answer["ended"] + answer["tables_changed"]
    if answer["first"]:
        print(f"The first of this source: {answer['began']} facts began.")
        return
    if not changed:
        print("Nothing has changed.")
        return
    print(
        f"{answer['began']} began, {answer['changed']} changed, {answer['ended']} ended, "
        f"{answer['tables_changed']} tables changed; {answer['events']} events."
    )
    for one in answer["changes"][:SHOWN]:
        print(f"  {one['what']:8} {one['kind']} {one['key']}")
    if changed > SHOWN:
        print(f"  and {changed - SHOWN} more; --json tells up to 500.")
