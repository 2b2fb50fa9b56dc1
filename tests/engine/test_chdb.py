"""The embedded engine: values both ways, limits, locks, backups, upgrades."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from qnib.clock import FrozenClock
from qnib.engine import Engine, Limits
from qnib.engine.chdb import open_engine
from qnib.engine.migrate import Migration, shipped
from qnib.errors import Conflict, NotAllowed, NotFound, TooMuch, Unavailable, WrongUse
from qnib.settings import Settings

pytestmark = pytest.mark.engine
AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
HARD = "it's \\ a\ttab\nand \\N é \0 end"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def make(home: str = "home", migrations: list[Migration] | None = None) -> Engine:
        engines.append(open_engine(Settings(home=tmp_path / home), FrozenClock(AT), migrations=migrations))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_values_travel_unharmed(opened: Callable[..., Engine]) -> None:
    engine = opened()
    row = engine.rows(
        "SELECT {s:String} s, {a:Array(String)} a, {m:Map(String, String)} m, {t:DateTime64(6, 'UTC')} t,"
        " {n:Nullable(String)} n, {u:UInt64} u, {f:Float64} f, {b:Bool} b",
        {"s": HARD, "a": [HARD, "z"], "m": {"k": HARD}, "t": AT, "n": None, "u": 2**64 - 1, "f": 0.1, "b": True},
    )
    assert row == [
        {"s": HARD, "a": [HARD, "z"], "m": {"k": HARD}, "t": AT, "n": None, "u": 2**64 - 1, "f": 0.1, "b": True}
    ]


def test_times_are_aware_and_odd_octets_survive(opened: Callable[..., Engine]) -> None:
    row = opened().rows("SELECT toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC') t, unhex('61ff62') s")[0]
    assert row["t"] == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert row["t"].utcoffset() == timedelta(0)
    assert row["s"] == "a\N{REPLACEMENT CHARACTER}b"


def test_no_rows_keep_their_columns(opened: Callable[..., Engine]) -> None:
    engine = opened()
    assert engine.rows("SELECT number FROM numbers(0)") == []
    assert engine.table("SELECT number FROM numbers(0)").column_names == ["number"]


def test_the_same_token_counts_once(opened: Callable[..., Engine]) -> None:
    engine = opened()
    rows = [
        {"cluster": "demo", "received": AT, "reason": "test", "raw": HARD},
        {"cluster": "demo", "received": AT, "raw": ""},
    ]
    assert [engine.insert("qnib.rejects", rows, token="batch-1") for _ in range(3)] == [2, 2, 2]
    assert engine.rows("SELECT received, reason, raw FROM qnib.rejects ORDER BY raw") == [
        {"received": AT, "reason": "", "raw": ""},
        {"received": AT, "reason": "test", "raw": HARD},
    ]
    engine.insert("qnib.rejects", rows)
    engine.insert("qnib.rejects", rows, token="batch-2")
    assert engine.rows("SELECT count() n FROM qnib.rejects") == [{"n": 6}]


def test_a_table_is_inserted_as_rows_are(opened: Callable[..., Engine]) -> None:
    """Of any number of pieces, and one token for all of it."""
    engine = opened()
    time = pa.timestamp("us", "UTC")
    piece = pa.table({"cluster": ["demo"] * 2, "received": pa.array([AT] * 2, time), "raw": [HARD, ""]})
    assert [engine.insert("qnib.rejects", pa.concat_tables([piece] * 3), token="table") for _ in range(2)] == [6, 6]
    assert engine.insert("qnib.rejects", piece.slice(0, 0)) == 0
    assert engine.rows("SELECT received, reason, raw, count() AS n FROM qnib.rejects GROUP BY ALL ORDER BY raw") == [
        {"received": AT, "reason": "", "raw": "", "n": 3}, {"received": AT, "reason": "", "raw": HARD, "n": 3},
    ]
    large = pa.table({"cluster": ["demo"] * 9, "received": pa.array([AT] * 9, time), "raw": ["x" * (8 << 20)] * 9})
    engine.insert("qnib.rejects", large, token="large")
    assert engine.rows("SELECT sum(length(raw)) AS n FROM qnib.rejects WHERE raw LIKE 'x%'") == [{"n": 9 * (8 << 20)}]


def test_a_persons_query_has_limits(opened: Callable[..., Engine]) -> None:
    engine = opened()
    limits = Limits(seconds=1, rows=10)
    assert len(engine.rows("SELECT number FROM numbers(10)", limits=limits)) == 10
    with pytest.raises(TooMuch, match="rows"):
        engine.rows("SELECT number FROM numbers(11)", limits=limits)
    with pytest.raises(TooMuch, match="seconds"):
        engine.rows("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", limits=limits)
    for sql in (
        "CREATE TABLE qnib.x (a UInt8) ENGINE = Memory",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "INSERT INTO qnib.rejects (raw) VALUES ('x')",
        "SET readonly = 0",
    ):
        with pytest.raises(NotAllowed):
            engine.rows(sql, limits=limits)
    with pytest.raises(WrongUse):
        engine.rows("SELECT 1 INTO OUTFILE '/tmp/never'", limits=limits)
    with pytest.raises(WrongUse, match="nothere"):
        engine.rows("SELECT nothere", limits=limits)


def test_many_threads_ask_at_once(opened: Callable[..., Engine]) -> None:
    engine = opened()
    wrong: list[object] = []

    def ask(number: int) -> None:
        for _ in range(25):
            if (got := engine.rows("SELECT {n:UInt32} n, sum(number) s FROM numbers(1000)", {"n": number})) != [
                {"n": number, "s": 499500}
            ]:
                wrong.append(got)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_second_process_is_told_who_holds_the_data(opened: Callable[..., Engine], tmp_path: Path) -> None:
    opened()
    program = (
        "import sys; from pathlib import Path; from qnib.settings import Settings; from qnib.clock import SystemClock\n"
        "from qnib.engine.chdb import open_engine; from qnib.errors import Unavailable\n"
        "try: open_engine(Settings(home=Path(sys.argv[1])), SystemClock())\n"
        "except Unavailable as e: print(e)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "home")], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert f"Another process holds the data (process {os.getpid()})." in said
    assert "qnib serve" in said
    assert str(tmp_path / "home") in said


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(Unavailable, match="QNIB_HOME"):
        open_engine(Settings(home=tmp_path / "home"), FrozenClock(AT))


def test_a_closed_engine_says_so_and_opens_again(opened: Callable[..., Engine]) -> None:
    engine = opened()
    engine.insert("qnib.rejects", [{"cluster": "demo", "received": AT, "raw": "kept"}])
    engine.close()
    engine.close()
    with pytest.raises(Unavailable):
        engine.rows("SELECT 1")
    assert opened().rows("SELECT raw FROM qnib.rejects") == [{"raw": "kept"}]


def test_backup_and_restore(opened: Callable[..., Engine], tmp_path: Path) -> None:
    engine = opened("one")
    points = [
        {"cluster": c, "series": 7, "time": AT + timedelta(seconds=n), "told": n / 3} for c in "ab" for n in range(100)
    ]
    engine.insert("qnib.points", points)
    before = engine.rows("SELECT * FROM qnib.points ORDER BY cluster, time")
    engine.backup(tmp_path / "saved")
    with pytest.raises(Conflict):
        engine.backup(tmp_path / "saved")
    with pytest.raises(Conflict, match="points"):
        engine.restore(tmp_path / "saved")
    engine.close()
    other = opened("two")
    with pytest.raises(NotFound):
        other.restore(tmp_path / "nothing")
    other.restore(tmp_path / "saved")
    assert other.rows("SELECT * FROM qnib.points ORDER BY cluster, time") == before
    assert [m["number"] for m in other.rows("SELECT number FROM qnib.migrations ORDER BY number")] == [
        m.number for m in shipped()
    ]


def test_an_older_directory_is_upgraded_and_keeps_its_rows(opened: Callable[..., Engine]) -> None:
    first = [m for m in shipped() if m.number == 1]
    wider = Migration(
        9998,
        "wider",
        "-- one more; a note\nALTER TABLE qnib.events ADD COLUMN IF NOT EXISTS extra String DEFAULT 'old';\n",
    )
    copied = Migration(
        9999,
        "copied",
        "CREATE TABLE IF NOT EXISTS qnib.copied (host String) ENGINE = MergeTree ORDER BY host;\n"
        "INSERT INTO qnib.copied SELECT host FROM qnib.events;\n",
    )
    old = opened(migrations=first)
    old.insert(
        "qnib.events",
        [
            {
                "cluster": "demo",
                "id": 1,
                "time": AT,
                "received": AT,
                "host": "compute0",
                "message": HARD,
                "fields": {"job": "42"},
                "entities": ["Job:42@1"],
                "severity": "err",
            }
        ],
    )
    old.insert("qnib.points", [{"cluster": "demo", "series": 1, "time": AT, "value": 0.1}], token="file-1")
    before = old.rows("SELECT * FROM qnib.events")
    old.close()

    new = opened(migrations=[*first, wider, copied])
    after = new.rows("SELECT * FROM qnib.events")
    assert [{k: v for k, v in row.items() if k != "extra"} for row in after] == before
    assert [row["extra"] for row in after] == ["old"]
    assert new.rows("SELECT host FROM qnib.copied") == [{"host": "compute0"}]
    new.insert("qnib.points", [{"cluster": "demo", "series": 1, "time": AT, "value": 0.1}], token="file-1")
    assert new.rows("SELECT count() n FROM qnib.points") == [{"n": 1}]
    assert [m["number"] for m in new.rows("SELECT number FROM qnib.migrations ORDER BY number")] == [1, 9998, 9999]
    new.close()

    with pytest.raises(Unavailable, match=r"newer QNIB \(migration 9999 'copied'"):
        opened(migrations=first)
    opened(migrations=[*first, wider, copied]).close()
