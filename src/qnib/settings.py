"""One settings tree: defaults < qnib.toml < QNIB_* environment < flags.

Nested names join with two underscores in the environment: ``QNIB_HTTP__PORT=8080``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from qnib import clusters
from qnib.errors import NO_REGEX, WrongUse

SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")
"""Ways to a Neo4j: routed or to one server; encrypted (+s), or so without looking at the certificate (+ssc)."""

CARBONS = {"carbon": 2003, "carbon+pickle": 2004}
"""Ways to a carbon that gets points, too, and its usual ports."""


def default_home() -> Path:
    """Where state lives: the system's place for root, the user's own otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/qnib")
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local/share") / "qnib"


def config_file() -> Path | None:
    """The qnib.toml in force: QNIB_CONFIG, else ./qnib.toml, else /etc/qnib/qnib.toml."""
    named = os.environ.get("QNIB_CONFIG")
    if named:
        return Path(named)
    return next((p for p in (Path("qnib.toml"), Path("/etc/qnib/qnib.toml")) if p.is_file()), None)


class Http(BaseModel):
    address: str = Field("127.0.0.1", description="Address the API and the UI listen on")
    port: int = Field(8787, description="Port of the API and the UI")
    max_body: int = Field(32 << 20, description="Longest body that log shippers may send, in octets, unpacked")


class Edge(BaseModel):
    """One kind of listener; it opens on loopback and on every cluster's own network."""

    port: int = Field(description="TCP and UDP port")
    max_line: int = Field(
        65_536, description="Longest record accepted, in octets; longer ones are rejected and counted"
    )


class Statsd(Edge):
    """statsd is added up here: its clients send each of their numbers."""

    port: int = Field(8125, description="UDP port of statsd's clients")
    flush_seconds: float = Field(10, ge=0, description="Interval that becomes one point of a series; 0: not listened")
    percentiles: list[float] = Field(
        default_factory=lambda: [90.0], description="Of timers: the lowest so many percent, the highest when negative"
    )
    most_names: int = Field(20_000, gt=0, description="Names of a kind kept in an interval; more are refused, counted")


class FloodLimit(BaseModel):
    """What one sender may send, carbon's lines aside; more is held back: TCP and HTTP wait, datagrams are dropped."""

    octets_per_second: int = Field(4 << 20, gt=0, description="Octets a second that one sender may send …")
    burst: int = Field(64 << 20, gt=0, description="… on average; so many at once")
    exempt: list[str] = Field(default_factory=list, description="Addresses that may send any amount, as relays")


class SeriesLimits(BaseModel):
    """How many series there may be: each costs memory and time for as long as it is kept."""

    most: int = Field(1_000_000, gt=0, description="Series a cluster may have; new ones beyond are refused, counted")
    new_per_hour: int = Field(
        200_000, gt=0, description="New series one sender may bring at once, and in an hour, if not in flood.exempt"
    )


class Spool(BaseModel):
    rotate_seconds: float = Field(0.5, description="A spool file is fsynced and handed over after this long")
    rotate_bytes: int = Field(8 << 20, description="… or when it holds this many octets")
    keep_seconds: float = Field(600, description="Spool files stay this long after their insert, for replay")
    max_bytes: int = Field(2 << 30, description="Senders are made to wait when the spool holds this many octets")


class Storage(BaseModel):
    """Rules of how long points are kept and in which steps, as carbon has them."""

    schemas: Path | None = Field(None, description="storage-schemas.conf; none: every point is kept, for good")
    aggregation: Path | None = Field(None, description="storage-aggregation.conf; none: means, xFilesFactor 0.5")
    drop_raw: bool = Field(False, description="Points leave once the finest archive no longer covers them")


