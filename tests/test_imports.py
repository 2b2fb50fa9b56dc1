"""The arrows point one way: who may import whom, read from the sources."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/qnib"

FOUNDATION = {"errors", "clock", "model", "settings", "clusters", "nodes", "__init__"}
LEVELS = [
    FOUNDATION,
    {"engine", "domains"},
    {"agent", "terminal", "monitoring", "inventory"},
    {"discovery"},
    {"context"},
    {"dashboards"},
    {"alerting"},
    {"api", "web"},
    {"server", "cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def imports(file: Path) -> set[str]:
    """The parts of qnib that a file names in its imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "qnib" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("qnib.")}
    return found


def part(file: Path) -> str:
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_point_one_way(file: Path) -> None:
    own = part(file)
    assert own in LEVEL, f"{own} has no place among {LEVELS}"
    upward = {other for other in imports(file) if other in LEVEL and other != own and LEVEL[other] > LEVEL[own]}
    assert not upward, f"{file.name} in {own} imports {upward}, which stand above it"


@pytest.mark.parametrize(
    "file", sorted((SOURCE / "domains").rglob("*.py")) + sorted((SOURCE / "agent").rglob("*.py")), ids=str
)
def test_what_the_agent_loads_is_the_standard_library(file: Path) -> None:
    tree = ast.parse(file.read_text())
    outside: set[str] = set()
    for node in tree.body:  # imports inside functions run on the server only
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            outside.add(node.module.split(".")[0])
    assert outside <= set(sys.stdlib_module_names) | {"qnib"}, outside
