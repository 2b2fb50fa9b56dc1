"""What the process beside a cluster exchanges with it: what nodes sent and OpenSM's routes, for the ports' growth.

On this machine by the kernel's count on the bridge and a folder shared with the fabric's container; over several hosts
by a count on each host that lets us run nft there, and through the engine of the first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qnib import clusters
from qnib.errors import QnibError
from qnib.settings import Settings
from qnib.terminal import counting, hosts, record
from qnib.terminal.counting import Sent
from qnib.terminal.engines.several import Several
from qnib.terminal.plan import Plan, node_names

if TYPE_CHECKING:
    from qnib.terminal.engines.remote import Remote

Pairs = dict[tuple[str, str], Sent]
"""By addresses of sender and receiver."""
Grown = Mapping[str, Mapping[str, int]]

LARGEST = 64 << 20
"""Octets of a file of the container's that are read; the tables of 240 hosts are below one."""
_ROUTES, _GROWTH = "opensm-lfts.dump", "traffic.json"
NO_ROUTES = "OpenSM has not told its routes yet"
AGAIN = 20.0
"""Seconds until a host that was away is tried again."""


class Exchange(Protocol):
    traffic: dict[str, str]
    """By host: ``counted``, or why not. Empty where there is only this machine."""

    def counted(self, plan: Plan) -> Pairs: ...

    def routes(self, plan: Plan) -> str:
        """OpenSM's dump. Raises ValueError while there is none."""

    def leave(self, plan: Plan, grown: Grown) -> bool:
        """Hand the ports' growth over; False while the last one has not been taken yet."""

    def close(self) -> None: ...


def exchange(settings: Settings, name: str) -> Exchange:
    if clusters.load(settings.clusters, name).details.get("hosts"):
        return Afar(settings, name)
    return Here(record.fabric_folder(settings, name))


class Here:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.traffic: dict[str, str] = {}

    def counted(self, plan: Plan) -> Pairs:
        return counting.read(plan)

    def routes(self, plan: Plan) -> str:
        del plan
        try:
            return record.read_from_container(self._folder / _ROUTES, LARGEST)
        except FileNotFoundError as error:
            raise ValueError(NO_ROUTES) from error

    def leave(self, plan: Plan, grown: Grown) -> bool:
        del plan
        target = self._folder / _GROWTH
        if target.exists():
            return False
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)  # whatever it was made into inside
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with os.fdopen(descriptor, "w") as out:
            json.dump(grown, out)
        part.rename(target)
        return True

    def close(self) -> None:
        pass


class Afar:
    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name
        self._several: Several | None = None
        self._tried: dict[str, float] = {}
        self.traffic: dict[str, str] = {}

    def counted(self, plan: Plan) -> Pairs:
        """What each host saw. Both see what goes between them: then the sender's count is taken."""
        several = self._engines()
        place_of = {plan.address(host): place for host, place in zip(
            node_names(len(several.places)), several.places, strict=True,
        )}
        seen: dict[int, Pairs] = {}
        for place, host in enumerate(several.hosts):
            try:
                seen[place] = self._on(host.there, plan)
                self.traffic[host.address] = "counted"
            except QnibError as error:
                self.traffic[host.address] = f"not counted: {error.what}"
                if time.monotonic() - self._tried.get(host.address, 0) > AGAIN:
                    self._again(place)
        found: Pairs = {}
        for place, pairs in seen.items():
            for (source, target), sent in pairs.items():
                sender = place_of.get(source)
                if sender == place or sender not in seen:
                    found[source, target] = sent
        return found

    def _on(self, engine: Remote, plan: Plan) -> Pairs:
        # The namespace goes with the host's last container and comes again under another name.
        inside = ["nsenter", f"--net={engine.overlay_namespace(plan.network)}", "nft"]

        def nft(words: Sequence[str], given: str) -> str:
            return engine.tool([*inside, *words], given)

        try:
            return counting.read(plan, nft)
        except QnibError:
            counting.start(plan, nft)
            return counting.read(plan, nft)

    def routes(self, plan: Plan) -> str:
        told = self._first().get(plan.container("fabric"), f"/run/fabric/{_ROUTES}", LARGEST)
        if told is None:
            raise ValueError(NO_ROUTES)
        return told

    def leave(self, plan: Plan, grown: Grown) -> bool:
        from qnib.terminal.engines.remote import packed_text

        first, container = self._first(), plan.container("fabric")
        path = f"/run/fabric/{_GROWTH}"
        if first.get(container, path) is not None:
            return False
        first.put(container, packed_text(f"{path}.part", json.dumps(grown)))
        return first.run_inside(container, ["mv", f"{path}.part", path])[0] == 0

    def close(self) -> None:
        if self._several is not None:
            self._several.close()

    def _engines(self) -> Several:
        cluster = clusters.load(self._settings.clusters, self._name)
        if self._several is None:
            addresses = [note["address"] for note in cluster.details["hosts"]]
            self._several = hosts.several(self._settings, addresses, [])
            self._tried = dict.fromkeys(addresses, time.monotonic())
        self._several.places = cluster.details["places"][: cluster.details["nodes"]]
        return self._several

    def _first(self) -> Remote:
        return self._engines().hosts[0].there

    def _again(self, place: int) -> None:
        several = self._engines()
        old = several.hosts[place]
        if old.engine is not None:
            old.engine.close()
        several.hosts[place] = hosts.reach(self._settings, old.address)
        self._tried[old.address] = time.monotonic()
