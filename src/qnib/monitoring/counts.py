"""The series that aggregates of events make, as metrics: how they are called, their unit and type."""

from __future__ import annotations

from qnib.model import Metric
from qnib.settings import Aggregate, Settings


def count(name: str, told: Aggregate) -> Metric:
    series = f"events.{name}"
    return Metric(series, series, "event", f"Events that match {told.query}", "count", "the events stored")


def counts_of(settings: Settings) -> list[Metric]:
    return [count(name, told) for name, told in settings.aggregates.items()]
