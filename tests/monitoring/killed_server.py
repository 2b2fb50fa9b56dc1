"""A server of nothing but listeners, spool and writer, to be killed by the test beside it: ``… HOME PORTS_FILE``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from qnib.clock import SystemClock
from qnib.engine.chdb import open_engine
from qnib.monitoring.receive import Receiver
from qnib.monitoring.spool import Spool
from qnib.monitoring.writer import Writer
from qnib.settings import Edge, FloodLimit, Settings, Statsd


async def main(home: Path, told: Path) -> None:
    own, flood = Edge(port=0), FloodLimit(exempt=["127.0.0.1"])
    settings = Settings(
        home=home, carbon=own, syslog=own, json_lines=own, gelf=own, pickle=own, statsd=Statsd(port=0), flood=flood
    )
    clock = SystemClock()
    engine = open_engine(settings, clock)
    engine.run("SYSTEM STOP MERGES qnib.points")  # a merge would hide that a point came twice
    spool = Spool(settings, clock)
    writer = Writer(settings, clock, engine, spool, metrics=[], rules=[])
    writer.start()
    await spool.start()
    receiver = Receiver(settings, clock, spool)
    await receiver.open("127.0.0.1", "demo")
    part = told.with_suffix(".part")
    part.write_text(json.dumps(receiver.ports("127.0.0.1")))
    part.rename(told)
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
