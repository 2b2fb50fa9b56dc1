"""What each of some hosts is at a time, layer by layer, in a form in which hosts can be compared.

A profile is what one host is in one aspect: a value in parts for every item, ``{"libz.so": ("1.3", path, build)}``.
Hosts with the same set of software share one profile, so that ten thousand alike cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qnib.domains.network.interfaces import LOCAL
from qnib.domains.paths import natural
from qnib.domains.software import loaded, packages
from qnib.domains.software.sets import members
from qnib.inventory.fabric import wiring
from qnib.inventory.fact import Fact
from qnib.inventory.facts import Facts
from qnib.model import Ref, Scalar

Profile = Mapping[str, tuple[str, ...]]
Profiles = Mapping[str, Profile]
"""By host; one of which nothing is known is not there."""


@dataclass(frozen=True, slots=True)
class Aspect:
    name: str
    title: str
    absent: str
    """What a host has that lacks an item."""
    of: Callable[[Asked], Profiles]
    of_job: bool = False
    """Known of a host only with a job."""


@dataclass(slots=True)
class Asked:
    """Which hosts, at what time (None: now); with a job also what it had loaded on them."""

    facts: Facts
    cluster: str
    hosts: Sequence[str]
    at: datetime | None = None
    job: str = ""
    told: dict[str, datetime] = field(default_factory=dict)
    """When somebody last told of each host what was read since this was emptied; of an earlier time nothing is said."""

    def note(self, host: str, fact: Fact) -> None:
        """That a host is known by this fact."""
        if self.at is None:
            at = self.facts.confirmed(fact)
            self.told[host] = min(at, self.told.get(host, at))

    def entities(self, kind: str) -> Iterator[Fact]:
        yield from self._held(kind, "entity")

    def ties(self, kind: str) -> Iterator[Fact]:
        yield from self._held(kind, "relation")

    def _held(self, kind: str, form: str) -> Iterator[Fact]:
        if self.at is None:
            yield from (fact for fact in self.facts.current(self.cluster, kind) if fact.form == form)
        elif form == "entity":
            yield from self.facts.entities(self.cluster, kind, self.at)
        else:
            yield from self.facts.relations(self.cluster, kind, self.at)

    def of_hosts(self, kind: str) -> dict[str, list[Fact]]:
        """Entities of a kind, by the host among those asked about that they name as theirs."""
        wanted = set(self.hosts)
        found: dict[str, list[Fact]] = {}
        for fact in self.entities(kind):
            if (host := str(fact.properties.get("host") or "")) in wanted:
                found.setdefault(host, []).append(fact)
                self.note(host, fact)
        return found

    def loaded_on(self) -> dict[str, Mapping[str, Scalar]]:
        """What the job had loaded, by host: at the time asked about or, where that was over by then, last before."""
        if not self.job:
            return {}
        ref = Ref("Job", self.job)
        facts = list(self.ties("LOADED_ON")) if self.at is None else self.facts.history(self.cluster, ref)
        found: dict[str, Mapping[str, Scalar]] = {}
        for fact in facts:
            if fact.kind != "LOADED_ON" or fact.source != ref or fact.target is None:
                continue
            if self.at is None or fact.since <= self.at:
                found[fact.target.key] = fact.properties
                self.note(fact.target.key, fact)
        return found


# ── software ──────────────────────────────────────────────────────────────────────────────────


def _expand(
    asked: Asked, keys: Mapping[str, str], parts: Callable[[str], tuple[str, tuple[str, ...]]]
) -> Profiles:
    """Profiles from the key of each host's set; `parts` gives item and value of what is in it."""
    sets = {fact.key: fact.properties for fact in asked.facts.current(asked.cluster, "SoftwareSet")}
    made: dict[str, Profile] = {}
    for key in set(keys.values()):
        if key in sets and (not (base := str(sets[key].get("base") or "")) or base in sets):
            made[key] = _joined(parts(item) for item in sorted(members(sets, key)))
        elif not key:
            made[key] = {}
    return {host: made[key] for host, key in keys.items() if key in made}


