"""Packages, modules and libraries: what is refused, what a set is told by, and what the agent sees of a job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from tests.domains.golden import AT
from tests.domains.test_identity import Record

from qnib.domains.software import loaded, looks, modules, packages, processes, sets
from qnib.domains.software.elf import build_id
from qnib.domains.software.findings import nodes_differ
from qnib.domains.software.happened import events
from qnib.model import Change, Entity, Ref, Snapshot

SAMPLES = Path(packages.__file__).parent / "samples"


def dpkg(*lines: str) -> Snapshot:
    """Packages as ``name version`` pairs."""
    text = "".join("{}\t{}\tamd64\tii \n".format(*line.split()) for line in lines)
    return packages.parse_dpkg(text, AT)


def keys(snapshot: Snapshot, kind: str) -> list[str]:
    return sorted(one.key for one in snapshot.entities if one.kind == kind)


# ── packages ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no package"),
        ("bash: command not found", "line 1: 'bash: command not found'"),
        ("adduser\t3.1\tall\tii \nhello\t2.10\n", "line 2.*does not say whether it is installed"),
        ("adduser\t3.1\tall\tii \nhello\t\tamd64\tii \n", "line 2.*no version"),
        ("adduser\t3.1\tall\tiX \n", "line 1.*no package"),
        ("Package: hello\nVersion: 2\n", "record 1.*no Status"),
        ("Desired=Unknown/Install\nii hello 2 amd64 x\n", r"no line \+\+\+-"),
        ("Desired=Unknown/Install\n+++-==\nii hello\n", "line 3"),
    ],
)
def test_what_is_not_dpkgs_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        packages.parse_dpkg(text, AT)


@pytest.mark.parametrize(
    ("text", "said"), [("", "no package"), ("bash 5.1", "line 1"), ("ok-1-1.x86_64\nbad line\n", "line 2 .*'bad line'")]
)
def test_what_is_not_rpms_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        packages.parse_rpm(text, AT)


def test_all_forms_of_dpkg_say_the_same() -> None:
    """The three samples are of one machine; what each of them leaves out is left out of all."""
    common = {"adduser", "environment-modules", "hello", "libc6", "libnuma1"}
    told = [
        {key for key in keys(packages.parse_dpkg((SAMPLES / f"dpkg.{form}.txt").read_text(), AT), "Package")
         if packages.named(key)[0] in common}
        for form in ("query", "list", "status")
    ]
    assert told[0] == told[1] == told[2]
    assert "hello_2.10-5_amd64.deb unpacked" in told[0], "half installed is another version"
    assert not any("environment-modules" in key for key in told[0]), "only its configuration is left"


def test_versions_side_by_side_are_two_packages() -> None:
    seen = packages.parse_rpm((SAMPLES / "rpm.query.txt").read_text(), AT)
    assert len([key for key in keys(seen, "Package") if key.startswith("kernel-x-")]) == 2


# ── sets ──────────────────────────────────────────────────────────────────────────────────────


BASE = tuple(f"lib{n} 1.{n}" for n in range(40))


def test_the_order_of_a_list_does_not_make_another_set() -> None:
    assert keys(dpkg(*BASE), "SoftwareSet") == keys(dpkg(*reversed(BASE)), "SoftwareSet")
    assert keys(dpkg(*BASE), "SoftwareSet") != keys(dpkg(*BASE, "more 1"), "SoftwareSet")


def test_a_set_near_a_known_one_is_told_by_what_differs() -> None:
    record = Record()
    record.take(sets.settle(dpkg(*BASE), record, AT), AT)
    assert len(record.open("Package")) == 40
    again = sets.settle(dpkg(*BASE), record, AT)
    assert [one.kind for one in again.entities] == [] and [tie.kind for tie in again.relations] == ["HAS_SOFTWARE"]

    changed = sets.settle(dpkg("lib0 9.9", *BASE[1:], "more 1"), record, AT)
    (made,) = [one for one in changed.entities if one.kind == "SoftwareSet"]
    assert keys(changed, "Package") == ["lib0_9.9_amd64.deb", "more_1_amd64.deb"]
    assert (made.properties["base"], made.properties["changes"]) == (keys(dpkg(*BASE), "SoftwareSet")[0], 3)
    ties = sorted(f"{tie.kind} {tie.target.key}" for tie in changed.relations if tie.source == made.ref)
    assert ties[:3] == ["HOLDS lib0_9.9_amd64.deb", "HOLDS more_1_amd64.deb", "LACKS lib0_1.0_amd64.deb"]
    record.take(changed, AT)
    told = {one.key: one.properties for one in record.open("SoftwareSet")}
    assert sets.members(told, made.key) == frozenset(keys(dpkg("lib0 9.9", *BASE[1:], "more 1"), "Package"))

    third = sets.settle(dpkg("lib0 9.9", "lib1 9.9", *BASE[2:]), record, AT)
    (made,) = [one for one in third.entities if one.kind == "SoftwareSet"]
    assert made.properties["base"] == keys(dpkg(*BASE), "SoftwareSet")[0], "a base has no base of its own"


def test_a_set_far_from_all_is_told_whole() -> None:
    record = Record()
    record.take(sets.settle(dpkg(*BASE), record, AT), AT)
    other = sets.settle(dpkg(*(f"other{n} 1" for n in range(30))), record, AT)
    (made,) = [one for one in other.entities if one.kind == "SoftwareSet"]
    assert made.properties["base"] == "" and len(keys(other, "Package")) == 30


def test_a_change_is_told_in_words() -> None:
    record = Record()
    before = sets.settle(dpkg(*BASE), record, AT)
    record.take(before, AT)
    after = sets.settle(dpkg("lib0 2.0", *BASE[2:], "more 1"), record, AT)
    (was,) = [tie for tie in before.relations if tie.kind == "HAS_SOFTWARE"]
    (now,) = [tie for tie in after.relations if tie.kind == "HAS_SOFTWARE"]
    changes = [*(Change("began", one) for one in after.entities), Change("began", now), Change("ended", was)]
    (event,) = events(changes, record, AT)
    assert event.kind == "software.changed"
    assert event.message.endswith("changed: lib0 1.0 → 2.0, more 1 is new, lib1 1.1 is gone")
    assert events([Change("began", now)], record, AT) == [], "the first list of a host is no change"


# ── modules ───────────────────────────────────────────────────────────────────────────────────


def test_lmod_and_tcl_modules_name_the_same_tree_alike() -> None:
    lmod, tcl = (modules.parse_avail((SAMPLES / f"modules.{form}.txt").read_text(), AT) for form in ("lmod", "tcl"))
    tree = {"bio/star/2.7", "gcc/12.2.0", "gcc/13.3.0", "openmpi/4.1.6/gcc12", "openmpi/5.0.7"}
    assert tree <= set(keys(lmod, "Module")) and tree <= set(keys(tcl, "Module"))
    assert not any("compiler" in key for key in keys(tcl, "Module")), "an alias is no module"


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no folder"), ("gcc/12\n", "line 1 stands below no folder"),
     ("/opt:\nLmod has detected the following error\n", "line 2 is no module")],
)
def test_what_is_no_list_of_modules_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        modules.parse_avail(text, AT)


def test_the_agent_walks_trees_of_its_own_and_no_shared_ones(tmp_path: Path) -> None:
    tree = tmp_path / "modulefiles"
    for name, text in (("gcc/12", "#%Module1.0\n"), ("gcc/13.lua", "help()"), ("gcc/.version", "#%Module"),
                       ("README", "words"), ("a/b/c/1.0", "#%Module\n")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    assert modules.walk(str(tree)) == ["a/b/c/1.0", "gcc/12", "gcc/13"]
    assert modules.walk(str(tree / "nowhere")) == []
    mounted = modules.kinds("30 1 0:1 / / rw - ext4 d rw\n31 30 0:2 / /apps rw - nfs4 nas:/apps rw\n")
    assert modules.kind_of("/apps/modules", mounted) == "nfs4"
    assert modules.kind_of("/appsmore", mounted) == "ext4"
    named = tmp_path / "modulespath"
    named.write_text("# trees\n/opt/a:/opt/b\n/opt/a # again\n\n")
    assert modules.named_trees([str(named)])[-2:] == ["/opt/a", "/opt/b"]


# ── libraries ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line"), ("jobs\tx\n", "first line"), ("jobs\t1\n", "0 jobs where"),
        ("jobs\t1\nlibrary\t/a.so\tx\t\n", "line 2 belongs to no job"),
        ("jobs\t1\njob\t4\nlibrary\ta.so\tx\t\n", "line 3 says nothing"),
        ("jobs\t1\njob\t4\nnonsense\n", "line 3 says nothing"),
    ],
)
def test_what_no_agent_told_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        loaded.parse_loaded(text, AT)


def test_jobs_are_those_of_the_record_and_others_wait() -> None:
    record = Record()
    start = (AT - timedelta(minutes=1)).isoformat()
    record.held[Ref("Job", "42@100")] = Entity("Job", "42@100", {"id": 42, "start": "2020-01-01T00:00:00+00:00"})
    record.held[Ref("Job", "42@900")] = Entity("Job", "42@900", {"id": 42, "start": start})
    record.held[Ref("Job", "421@1")] = Entity("Job", "421@1", {"id": 421, "start": start})
    seen = loaded.settle(loaded.parse_loaded((SAMPLES / "loaded.mpi.txt").read_text(), AT), record, AT)
    assert {tie.source.key for tie in seen.relations if tie.source.kind == "Job"} == {"42@900"}, "43 is not known yet"
    assert not any(one.kind == "Container" for one in seen.entities), "it was job 43's"
    assert seen.complete >= {"LOADED", "LOADED_ON"}
    record.held[Ref("Job", "43@1")] = Entity("Job", "43@1", {"id": 43, "start": start})
    both = loaded.settle(loaded.parse_loaded((SAMPLES / "loaded.mpi.txt").read_text(), AT), record, AT)
    inside = [tie for tie in both.relations if tie.kind == "RUNS_IN"]
    assert [(tie.source.key, tie.target.key) for tie in inside] == [("43@1", "{host}/job 43")]


def test_the_package_of_a_library_may_be_told_later() -> None:
    record = Record()
    record.held[Ref("Job", "7@1")] = Entity("Job", "7@1", {"id": 7, "start": AT.isoformat()})
    text = "jobs\t1\njob\t7\nlibrary\t/usr/lib/libm.so.6\tabc\t{}\n"
    record.take(loaded.settle(loaded.parse_loaded(text.format(""), AT), record, AT), AT)
    later = loaded.settle(loaded.parse_loaded(text.format("libc6"), AT), record, AT)
    assert [(one.key, one.properties["package"]) for one in later.entities] == [("/usr/lib/libm.so.6#abc", "libc6")]
    record.take(later, AT)
    assert loaded.settle(loaded.parse_loaded(text.format("libc6"), AT), record, AT).entities == []


MAPS = """\
55d0c0000000-55d0c0021000 r-xp 00000000 fd:00 100 /usr/bin/solver
7f0000000000-7f0000021000 r--p 00000000 fd:00 101 /usr/lib/libmpi.so.40.40.7
7f0000021000-7f0000041000 r-xp 00021000 fd:00 101 /usr/lib/libmpi.so.40.40.7
7f0000050000-7f0000051000 r-xp 00021000 fd:00 102 /opt/my app/libx.so (deleted)
7f0000060000-7f0000061000 r--p 00000000 fd:00 103 /usr/lib/locale/x.so.data
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]
short
"""


def test_mapped_code_is_told_by_its_file() -> None:
    assert list(looks.mapped(MAPS)) == [
        ("/usr/lib/libmpi.so.40.40.7", "fd:00:101"), ("/opt/my app/libx.so", "fd:00:102"),
    ]  # fmt: skip


def test_of_an_environment_only_modules_and_the_container_are_read() -> None:
    wrapped = b"QNIB_JOB_IMAGE=localhost/qnib/job:old-1\0"
    assert looks.environment(wrapped) == ([], ("qnib", "localhost/qnib/job:old-1"))
    raw = b"SECRET=x\0LOADEDMODULES=gcc/12:openmpi/5\0APPTAINER_CONTAINER=/i/a.sif\0\xff\xfe\0"
    assert looks.environment(raw) == (["gcc/12", "openmpi/5"], ("apptainer", "/i/a.sif"))
    assert looks.environment(b"") == ([], ("", ""))
    hostile = b"LOADEDMODULES=ok/1:two\nlines:\ttab:" + b"x" * 400 + b"\0SINGULARITY_CONTAINER=a\njob\t7\0"
    assert looks.environment(hostile) == (["ok/1"], ("singularity", "a job 7")), "nobody writes lines of ours"


def test_build_ids_are_those_of_the_toolchain() -> None:
    readelf = shutil.which("readelf")
    library = next(line.split(None, 5)[5].strip() for line in Path("/proc/self/maps").read_text().splitlines()
                   if "libc.so" in line)
    found = build_id(library)
    assert len(found) == 12 and int(found, 16)
    if readelf:
        notes = subprocess.run([readelf, "-n", library], capture_output=True, text=True, check=True).stdout
        assert f"Build ID: {found}" in notes
    assert build_id(__file__) == ""


def test_owners_are_looked_up_once(tmp_path: Path) -> None:
    (tmp_path / "libc6:amd64.list").write_text("/.\n/lib/x86_64-linux-gnu/libc.so.6\n")
    (tmp_path / "libz1.list").write_text("/usr/lib/libz.so.1.3\n")
    paths = ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/libz.so.1.3", "/opt/own.so"]
    found = looks.owners({}, paths, str(tmp_path))
    assert found == dict(zip(paths, ("libc6", "libz1", ""), strict=True)), "moved to /usr, and known by its old name"
    assert looks.owners(found, paths, str(tmp_path / "gone")) is found


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that has loaded something and says what modules it was given."""
    made = subprocess.Popen(
        [sys.executable, "-c", "import _ctypes, sys; print('ready', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LOADEDMODULES": "gcc/12"},
    )
    assert made.stdout is not None and made.stdout.readline() == b"ready\n"
    yield made
    made.communicate()


