"""The embedded adapter of `Engine`: ClickHouse inside this process, by chDB.

One process owns the data directory; inside it any number of threads may ask at once, each with a handle of
its own from a small pool. Never fork a process that has opened it: the child would hang at its first query.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from chdb.state.sqlitelike import Connection

from qnib.clock import Clock
from qnib.engine import DATABASE, Engine, Limits
from qnib.engine.migrate import Migration, migrate, shipped
from qnib.engine.values import arrow_stream, dictionaries, json_lines, literal, parameter
from qnib.errors import Conflict, NotAllowed, NotFound, QnibError, TooMuch, Unavailable, WrongUse
from qnib.settings import Settings

_PARALLEL = 8  # queries at once; more would only share two background pools and the memory cap
_CODE = re.compile(r"Code: (\d+)\. DB::Exception: (.*?)(?:: While executing|: while executing|\(version|$)", re.DOTALL)
_TOO_MUCH = {158: "rows", 159: "seconds", 160: "seconds", 241: "memory", 307: "octets", 396: "rows"}
_CONFIG = """<clickhouse>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>{mark_cache}</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <backups><allowed_path>/</allowed_path></backups>
</clickhouse>
"""


def open_engine(settings: Settings, clock: Clock, *, migrations: Sequence[Migration] | None = None) -> Engine:
    """Open (or create) ``settings.home/engine`` and bring it to the present shape.

    Raises Unavailable when another process holds it, when it cannot be written, or when a newer QNIB wrote it.
    `migrations` other than the shipped ones are for tests of upgrades.
    """
    path = settings.home / "engine"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = settings.home / "engine.xml"
        config.write_text(_CONFIG.format(memory=settings.engine.memory, mark_cache=settings.engine.mark_cache))
    except OSError as error:
        raise Unavailable(
            f"The state directory cannot be written: {error.strerror}.",
            where=str(settings.home),
            try_next="run as its owner, or set QNIB_HOME to a directory of yours.",
        ) from error
    engine = ChdbEngine(path, config, clock, list(migrations) if migrations is not None else shipped())
    try:
        engine.migrate()
    except BaseException:
        engine.close()
        raise
    return engine


class ChdbEngine:
    """`Engine` over chDB; see `open_engine`."""

    def __init__(self, path: Path, config: Path, clock: Clock, migrations: Sequence[Migration]) -> None:
        self._path = path
        self._address = f"{path}?config-file={config}"
        self._clock = clock
        self._migrations = migrations
        self._idle: dict[Limits | None, list[Connection]] = {}
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_PARALLEL)
        self._closed = False
        self._held = _hold(path)
        try:
            # The engine lives as long as one handle is open: this one is the last to close
            self._anchor = self._connect(None)
        except BaseException:
            os.close(self._held)
            raise

    def migrate(self) -> list[Migration]:
        return migrate(self, self._clock, self._migrations, str(self._path))

    def rows(
        self, sql: str, params: Mapping[str, Any] | None = None, *, limits: Limits | None = None
    ) -> list[dict[str, Any]]:
        return dictionaries(self.table(sql, params, limits=limits))

    def table(self, sql: str, params: Mapping[str, Any] | None = None, *, limits: Limits | None = None) -> pa.Table:
        if limits and limits.readonly and re.search(r"\binto\s+outfile\b", sql, re.IGNORECASE):
            raise WrongUse("A query may only read.", where="INTO OUTFILE", try_next="take the answer as it comes.")
        with self._handle(limits) as handle:
            return self._ask(handle, sql, params, limits)

    def run(
        self, sql: str, params: Mapping[str, Any] | None = None, *, settings: Mapping[str, Any] | None = None
    ) -> None:
        with self._handle(None) as handle:
            self._ask(handle, sql + _clause(settings), params, None)

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]] | pa.Table, *, token: str | None = None) -> int:
        if not len(rows):
            return 0
        if isinstance(rows, pa.Table):
            form, names, chunks = "ArrowStream", rows.column_names, arrow_stream(rows)
        else:
            form, names, chunks = "JSONEachRow", dict.fromkeys(name for row in rows for name in row), json_lines(rows)
        columns = ", ".join(f"`{name}`" for name in names)
        # One block, so that one token stands for all rows: half a batch can never be taken for the whole
        settings: dict[str, Any] = {"date_time_input_format": "best_effort", "max_insert_block_size": len(rows) + 1}
        if token is not None:
            settings["insert_deduplication_token"] = token
        with self._handle(None) as handle, _translated(None, f"INSERT INTO {table}"):
            stream: Any = handle.send_insert(f"INSERT INTO {table} ({columns}){_clause(settings)}", form)
            with stream:
                for chunk in chunks:
                    stream.append(chunk)
                stream.finish()
        return len(rows)

    def backup(self, target: Path) -> None:
        """Write everything into the new directory `target`. Raises Conflict when it exists."""
        target = target.absolute()
        if target.exists():
            raise Conflict("There is something already.", where=str(target), try_next="name a new directory.")
        if not target.parent.is_dir():
            raise NotFound("There is no such directory.", where=str(target.parent), try_next="create it first.")
        self.run(f"BACKUP DATABASE {DATABASE} TO File({literal(str(target))})")

    def restore(self, source: Path) -> None:
        """Bring back what `backup` wrote, into an engine without rows, and upgrade it if it is older."""
        source = source.absolute()
        if not (source / ".backup").is_file():
            raise NotFound("There is no backup.", where=str(source), try_next="name a directory `qnib backup` wrote.")
        full = self.rows(
            "SELECT name FROM system.tables WHERE database = {db:String} AND total_rows > 0 AND name != 'migrations'",
            {"db": DATABASE},
        )
        if full:
            raise Conflict(
                f"The engine holds data already ({', '.join(row['name'] for row in full)}).",
                where=str(self._path),
                try_next="restore into an empty QNIB_HOME.",
            )
        self.run(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
        self.run(f"RESTORE DATABASE {DATABASE} FROM File({literal(str(source))})")
        self.migrate()

    def close(self) -> None:
        """Wait for the queries under way, then let go of the directory. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for _ in range(_PARALLEL):
            self._slots.acquire()
        with self._lock:
            for handle in [h for handles in self._idle.values() for h in handles]:
                handle.close()
            self._idle.clear()
            self._anchor.close()
            os.close(self._held)
        for _ in range(_PARALLEL):
            self._slots.release()

    def _ask(self, handle: Connection, sql: str, params: Mapping[str, Any] | None, limits: Limits | None) -> pa.Table:
        # Half a character, which JSON can tell, is none
        values = {n: parameter(value).encode("utf-8", "replace").decode() for n, value in (params or {}).items()}
        with _translated(limits, sql):
            answer = handle.query(sql, "Arrow", params=values)
            octets = answer.bytes()
        if not octets:
            return pa.table({})
        return pa.ipc.open_file(pa.BufferReader(octets)).read_all()

    @contextmanager
    def _handle(self, limits: Limits | None) -> Iterator[Connection]:
        with self._slots:
            with self._lock:
                if self._closed:
                    raise Unavailable("The engine is closed.", where=str(self._path), try_next="start `qnib serve`.")
                idle = self._idle.setdefault(limits, [])
                handle = idle.pop() if idle else None
            handle = handle or self._connect(limits)
            try:
                yield handle
            except BaseException:
                handle.close()  # what a failed query had answered would stand before the next one's answer
                raise
            with self._lock:
                self._idle.setdefault(limits, []).append(handle)

    def _connect(self, limits: Limits | None) -> Connection:
        try:
            handle = Connection(self._address)
        except Exception as error:
            raise Unavailable(
                f"The embedded ClickHouse did not open: {str(error).strip()[:300]}",
                where=str(self._path),
                try_next="check rights and free space of that directory; QNIB_HOME chooses another.",
            ) from error
        sets: dict[str, Any] = {"max_threads": 2, "max_partitions_per_insert_block": 0}
        if limits:
            sets |= {"max_execution_time": limits.seconds, "max_result_rows": limits.rows}
            sets |= {"result_overflow_mode": "throw", "timeout_overflow_mode": "throw"}
        if limits and limits.readonly:
            sets["readonly"] = 1
        handle.query("SET " + ", ".join(f"{name} = {literal(value)}" for name, value in sets.items()))
        return handle


