"""Jobs that have ended, however long ago; memory (`facts`) has those of the last week only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qnib.engine import DATABASE, Engine
from qnib.inventory.columns import LATEST, TRUE, facts_of
from qnib.inventory.fact import Fact

_JOBS = "cluster = {cluster:String} AND form = 'entity' AND kind = 'Job'"
_LAST = f"SELECT * FROM ({LATEST}) WHERE {TRUE} ORDER BY valid_from DESC LIMIT 1 BY key"


def called(engine: Engine, cluster: str, job: str) -> list[Fact]:
    """The jobs with this key, or with this id, each in its last version, in order of their beginning."""
    where = f"{_JOBS} AND (key = {{job:String}} OR startsWith(key, concat({{job:String}}, '@')))"
    rows = engine.table(_LAST.format(where=where), {"cluster": cluster, "job": job})
    return sorted(facts_of(rows), key=lambda fact: (fact.began, fact.key))


def known(engine: Engine, cluster: str, keys: Sequence[str]) -> dict[str, Fact]:
    """The jobs with these keys, each in its last version."""
    where = f"{_JOBS} AND key IN {{keys:Array(String)}}"
    rows = engine.table(_LAST.format(where=where), {"cluster": cluster, "keys": list(keys)})
    return {fact.key: fact for fact in facts_of(rows)}


def ended(
    engine: Engine, cluster: str, since: datetime, until: datetime, *, user: str = "", limit: int
) -> list[Fact]:
    """Jobs submitted by `until` whose source said that they ended, at `since` or later: the last to end first, and no
    more than `limit`. `user`: only theirs."""
    submit = "parseDateTime64BestEffortOrNull(JSONExtractString(properties, 'submit'), 6, 'UTC')"
    chosen = engine.rows(
        f"SELECT key FROM {DATABASE}.facts PREWHERE {_JOBS} AND stated"
        " AND valid_until >= {since:DateTime64(6, 'UTC')}"
        " WHERE {user:String} IN ('', JSONExtractString(properties, 'user'))"
        f" AND ifNull({submit}, began) <= {{until:DateTime64(6, 'UTC')}}"
        " GROUP BY key ORDER BY max(valid_until) DESC, key DESC LIMIT {limit:UInt32}",
        {"cluster": cluster, "since": since, "until": until, "user": user, "limit": limit},
    )
    keys = [row["key"] for row in chosen]
    found = known(engine, cluster, keys)
    # But for what was taken back since
    return [one for key in keys if (one := found.get(key)) and one.stated and one.until and one.until >= since]
