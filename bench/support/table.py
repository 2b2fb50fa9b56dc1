"""Prints what a bench measured: rows beside peers and their goals, then notes; or both as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def show(rows: Sequence[Mapping[str, Any]], notes: Sequence[str], *, as_json: bool) -> None:
    """Rows have ``work, unit, ours, peer, peer_name, ratio, goal, met``; what is not known is None."""
    if as_json:
        print(json.dumps({"rows": rows, "notes": notes}))
        return
    work, name = (max((len(row[key]) for row in rows), default=0) for key in ("work", "peer_name"))
    for row in rows:
        met = {None: "", True: "met", False: "MISSED"}[row["met"]]
        peer = "-" if row["peer"] is None else f"{row['peer']:,.1f}"
        print(f"{row['work']:<{work}}{row['ours']:>13,.1f} {row['unit']:<22}"
              f" beside {row['peer_name']:<{name}}{peer:>13}"
              f" ratio {row['ratio'] or '-':<7} goal {row['goal'] or 'none':<8}{met}")  # fmt: skip
    print("\n".join(notes))