def _hold(path: Path) -> int:
    """Lock the directory for this process and return the descriptor that keeps it.

    ClickHouse locks it too, but tells its reason to nobody we could quote.
    """
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise Unavailable(
            f"Another process holds the data (process {holder}).",
            where=str(path),
            try_next="ask the running `qnib serve`, or stop it first.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _clause(settings: Mapping[str, Any] | None) -> str:
    if not settings:
        return ""
    return " SETTINGS " + ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())


@contextmanager
def _translated(limits: Limits | None, sql: str) -> Iterator[None]:
    """Turn the engine's own errors into ours; what remains is a defect of our SQL and passes as it is."""
    try:
        yield
    except QnibError:
        raise
    except Exception as error:
        found = _CODE.search(str(error))
        if not found:
            raise
        code, text = int(found[1]), found[2].strip()
        where = " ".join(sql.split())[:120]
        if code in _TOO_MUCH:
            raise TooMuch(
                f"The query went past its limit of {_TOO_MUCH[code]}: {text[:200]}",
                where=where,
                try_next="ask for a shorter time or fewer hosts.",
            ) from error
        if code in {243, 1001} or "No space left" in text:
            raise Unavailable(
                f"The engine cannot write: {text[:200]}", where=where, try_next="free some space."
            ) from error
        if code == 427:
            raise WrongUse(
                f"The expression cannot be read: {text[text.find('error: ') + 7 :].partition('. Look at')[0][:200]}.",
                where=where, try_next="correct it; it is read as RE2 has it, without looking around or back.",
            ) from error
        if limits and code == 164:
            raise NotAllowed("A query may only read.", where=where, try_next="use SELECT.") from error
        if limits:
            raise WrongUse(
                f"The query is not valid: {text[:300]}", where=where, try_next="correct the query."
            ) from error
        raise
