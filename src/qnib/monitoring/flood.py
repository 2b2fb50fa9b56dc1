"""Holds back a host that floods, so that it costs the others nothing: a bucket of octets for each sender.

What comes over TCP waits (reading pauses), HTTP is told to come again, datagrams are dropped and counted. The
beginning of a flood is an event of the cluster, each ten seconds of it a reject that says how much was dropped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from qnib.monitoring.frames import Origin, row
from qnib.monitoring.spool import Spool
from qnib.settings import FloodLimit

_OVERHEAD = 64  # octets a record costs beside its own
_TELL_SECONDS = 10.0
_MOST_SENDERS = 20_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(slots=True)
class _Flood:
    """What one sender lost since it was last told of."""

    datagrams: int = 0
    octets: int = 0
    waited: int = 0
    requests: int = 0


class Flood:
    """Call from the event loop. `limited` counts datagrams dropped by sender since the start."""

    def __init__(self, limit: FloodLimit, spool: Spool, now: Callable[[], int]) -> None:
        self._limit = limit
        self._spool = spool
        self._now = now
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._floods: dict[Origin, _Flood] = {}
        self.limited: dict[str, int] = {}

    def takes(self, origin: Origin, octets: int, weight: int = 1) -> bool:
        """Whether a datagram of `octets` may come in; when not, it is counted as dropped."""
        if self.wait(origin, octets * weight) == 0:
            return True
        flood = self._flooding(origin)
        flood.datagrams += 1
        flood.octets += octets
        if len(self.limited) < _MOST_SENDERS or origin.sender in self.limited:
            self.limited[origin.sender] = self.limited.get(origin.sender, 0) + 1
        return False

    def delay(self, origin: Origin, octets: int) -> float:
        """Seconds until a connection that brought `octets` may be read again; they are taken in any case."""
        seconds = self.wait(origin, octets, always=True)
        if seconds:
            self._flooding(origin).waited += 1
        return seconds

    def refuses(self, origin: Origin, octets: int) -> float:
        """Seconds after which a request of `octets` may come again; 0: it may now."""
        seconds = self.wait(origin, octets)
        if seconds:
            self._flooding(origin).requests += 1
        return seconds

    def wait(self, origin: Origin, octets: int, *, always: bool = False) -> float:
        """Take from the bucket of `origin`'s sender. 0: there was enough; else the seconds until there is."""
        limit = self._limit
        if origin.sender in limit.exempt:
            return 0.0
        at = asyncio.get_running_loop().time()
        key = (origin.cluster, origin.sender)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MOST_SENDERS:
                self._buckets.pop(next(iter(self._buckets)))
            bucket = self._buckets[key] = _Bucket(limit.burst, at)
        bucket.left = min(limit.burst, bucket.left + (at - bucket.at) * limit.octets_per_second)
        bucket.at = at
        # What comes whole may be larger than the bucket: it passes when the bucket is full
        cost = octets + _OVERHEAD if always else min(octets + _OVERHEAD, limit.burst)
        if bucket.left >= cost:
            bucket.left -= cost
            return 0.0
        missing = cost - bucket.left
        if always:
            bucket.left -= cost
        return missing / limit.octets_per_second

    def _flooding(self, origin: Origin) -> _Flood:
        flood = self._floods.get(origin)
        if flood is None:
            flood = self._floods[origin] = _Flood()
            self._event(origin)
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell, origin)
        return flood

    def _event(self, origin: Origin) -> None:
        text = (
            f"{origin.sender} sends more than {self._limit.octets_per_second} octets a second by {origin.listener}:"
            " it is held back, others are not"
        )
        told = {"message": text, "app": "qnib", "level": "warning", "host": origin.sender, "listener": origin.listener}
        prefix = replace(origin, sender="qnib", listener="qnib").prefix()
        self._spool.append("json", row(self._now(), prefix, [json.dumps(told).encode()]))

    def _tell(self, origin: Origin) -> None:
        """Tell what was lost in the last seconds; when nothing was, the flood is over."""
        flood = self._floods.get(origin)
        if flood is None:
            return  # closed meanwhile
        self._refuse(origin, flood, f" in {_TELL_SECONDS:.0f} s")
        if flood.datagrams or flood.waited or flood.requests:
            self._floods[origin] = _Flood()
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell, origin)
        else:
            del self._floods[origin]

    def close(self) -> None:
        """Tell what was not told yet, before the spool stops."""
        for origin, flood in self._floods.items():
            self._refuse(origin, flood)
        self._floods.clear()

    def _refuse(self, origin: Origin, flood: _Flood, within: str = "") -> None:
        if flood.datagrams:
            reason = f"flood: {flood.datagrams} datagrams ({flood.octets} octets) dropped{within}"
            self._spool.append("reject", row(self._now(), origin.prefix(), [reason.encode(), b""]))
