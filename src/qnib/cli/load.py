"""``qnib load``: captures from files, of today or of years ago, one after the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnib.cli.output import ClusterName, Csv, Json, show_rows
from qnib.errors import NotFound, WrongUse

if TYPE_CHECKING:
    from qnib.model import Capture

At = Annotated[str, typer.Option("--at", help="When it was captured: -1h, or ISO 8601 (UTC when no zone is given).")]

SHOWN = 12
"""Changes that are shown to people one by one."""


def register(app: typer.Typer) -> None:
    @app.command("load")
    def load(
        kind: Annotated[str, typer.Argument(help="A capture or its tool, like ibnetdiscover. None: list them.")] = "",
        file: Annotated[Path | None, typer.Argument(help="What the tool printed; - is standard input.")] = None,
        at: At = "",
        host: Annotated[str, typer.Option("--host", help="Who captured it; its files follow one another.")] = "file",
        cluster: ClusterName = "",
        as_json: Json = False,
        as_csv: Csv = False,
    ) -> None:
        """Take in what a tool printed: --at says when. Several are loaded in the order of their times."""
        if not kind:
            rows = [{"kind": name, "tool": " ".join(one.command)} for name, one in _known().items()]
            show_rows(rows, ("kind", "tool"), as_json=as_json, as_csv=as_csv, empty="There are none.")
            return
        name = find(kind)
        if file is None:
            raise WrongUse("There is no file.", where=f"qnib load {kind}", try_next="name one; - is standard input.")
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
    from qnib.cli.client import Client
    from qnib.settings import load

    answer: dict[str, Any] = Client(load()).send(f"/api/load/{name}", raw, at=at, host=host, cluster=cluster)
    return answer


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
