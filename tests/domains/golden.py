"""Samples of the domains' captures and readings, and their meaning as JSON.

After a parser changed on purpose: ``uv run python tests/domains/golden.py`` writes the meanings anew; read the diff.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qnib.domains import all_domains
from qnib.model import Domain, Snapshot

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """``samples/<capture or reading>.<case>.txt`` beside the golden value of the same name."""

    domain: Domain
    file: Path

    @property
    def name(self) -> str:
        return self.file.name.partition(".")[0]

    @property
    def golden(self) -> Path:
        return self.file.with_suffix(".json")

    def meaning(self) -> Any:
        """What the domain's parser makes of it: the capture's own, or `parse_<reading>` of its collect module."""
        text = self.file.read_text()
        capture = next((c for c in self.domain.captures if c.name == self.name), None)
        if capture is not None:
            return plain(capture.parse(text, AT))
        module = importlib.import_module(f"qnib.domains.{self.domain.name}.collect")
        return plain(getattr(module, f"parse_{self.name}")(text))


def samples() -> Iterator[Sample]:
    for domain in all_domains():
        for file in sorted((domain.folder / "samples").glob("*.txt")):
            yield Sample(domain, file)


def plain(value: Any) -> Any:
    """`value` as JSON has it, in an order that does not depend on the parser's."""
    if isinstance(value, Snapshot):
        return {
            "complete": sorted(value.complete),
            "entities": {
                str(e.ref): {"properties": plain(e.properties), "since": plain(e.since), "until": plain(e.until)}
                for e in sorted(value.entities, key=lambda e: str(e.ref))
            },
            "relations": sorted(
                f"{r.source} -{r.kind}-> {r.target} {json.dumps(plain(r.properties))} {plain(r.since)} {plain(r.until)}"
                for r in value.relations
            ),
            **({"tables": {f"{t.switch} {t.guid}": t.ports.hex(" ") for t in value.tables}} if value.tables else {}),
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if hasattr(value, "items"):
        pairs = ((k if isinstance(k, str) else "/".join(map(str, k)), plain(v)) for k, v in value.items())
        return dict(sorted(pairs))
    return value


if __name__ == "__main__":
    for sample in samples():
        sample.golden.write_text(json.dumps(sample.meaning(), indent=1, ensure_ascii=False) + "\n")
        print(sample.golden)
