"""Findings over time: when each began and when it was over, told as events: what was said when is on record.

>>> Watch(sources, publish).look("demo")      # doctest: +SKIP
"""

from qnib.alerting.disagreements import Disagreements
from qnib.alerting.watch import Watch

__all__ = ["Disagreements", "Watch"]
