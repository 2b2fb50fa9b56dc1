"""`qnib demo`: stories told on a real cluster, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qnib.cli.output import Csv, Json, show_rows


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    story: Annotated[str, typer.Argument(metavar="[STORY]", help="Without one: a list of them.")] = "",
    name: Annotated[str, typer.Option("--name", help="The cluster's name; default: the story's.")] = "",
    pause: Annotated[bool, typer.Option("--pause", help="Go on from chapter to chapter with Enter.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Take all down at the end; default: the cluster stays.")] = False,
    record: Annotated[Path | None, typer.Option("--record", help="Write the story as text into this file.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Tell a story on a cluster of its own: each step explained, with what to look at. Ctrl-C ends it cleanly."""
    from qnib import clusters, terminal
    from qnib.cli.stories import stories
    from qnib.cli.stories.teller import Teller, recording, tell
    from qnib.errors import Conflict, NotFound
    from qnib.settings import load

    known = stories()
    if not story:
        rows = [{"story": one.name, "takes": one.takes, "about": one.about} for one in known.values()]
        show_rows(rows, ["story", "takes", "about"], as_json=as_json, as_csv=as_csv, empty="None.")
        return
    if story not in known:
        raise NotFound(f"There is no story {story!r}.", where="qnib demo", try_next=f"one of {', '.join(known)}.")
    settings = load()
    wanted = clusters.check_name(name or story)
    if clusters.find(settings.clusters, wanted):
        raise Conflict(
            f"Cluster {wanted!r} is there already.", where=str(settings.clusters),
            try_next=f"`qnib down --name {wanted}` first, or give another --name.",
        )
    out = recording(record) if record else None
    try:
        teller = Teller(settings, wanted, pause=pause, record=out)
        tell(teller, known[story].tell, down=down, clear=lambda: terminal.fault_clear(settings, name=wanted))
    finally:
        if out:
            out.close()
