"""What to show of the fabric."""

from __future__ import annotations

from qnib.model import Panel

PANELS = (
    Panel("Place in the fabric", "topology", "Job", order=50),
    Panel("Fabric", "topology", "Cluster", order=5),
    Panel("Data", "series", "PORT", metrics=("ib.xmit_data", "ib.rcv_data"), unit="words/s", order=10),
    Panel("Errors", "series", "PORT", audiences=("operator",), order=20, unit="errors/s",
          metrics=("ib.symbol_error", "ib.link_downed", "ib.rcv_errors", "ib.xmit_discards")),
    Panel("Waiting for credit", "series", "PORT", metrics=("ib.xmit_wait",), unit="ticks/s", order=30),
    Panel("InfiniBand", "series", "Host", metrics=("ib.xmit_data", "ib.rcv_data"), unit="words/s", order=40),
    Panel("InfiniBand by node", "series", "Job", metrics=("ib.xmit_data", "ib.rcv_data"), unit="words/s", order=40),
    Panel("Data by port", "series", "SW", metrics=("ib.xmit_data",), unit="words/s", order=10),
    Panel("Symbol errors by port", "series", "SW", metrics=("ib.symbol_error",), unit="errors/s", order=20),
    Panel("Waiting for credit by port", "series", "SW", metrics=("ib.xmit_wait",), unit="ticks/s", order=30),
    Panel("Changes of the fabric", "log", "SW", audiences=("operator",), events="lane:fabric", order=60),
)