class Watched(looks.Watch):
    """A watch whose jobs and clock are the test's; processes and files are real."""

    def __init__(self, found: Sequence[tuple[str, str, int]], patch: pytest.MonkeyPatch) -> None:
        self.at = 0.0
        super().__init__("compute0", now=lambda: self.at)
        self.found = list(found)
        patch.setattr(processes, "by_cgroup", lambda mounts, host: self.found)
        patch.setattr(processes, "by_parent", lambda daemons: [])


def test_a_jobs_libraries_are_told_when_they_are_new(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watched([("42", "0", child.pid), ("42", "batch", os.getpid())], monkeypatch)
    assert watch.read() == "jobs\t0\n", "told once, so that what ran before is known to have ended"
    watch.at = 1.0
    assert watch.read() is None, "it has only begun"
    watch.at = 3.0
    text = watch.read() or ""
    seen = loaded.parse_loaded(text, AT)
    names = {one.properties["name"] for one in seen.entities if one.kind == "Library"}
    assert any(str(name).startswith("_ctypes") for name in names) and "libc.so" in names
    assert [one.key for one in seen.entities if one.kind == "Module"] == ["gcc/12"]
    watch.at = 9.0
    assert watch.read() is None, "nothing new at the second look"
    watch.at = 620.0
    assert watch.read(), "told again after ten minutes"
    watch.found = []
    watch.at = 640.0
    assert watch.read() == "jobs\t0\n"
    assert watch.read() is None


def test_steps_count_and_the_batch_script_only_without_them(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host of a job has its script's shell and srun; that makes it no odd one."""
    watch = Watched([("42", "0", child.pid), ("42", "batch", os.getpid())], monkeypatch)
    watch.read()
    watch.at = 3.0
    ours = {path for path, _ in looks.mapped(Path("/proc/self/maps").read_text())}
    theirs = {path for path, _ in looks.mapped(Path(f"/proc/{child.pid}/maps").read_text())}
    assert ours - theirs, "we have loaded more than the child"
    told = {line.split("\t")[1] for line in (watch.read() or "").splitlines() if line.startswith("library")}
    assert told == theirs


def test_programs_that_only_launch_others_are_left_out(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watched([("42", "0", child.pid)], monkeypatch)
    monkeypatch.setattr(processes, "command", lambda pid, proc: "srun")
    watch.read()
    watch.at = 3.0
    assert watch.read() is None


def test_another_users_process_is_read_as_that_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    made = subprocess.Popen(["sleep", "30"], user=65534, group=65534)
    try:
        with processes.as_owner(made.pid):
            assert (os.geteuid(), os.getegid()) == (65534, 65534)
            Path(f"/proc/{made.pid}/maps").read_text()
        assert (os.geteuid(), os.getegid()) == (0, 0)
        with pytest.raises(ZeroDivisionError), processes.as_owner(made.pid):
            raise ZeroDivisionError
        assert os.geteuid() == 0, "whatever happens in between"
    finally:
        made.kill()
        made.wait()


def test_processes_are_found_in_both_trees_of_cgroups(tmp_path: Path) -> None:
    v1 = tmp_path / "memory/slurm_n1/uid_2001/job_42"
    for step, task, pids in (("step_0", "task_0", "10\n11\n"), ("step_extern", "task_special", "9\n"),
                             ("step_batch", "task_special", "0\n12\n")):
        (v1 / step / task).mkdir(parents=True)
        (v1 / step / task / "cgroup.procs").write_text(pids)
    assert processes.by_cgroup({"memory": str(tmp_path / "memory")}, "n1") == [
        ("42", "0", 10), ("42", "0", 11), ("42", "batch", 12),
    ]  # fmt: skip
    v2 = tmp_path / "v2/system.slice/n1_slurmstepd.scope/job_7/step_0/user/task_0"
    v2.mkdir(parents=True)
    (v2 / "cgroup.procs").write_text("20\n")
    assert processes.by_cgroup({"unified": str(tmp_path / "v2")}, "n1") == [("7", "0", 20)]


# ── findings ──────────────────────────────────────────────────────────────────────────────────


def test_findings_name_hosts_items_and_what_to_do() -> None:
    def group(value: str, hosts: str) -> dict[str, object]:
        return {"value": value, "hosts": hosts, "count": 1}

    rows = [
        {"aspect": "packages", "item": f"lib{n}", "usual": group("1", "c[0-2]"), "others": [group("2", "c3")]}
        for n in range(5)
    ]
    divided = [group("6.1", "c0"), group("6.2", "c1")]
    rows.append({"aspect": "kernel", "item": "kernel", "usual": None, "others": divided})
    first, second = nodes_differ({"differences": rows})
    assert first.sentence == (
        "c3 differs from the others in packages: lib0 2 (most: 1), lib1 2 (most: 1), lib2 2 (most: 1) and 2 more."
    )
    assert "package manager" in first.advice and first.evidence == ("5 differences",)
    assert second.sentence == "c0 and c1 differ in kernel or system: kernel 6.1 or 6.2."
    assert nodes_differ({}) == ()
