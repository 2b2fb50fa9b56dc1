"""What to show of a host."""

from __future__ import annotations

from qnib.model import Panel

PANELS = (
    Panel("CPU", "series", "Host", metrics=("cpu.used", "cpu.user", "cpu.system"), unit="%", order=10),
    Panel("Memory", "series", "Host", metrics=("memory.used", "memory.cache", "memory.limit"), unit="B", order=20),
    Panel("Disk (/tmp)", "series", "Host", metrics=("disk.used", "disk.size"), unit="B", order=40),
    Panel("Disks", "series", "Host", metrics=("disk.read_bytes", "disk.write_bytes"), unit="B/s", order=45),
    Panel("Network", "series", "Host", metrics=("network.rx_bytes", "network.tx_bytes"), unit="B/s", order=30),
    Panel("CPU by node", "series", "Job", metrics=("cpu.used",), unit="%", order=10),
    Panel("Memory by node", "series", "Job", metrics=("memory.used",), unit="B", order=20),
    Panel("Network by node", "series", "Job", metrics=("network.rx_bytes", "network.tx_bytes"), unit="B/s", order=30),
    Panel("CPU, all hosts", "heatmap", "Cluster", metrics=("cpu.used",), unit="%", order=10),
    Panel("Kernel", "log", "Host", audiences=("operator",), events="kind:kernel", order=60),
)