AGGREGATE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
BY = re.compile(r"host|app|kind|severity|field\.(?!name$)[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""What events are counted by; `name` is a tag that every series has already."""


class Aggregate(BaseModel):
    """Events counted: how many matched in each interval becomes the series ``events.NAME``."""

    query: str = Field(description="In the language of the event search")
    interval: int = Field(60, ge=10, le=3600, multiple_of=10, description="Seconds that are counted together")
    by: list[str] = Field(default_factory=list, max_length=4, description="Tags: host, app, kind, severity, field.NAME")
    clusters: list[str] = Field(default_factory=list, description="Only in these clusters; none: in all")
    most_series: int = Field(500, gt=0, le=5000, description="Of a cluster; what is more is counted together")
    backfill: int = Field(86_400, ge=0, description="Seconds of the past that are counted when it is declared")

    @field_validator("by")
    @classmethod
    def _known(cls, by: list[str]) -> list[str]:
        if wrong := [one for one in by if not BY.fullmatch(one)]:
            raise ValueError(f"{wrong[0]!r} is none of host, app, kind, severity and field.NAME")
        if len({one.removeprefix("field.") for one in by}) < len(by):
            raise ValueError("two of them would be the same tag")
        return by


class EngineLimits(BaseModel):
    memory: int = Field(768 << 20, description="Memory the embedded ClickHouse may use, in octets")
    mark_cache: int = Field(64 << 20, description="ClickHouse mark cache, in octets")
    query_seconds: float = Field(30, description="Longest a person's query may run")
    query_rows: int = Field(100_000, description="Most rows a person's query may return")


class Source(BaseModel):
    """What is known about one sender that the wire does not say."""

    zone: str = Field("UTC", description="IANA time zone of the sender's clock, for timestamps without one")

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is no IANA time zone") from error
        return zone


class MirrorTarget(BaseModel):
    """One system that gets all events, too."""

    to: str = Field(description="syslog[+udp|+tls]://HOST:PORT, http[s]://HOST:PORT/…/_bulk, kafka://HOST:PORT/TOPIC")
    clusters: list[str] = Field(default_factory=list, description="Only these clusters' events; none: all")
    index: str = Field("qnib-events", description="Elasticsearch's index or data stream")
    user: str = Field("", description="User of the target, when it asks for one")
    password: SecretStr = Field(SecretStr(""), description="Its password; in a file of mode 600")

    @field_validator("to")
    @classmethod
    def _known(cls, to: str) -> str:
        parts = urlsplit(to)
        if parts.username is not None:  # it is shown in the health
            raise ValueError("user and password are settings of their own, not part of the address")
        host = parts.hostname or parts.netloc
        if parts.scheme in {"syslog", "syslog+tcp", "syslog+udp", "syslog+tls"} and host and not parts.path.strip("/"):
            return to
        if parts.scheme in {"http", "https"} and host and parts.path.endswith("/_bulk"):
            return to
        if parts.scheme == "kafka" and host and parts.path.strip("/"):
            return to
        raise ValueError("a target is syslog://HOST:PORT, https://HOST:PORT/_bulk or kafka://HOST:PORT/TOPIC")


class MetricsTarget(BaseModel):
    """One carbon that gets all points, too."""

    to: str = Field(description="carbon://HOST:2003 (lines) or carbon+pickle://HOST:2004")
    clusters: list[str] = Field(default_factory=list, description="Only these clusters' points; none: all")
    match: str = Field("", description="Regular expression, found in the paths that are sent on; none: all")
    samples: bool = Field(False, description="Samples of jobs, too: a carbon makes files of each job")

    @field_validator("to")
    @classmethod
    def _known(cls, to: str) -> str:
        parts = urlsplit(to)
        if parts.scheme not in CARBONS or not parts.hostname or parts.username is not None or parts.path.strip("/"):
            raise ValueError("a target is carbon://HOST:PORT or carbon+pickle://HOST:PORT")
        _ = parts.port  # raises for what is no port
        return to

    @field_validator("match")
    @classmethod
    def _compiles(cls, match: str) -> str:
        try:
            re.compile(match)
        except NO_REGEX as error:
            raise ValueError(f"{match!r} is no regular expression: {error}") from error
        return match

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.match)


class MirrorSettings(BaseModel):
    events: list[MirrorTarget] = Field(default_factory=list, description="Where events are sent on to, each on its own")
    metrics: list[MetricsTarget] = Field(default_factory=list, description="Carbons that points are sent on to")
    max_bytes: int = Field(
        1 << 30, description="Octets kept for targets that are behind, of events and of points each"
    )


class Terminal(BaseModel):
    engine: Literal["auto", "podman", "docker"] = Field("auto", description="Container engine")
    mirror: str = Field("", description="Debian mirror to build images from; empty: the host's own")
    node_memory: int = Field(512, description="Memory limit of a compute node, in MiB")
    node_cpus: float = Field(2, description="CPU limit of a compute node, in cores")
    certificates: str = Field(
        "", description="Folder of ca.pem, cert.pem, key.pem for tcp:// hosts; empty: DOCKER_CERT_PATH, else ~/.docker"
    )
    ssh_config: str = Field("", description="ssh's configuration file for ssh:// hosts; empty: ssh's own")


