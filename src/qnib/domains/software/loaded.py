"""What running jobs have loaded, as the agent tells it: shared libraries, modules, the container they run in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from qnib.domains.software.modules import module
from qnib.domains.software.sets import settle as settle_sets
from qnib.domains.software.sets import whole
from qnib.model import ALWAYS, HERE, Entity, Known, Ref, Relation, Snapshot

_VERSION = re.compile(r"(?P<name>.+?\.so)\.(?P<version>\d[\w.]*)")
_INNER = re.compile(r"(?P<name>.+?)-r?(?P<version>\d+(?:\.\d+)+)(?P<rest>\.so)")


def parse_loaded(text: str, at: datetime) -> Snapshot:
    """From the agent: ``jobs N``, then of each job ``job ID`` and its lines ``library``, ``module``, ``container``,
    all of fields between tabs. Jobs are named by their number alone. Raises ValueError with the line."""
    lines = text.rstrip("\n").split("\n")  # not splitlines: a path may have what that takes for an end of line
    head = lines[0].split("\t")
    if len(head) != 2 or head[0] != "jobs" or not head[1].isdigit():
        raise ValueError(f"the first line says how many jobs there are, not {text[:80]!r}")
    jobs: dict[str, dict[str, list[Entity]]] = {}
    containers: dict[str, tuple[str, str]] = {}
    job = ""
    for number, line in enumerate(lines[1:], 2):
        word, *fields = line.split("\t")
        if word == "job" and len(fields) == 1 and fields[0].isalnum():
            job = fields[0]
            jobs[job] = {"libraries": [], "modules": []}
        elif not job:
            raise ValueError(f"line {number} belongs to no job: {line[:120]!r}")
        elif word == "library" and len(fields) == 3 and fields[0].startswith("/"):
            jobs[job]["libraries"].append(library(*fields))
        elif word == "module" and len(fields) == 1 and fields[0]:
            jobs[job]["modules"].append(module(fields[0]))
        elif word == "container" and len(fields) == 2:
            containers[job] = fields[0], fields[1]
        else:
            raise ValueError(f"line {number} says nothing of a job: {line[:120]!r}")
    if len(jobs) != int(head[1]):
        raise ValueError(f"{len(jobs)} jobs where the first line says {head[1]}")
    return _snapshot(jobs, containers)


def _snapshot(jobs: dict[str, dict[str, list[Entity]]], containers: dict[str, tuple[str, str]]) -> Snapshot:
    entities: list[Entity] = []
    relations: list[Relation] = []
    for job, told in jobs.items():
        ref, keys = Ref("Job", job), {}
        for what, items in told.items():
            if not items and what == "modules":
                keys[what] = ""
                continue
            made, contents, holds = whole(what, items)
            entities += [made, *contents]
            relations += [Relation("LOADED", ref, made.ref, {"what": what}), *holds]
            keys[what] = made.key
        relations.append(Relation("LOADED_ON", ref, Ref("Host", HERE), keys))
        if job in containers:
            engine, image = containers[job]
            inside = Entity("Container", f"{HERE}/job {job}", {"name": f"job {job}", "engine": engine, "image": image})
            entities.append(inside)
            relations.append(Relation("RUNS_IN", ref, inside.ref))
            relations.append(Relation("STANDS_ON", inside.ref, Ref("Host", HERE)))
    unique = {one.ref: one for one in entities}
    complete = frozenset({"LOADED", "LOADED_ON", "Container", "RUNS_IN", "STANDS_ON"})
    return Snapshot(list(unique.values()), relations, complete)


def library(path: str, build: str, package: str) -> Entity:
    """One build of a library. The version is the one in its file's name, where there is one.

    >>> [library(f"/lib/{n}", "", "").properties["version"] for n in ("libz.so.1.3", "libopenblasp-r0.3.29.so", "x.so")]
    ['1.3', '0.3.29', '']
    """
    name, version = named(path)
    told = {"name": name, "version": version, "path": path, "build": build}
    return Entity("Library", f"{path}#{build}", told | ({"package": package} if package else {}))


def named(path: str) -> tuple[str, str]:
    """Name and version of a library from its path or key: ``libmpi.so`` and ``40.40.7``."""
    file = path.partition("#")[0].rpartition("/")[2]
    if match := _VERSION.fullmatch(file):
        return match["name"], match["version"]
    if match := _INNER.fullmatch(file):
        return match["name"] + match["rest"], match["version"]
    return file, ""


def settle(snapshot: Snapshot, known: Known, at: datetime) -> Snapshot:
    """Jobs by their keys in the record, sets by what is new in them. What a job has loaded that nobody has told of yet
    waits until the agent tells it again."""
    keys: dict[Ref, Ref | None] = {}
    for tie in snapshot.relations:
        if tie.source.kind == "Job" and tie.source not in keys:
            keys[tie.source] = _job(tie.source.key, known)
    unknown = {ref for ref, key in keys.items() if key is None}
    relations = [
        tie if (key := keys.get(tie.source)) is None else Relation(tie.kind, key, tie.target, tie.properties)
        for tie in snapshot.relations if tie.source not in unknown
    ]
    sets = {tie.target for tie in relations if tie.kind in {"LOADED", "RUNS_IN"}}
    relations = [tie for tie in relations if tie.kind not in {"HOLDS", "STANDS_ON"} or tie.source in sets]
    held = sets | {tie.target for tie in relations if tie.kind == "HOLDS"}
    entities = [one for one in snapshot.entities if one.ref in held]
    settled = settle_sets(Snapshot(entities, relations, snapshot.complete), known, at)
    told = {one.ref for one in settled.entities}
    return replace(settled, entities=[*settled.entities, *_owned((e for e in entities if e.ref not in told), known)])


def _owned(entities: Iterable[Entity], known: Known) -> Iterator[Entity]:
    """Libraries whose package is told for the first time: it is looked up later than they are seen."""
    for one in entities:
        if one.properties.get("package"):
            held = known.find("Library", one.key)
            if held and not held[0].properties.get("package"):
                yield replace(one, since=ALWAYS)


def _job(number: str, known: Known) -> Ref | None:
    """The job of that number, or SLUID, which runs, or began last."""
    same = known.find("Job", f"{number}@") if number.isdigit() else [
        one for one in known.open("Job") if one.properties.get("sluid") == number
    ]
    found = [one for one in same if one.properties.get("start")]
    return max(found, key=lambda one: str(one.properties["start"])).ref if found else None
