"""The words of the system as types. Standard library only: the agent on a node imports this.

An *entity* is a thing (a host, a job, a port); a *relation* joins two of them; both hold over an
interval. A *snapshot* is what one source saw at one instant. A *metric* declares a series of numbers, an
*event* is one log record, a *finding* is a sentence with evidence and advice.
A *domain* is one layer of the cluster, declared: see `qnib/domains/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

Scalar = str | int | float | bool | None
Audience = Literal["user", "operator", "manager"]
PanelKind = Literal["series", "heatmap", "topology", "log", "table", "stat", "timeline"]
PropertyType = Literal["string", "int", "float", "bool", "time"]
"""How a property is stored in the graph. Times travel as ISO 8601 strings in UTC."""

HERE = "{host}"
"""In keys and values that a parser gives: the machine the capture was taken on, which its text need not name:
``Ref("Host", HERE)``, ``Ref("Interface", f"{HERE}/eth0")``. See `Capture.of_host`."""

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""Since when things hold that are known by their content: a package's version has no beginning."""


# ── what is there ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ref:
    """Points at an entity: ``Ref("Port", "SW1/3")``. A key is unique per cluster and kind."""

    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        kind, _, key = text.partition(":")
        return cls(kind, key)


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing as one source saw it. `since`/`until` None: the source cannot tell, take the moment it was seen."""

    kind: str
    key: str
    properties: Mapping[str, Scalar] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.key)


@dataclass(frozen=True, slots=True)
class Relation:
    """A directed tie between two entities: ``Relation("JOBCLIENT", job, host, …)``."""

    kind: str
    source: Ref
    target: Ref
    properties: Mapping[str, Scalar] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A switch's forwarding table: ``ports[lid]`` is the port to send out on, 255: none. Kept as an array, for as
    relations the tables of 10,000 hosts would be tens of millions. `guid` tells switches of one name apart."""

    switch: str
    ports: bytes
    guid: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one capture of one source says.

    `complete` names the kinds this capture lists exhaustively: of those, whatever is open in the record, was
    last told by the same source and is missing here has ended. Of other kinds silence proves nothing.
    """

    entities: Sequence[Entity] = ()
    relations: Sequence[Relation] = ()
    complete: frozenset[str] = frozenset()
    tables: Sequence[Table] = ()
    partial: bool = False
    """A few things of many (one job's answer, a push): what it leaves out is not even unheard of since."""


# ── numbers and lines ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Metric:
    """Declares a series of numbers.

    `path` is the dotted carbon path with tags in braces: ``servers.{host}.cpu.user``. The tags named there
    are the series' tags; `name` is the metric's own tag ``name``.
    `mtype` as in Metrics 2.0: a gauge is read as it is, a counter only ever grows and is read as a rate, a count is
    of its interval alone.
    """

    name: str
    path: str
    unit: str
    description: str
    mtype: Literal["gauge", "counter", "rate", "count"] = "gauge"
    source: str = ""
    """Where the number comes from, as people would say it: "cgroup of the node"."""
    on: str = ""
    """The entity on which the graph keeps its newest value: ``PORT:{node}/{port}``; empty: on none."""

    @property
    def column(self) -> str:
        """Its name on that entity: what follows the path's last tag, ``cpu_used``."""
        return self.path.rpartition("}.")[2].replace(".", "_")


@dataclass(frozen=True, slots=True)
class EventMetric:
    """A number a log line holds, kept as a series of its own: ``slurm.rpc.time;host=…;rpc=…``.

    `value` and the values of `tags` are templates of the rule's fields; the tag `host` is always there.
    """

    name: str
    unit: str
    value: str
    description: str = ""
    mtype: Literal["gauge", "counter", "rate"] = "gauge"
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def metric(self) -> Metric:
        """Its declaration, as of any other metric."""
        return Metric(self.name, self.name, self.unit, self.description, self.mtype, source="log lines")


@dataclass(frozen=True, slots=True)
class PathRule:
    """One rule of a domain's paths.toml, or of a site's own: what the segments of a dotted path mean.

    `path` names in braces what a segment or a part of one holds: ``collectd.{host}.cpu-{cpu}.cpu-{state}``. What
    `name` uses is part of the series' name, the rest are its tags.
    """

    path: str
    """``{tag}`` is one segment or part of one, ``{tag*}`` one or more segments, ``{tag:[0-9]+}`` what an RE2 expression
    matches, ``{}`` a segment that is dropped, ``{*}`` whatever follows. A tag that stands more than once is joined by
    dots."""
    name: str
    """A template: ``cpu.{state}``."""
    sample: str
    """A path it matches."""
    unit: str = ""
    mtype: Literal["gauge", "counter", "rate"] = "gauge"
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags that all these series have besides."""
    expect: Mapping[str, str] = field(default_factory=dict)
    """Name and tags of the sample."""
    where: str = ""
    """File and line it stands in."""


@dataclass(frozen=True, slots=True)
class EventRule:
    """One rule of a domain's events.toml, or of a site's own: what a log line means."""

    name: str
    match: str
    """RE2 regular expression over the message; named groups become fields."""
    kind: str
    """What happened, in one word of the domain: ``job.start``, ``link.down``."""
    app: str = ""
    """Only lines of this program, or of one of several separated by commas; empty: of any."""
    severity: str = ""
    """Overrides the sender's severity when set (syslog keyword, e.g. ``err``)."""
    entities: Sequence[str] = ()
    """Templates of refs filled from fields: ``Job:{job}``, ``Port:{switch}/{port}``."""
    tags: Sequence[str] = ()
    """Words by which such events are found together, whatever their kind: ``memory``, ``hardware``."""
    hint: str = ""
    """For people: what it means, and what to do."""
    metrics: Sequence[EventMetric] = ()
    sample: str = ""
    expect: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    """File and line it stands in."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence with evidence and advice. `severity` is one of fine, warn, critical, unknown."""

    name: str
    severity: Literal["fine", "warn", "critical", "unknown"]
    sentence: str
    advice: str
    evidence: Sequence[str] = ()
    about: Ref | None = None


# ── what a domain declares ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EntityKind:
    name: str
    description: str
    properties: Mapping[str, PropertyType]
    key: str = ""
    """What the key is made of, in words: ``switch name / port number``."""
    lasting: bool = False
    """Known by its content (a version of a package): told once it holds for good, and since `ALWAYS`. Nobody need tell
    of it again, and it is no news."""


@dataclass(frozen=True, slots=True)
class RelationKind:
    name: str
    source: str
    target: str
    description: str
    properties: Mapping[str, PropertyType] = field(default_factory=dict)
    lasting: bool = False
    """As of a kind of entity: what a set of packages contains never changes."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one snapshot changed in the record: something began, is said to be different, or ended."""

    what: Literal["began", "changed", "ended"]
    after: Entity | Relation
    before: Entity | Relation | None = None
    """What was known until then; None for what began."""


@dataclass(frozen=True, slots=True)
class Event:
    """One log record that QNIB itself writes, because a change says more than any line of the layer's own log."""

    time: datetime
    kind: str
    message: str
    host: str = ""
    severity: str = "notice"
    entities: Sequence[Ref] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""


class Known(Protocol):
    """What the record knows of one cluster, as far as telling identities over time needs it."""

    def open(self, kind: str) -> Sequence[Entity]:
        """Entities of a kind that hold now."""

    def ended(self, kind: str, since: datetime) -> Sequence[Entity]:
        """Those that ended after `since`, the latest first."""

    def entities(self, kind: str) -> Sequence[Entity]:
        """Both of them: open ones and those that ended lately."""

    def ties(self, kind: str) -> Sequence[Relation]:
        """Relations of a kind, open ones and those that ended lately."""

    def find(self, kind: str, start: str) -> Sequence[Entity]:
        """Entities of a kind that hold now and whose key begins so; cheap however many there are."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What an agent runs or reads, and the pure parser (on the server) that turns its text into a snapshot.

    `parse(text, at)` never touches the world; it raises ValueError with the offending line for text that is
    not this capture's. `triggers` are regular expressions over local log lines: a match makes the agent
    capture at once instead of waiting for `interval` (seconds), so that polling can stay slow. `watch` does the same
    with files: a change of one of them does; where none of them is there, nothing is captured.
    """

    name: str
    command: Sequence[str]
    parse: Callable[[str, datetime], Snapshot]
    interval: float
    role: Literal["node", "controller", "fabric", "file"]
    """Whose agent runs it; "file": none does, it is brought by ``qnib load``."""
    triggers: Sequence[str] = ()
    watch: Sequence[str] = ()
    timeout: float = 20.0
    source: str = ""
    """Captures of one source (default: the capture's name) tell of the same things: what one of them no longer lists
    has ended, although another told of it before."""
    of_host: bool = False
    """Its text tells of the machine it was taken on without naming it: `parse` writes `HERE` in its place."""
    start: Callable[[str], Callable[[], str | None]] | None = None
    """Where no command says it: ``start(host)`` returns the function the agent calls in place of `command` (which then
    says in words what is read). It gives the text, or None when there is nothing new to tell."""
    first_is_news: bool = False
    """Its first word is of something that only just began (a container tells of itself): events are told of it, too."""
    numbers: Callable[[str, Known], Sequence[tuple[str, float]]] | None = None
    """Pure: carbon paths and values of a file that holds numbers; its `parse` gives an empty snapshot or raises."""
    settle: Callable[[Snapshot, Known, datetime], Snapshot] | None = None
    """Pure: what one look cannot know (is it the same cable, the same job?), told from what the record knows."""
    events: Callable[[Sequence[Change], Known, datetime], Sequence[Event]] | None = None
    """Pure: the changes worth a line of their own. `Known` is the record before them; never called for the first
    snapshot of a source, which is no change of the world, unless `first_is_news`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers an agent sends by carbon: ``read()`` gives (path, value) pairs with host and time added later.

    `state` between calls lives in the object the factory returns, so that rates can be differences.
    """

    name: str
    interval: float
    role: Literal["node", "controller", "fabric"]
    start: Callable[[str], Callable[[], Sequence[tuple[str, float]]]]
    """``start(host)`` returns the function to call at each interval."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What to show for one kind of entity to one audience; drawn by one of seven generic kinds.

    `metrics` are names of declared metrics (series, heatmap, stat); `columns` and `query` (Cypher with
    ``$key`` and ``$cluster``) serve table; `events` is an event query for log and timeline.
    """

    title: str
    kind: PanelKind
    entity: str
    audiences: Sequence[Audience] = ("user", "operator", "manager")
    metrics: Sequence[str] = ()
    unit: str = ""
    events: str = ""
    query: str = ""
    columns: Sequence[str] = ()
    order: int = 100


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a question wants to know first: ``$name`` in its Cypher. `kind` is the entity it is the key of, or empty."""

    name: str
    about: str = ""
    kind: str = ""
    type: Literal["string", "int"] = "string"


@dataclass(frozen=True, slots=True)
class Question:
    """A question the graph answers: shipped Cypher with a name people can remember. See questions.toml."""

    name: str
    ask: str
    cypher: str
    why: str = ""
    params: Sequence[Parameter] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A known problem: `find(facts)` is pure; each finding it gives carries advice."""

    name: str
    description: str
    advice: str
    entity: str
    find: Callable[[Mapping[str, object]], Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Domain:
    """One layer of the cluster, declared on one screen. The four parts act on it."""

    name: str
    title: str
    description: str
    folder: Path
    entities: Sequence[EntityKind] = ()
    relations: Sequence[RelationKind] = ()
    metrics: Sequence[Metric] = ()
    captures: Sequence[Capture] = ()
    readings: Sequence[Reading] = ()
    panels: Sequence[Panel] = ()
    checks: Sequence[Check] = ()
