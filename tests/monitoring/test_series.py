"""Reading numbers back: exact buckets, rates with resets, jobs, bands, names."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from qnib.errors import TooMuch
from qnib.monitoring import series
from qnib.monitoring.series import series_answer

from .conftest import METRICS, NOW, Plant

pytestmark = pytest.mark.engine
T = int(NOW.timestamp())


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "declared_metrics", lambda: {metric.name: metric for metric in METRICS})


def ask(plant: Plant, metric: str, *, cluster: str = "demo", seconds: int = 600, points: int = 600, **by: Any) -> Any:
    start = NOW - timedelta(seconds=seconds)
    return series_answer(plant.engine, plant.clock, cluster, metric, start=start, end=NOW, points=points, **by)


def heard(answer: dict[str, Any], line: str = "mean", index: int = 0) -> dict[int, float]:
    return {
        int(t) - T: v for t, v in zip(answer["t"], answer["series"][index][line], strict=True) if v is not None
    }  # fmt: skip


def test_gauges_in_buckets(plant: Plant) -> None:
    plant.carbon("".join(f"servers.compute0.cpu.used {n} {T - 600 + 10 * n}\n" for n in range(60)))
    fine = ask(plant, "cpu.used", points=6)
    assert (fine["step"], len(fine["t"]), fine["unit"]) == (100, 6, "%")
    assert fine["t"][0] == T - 600
    assert heard(fine) == {-600 + 100 * n: 10 * n + 4.5 for n in range(6)}
    assert heard(fine, "min") == {-600 + 100 * n: 10 * n for n in range(6)}
    assert heard(fine, "max") == {-600 + 100 * n: 10 * n + 9 for n in range(6)}
    assert (fine["from"], fine["until"]) == ("2026-11-20T11:50:00Z", "2026-11-20T12:00:00Z")
    assert fine["newest"] == "2026-11-20T11:59:50Z"
    assert fine["description"] == "CPU time used"


def test_buckets_are_never_finer_than_the_source(plant: Plant) -> None:
    plant.carbon("".join(f"servers.compute0.cpu.used 1 {T - 600 + 10 * n}\n" for n in range(60)))
    answer = ask(plant, "cpu.used", points=600)
    assert answer["step"] == 15
    assert None not in answer["series"][0]["mean"]


def test_a_gap_stays_a_gap(plant: Plant) -> None:
    plant.carbon("".join(f"servers.compute0.cpu.used 1 {T - 600 + 10 * n}\n" for n in range(60) if not 20 <= n < 40))
    assert set(heard(ask(plant, "cpu.used", points=30))) == {s for s in range(-600, 0, 20) if not -400 <= s < -200}


def test_a_slot_written_twice_counts_once(plant: Plant) -> None:
    plant.carbon(f"servers.compute0.cpu.used 100 {T - 50}\nservers.compute0.cpu.used 10 {T - 40}\n")
    plant.carbon(f"servers.compute0.cpu.used 20 {T - 50}\n")
    assert heard(ask(plant, "cpu.used", points=6)) == {-100: 15.0}


def test_counters_are_read_as_rates(plant: Plant) -> None:
    values = [1000, 2000, 3000, 3000, 500, 1500]  # 500: a reset, it counted that much since
    path = "servers.compute0.network.eth0.rx_bytes"
    plant.carbon("".join(f"{path} {v} {T - 60 + 10 * n}\n" for n, v in enumerate(values)))
    answer = ask(plant, "network.rx_bytes", seconds=60, points=4)
    assert (answer["unit"], answer["step"]) == ("B/s", 15)
    rates = [100.0, 100.0, 0.0, 50.0, 100.0]  # at -50, -40 … -10
    assert heard(answer) == {-60: rates[0], -45: rates[1], -30: (rates[2] + rates[3]) / 2, -15: rates[4]}


def test_the_first_rate_needs_the_point_before_the_window(plant: Plant) -> None:
    path = "servers.compute0.network.eth0.rx_bytes"
    plant.carbon("".join(f"{path} {1000 * n} {T - 120 + 10 * n}\n" for n in range(12)))
    assert min(heard(ask(plant, "network.rx_bytes", seconds=60, points=4))) == -60


def test_hosts_are_folded_and_named_by_what_differs(plant: Plant) -> None:
    hosts = [f"compute{n}" for n in range(10)]
    plant.carbon("".join(f"servers.{h}.cpu.used {n} {T - 10}\n" for n, h in enumerate(hosts)))
    two = ask(plant, "cpu.used", host="compute[3-4]")
    assert [(s["name"], s["tags"]) for s in two["series"]] == [
        ("compute3", {"host": "compute3"}), ("compute4", {"host": "compute4"}),
    ]  # fmt: skip
    assert two["band"] is None
    everybody = ask(plant, "cpu.used")
    assert len(everybody["series"]) == 10
    assert [[v for v in everybody["band"][k] if v is not None] for k in ("min", "median", "max")] == [
        [0.0],
        [4.5],
        [9.0],
    ]
    with pytest.raises(TooMuch):
        series.find(plant.engine, "demo", "cpu.used", limit=9)


def test_a_port_is_found_by_its_name(plant: Plant) -> None:
    plant.carbon(
        "".join(f"infiniband.SW1.{p}.xmit_data {p * n * 60} {T - 60 + n * 10}\n" for p in (2, 3) for n in range(6))
    )
    answer = ask(plant, "ib.xmit_data", port="SW1/3", points=1)
    assert [s["name"] for s in answer["series"]] == ["SW1/3"]
    assert (answer["unit"], answer["series"][0]["mean"]) == ("words/s", [18.0])


def test_samples_of_a_job_are_summed_per_host(plant: Plant) -> None:
    plant.carbon(
        "".join(
            f"slurm.job.42.0.{task}.compute{task // 2}.cpu {10 + task} {T - 50 + 10 * n}\n"
            for task in range(4)
            for n in range(5)
        )
        + f"slurm.job.43.0.0.compute0.cpu 1000 {T - 30}\n"
    )
    answer = ask(plant, "job.cpu", job=42, points=10)
    assert [(s["name"], {v for v in s["mean"] if v is not None}) for s in answer["series"]] == [
        ("compute0", {21.0}), ("compute1", {25.0}),
    ]  # fmt: skip
    assert answer["newest"] == "2026-11-20T11:59:50Z"
    assert [s["name"] for s in ask(plant, "job.cpu", job=42, host="compute1")["series"]] == ["compute1"]
    assert ask(plant, "job.cpu", job=7)["series"] == []


def test_nothing_known_is_an_answer_too(plant: Plant) -> None:
    answer = ask(plant, "cpu.used", cluster="elsewhere")
    assert (answer["series"], answer["newest"], answer["band"]) == ([], None, None)
    assert len(answer["t"]) == 600
    assert ask(plant, "no.such.metric")["unit"] == ""


def test_two_clusters_are_read_apart(plant: Plant) -> None:
    for number, cluster in enumerate(("one", "two")):
        plant.carbon(f"servers.compute0.cpu.used {number} {T - 10}\n", cluster=cluster)
    assert [heard(ask(plant, "cpu.used", cluster=c, points=1)) for c in ("one", "two")] == [{-600: 0.0}, {-600: 1.0}]


def test_an_event_of_ours_is_recorded_and_found(plant: Plant) -> None:
    from qnib.monitoring import events

    at = NOW - timedelta(minutes=1)
    row = {"time": at, "kind": "link.down", "message": "Link SW1/3 to compute2/1 is down", "host": "fab",
           "severity": "err", "entities": ["PORT:SW1/3"], "fields": {"cable": "C1"}}  # fmt: skip
    assert [events.record(plant.engine, "demo", [row], token="diff1") for _ in range(2)] == [1, 1]
    plant.syslog("<30>Nov 20 11:58:00 c0 slurm_42: step 1", "<27>Nov 20 11:58:10 c1 slurmd[1]: error: Node is LOST")

    def found(**by: Any) -> list[str]:
        answer = events.search(plant.engine, "demo", NOW - timedelta(hours=1), NOW, **by)
        assert answer["total"] == len(answer["events"])
        return [event["message"].split()[0] for event in answer["events"]]

    assert found() == ["Link", "error:", "step"]
    assert found(hosts=["c0", "fab"]) == ["Link", "step"]
    assert found(job="42@1763632800") == found(job=42) == found(job="42") == ["step"]
    assert found(entity="PORT:SW1/3") == found(kind="link.*") == found(kind="node.down,link.down") == ["Link"]
    assert found(severity="err") == ["Link", "error:"]
    assert found(app="slurmd") == found(q="LOST node") == ["error:"]
    assert found(q="node nothing") == []
    answer = events.search(plant.engine, "demo", NOW - timedelta(hours=1), NOW, limit=1, histogram=4)
    assert (answer["total"], answer["histogram"]["count"]) == (3, [0, 0, 0, 3])
    assert answer["histogram"]["t"] == [(NOW - timedelta(hours=1)).timestamp() + 900 * n for n in range(4)]
    first = answer["events"][0]
    assert datetime.fromisoformat(first["time"]) == at
    assert {k: first[k] for k in ("kind", "lane", "entities", "fields", "severity", "host")} == {
        "kind": "link.down", "lane": "fabric", "entities": ["PORT:SW1/3"], "fields": {"cable": "C1"}, "severity": "err",
        "host": "fab",
    }  # fmt: skip
