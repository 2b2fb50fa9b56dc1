"""What people write down, and what is said of a mistake in it."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from qnib.errors import NotFound, Unavailable, WrongUse
from qnib.terminal import blueprint, memory, reading
from qnib.terminal.blueprint import MAX_NODES, Blueprint, Nodes
from qnib.terminal.reading import about, find, keys, parse, shipped


@pytest.mark.parametrize("module", [blueprint, reading])
def test_examples_in_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_what_is_shipped_is_valid_and_says_what_it_is(file: Path) -> None:
    assert find(Path(file.stem)).count >= 4
    assert len(about(file)) > 20


def test_small_is_what_up_starts() -> None:
    small = find(Path("small"))
    assert small.model_copy(update={"fabric": Blueprint().fabric}) == Blueprint()


def test_sizes_rates_and_spans_as_people_write_them() -> None:
    told = parse(
        '[[nodes]]\nmemory = "1.5G"\nrate = "1KB/s"\ndisk = "64M"\n'
        '[[faults]]\nafter = "1h 30m"\nkind = "node-down"\ntarget = "compute1"\nlasts = 20\n', "lab.toml",
    )
    assert (told.nodes[0].memory, told.nodes[0].rate, told.nodes[0].disk) == (1536, 1024, 64)
    assert (told.faults[0].after, told.faults[0].lasts) == (5400, 20)


def test_groups_of_nodes_are_numbered_through() -> None:
    told = Blueprint(nodes=[Nodes(count=2, memory=256), Nodes(count=3, memory=512)])
    assert told.count == 5
    assert [told.group_of(number).memory for number in range(7)] == [256, 256, 512, 512, 512, 512, 512]


WRONG = [
    ('name = "lab"\n[[nodes]]\n  cont = 4\n', "lab.toml:3:3", "no such key", "'count'"),
    ('[fabric]\nshape = "ring"\n', "lab.toml:2:1", "fabric.shape", "keys"),
    ('[[nodes]]\nmemory = "12 parsecs"\n', "lab.toml:2:1", "size with its unit", ""),
    ('[[nodes]]\ncount = 4\n[[nodes]]\ncount = 0\n', "lab.toml:4:1", "nodes.1.count", ""),
    ('name = "lab\n', "lab.toml:1:", "not TOML", ""),
    ('[nodes\n', "lab.toml:1:", "not TOML", ""),
    ('[fabric]\nshape = "fat-tree"\nradix = 4\n[[nodes]]\ncount = 9\n', "lab.toml:1:1", "more than the 8", ""),
    (f"[[nodes]]\ncount = {MAX_NODES + 1}\n", "lab.toml:2:1", f"up to {MAX_NODES}", ""),
    ('[[partitions]]\nname = "gpu"\nnodes = "gpu"\n', "lab.toml:3:1", "no feature", ""),
    ('[[partitions]]\nname = "a"\nnodes = "compute[0-"\n', "lab.toml:3:1", "no node set", ""),
    ('[[partitions]]\nname = "a"\n[[partitions]]\nname = "a"\n', "lab.toml:3:1", "'a'", ""),
    ('[[groups]]\nname = "a"\nusers = ["b", "b"]\n', "lab.toml:1:1", "'b'", ""),
    ('[[groups]]\nname = "a"\nusers = ["root"]\n', "lab.toml:1:1", "the system", ""),
    ('[[groups]]\nname = "a"\nusers = ["Bob; rm"]\n', "lab.toml:3:1", "groups.0.users.0", ""),
    ('software = ["vim", "--evil"]\n', "lab.toml:1:1", "no Debian package name", ""),
    ('[[images]]\nname = "a"\npackages = ["vim"]\n', "lab.toml:3:1", "needs the `system`", ""),
    ('[[images]]\nname = "a"\n[[images]]\nname = "a"\n', "lab.toml:4:1", "'a' already", ""),
    ('[racks]\nr1 = "compute[0-1]"\nr2 = "compute1"\n', "lab.toml:1:1", "compute1 cannot stand in r1 and in r2", ""),
    ('mpi = ["lam"]\n', "lab.toml:1:1", "'openmpi' or 'mpich'", ""),
    ('[fabric]\nshape = "torus"\nsize = [1, 4]\n', "lab.toml:3:1", "at least 2", ""),
    ('[fabric]\nradix = 7\n', "lab.toml:2:1", "even", ""),
    ('[fabric]\nshape = "torus"\nsize = [50, 50]\n', "lab.toml:3:1", "2500 switches", ""),
    ('[[partitions]]\nname = "qnib"\n', "lab.toml:2:1", "something else", ""),
    ('[[partitions]]\nname = "a"\nnodes = "compute[900-905]"\n', "lab.toml:3:1", "can be there", ""),
    ('[[nodes]]\nmemory = "256M"\ndisk = "2G"\n', "lab.toml:1:1", "smaller", ""),
    ('[[faults]]\nafter = 5\nkind = "cable-melt"\ntarget = "SW1/3"\n', "lab.toml:3:1", "no fault", ""),
    ('[[faults]]\nafter = 5\nkind = "cable-move"\ntarget = "SW1/3"\n', "lab.toml:1:1", "needs a value", ""),
    ('[[faults]]\nafter = 5\nkind = "node-slow"\ntarget = "compute1"\nvalue = "9"\n', "lab.toml:5:1", "no share", ""),
]


@pytest.mark.parametrize(("text", "where", "what", "advice"), WRONG)
def test_a_mistake_is_named_with_line_and_column(text: str, where: str, what: str, advice: str) -> None:
    with pytest.raises(WrongUse) as error:
        parse(text, "lab.toml")
    assert error.value.where.startswith(where)
    assert what in error.value.what
    assert advice in error.value.try_next


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such blueprint"):
        find(tmp_path / "lab.toml")
    with pytest.raises(WrongUse, match="cannot be read"):
        find(tmp_path)


def test_the_guide_has_every_key() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/blueprints.md").read_text()
    assert [row["key"] for row in keys() if f"`{row['key']}`" not in guide] == []


def test_every_key_says_what_it_means() -> None:
    told = list(keys())
    assert {"name", "nodes[].memory", "fabric.shape", "faults[].after"} <= {row["key"] for row in told}
    assert [row["key"] for row in told if not row["meaning"] and not row["key"].endswith(".name")] == []


MEMINFO = "MemTotal:        4096000 kB\nMemAvailable:    2048000 kB\n"


def test_memory_is_counted_before_anything_starts() -> None:
    assert memory.enough(Blueprint(), MEMINFO) == []
    assert "more than the 4000 MiB" in memory.enough(Blueprint(nodes=[Nodes(count=16)]), MEMINFO)[0]
    with pytest.raises(Unavailable, match="larger than this machine"):
        memory.enough(Blueprint(nodes=[Nodes(memory=8192)]), MEMINFO)
    with pytest.raises(Unavailable, match="before the first job"):
        memory.enough(Blueprint(nodes=[Nodes(count=200)]), MEMINFO)
