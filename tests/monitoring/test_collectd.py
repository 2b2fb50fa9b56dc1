"""The distribution's collectd, which writes carbon's lines."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import Plant
from .live import served
from .metric_senders import unpacked
from .test_influx import told

pytestmark = pytest.mark.engine
CONFIG = """
Hostname "c1"
FQDNLookup false
Interval 1
BaseDir "{home}"
PIDFile "{home}/pid"
PluginDir "{root}/usr/lib/collectd"
TypesDB "{root}/usr/share/collectd/types.db"
LoadPlugin logfile
<Plugin logfile>
  File stdout
</Plugin>
LoadPlugin load
LoadPlugin memory
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "qnib">
    Host "127.0.0.1"
    Port "{port}"
    Protocol "{protocol}"
    {format}
  </Node>
</Plugin>
"""
WAYS = {
    "tcp": ("tcp", 'Prefix "servers."', "servers.c1.load.load.shortterm"),
    "udp": ("udp", 'Prefix "servers."', "servers.c1.load.load.shortterm"),
    "tagged": ("tcp", "UseTags true", "load.load.shortterm;"),
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_collectd(plant: Plant, tmp_path: Path, way: str) -> None:
    root = unpacked("collectd-core")
    protocol, form, path = WAYS[way]
    with served(plant) as live, (tmp_path / "out").open("w") as out:
        config = tmp_path / "collectd.conf"
        port = live.ports[f"carbon/{protocol}"]
        config.write_text(CONFIG.format(home=tmp_path, root=root, port=port, protocol=protocol, format=form))
        process = subprocess.Popen(
            [root / "usr/sbin/collectd", "-f", "-C", str(config)], stdout=out, stderr=out,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            live.until(lambda: all(any(what in one for one in told(plant)) for what in ("memory", "load")))
        finally:
            process.terminate()
            process.wait(30)
    assert any(one.startswith(path) for one in told(plant)), sorted(told(plant))
    assert plant.rejects() == [], (tmp_path / "out").read_text()
