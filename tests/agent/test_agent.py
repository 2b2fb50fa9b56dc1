"""The agent as it runs: what it sends, what it costs, and that nothing around it ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.server import Listener, frames, until

import qnib

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
SOURCE = Path(qnib.__file__).parents[1]
SAMPLES = SOURCE / "qnib/domains/infiniband/samples"


class Agent:
    def __init__(self, folder: Path, path: str = "", **config: Any) -> None:
        self.carbon, self.syslog, self.http = Listener(), Listener(), Listener(OK)
        told = {
            "cluster": "demo", "host": "compute0", "server": "127.0.0.1", "carbon_port": self.carbon.port,
            "syslog_port": self.syslog.port, "http_port": self.http.port, "token": "secret", "interval": 1,
            "log_socket": str(folder / "log"), "tail": [{"path": str(folder / "daemon.log"), "app": "opensm"}],
            **config,
        }  # fmt: skip
        self.folder = folder
        (folder / "agent.json").write_text(json.dumps(told))
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PATH": f"{path}:{os.environ['PATH']}"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qnib.agent", str(folder / "agent.json")], env=environment, stderr=subprocess.PIPE
        )

    def lines(self) -> list[str]:
        return [frame for stream in self.syslog.received for frame in frames(stream)]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(5)


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    made: list[Agent] = []
    yield made
    for agent in made:
        agent.process.kill()
        agent.process.wait()


def test_numbers_lines_and_names_arrive(tmp_path: Path, agents: list[Agent]) -> None:
    agent = Agent(tmp_path)
    agents.append(agent)
    until("a number", lambda: "servers.compute0.network." in agent.carbon.text)
    until("its own cost", lambda: "servers.compute0.agent.memory" in agent.carbon.text)
    for line in agent.carbon.text.splitlines()[:-1]:
        assert re.fullmatch(r"[\w.-]+ -?[0-9.e+]+ \d{10}", line), line
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(str(tmp_path / "log"))
    sender.send(b"<13>Nov 20 12:00:00 slurm_42: progress 1/2")
    until("the job's line", lambda: any(" compute0 slurm_42 - - - progress 1/2" in line for line in agent.lines()))
    (tmp_path / "daemon.log").write_text("a line of a daemon\n")
    until("the daemon's line", lambda: any(line.endswith("opensm - - - a line of a daemon") for line in agent.lines()))
    until("its names", lambda: "POST /api/collect/host/identity HTTP/1.1" in agent.http.text)
    assert "Authorization: Bearer secret" in agent.http.text
    assert "X-Qnib-Host: compute0" in agent.http.text
    assert agent.end() == 0
    assert not (tmp_path / "log").exists()


def test_costs_little(tmp_path: Path, agents: list[Agent]) -> None:
    """At most 15 MB of its own and 1 % of a core, as it runs on a node."""
    agent = Agent(tmp_path, interval=5)
    agents.append(agent)
    until("a first number", lambda: "agent.cpu" in agent.carbon.text)
    spent = float(_proc(agent, "schedstat").split()[0])
    began = time.monotonic()
    time.sleep(10)  # what is measured is time
    share = 100 * (float(_proc(agent, "schedstat").split()[0]) - spent) / 1e9 / (time.monotonic() - began)
    memory = re.search(r"^Pss:\s+(\d+) kB", _proc(agent, "smaps_rollup"), re.MULTILINE)
    assert memory
    print(f"agent: {int(memory[1]) / 1024:.1f} MiB PSS, {share:.2f} % of a core")
    assert int(memory[1]) * 1024 <= 15e6
    assert share <= 1


def _proc(agent: Agent, name: str) -> str:
    return Path(f"/proc/{agent.process.pid}/{name}").read_text()


def test_goes_on_when_the_server_goes(tmp_path: Path, agents: list[Agent]) -> None:
    agent = Agent(tmp_path)
    agents.append(agent)
    until("a number", lambda: "agent.cpu" in agent.carbon.text)
    port = agent.carbon.port
    for listener in (agent.carbon, agent.syslog, agent.http):
        listener.close()
    before = len(agent.carbon.received)
    time.sleep(1)  # long enough for it to notice
    assert agent.process.poll() is None
    agent.carbon = Listener(port=port)
    until("numbers again", lambda: "agent.cpu" in agent.carbon.text)
    assert before
    assert agent.end() == 0


def test_captures_of_the_fabric(tmp_path: Path, agents: list[Agent]) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    _tool(tools / "ibnetdiscover", f"cat {SAMPLES}/topology.whole.txt; echo x >> {tmp_path}/asked")
    answers = f"{SAMPLES}/counters"
    _tool(
        tools / "ibqueryerrors",
        f'if [ "$1" = --counters ]; then cat {answers}.data.txt; else cat {answers}.errors.txt; exit 1; fi',
    )
    agent = Agent(tmp_path, str(tools), role="fabric", host="fabric")
    agents.append(agent)
    until("the topology", lambda: "POST /api/collect/infiniband/topology" in agent.http.text)
    until("counters", lambda: "infiniband.compute3.1.xmit_data 2736 " in agent.carbon.text)
    until("zeros, too", lambda: "infiniband.SW2.1.symbol_error 0 " in agent.carbon.text)
    asked = (tmp_path / "asked").read_text().count("x")
    time.sleep(2.1)  # the least between two triggered captures
    with (tmp_path / "daemon.log").open("a") as log:
        log.write("Nov 20 12:00:00 000001 [A] 0x01 -> log_trap_info: Received Generic Notice type:1 "
                  "num:128 (Link state change) Producer:2 (Switch) from LID:2 TID:0x0\n")
    until("a capture at once", lambda: (tmp_path / "asked").read_text().count("x") > asked, 3)
    assert agent.end() == 0


def test_failed_and_hanging_commands_send_nothing(tmp_path: Path, agents: list[Agent]) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    _tool(tools / "ibnetdiscover", "echo half an answer; exit 1")
    _tool(tools / "ibqueryerrors", "sleep 60")
    agent = Agent(tmp_path, str(tools), role="fabric", host="fabric")
    agents.append(agent)
    until("word of the failure", lambda: any("ended with status 1" in line for line in agent.lines()))
    until("word of the hanging tool", lambda: any("a reading failed" in line for line in agent.lines()))
    until("its other numbers", lambda: "agent.cpu" in agent.carbon.text)
    assert "infiniband/topology" not in agent.http.text
    assert agent.end() == 0


def _tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ("{", "agent.json"), ("[]", "object"), ('{"cluster": "x"}', "host"),
        ('{"cluster":"x","host":"y","server":"z","role":"k"}', "role"),
    ],
)  # fmt: skip
def test_wrong_configuration_is_told_in_words(tmp_path: Path, config: str, word: str) -> None:
    (tmp_path / "agent.json").write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "qnib.agent", str(tmp_path / "agent.json")], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert word in done.stderr and "Traceback" not in done.stderr