def _joined(pairs: Iterable[tuple[str, tuple[str, ...]]]) -> Profile:
    """Several of one name are one value: two versions of a kernel side by side."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {
        name: tuple(", ".join(dict.fromkeys(filter(None, part))) for part in zip(*values, strict=True))
        for name, values in found.items()
    }


def _has(asked: Asked, what: str) -> dict[str, str]:
    wanted, found = set(asked.hosts), {}
    for tie in asked.ties("HAS_SOFTWARE"):
        if tie.source and tie.target and tie.source.key in wanted and tie.properties.get("what") == what:
            found[tie.source.key] = tie.target.key
            asked.note(tie.source.key, tie)
    return found


def _packages(asked: Asked) -> Profiles:
    def parts(key: str) -> tuple[str, tuple[str, ...]]:
        name, version = packages.named(key)
        return name, (version,)

    return _expand(asked, _has(asked, "packages"), parts)


def _available(asked: Asked) -> Profiles:
    return _expand(asked, _has(asked, "modules"), lambda key: (key, ("there",)))


def _libraries(asked: Asked) -> Profiles:
    def parts(key: str) -> tuple[str, tuple[str, ...]]:
        name, version = loaded.named(key)
        path, _, build = key.partition("#")
        return name, (version, path.rpartition("/")[0], build and f"build {build}")

    return _expand(asked, {host: str(told["libraries"]) for host, told in asked.loaded_on().items()}, parts)


def _modules(asked: Asked) -> Profiles:
    def parts(key: str) -> tuple[str, tuple[str, ...]]:
        name, _, version = key.partition("/")
        return name, (version or "there",)

    return _expand(asked, {host: str(told["modules"] or "") for host, told in asked.loaded_on().items()}, parts)


# ── machines ──────────────────────────────────────────────────────────────────────────────────


def _kernel(asked: Asked) -> Profiles:
    wanted, found = set(asked.hosts), {}
    for fact in asked.entities("Host"):
        if fact.key in wanted and fact.properties.get("kernel"):
            found[fact.key] = _told(kernel=fact.properties["kernel"], system=fact.properties.get("os"))
            asked.note(fact.key, fact)
    return found


def _nodes(asked: Asked) -> dict[str, Mapping[str, Scalar]]:
    hosts = {tie.source.key: tie.target.key for tie in asked.ties("IS") if tie.source and tie.target}
    wanted, found = set(asked.hosts), {}
    for fact in asked.entities("Node"):
        if (host := hosts.get(fact.key, fact.key)) in wanted:
            found[host] = fact.properties
            asked.note(host, fact)
    return found


def _slurm(asked: Asked) -> Profiles:
    return {host: _told(slurmd=node["version"]) for host, node in _nodes(asked).items() if node.get("version")}


def _resources(asked: Asked) -> Profiles:
    return {
        host: _told(CPUs=node["cpus"], memory=_octets(node.get("memory")))
        for host, node in _nodes(asked).items() if node.get("cpus")
    }


def _ports(asked: Asked) -> Profiles:
    net = wiring(asked.facts, asked.cluster, asked.at)
    adapters: dict[str, list[str]] = {}
    for adapter, host in net.host_of.items():
        adapters.setdefault(host, []).append(adapter)
    rates: dict[str, dict[int, str]] = {}
    for link in [*net.down, *net.links]:
        rate = " ".join(str(link.fact.properties.get(name) or "") for name in ("width", "speed")) if link.up else "down"
        rates.setdefault(link.a, {})[link.a_port] = rates.setdefault(link.b, {})[link.b_port] = rate
    found = {}
    for host in set(asked.hosts) & adapters.keys():
        told: dict[str, tuple[str, ...]] = {}
        for number, adapter in enumerate(sorted(adapters[host], key=natural), 1):
            first = f"adapter {number} " if len(adapters[host]) > 1 else ""
            told |= {f"{first}port {port}": (rate,) for port, rate in rates.get(adapter, {1: "no link"}).items()}
        found[host] = told
    return found


def _interfaces(asked: Asked) -> Profiles:
    found = {}
    for host, interfaces in asked.of_hosts("Interface").items():
        told: dict[str, tuple[str, ...]] = {}
        for one in interfaces:
            name, properties = str(one.properties["name"]), one.properties
            if LOCAL.match(name):
                continue
            told[f"{name} state"] = (str(properties.get("state") or ""),)
            told[f"{name} MTU"] = (str(properties.get("mtu") or ""),)
            if properties.get("speed"):
                told[f"{name} speed"] = (f"{properties['speed']} Mb/s",)
        found[host] = told
    return found


def _containers(asked: Asked) -> Profiles:
    wanted, inside = set(asked.hosts), {}
    for tie in asked.ties("RUNS_IN"):
        if tie.source and tie.target and tie.source.kind == "Host" and tie.source.key in wanted:
            inside[tie.source.key] = tie.target.key
            asked.note(tie.source.key, tie)
    containers = {fact.key: fact.properties for fact in asked.entities("Container")}
    return {
        host: _told(
            image=containers[key].get("image"), engine=containers[key].get("engine"),
            memory=_octets(containers[key].get("memory")), CPUs=containers[key].get("cpus"),
        ) for host, key in inside.items() if key in containers
    }


def _told(**values: Scalar) -> Profile:
    """What is told, as text; what is not told is not there."""
    return {
        name: (f"{value:g}" if isinstance(value, float) else str(value),)
        for name, value in values.items() if value not in (None, "")
    }


def _octets(value: Scalar) -> str:
    return f"{int(value) >> 20} MiB" if value else ""


ASPECTS = (
    Aspect("packages", "packages", "not installed", _packages),
    Aspect("kernel", "kernel and system", "not told", _kernel),
    Aspect("libraries", "loaded libraries", "not loaded", _libraries, of_job=True),
    Aspect("modules", "loaded modules", "not loaded", _modules, of_job=True),
    Aspect("available", "available modules", "not there", _available),
    Aspect("slurm", "SLURM's version", "not told", _slurm),
    Aspect("resources", "memory and CPUs", "not told", _resources),
    Aspect("ports", "fabric ports", "not there", _ports),
    Aspect("interfaces", "network interfaces", "not there", _interfaces),
    Aspect("container", "container", "not told", _containers),
)
