"""Order and honesty of the test run: fast tests first, every skip with its reason, in CI no skip of what can run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

WEIGHT = {"engine": 1, "cluster": 2, "journey": 3}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests, then the engine's, then containers', then the browser's; order within each as written."""
    items.sort(key=lambda item: max((WEIGHT.get(mark.name, 0) for mark in item.iter_markers()), default=0))


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the person who runs the tests reaches them."""
    for name in [n for n in os.environ if n.startswith("QNIB_")]:
        monkeypatch.delenv(name)
    yield
