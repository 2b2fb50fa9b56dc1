"""Points as the nodes of a cluster send them: noisy, stepped, counted and at rest, never a constant alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

CORES = 16
PAGE = 4096
STEP = 10
"""Seconds between two points of a series."""
Numbers = NDArray[Any]

_NAMES = (
    *(f"servers.{{h}}.cpu.core{core}.used" for core in range(CORES)),
    *(f"servers.{{h}}.memory.{name}" for name in ("used", "cache", "buffers", "free")),
    *(f"servers.{{h}}.network.eth0.{name}" for name in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")),
    *(f"infiniband.{{h}}.1.{name}" for name in ("xmit_data", "rcv_data", "xmit_packets", "rcv_packets")),
    *(f"infiniband.{{h}}.1.{name}" for name in ("symbol_error", "link_downed")),
    *(f"servers.{{h}}.load.{name}" for name in ("1", "5", "15")),
    *(f"servers.{{h}}.temperature.{name}" for name in ("cpu0", "cpu1", "inlet", "board")),
    "servers.{h}.power.watts",
    "servers.{h}.disk.sda.read_bytes",
    "servers.{h}.disk.sda.write_bytes",
)
PER_HOST = len(_NAMES)


def paths(hosts: int) -> list[str]:
    return [name.format(h=f"n{host:04d}") for host in range(hosts) for name in _NAMES]


def rounds(hosts: int, count: int, seed: int = 1) -> Iterator[list[Any]]:
    """`count` rounds of the values of `paths(hosts)`: numbers with the digits that agents print.

    Three nodes of four have jobs that come and go: their cores are at 5, 60, 95 or 99 % with noise, their memory, their
    network and their fabric's counters move; the fourth is idle, but its cores, packets and temperatures are not still.
    """
    rng = np.random.default_rng(seed)
    busy = np.arange(hosts) % 4 != 3
    level = rng.choice([5.0, 60, 95, 99], hosts)
    memory = rng.integers(1 << 18, 1 << 24, (hosts, 3)) // [1, 4, 64]  # pages: used, cache, buffers
    network = rng.integers(0, 1 << 40, (hosts, 4))
    fabric = rng.integers(0, 1 << 44, (hosts, 4))
    errors = np.zeros((hosts, 2), np.int64)
    load = np.zeros((hosts, 3))
    heat = rng.uniform(30, 45, (hosts, 4))
    disk = rng.integers(0, 1 << 36, (hosts, 2))
    for _ in range(count):
        ends = rng.random(hosts) < 0.01  # a phase of a job, at 10 s: a quarter of an hour
        level = np.where(ends, rng.choice([5.0, 60, 95, 99], hosts), level)
        want = np.where(busy, level, 0.3)
        noise = rng.normal(0, np.where(busy, 2.0, 0.3)[:, None], (hosts, CORES))
        cores = np.clip(want[:, None] + noise, 0, 100).round(1)
        moved = rng.random((hosts, 3)) < np.where(busy, 0.8, 0.2)[:, None] * [1, 0.6, 0.1]
        memory = np.maximum(
            1024, memory + moved * rng.normal(0, np.where(busy, 4000, 20)[:, None], (hosts, 3)).astype(int)
        )
        memory = np.where(
            ends[:, None] & busy[:, None], rng.integers(1 << 18, 1 << 24, (hosts, 3)) // [1, 4, 64], memory
        )
        packets = rng.poisson(np.where(busy, 40 * want, 25)[:, None], (hosts, 2))
        network = network + np.concatenate([packets * rng.integers(90, 900, (hosts, 2)), packets], axis=1)
        sent = rng.poisson(np.where(busy, 9000 * want, 0.2)[:, None], (hosts, 2))
        fabric = fabric + np.concatenate([sent * rng.integers(300, 512, (hosts, 2)), sent], axis=1)
        errors = errors + (rng.random((hosts, 2)) < [0.0005, 0.00002])
        load += (want[:, None] * CORES / 100 + rng.normal(0, 0.2, (hosts, 1)) - load) * [0.15, 0.033, 0.011]
        goal = np.array([30, 30, 22, 28]) + want[:, None] * [0.45, 0.42, 0.03, 0.1]
        heat += (goal - heat) * 0.05 + rng.normal(0, 0.3, (hosts, 4))
        power = (110 + 3.1 * want + rng.normal(0, 4, hosts)).round()
        wrote = rng.random((hosts, 2)) < np.where(busy, 0.5, 0.08)[:, None]
        disk = disk + wrote * rng.integers(1, 4000, (hosts, 2)) * PAGE
        free = (1 << 25) - memory.sum(axis=1, keepdims=True)
        columns = [
            cores.tolist(), (np.concatenate([memory, free], axis=1) * PAGE).tolist(), network.tolist(), fabric.tolist(),
            errors.tolist(), np.abs(load).round(2).tolist(), heat.round().astype(int).tolist(),
            power.astype(int)[:, None].tolist(), disk.tolist(),
        ]  # fmt: skip
        yield [value for host in zip(*columns, strict=True) for part in host for value in part]


def lines(names: list[str], values: list[Any], at: int) -> bytes:
    """One round as carbon's lines."""
    stamp = f" {at}\n"
    return "".join([f"{name} {value}{stamp}" for name, value in zip(names, values, strict=True)]).encode()
