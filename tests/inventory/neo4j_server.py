"""A real Neo4j Community of the tests' own: on a free port of loopback, with a password, data in a temporary folder."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import neo4j
import pytest
from tests.conftest import free_ports, skip

MADE = Path(__file__).parents[2] / ".make"
JARS = MADE / "neo4j"
CONFIG = """
server.bolt.listen_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
server.memory.pagecache.size=32m
dbms.memory.transaction.total.max=160m
db.tx_log.preallocate=false
dbms.usage_report.enabled=false
dbms.security.auth_max_failed_attempts=0
"""
JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "--add-opens=java.base/java.nio=ALL-UNNAMED")


@dataclass
class Server:
    home: Path
    password: str
    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a QNIB whose graph is here."""
        return {"url": self.url, "user": "neo4j", "password": self.password}

    def start(self) -> None:
        (self.home / "conf").mkdir(exist_ok=True)
        (self.home / "conf/neo4j.conf").write_text(CONFIG.format(port=self.port))
        alone = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()  # it ends with the tests
        self.process = subprocess.Popen(
            [
                *alone, *JAVA, "-cp", f"{JARS}/*", "org.neo4j.server.CommunityEntryPoint", "--console-mode",
                f"--home-dir={self.home}", f"--config-dir={self.home}/conf",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said.append(line)
            if "Started." in line:
                return
        raise AssertionError("Neo4j did not start:\n" + "".join(said))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def run(self, query: str, database: str | None = None, **params: Any) -> list[list[Any]]:
        """As the database's own people would."""
        with (
            neo4j.GraphDatabase.driver(self.url, auth=("neo4j", self.password)) as driver,
            driver.session(database=database) as session,
        ):
            return [list(record.values()) for record in session.run(query, params)]

    def empty(self) -> None:
        self.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS")


@contextmanager
def started(home: Path) -> Iterator[Server]:
    """A server that is ready. Skips with the reason where its parts could not be had."""
    if (MADE / "neo4j.missing").exists():
        pytest.skip((MADE / "neo4j.missing").read_text().strip())
    if not (JARS / "complete").exists() or not shutil.which("java"):
        skip("Neo4j or Java is not here: `tools/setup test` gets both")
    server = Server(home, "neo4j", *free_ports(1))
    try:
        server.start()
        password = secrets.token_urlsafe(12)
        server.run(f"ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO '{password}'", "system")
        server.password = password
        yield server
    finally:
        server.kill()