class GraphDatabase(BaseModel):
    url: str = Field(
        "", description="Neo4j that holds the graph: neo4j://HOST:PORT, bolt://, neo4j+s://; empty: the embedded Kuzu"
    )
    user: str = Field("neo4j", description="User of that Neo4j")
    password: SecretStr = Field(SecretStr(""), description="Its password; in the environment or in a file of mode 600")
    database: str = Field("", description="Database of that Neo4j; empty: the user's own")

    @field_validator("url")
    @classmethod
    def _bolt(cls, url: str) -> str:
        parts = urlsplit(url)
        if not url:
            return url
        if parts.scheme not in SCHEMES or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"a graph's address is {', '.join(SCHEMES)} and ://HOST:PORT")
        if parts.username is not None:  # other users see it among the processes
            raise ValueError("user and password are settings of their own, not part of the address")
        return url


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="QNIB_", env_nested_delimiter="__", extra="forbid")

    home: Path = Field(default_factory=default_home, description="Directory of all state")
    cluster: str = Field("demo", description="Cluster meant when none is named")
    http: Http = Field(default_factory=Http)
    carbon: Edge = Field(default_factory=lambda: Edge(port=2003))
    pickle: Edge = Field(default_factory=lambda: Edge(port=2004, max_line=1 << 20))
    syslog: Edge = Field(default_factory=lambda: Edge(port=5514))
    json_lines: Edge = Field(default_factory=lambda: Edge(port=55_514, max_line=262_144))
    gelf: Edge = Field(default_factory=lambda: Edge(port=12_201, max_line=262_144))
    statsd: Statsd = Field(default_factory=Statsd)
    flood: FloodLimit = Field(default_factory=FloodLimit)
    series: SeriesLimits = Field(default_factory=SeriesLimits)
    spool: Spool = Field(default_factory=Spool)
    engine: EngineLimits = Field(default_factory=EngineLimits)
    storage: Storage = Field(default_factory=Storage)
    graph: GraphDatabase = Field(default_factory=GraphDatabase)
    sources: dict[str, Source] = Field(default_factory=dict, description="Per sender (host or address): its zone")
    senders: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Per address or network: node sets it may speak for, 'known' (the host at that address), '*';"
        " when any is set, others are refused",
    )
    racks: dict[str, str | dict[str, str]] = Field(
        default_factory=dict,
        description="Per rack the hosts that stand in it, r1 = 'compute[0-15]'; a table [racks.NAME] is cluster NAME's",
    )
    mirror: MirrorSettings = Field(default_factory=MirrorSettings)
    aggregates: dict[str, Aggregate] = Field(
        default_factory=dict, max_length=100, description="Per name: events that are counted, as series events.NAME"
    )
    rules: Path | None = Field(
        None, description="Folder of a site's own event rules, *.toml; default: rules in the directory of all state"
    )
    terminal: Terminal = Field(default_factory=Terminal)

    @field_validator("aggregates")
    @classmethod
    def _names(cls, aggregates: dict[str, Aggregate]) -> dict[str, Aggregate]:
        if wrong := [name for name in aggregates if not AGGREGATE.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} can be no part of a series' name: letters, digits, '_' and '-'")
        return aggregates

    @field_validator("senders")
    @classmethod
    def _networks(cls, senders: dict[str, list[str]]) -> dict[str, list[str]]:
        from ClusterShell.NodeSet import NodeSet, NodeSetException

        for where, hosts in senders.items():
            try:
                ip_network(where)
                for one in hosts:
                    NodeSet(one)
            except (ValueError, NodeSetException) as error:
                raise ValueError(f"{where} = {hosts}: {error}") from error
        return senders

    @field_validator("racks")
    @classmethod
    def _racks(cls, racks: dict[str, str | dict[str, str]]) -> dict[str, str | dict[str, str]]:
        clusters.check_racks({rack: hosts for rack, hosts in racks.items() if isinstance(hosts, str)})
        for cluster, own in racks.items():
            if isinstance(own, dict):
                if not clusters.NAME.fullmatch(cluster):
                    raise ValueError(f"[racks.{cluster}]: {cluster!r} is no cluster name")
                clusters.check_racks(own)
        return racks

    def racks_of(self, cluster: str) -> dict[str, str]:
        """The racks a site told of this cluster: its own table, else (of the default cluster) those of no table."""
        own = self.racks.get(cluster)
        if isinstance(own, dict):
            return own
        named = {rack: hosts for rack, hosts in self.racks.items() if isinstance(hosts, str)}
        return named if cluster == self.cluster else {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = config_file()
        toml = (TomlConfigSettingsSource(settings_cls, file),) if file else ()
        return (init_settings, env_settings, *toml)

    @property
    def clusters(self) -> Path:
        return self.home / "clusters"

    @property
    def rules_folder(self) -> Path:
        return self.rules or self.home / "rules"

    @property
    def run(self) -> Path:
        """Small files of the running server: token, address, pid."""
        return self.home / "run"


def load(**flags: Any) -> Settings:
    """The settings in force. `flags` win over everything. Raises WrongUse naming the bad entry."""
    file = config_file()
    if file and not file.is_file():
        raise WrongUse("The settings file does not exist.", where=str(file), try_next="correct or unset QNIB_CONFIG.")
    try:
        return Settings(**flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise WrongUse(
            f"Setting {name!r} is not valid: {first['msg']}.",
            where=str(file) if file else "the QNIB_* environment",
            try_next="`qnib settings show` lists every setting, its value and where it came from.",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(
            f"The settings file is not TOML: {error}.", where=str(file), try_next="correct that line."
        ) from error


def origins(settings: Settings) -> Iterator[tuple[str, Any, str, str]]:
    """Each leaf of the tree as (name, value, where it came from, description)."""
    file = config_file()
    told: dict[str, Any] = tomllib.loads(file.read_text()) if file and file.is_file() else {}
    yield from _leaves(settings, "", told, str(file))


def _leaves(model: BaseModel, prefix: str, told: Any, file: str) -> Iterator[tuple[str, Any, str, str]]:
    environment = {name.upper() for name in os.environ}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        path = f"{prefix}{name}"
        inner = told.get(name) if isinstance(told, dict) else None
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{path}.", inner, file)
            continue
        variable = "QNIB_" + path.upper().replace(".", "__")
        if any(known == variable or known.startswith(variable + "__") for known in environment):
            origin = variable
        else:
            origin = file if inner is not None else "default"
        yield path, value, origin, field.description or ""
