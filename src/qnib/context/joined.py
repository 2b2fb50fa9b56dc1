"""Events joined in time, when they are read, to what the record knows of their host: whose jobs ran there, on which
switch it hung. Right also for lines that came before the scheduler's word, since nothing is stored with the line.

Terms like ``user:herbert`` become intervals of keys: a host's name while it meant a host on which such a job ran, and
``#42`` (a job's number, for lines that name it) while that number was that job. See docs/decisions/0013.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import orjson
import pyarrow as pa

from qnib.clock import micros
from qnib.context.known import Sources
from qnib.errors import TooMuch
from qnib.inventory import whereabouts
from qnib.inventory.segments import EVER, Interval, Segments
from qnib.inventory.whereabouts import SECOND
from qnib.monitoring.conditions import Conditions, like
from qnib.monitoring.conditions import names as unfolded
from qnib.monitoring.events import event_row
from qnib.monitoring.query import All, Node, Term, terms

BEFORE = 60 * SECOND
"""How long before its submission a line may name a job: clocks differ."""
MOST_TERMS = 60
"""Terms of one query that need the record: each is a bit of a number."""
MOST_JOBS = 100_000
"""Jobs one term may stand for."""
BY_JOB, BY_HOST = "jobs", "places"
KEYS = {
    BY_JOB: "CAST(if(job != '', concat('#', job), toString(host)), 'String')", BY_HOST: "CAST(host, 'String')",
}
"""What an event is joined by: a line that names its job belongs to that one, whatever else ran on the host."""


class Joined:
    """A query over one cluster's window, made ready to be asked: `source` is what stands after FROM, `where` the
    condition, `params` the values of both."""

    def __init__(
        self, sources: Sources, cluster: str, start: datetime, end: datetime, tree: Node,
        moment: Callable[[str], datetime],
    ) -> None:
        self._sources, self._cluster = sources, cluster
        self._start, self._end = micros(start), micros(end)
        self._conditions = Conditions(moment, self._related)
        self._intervals: dict[str, list[Interval]] = {BY_JOB: [], BY_HOST: []}
        self._near: dict[Term, str] = {}
        """What only lines that may match fulfil, without a join."""
        self._bits: dict[Term, int] = {}
        self._names = whereabouts.names(sources.engine, sources.facts, cluster)
        self._strange: list[str] | None = None
        value = self._conditions.value
        first, last = (value(at, "DateTime64(6, 'UTC')") for at in (start, end))
        own = f"cluster = {value(cluster)} AND time >= {first} AND time < {last}"
        parts = tree.items if isinstance(tree, All) else (tree,)
        here = [part for part in parts if not any(_record(term) for term in terms(part))]
        there = [part for part in parts if part not in here]
        inner = " AND ".join([own, *(f"({self._conditions.sql(part)})" for part in here)])
        told = [(part, self._conditions.sql(part)) for part in there]
        needs = [by for by in (BY_JOB, BY_HOST) if self._intervals[by]]
        joined = " AND ".join(f"({sql})" for _, sql in told)
        if not needs:
            self.source, self.where = "qnib.events", f"{inner} AND ({joined})" if joined else inner
        else:
            # A term that must hold leaves only the lines it can concern: far fewer are joined
            inner += "".join(f" AND {self._near[part]}" for part in there if part in self._near)
            source = f"(SELECT *, job, toUnixTimestamp64Micro(time) AS micro FROM qnib.events WHERE {inner}) AS e"
            for by in needs:
                source += self.join(by, Segments(self._intervals[by]))
            self.source, self.where = source, joined
        self.params = self._conditions.params

    def join(self, by: str, segments: Segments) -> str:
        """An ASOF join of an event's key to the segments, as ``<by>.marks``: the bits of the terms that hold then."""
        keys, times, tags = segments.rows()
        return _asof(self._conditions, by, keys, times, [sum(1 << tag for tag in own) for own in tags])

    def by_jobs(self) -> list[tuple[list[dict[str, Any]], int]]:
        """The events that match, counted by the jobs they belong to: those the line names, else all of its host then.
        What belongs to none is not counted."""
        held, segments = self._runs()
        source, params = self._placed([(BY_JOB, segments)])
        rows = self._sources.engine.rows(
            f"SELECT {BY_JOB}.marks AS place, count() AS n FROM {source} WHERE place > 0 GROUP BY place", params
        )
        tags = segments.rows()[2]
        found = [([held[tag][1] for tag in tags[row["place"] - 1]], row["n"]) for row in rows]
        return [(jobs, n) for jobs, n in found if jobs]

    def table(self, columns: str) -> pa.Table:
        """All events that match, by the million: these columns of them, and the lists `jobs` (keys), `users` and
        `switches` as they were then, for a host may be shared."""
        held, runs = self._runs()
        plugged = whereabouts.plugged(self._sources.engine, self._sources.facts, self._cluster)
        switches = sorted(plugged.on)
        places = Segments(
            one for place, switch in enumerate(switches) for since, until, host in plugged.on[switch]
            for one in self._named(host, since, until, place)
        )
        source, params = self._placed([(BY_JOB, runs), (BY_HOST, places)], columns)
        told = self._sources.engine.table(
            f"SELECT e.* EXCEPT (micro, {BY_JOB}_key, {BY_HOST}_key), {BY_JOB}.marks AS run, {BY_HOST}.marks AS place"
            f" FROM {source} SETTINGS output_format_arrow_compression_method = 'none'", params,
        )  # fmt: skip
        keys, users = [key for key, _ in held], [str(job.get("user") or "") for _, job in held]
        for name, column, segments, names in (
            ("jobs", "run", runs, keys), ("users", "run", runs, users), ("switches", "place", places, switches),
        ):
            lists = pa.array([[], *([names[tag] for tag in own] for own in segments.rows()[2])], pa.list_(pa.string()))
            told = told.append_column(name, lists.take(told[column].combine_chunks()))
        return told.drop_columns(["run", "place"])

    def _runs(self) -> tuple[list[tuple[str, dict[str, Any]]], Segments]:
        """Every job that anything in the window may belong to, and when a host or a number meant which of them."""
        engine = self._sources.engine
        told = whereabouts.allocations(engine, self._cluster, self._start, self._end)
        named = engine.rows(f"SELECT DISTINCT job FROM {self.source} WHERE {self.where}", self.params)
        numbered = whereabouts.jobs_numbered(engine, self._cluster, {row["job"] for row in named if row["job"]})
        keys = sorted({job for job, _, _, _ in told} | {key for same in numbered.values() for _, key in same})
        number = {key: place for place, key in enumerate(keys)}
        own = [one for job, host, since, until in told for one in self._named(host, since, until, number[job])]
        own += [one for name, same in numbered.items() for one in _numbers(name, same, number)]
        known = whereabouts.job_facts(engine, self._cluster, keys)
        return [(key, known.get(key, {})) for key in keys], Segments(own)

    def _placed(self, joins: Sequence[tuple[str, Segments]], columns: str = "") -> tuple[str, dict[str, Any]]:
        """The events that match, each with the number of its segment in each of these, from 1, as ``<name>.marks``."""
        own = Conditions(_never, prefix="j")
        asked = ", ".join([
            *([columns] if columns else []), *(f"{KEYS[by]} AS {by}_key" for by, _ in joins),
            "toUnixTimestamp64Micro(time) AS micro",
        ])  # fmt: skip
        source = f"(SELECT {asked} FROM {self.source} WHERE {self.where}) AS e"
        for by, segments in joins:
            keys, times, _ = segments.rows()
            source += _asof(own, by, keys, times, list(range(1, len(keys) + 1)), f"e.{by}_key")
        return source, {**self.params, **own.params}

    # ── terms ─────────────────────────────────────────────────────────────────────────────────

    def _related(self, term: Term) -> str:
        if term.name == "host":
            return self._host(term)
        if term.name == "switch":
            return self._switch(term)
        value = self._conditions.value
        either = []
        if term.name == "job":
            either.append(self._unknown_jobs(term))
        elif term.name in ("user", "partition"):
            refs = [f"{term.name.title()}:{one}" for one in term.values if "*" not in one]
            either.append(f"hasAny(entities, {value(refs, 'Array(String)')})")
            either.append(self._conditions.matches(f"fields[{value(term.name)}]", term.values))
        return self._either(term, BY_JOB, lambda tag: self._of_jobs(term, tag), either)

    def _either(self, term: Term, by: str, make: Callable[[int], Iterable[Interval]], others: Sequence[str]) -> str:
        """A term that holds where the intervals say so, or where one of the other conditions does."""
        tag = self._bits.setdefault(term, len(self._bits))
        if tag >= MOST_TERMS:
            raise TooMuch(
                f"At most {MOST_TERMS} terms of a query may ask for hosts, jobs or people.", where=str(term),
                try_next="write several values after one colon: user:ann,bob.",
            )
        own = list(make(tag))
        self._intervals[by] += own
        if not own:
            return f"({' OR '.join(others or ['0'])})"
        keys = self._conditions.value(sorted({one.key for one in own}), "Array(String)")
        self._near[term] = f"({' OR '.join([f'{KEYS[by]} IN {keys}', *others])})"
        return f"({' OR '.join([f'bitTest({by}.marks, {tag})', *others])})"

    def _host(self, term: Term) -> str:
        """Every name of the host. One that meant it only for a part of the window is joined in time."""
        always: set[str] = set()
        partly: list[tuple[str, int, int]] = []
        for value in (name for told in term.values for name in unfolded(told, term)):
            known = [value] if "*" not in value else [name for name in self._names.spans if fnmatchcase(name, value)]
            if "*" not in value and value not in self._names.spans:
                always.add(value)
            hosts = {
                host for name in known for since, until, host in self._names.spans.get(name, ())
                if since < self._end and until > self._start
            }
            for host in hosts:
                for since, until, name in self._names.of.get(host, ()):
                    if since <= self._start and until >= self._end:
                        always.add(name)
                    elif since < self._end and until > self._start:
                        partly.append((name, since, until))
                always.update(name for name in self._unknown() if self._names.meaning(name, self._end) == host)
        patterns = tuple(value for value in term.values if "*" in value)
        either = [f"host IN {self._conditions.value(sorted(always), 'Array(String)')}"]
        either += [f"host LIKE {self._conditions.value(like(pattern))}" for pattern in patterns]
        return self._either(term, BY_HOST, lambda tag: (Interval(*one, tag) for one in partly), either)

    def _switch(self, term: Term) -> str:
        plugged = whereabouts.plugged(self._sources.engine, self._sources.facts, self._cluster)
        wanted = [name for value in term.values for name in unfolded(value, term)]
        switches = [one for one in plugged.on if any(fnmatchcase(one, name) for name in wanted)]

        def hung(tag: int) -> Iterable[Interval]:
            for switch in switches:
                for since, until, host in plugged.on[switch]:
                    yield from self._named(host, since, until, tag)

        about = [f"arrayExists(ref -> ref LIKE {self._conditions.value(like(f'SW:{name}'))}"
                 f" OR ref LIKE {self._conditions.value(like(f'PORT:{name}/*'))}, entities)" for name in wanted]
        return self._either(term, BY_HOST, hung, about)

    def _of_jobs(self, term: Term, tag: int) -> Iterable[Interval]:
        jobs = self._jobs(term)
        for job, host, since, until in whereabouts.allocations(
            self._sources.engine, self._cluster, self._start, self._end, jobs=jobs
        ):
            del job
            yield from self._named(host, since, until, tag)
        numbered = whereabouts.jobs_numbered(
            self._sources.engine, self._cluster, {job.partition("@")[0] for job in jobs}
        )
        for number, same in numbered.items():
            yield from _numbers(number, same, dict.fromkeys(jobs, tag))

    def _named(self, host: str, since: int, until: int, tag: int) -> Iterable[Interval]:
        """An interval of a host under each name that meant it then."""
        spans = self._names.of.get(host) or [(0, EVER, host)]
        for own_since, own_until, name in [*spans, *((0, EVER, n) for n in self._unknown(host))]:
            yield Interval(name, max(since, own_since), min(until, own_until), tag)

    def _unknown(self, host: str | None = None) -> list[str]:
        """Names in the window that nobody told of, but whose first label is a host's: it is taken for its FQDN."""
        if self._strange is None:
            rows = self._sources.engine.rows(
                "SELECT DISTINCT host FROM qnib.events WHERE cluster = {cluster:String}"
                " AND time >= fromUnixTimestamp64Micro({start:Int64}) AND time < fromUnixTimestamp64Micro({end:Int64})"
                " AND position(host, '.') > 0 LIMIT 100000",
                {"cluster": self._cluster, "start": self._start, "end": self._end},
            )
            found = [row["host"] for row in rows]
            self._strange = [
                name for name in found if name not in self._names.spans and name.partition(".")[0] in self._names.spans
            ]
        if host is None:
            return self._strange
        return [name for name in self._strange if self._names.meaning(name, self._end) == host]

    def _jobs(self, term: Term) -> set[str]:
        """Keys of the jobs a term stands for, of those submitted before the window's end."""
        own = Conditions(_never)
        if term.name == "job":
            condition, rough = own.matches("key", _job_patterns(term.values)), "1"
        else:
            condition = own.matches(f"JSONExtractString(properties, {own.value(term.name)})", term.values)
            plain = [orjson.dumps({term.name: one})[1:-1].decode() for one in term.values if "*" not in one]
            rough = f"multiSearchAny(properties, {own.value(plain, 'Array(String)')})"
            rough = rough if len(plain) == len(term.values) else "1"
        rows = self._sources.engine.rows(
            "SELECT DISTINCT key FROM qnib.facts WHERE cluster = {cluster:String} AND form = 'entity' AND kind = 'Job'"
            " AND toInt64OrZero(splitByChar('@', key)[2]) <= {last:Int64}"
            f" AND {rough} AND {condition} LIMIT {MOST_JOBS + 1}",
            {**own.params, "cluster": self._cluster, "last": self._end // SECOND},
        )
        if len(rows) > MOST_JOBS:
            raise TooMuch(
                f"{term} stands for more than {MOST_JOBS} jobs.", where=f"character {term.at + 1}",
                try_next="name a user or a job, or choose an earlier end.",
            )
        return {row["key"] for row in rows}

    def _unknown_jobs(self, term: Term) -> str:
        """Lines that name a job nobody has told of yet."""
        numbers = sorted({value for value in term.values if "@" not in value and "*" not in value})
        known = set(whereabouts.jobs_numbered(self._sources.engine, self._cluster, numbers)) if numbers else set()
        return f"job IN {self._conditions.value([one for one in numbers if one not in known], 'Array(String)')}"


def _never(text: str) -> datetime:
    raise ValueError(f"no time is asked for here: {text!r}")


def _record(term: Term) -> bool:
    return term.field.sort in ("record", "host")


def _numbers(number: str, same: Sequence[tuple[int, str]], tags: Mapping[str, int]) -> Iterable[Interval]:
    """When a job's number meant which of the jobs that had it. Before the first was submitted it meant that one."""
    for place, (submitted, key) in enumerate(same):
        after = same[place + 1][0] if place + 1 < len(same) else EVER + BEFORE
        if key in tags:
            yield Interval(f"#{number}", submitted - BEFORE if place else 0, after - BEFORE, tags[key])


def _asof(
    conditions: Conditions, name: str, keys: list[str], times: list[int], marks: list[int], key: str = "",
) -> str:
    value = conditions.value
    zipped = (
        f"arrayZip({value(keys, 'Array(String)')}, {value(times, 'Array(Int64)')}, {value(marks, 'Array(UInt64)')})"
    )
    return (
        f" ASOF LEFT JOIN (SELECT r.1 AS key, r.2 AS since, r.3 AS marks FROM (SELECT arrayJoin({zipped}) AS r))"
        f" AS {name} ON {name}.key = {key or KEYS[name]} AND {name}.since <= e.micro"
    )


def _job_patterns(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value if "@" in value else f"{value}@*" for value in values)


# ── what is around rows ───────────────────────────────────────────────────────────────────────


class Around:
    """Whose and where some events were: `of(row)` gives ``{host, switches, jobs}`` of a row it was made of."""

    def __init__(self, sources: Sources, cluster: str, rows: Sequence[dict[str, Any]]) -> None:
        engine = sources.engine
        self._names = whereabouts.names(engine, sources.facts, cluster)
        self._plugged = whereabouts.plugged(engine, sources.facts, cluster)
        times = [micros(row["time"]) for row in rows]
        hosts = {self._names.meaning(row["host"], at) for row, at in zip(rows, times, strict=True)}
        told = whereabouts.allocations(
            engine, cluster, min(times, default=0), max(times, default=0), hosts=hosts,
        ) if rows else []  # fmt: skip
        self._keys = sorted({job for job, _, _, _ in told})
        number = {key: place for place, key in enumerate(self._keys)}
        self._runs = Segments(Interval(host, since, until, number[job]) for job, host, since, until in told)
        self._numbered = whereabouts.jobs_numbered(engine, cluster, {row["job"] for row in rows if row["job"]})
        named = {key for same in self._numbered.values() for _, key in same}
        self._jobs = whereabouts.job_facts(engine, cluster, {*self._keys, *named})

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """`jobs`: the one the line names; else all that had an allocation on its host, several on a shared one."""
        at = micros(row["time"])
        host = self._names.meaning(row["host"], at)
        keys = [self._keys[tag] for tag in self._runs.at(host, at)]
        if row["job"]:
            same = self._numbered.get(row["job"], [])
            began = [key for submitted, key in same if submitted - BEFORE <= at]
            keys = [began[-1] if began else same[0][1]] if same else []
        return {
            "host": host, "switches": sorted(set(self._plugged.switches(host, at))),
            "jobs": [job_row(key, self._jobs.get(key, {})) for key in sorted(keys)],
        }  # fmt: skip

    def shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as the UI's EventRow, with `around`."""
        return {**event_row({name: told for name, told in row.items() if name != "job"}), "around": self.of(row)}


def job_row(key: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """A job as it is told of beside an event; what is not known of it is empty."""
    return {
        "key": key, "id": told.get("id") or key.partition("@")[0],
        **{name: told.get(name) or "" for name in ("name", "user", "group", "account", "partition", "nodes")},
    }
