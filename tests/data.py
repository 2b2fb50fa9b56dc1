"""Captures of other people's systems: not part of the product, tests that use them look beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("QNIB_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
"""Read when this is imported: the tests themselves see no QNIB_ variables."""


def real(path: str) -> Path:
    """A file or folder of them; the test is skipped where it is not there."""
    found = FOLDER / path
    if not found.exists():
        pytest.skip(f"{path} is not in {FOLDER}; QNIB_TEST_DATA names another folder")
    return found
