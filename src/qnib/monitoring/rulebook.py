"""The rules in force, of events and of paths: every domain's and a site's own, read again when a file has changed.

A site's folder comes first: its rules are tried before the domains', and one of the same name stands in a domain's
rule's place. A changed file with a mistake in it changes nothing: the rules before it stay, and `trouble` says where
the mistake is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qnib.clock import Clock
from qnib.domains import all_domains
from qnib.domains.events import read_rules
from qnib.domains.path_rules import read_paths
from qnib.engine import Engine
from qnib.engine.values import literal
from qnib.errors import QnibError, WrongUse
from qnib.model import EventRule, Metric, PathRule
from qnib.monitoring.naming import series_columns
from qnib.monitoring.rules import check, hits, pattern

log = logging.getLogger("qnib.rules")

_Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules that were in force together; `number` grows with each change."""

    number: int
    since: datetime
    rules: tuple[EventRule, ...]
    site: int = 0
    """How many of them, the first ones, are the site's own."""
    paths: tuple[PathRule, ...] = ()
    """What dotted paths mean; tried in this order."""
    site_paths: int = 0
    """How many of them, the first ones, are the site's own."""

    @property
    def metrics(self) -> list[Metric]:
        """What the numbers in lines are declared as; of several rules that give one, as the first says."""
        told = [told.metric for rule in self.rules for told in rule.metrics]
        return list({metric.name: metric for metric in reversed(told)}.values())


class Rulebook:
    """`current()` gives the rules in force, and looks whether a file has changed. Fixed ones when `rules` are given."""

    def __init__(
        self, clock: Clock, engine: Engine, folder: Path | None = None, rules: Sequence[EventRule] | None = None
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._folder = folder
        self._fixed = rules
        self._lock = threading.Lock()
        self._seen: _Signature = ()
        self._set: RuleSet | None = None
        self.trouble = ""
        """What is wrong with the files as they are now; empty when they are in force."""
        self.in_use = threading.Lock()
        """Held while lines are classified: whoever gets it after `current()` knows that nobody uses older rules."""

    def current(self) -> RuleSet:
        with self._lock:
            if self._fixed is not None:
                self._set = self._set or RuleSet(1, self._clock.now(), tuple(self._fixed))
                return self._set
            seen = _signature(self._files())
            if self._set is None:
                self._set = self._first()
            elif seen != self._seen:
                self._set = self._next(self._set)
            self._seen = seen
            return self._set

    def _files(self) -> list[Path]:
        own = sorted(self._folder.glob("*.toml")) if self._folder is not None and self._folder.is_dir() else []
        shipped = [domain.folder / name for domain in all_domains() for name in ("events.toml", "paths.toml")]
        return [*own, *(file for file in shipped if file.is_file())]

    def _first(self) -> RuleSet:
        """At the start there are no rules before: files of the site with a mistake are left out."""
        self.trouble = ""
        files, wrong = self._files(), []
        for file in [one for one in files if one.parent == self._folder]:
            try:
                self._check(read_rules(file))
                self._check_paths(read_paths(file))
            except (QnibError, OSError, UnicodeDecodeError) as error:
                wrong.append(str(error))
                files.remove(file)
        self._say(" ".join(wrong))
        return self._of(1, files)

    def _next(self, before: RuleSet) -> RuleSet:
        try:
            after = self._of(before.number + 1, self._files())
            self._check(after.rules)
            self._check_paths(after.paths)
        except (QnibError, OSError, UnicodeDecodeError) as error:
            self._say(str(error))
            return before
        self._say("")
        log.info(
            "%d event rules are in force, %d of them the site's own, and %d of paths, %d the site's own",
            len(after.rules), after.site, len(after.paths), after.site_paths,
        )
        return after

    def _of(self, number: int, files: Sequence[Path]) -> RuleSet:
        rules, site = self._joined(files)
        own = [path for file in files if file.parent == self._folder for path in read_paths(file)]
        shipped = [path for file in files if file.parent != self._folder for path in read_paths(file)]
        return RuleSet(number, self._clock.now(), rules, site, (*own, *shipped), len(own))

    def _say(self, trouble: str) -> None:
        self.trouble = trouble
        if trouble:
            log.warning("event rules: %s", trouble)

    def _joined(self, files: Iterable[Path]) -> tuple[tuple[EventRule, ...], int]:
        own: dict[str, EventRule] = {}
        shipped: dict[str, EventRule] = {}
        for file in files:
            same = own if file.parent == self._folder else shipped
            for rule in read_rules(file):
                if other := same.get(rule.name):
                    raise WrongUse(
                        f"There are two event rules {rule.name!r}.", where=rule.where,
                        try_next=f"name it otherwise; the other stands in {other.where}.",
                    )
                same[rule.name] = rule
        return (*own.values(), *(rule for name, rule in shipped.items() if name not in own)), len(own)

    def _check(self, rules: Sequence[EventRule]) -> None:
        for rule in rules:
            check(rule)
        if not rules:
            return
        lines = literal([(rule.sample, rule.app.split(",")[0]) for rule in rules])
        source = f"(SELECT line[1] AS message, line[2] AS app FROM (SELECT arrayJoin({lines}) AS line))"
        try:
            found = [row["hits"] for row in self._engine.rows(f"SELECT {hits(rules)} AS hits FROM {source}")]
        except Exception as error:
            for rule in rules:
                self._try(rule)
            raise WrongUse(
                f"The engine cannot run these event rules together: {str(error)[:300]}", where=rules[0].where,
                try_next="make their patterns shorter.",
            ) from error
        for number, (rule, numbers) in enumerate(zip(rules, found, strict=True), 1):
            if number not in numbers:
                raise WrongUse(
                    f"Event rule {rule.name!r}: the engine does not find it in its sample.", where=rule.where,
                    try_next="write the pattern as RE2 reads it.",
                )

    def _check_paths(self, paths: Sequence[PathRule]) -> None:
        """Each by itself: one that stands before another may well match its sample."""
        for rule in paths:
            sample = f"(SELECT {literal(rule.sample)} AS path)"
            try:
                told = self._engine.rows(f"SELECT name, tags, {series_columns((), [rule])} FROM {sample}")[0]
            except Exception as error:
                raise WrongUse(
                    f"The engine does not read the rule of paths {rule.path!r}: {str(error)[:300]}", where=rule.where,
                    try_next="write the expressions in its braces as RE2 reads them.",
                ) from error
            meant = {"name": told["name"], **told["tags"]}
            if rule.expect and meant != rule.expect:
                raise WrongUse(
                    f"The rule of paths {rule.path!r} makes of its sample {meant}, not {dict(rule.expect)}.",
                    where=rule.where, try_next="correct the rule, or what is expected.",
                )

    def _try(self, rule: EventRule) -> None:
        own = literal(pattern(rule))
        try:
            self._engine.rows(f"SELECT multiMatchAny('', [{own}]) AS a, match('', {own}) AS b")
        except Exception as error:
            raise WrongUse(
                f"Event rule {rule.name!r}: the engine does not read its pattern: {str(error)[:300]}",
                where=rule.where, try_next="write it as RE2 reads it.",
            ) from error


def _signature(files: Sequence[Path]) -> _Signature:
    told = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue
        told.append((str(file), state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(told)
