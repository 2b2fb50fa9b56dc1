"""A real Kafka broker of the tests' own: one node without ZooKeeper, on free ports of loopback, data in a folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.conftest import free_ports, skip

MADE = Path(__file__).parents[2] / ".make"
JAVA = ("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{MADE}/kafka/*")
CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


@contextmanager
def started(home: Path) -> Iterator[int]:
    """The port of a broker that is ready. Skips with the reason where its parts could not be had."""
    if (MADE / "kafka.missing").exists():
        pytest.skip((MADE / "kafka.missing").read_text().strip())
    if not (MADE / "kafka/complete").exists() or not shutil.which("java"):
        skip("Kafka or Java is not here: `tools/setup test` gets both")
    port, controller = free_ports(2)
    config = home / "server.properties"
    config.write_text(CONFIG.format(port=port, controller=controller, data=home / "data"))
    log4j = home / "log4j.properties"
    log4j.write_text(
        "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout\nlog4j.appender.out.layout.ConversionPattern=%m%n\n"
    )
    java = (*JAVA, f"-Dlog4j.configuration=file:{log4j}")
    made = ("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(config))
    subprocess.run([*java, "kafka.tools.StorageTool", *made], check=True, capture_output=True, timeout=120)
    alone = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
    process = subprocess.Popen(
        [*alone, *java, "kafka.Kafka", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "Kafka Server started" in line:
                break
        else:
            raise AssertionError("Kafka did not start:\n" + "".join(said[-30:]))
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def consume(port: int, topic: str, count: int) -> list[tuple[bytes, bytes]]:
    """The first `count` messages of a topic with one partition: key and value."""
    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        messages = consumer.consume(count, timeout=60)
        assert all(message.error() is None for message in messages)
        return [(message.key(), message.value()) for message in messages]
    finally:
        consumer.close()
