"""The one thread that brings spool files into the engine, each file exactly once.

A file is parsed into a stage in memory, then each table gets its rows in one block with the file's name as
deduplication token. A crash between two tables, or between an insert and the note that it was made, is mended by doing
the whole file again: what is there already counts once.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from qnib.clock import Clock
from qnib.domains import all_domains
from qnib.engine import Engine
from qnib.errors import QnibError
from qnib.model import EventRule, Metric
from qnib.monitoring import carbon, classify, documents, influx, senders, syslog
from qnib.monitoring.claims import Claims, Resolve
from qnib.monitoring.counts import counts_of
from qnib.monitoring.events import EVENT_COLUMNS, event_row
from qnib.monitoring.frames import Record, read_origins, read_records
from qnib.monitoring.known import Known, Taken
from qnib.monitoring.loads import LISTENER, Loaded, Loads
from qnib.monitoring.mirror import Mirror
from qnib.monitoring.rulebook import Rulebook, RuleSet
from qnib.monitoring.spool import Spool
from qnib.monitoring.storage import came, history
from qnib.monitoring.storage.notes import noted
from qnib.settings import Settings, Source

log = logging.getLogger("qnib.writer")

_ATTEMPTS = 3
_RETRY_SECONDS = 1.0
_AT_ONCE = 4  # files before looking again whether a capture has come
_LAST_SECONDS = 5.0  # how long files are still inserted after the word to stop
_IDLE_SECONDS = 5.0  # how often to look for files that may be forgotten
_NEWEST = 20  # events handed to those who watch live, per file and cluster
_ONE_BLOCK = {
    # Rows in the order of the file and in one block, so that a token always stands for the same rows
    "max_threads": 1,
    "max_insert_threads": 1,
    "max_block_size": 65_536,
    "max_insert_block_size": 1 << 40,
    "min_insert_block_size_rows": 1 << 40,
    "min_insert_block_size_bytes": 0,
    "input_format_max_block_size_bytes": 1 << 20,  # what is parsed at once stays in the processor's cache
    "optimize_on_insert": 0,  # replacing happens in merges; here it would cost three times the insert
    "compile_expressions": 0,  # compiling takes longer than it saves on files of a few megabytes
    "query_plan_merge_expressions": 0,  # planning takes longer than reading a small file
    "splitby_max_substrings_includes_remaining_string": 1,
    "short_circuit_function_evaluation": "force_enable",
    "throw_on_max_partitions_per_insert_block": 0,
    "exclude_materialize_skip_indexes_on_insert": "words, by_host",  # merges make them; until then few lines are read
}


class OnChange(Protocol):
    def __call__(
        self, topic: str, cluster: str, newest: datetime | None, events: Sequence[dict[str, Any]] = ()
    ) -> None: ...


def _nobody(topic: str, cluster: str, newest: datetime | None, events: Sequence[dict[str, Any]] = ()) -> None:
    """Nobody watches."""


class Writer:
    """Insert what the spool holds until stopped.

    `capture` gets each record of the format capture, in order, in the writer's thread; when it raises, the record goes
    to the rejects. `on_change(topic, cluster, newest, events)` is called after each file with topic ``points`` or
    ``events``; `events` are the newest few as the API shows them. `metrics` are all domains' by default; `rules` are
    the files' unless some are given. `resolve`: the host that a name or address of a cluster means.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        engine: Engine,
        spool: Spool,
        *,
        capture: Callable[[Record], None] | None = None,
        on_change: OnChange = _nobody,
        metrics: Sequence[Metric] | None = None,
        rules: Sequence[EventRule] | None = None,
        resolve: Resolve = lambda cluster, name: None,
        mirror: Mirror | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._engine = engine
        self._spool = spool
        self._capture = capture
        self._on_change = on_change
        declared = metrics if metrics is not None else [m for d in all_domains() for m in d.metrics]
        self.rulebook = Rulebook(clock, engine, settings.rules_folder, rules)
        self._rules: RuleSet | None = None
        self.known = Known(clock, engine, settings.series, settings.flood.exempt, [*declared, *counts_of(settings)])
        self._mirror = mirror
        self._claims = Claims(settings.senders, resolve)
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._last_call = math.inf
        self._thread = threading.Thread(target=self._run, name="writer")
        self.loads = Loads()
        """Outcomes of files that people brought."""
        self.trouble = ""
        """Why the last file could not be inserted; empty when all is well."""
        self.counts = {"points": 0, "samples": 0, "events": 0, "captures": 0, "rejects": 0, "files": 0}

    @property
    def healthy(self) -> bool:
        return not self.trouble and self._thread.is_alive()

    def start(self) -> None:
        """Begin with what a former run left in the spool."""
        self.prepare()
        self._spool.on_ready = self._work.set
        self._thread.start()

    def prepare(self) -> None:
        """Make the stages; `start` does it, too."""
        self._engine.run(carbon.STAGE)
        self._engine.run(classify.events_table())
        self._rules_now()
        self._replay_after_power_loss()

    def stop(self) -> None:
        """End after the files that are ready, or after a few seconds of them: the spool keeps the rest."""
        self._last_call = time.monotonic() + _LAST_SECONDS
        self._stopping.set()
        self._work.set()
        if self._thread.ident is not None:
            self._thread.join()

    def drain(self) -> int:
        """Insert what is ready, in this thread; for tests and benches. Returns the number of files."""
        files = self._spool.ready()
        for file in files:
            self._take(file)
        return len(files)

    def _some(self) -> int:
        """Insert a few of the ready files, captures first: what is down must be known however many numbers wait."""
        files = sorted(self._spool.ready(), key=lambda file: file.suffix != ".capture")[:_AT_ONCE]
        for file in files:
            self._take(file)
        return len(files)

    def _run(self) -> None:
        unread = ""
        while True:
            stopping = self._stopping.is_set()
            self._work.clear()
            try:
                while self._some():
                    if self._stopping.is_set() and (self.trouble or time.monotonic() > self._last_call):
                        return
                self._spool.forget_old()
                self.trouble, unread = "" if self.trouble == unread else self.trouble, ""
            except OSError as error:  # as when no descriptor is left to list the folder with
                # It passes, and there is no other thread that would go on
                self.trouble = unread = f"the spool cannot be read: {error}"
                log.warning("%s", unread)
                self._stopping.wait(_RETRY_SECONDS)
                self._work.set()
            if stopping:
                return
            self._work.wait(_IDLE_SECONDS)

    def _take(self, file: Path) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._insert(file)
            except Exception as error:  # noqa: BLE001  whatever it is, the next file must have its turn
                self.trouble = str(error)[:1000]
                log.warning("spool file %s, attempt %d of %d: %s", file.name, attempt, _ATTEMPTS, self.trouble)
                if self._stopping.wait(_RETRY_SECONDS if attempt < _ATTEMPTS else 0):
                    return
            else:
                self.trouble = ""
                self.counts["files"] += 1
                self._spool.finished(file)
                return
        self._tell_failed(file)
        self._spool.failed(file)
        self.loads.tell(file.name, Loaded(refused=self.trouble))

    def _tell_failed(self, file: Path) -> None:
        """What is set aside is not lost in silence: each of its senders is told among the rejects."""
        reason = f"the spool file {file.name} could not be taken in and lies in spool/failed: {self.trouble}"
        try:
            rows = [
                _refused(Record(self._clock.now(), origin.cluster, origin.sender, origin.listener, b""), reason, b"")
                for origin in dict.fromkeys(read_origins(file))
            ]
            self._engine.insert("qnib.rejects", rows, token=f"{file.name}:failed")
            self.counts["rejects"] += len(rows)
        except Exception as error:  # noqa: BLE001  the engine may be why it failed
            log.warning("spool file %s is not told among the rejects: %s", file.name, str(error)[:300])

    def _insert(self, file: Path) -> None:
        match file.suffix:
            case ".carbon":
                self._insert_carbon(file, carbon.stage(str(file), self._settings.carbon.max_line))
            case ".influx":
                self._insert_carbon(file, influx.stage(str(file), self._settings.carbon.max_line))
            case ".syslog":
                self._insert_syslog(file)
            case ".load":
                self._insert_load(file)
            case ".json":
                self._insert_json(file)
            case ".rollup":
                self._insert_rollups(file)
            case ".capture":
                self._insert_captures(file)
            case ".reject":
                self._insert_rejects(file)
            case other:
                raise ValueError(f"a spool file of the unknown format {other!r}")

    def _insert_carbon(self, file: Path, stage: str) -> None:
        self._engine.run("TRUNCATE TABLE qnib_staging.carbon")
        self._run_once(stage)
        with self.known.in_use:
            self._store_carbon(file)

    def _store_carbon(self, file: Path) -> None:
        """What is staged. While it is the mirror's turn, too, nobody else may change who is refused."""
        summary = self._engine.rows(carbon.SUMMARY)
        which = "1"
        if any(row["points"] for row in summary):
            self._rules_now()
            taken = self._take_points(file, carbon.STAGED, carbon.points, "points")
            which = taken.which
            self.counts["points"] -= taken.refused
        if any(row["samples"] for row in summary):
            self._run_once(carbon.JOB_SAMPLES, f"{file.name}:samples")
        if any(row["rejects"] for row in summary):
            self._run_once(carbon.REJECTS, f"{file.name}:rejects")
        if any(row["texts"] for row in summary):
            self._run_once(carbon.TEXTS, f"{file.name}:texts")
        heard = [row for row in summary if row["points"] + row["samples"]]
        self._engine.insert("qnib.point_senders", senders.of_points(heard), token=f"{file.name}:senders")
        for row in summary:
            for name in ("points", "samples", "rejects"):
                self.counts[name] += row[name]
            self.counts["rejects"] += row["texts"]
            if row["listener"].startswith(LISTENER):
                self.loads.tell(file.name, Loaded(row["points"] + row["samples"], rejects=row["rejects"]))
        for cluster in dict.fromkeys(row["cluster"] for row in heard):
            mine = [row for row in heard if row["cluster"] == cluster]
            if self._mirror is not None:
                self._mirror.points(self._engine, cluster, which, samples=any(row["samples"] for row in mine))
            self._on_change("points", cluster, max(row["newest"] for row in mine))

    def _take_points(self, file: Path, points: str, store: Callable[[str], str], token: str) -> Taken:
        """`points` and their series but for those refused; `store`: the statement that stores those of a condition."""
        token = f"{file.name}:{token}"
        taken = self.known.take(points, token, lambda which: self._run_once(store(which), token), _ONE_BLOCK)
        self.counts["rejects"] += taken.rejects
        self._note_changed(points, file)
        return taken

    def _insert_rollups(self, file: Path) -> None:
        rows = history.rows(str(file))
        self._rules_now()
        self.known.take(
            rows, file.name, lambda _: self._run_once(history.rollups(rows), f"{file.name}:rollups"), _ONE_BLOCK
        )
        self.loads.tell(file.name, Loaded(**self._engine.rows(history.counts(str(file), rows))[0]))

    def _insert_syslog(self, file: Path) -> None:
        self._insert_lines(file, lambda: self._parse_syslog(file, self._settings.sources))

    def _insert_json(self, file: Path) -> None:
        longest = max(self._settings.json_lines.max_line, self._settings.gelf.max_line)
        statement = documents.parse(str(file), file.name, longest, self._settings.sources)
        self._insert_lines(file, lambda: self._run_once(statement))

    def _insert_load(self, file: Path) -> None:
        """Captured files: their zone stands for their sender, and what was loaded before is left out."""
        origin = next(read_origins(file))
        sources = {origin.sender: Source(zone=origin.sender)} if origin.sender != "UTC" else {}
        told: dict[str, Any] = {}

        def parse() -> None:
            if origin.listener.startswith(f"{LISTENER}json"):
                longest = self._settings.json_lines.max_line
                self._run_once(documents.parse(str(file), file.name, longest, sources, loaded=True))
            else:
                self._parse_syslog(file, sources, loaded=True)
            told.update(self._engine.rows(syslog.LOADED)[0])
            self._engine.run(syslog.NEW_LINES)

        new = self._insert_lines(file, parse)
        self.loads.tell(
            file.name, Loaded(told["events"], told["events"] - new, told["rejects"], told["first"], told["last"])
        )

    def _parse_syslog(self, file: Path, sources: Mapping[str, Source], *, loaded: bool = False) -> None:
        lines = self._engine.rows(syslog.kinds(str(file)))[0]
        for modern in (True, False):
            if lines["modern_lines" if modern else "older_lines"]:
                longest = self._settings.syslog.max_line
                self._run_once(syslog.parse(str(file), file.name, longest, sources, modern, loaded))

    def _insert_lines(self, file: Path, parse: Callable[[], None]) -> int:
        """What `parse` brings into the stage of lines becomes events and rejects. Returns how many events."""
        with self.rulebook.in_use:
            rules = self._rules_now()
            self._engine.run(f"TRUNCATE TABLE {classify.LINES}")
            self._engine.run(f"TRUNCATE TABLE {classify.EVENTS}")
            parse()
            self._judge_claims()
            summary = self._engine.rows(syslog.SUMMARY)
            if any(row["events"] for row in summary):
                self._store_events(rules, file)
                if self._mirror is not None:
                    self._mirror.take(self._engine)
        if any(row["rejects"] for row in summary):
            self._run_once(syslog.REJECTS, f"{file.name}:rejects")
        for row in summary:
            self.counts["events"] += row["events"]
            self.counts["rejects"] += row["rejects"]
            if row["events"]:
                self._on_change("events", row["cluster"], row["newest"], self._newest_events(row["cluster"]))
        return sum(row["events"] for row in summary)

    def _judge_claims(self) -> None:
        """Mark or refuse lines whose sender is not known as the host they name."""
        claims = self._engine.rows(syslog.CLAIMS)
        verdicts = {tuple(row.values()): self._claims.judge(**row) for row in claims}
        for column, change in (("sent_by", syslog.mark), ("refused", syslog.refuse)):
            found = {claim: told for claim, verdict in verdicts.items() if (told := getattr(verdict, column))}
            if found:
                self._engine.run(change(found))

    def _rules_now(self) -> RuleSet:
        """The rules in force; when they have changed, the stage sees lines as they do."""
        rules = self.rulebook.current()
        if self._rules is not rules:
            self._engine.run(classify.lines_table(rules.rules))
            self.known.name(rules)
            self._rules = rules
        return rules

    def _store_events(self, rules: RuleSet, file: Path) -> None:
        found = self._engine.rows(classify.matching())
        for statement in classify.classify(rules.rules, found):
            self._run_once(statement)
        if any(rules.rules[number - 1].metrics for row in found for number in row["hits"]):
            self._take_points(file, classify.numbers(), classify.points, "numbers")
        self._run_once(classify.patterns(), f"{file.name}:patterns")
        self._run_once(classify.store(), f"{file.name}:events")
        if self._settings.aggregates:
            self._run_once(came.noted(classify.EVENTS, _number(file)), f"{file.name}:came")

    def _newest_events(self, cluster: str) -> list[dict[str, Any]]:
        rows = self._engine.rows(
            f"SELECT {EVENT_COLUMNS} FROM qnib_staging.syslog WHERE cluster = {{cluster:String}}"
            f" ORDER BY time DESC, id DESC LIMIT {_NEWEST}",
            {"cluster": cluster},
        )
        return [event_row(row) for row in reversed(rows)]

    def _insert_captures(self, file: Path) -> None:
        refused = []
        for record in read_records(file):
            try:
                if self._capture:
                    self._capture(record)
            except Exception as error:  # noqa: BLE001  a parser may fail in any way; its text is kept with the reason
                reason = error.what if isinstance(error, QnibError) else f"{type(error).__name__}: {error}"
                log.warning("capture from %s (%s): %s", record.sender, record.cluster, reason)
                refused.append(_refused(record, reason, record.body))
            self.counts["captures"] += 1
        self._refuse(refused, file)

    def _insert_rejects(self, file: Path) -> None:
        self._refuse(list(_told_rejects(file)), file)

    def _refuse(self, rows: list[dict[str, Any]], file: Path) -> None:
        self._engine.insert("qnib.rejects", rows, token=f"{file.name}:rejects")
        self.counts["rejects"] += len(rows)

    def _note_changed(self, points: str, file: Path) -> None:
        """Late points change roll-ups. A note is known by its file, for it counts once, too."""
        self._run_once(noted(points, _number(file)), f"{file.name}:changed")

    def _run_once(self, statement: str, token: str | None = None) -> None:
        self._engine.run(statement, settings={**_ONE_BLOCK, **({"insert_deduplication_token": token} if token else {})})

    def _replay_after_power_loss(self) -> None:
        """Bring files inserted lately back to ready/ when the machine was booted anew since.

        After the kernel itself went down, inserts it had not yet written may be lost; the files were fsynced.
        """
        note = self._spool.done_folder.parent / "boot"
        boot = Path("/proc/sys/kernel/random/boot_id")
        now = boot.read_text().strip() if boot.exists() else ""
        before = note.read_text().strip() if note.exists() else ""
        if before and before != now:
            for file in self._spool.done():
                self._spool.again(file)
        note.write_text(now + "\n")


def _number(file: Path) -> int:
    """The same for the same file."""
    return int(hashlib.sha256(file.name.encode()).hexdigest()[:15], 16)


def _refused(record: Record, reason: str, raw: bytes) -> dict[str, Any]:
    return {
        "cluster": record.cluster, "received": record.received, "listener": record.listener, "sender": record.sender,
        "reason": reason[:300], "raw": raw[:2048].decode("utf-8", "replace"),
    }  # fmt: skip


def _told_rejects(file: Path) -> Iterator[dict[str, Any]]:
    """What an edge itself refused: pairs of records, the reason and the raw octets."""
    records = read_records(file)
    for reason in records:
        yield _refused(reason, reason.body.decode("utf-8", "replace"), next(records).body)
