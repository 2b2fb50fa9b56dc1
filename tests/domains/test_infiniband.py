"""What the fabric's tools print, against counts made independently, and answers that cannot be right."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.data import real

from qnib.domains.events import load_rules
from qnib.domains.infiniband import DOMAIN
from qnib.domains.infiniband.counters import growth, parse_counters, parse_perfquery, total
from qnib.domains.infiniband.linkinfo import parse_capability, parse_iblinkinfo, read_iblinkinfo
from qnib.domains.infiniband.nodes import Look
from qnib.domains.infiniband.tables import parse_tables
from qnib.domains.infiniband.topology import parse_subnet, parse_topology, read_ibnetdiscover, read_subnet
from qnib.model import Snapshot

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ASSETS = Path(__file__).parents[1] / "assets/infiniband"


def own(name: str) -> str:
    return (ASSETS / name).read_text()


def kinds(seen: Snapshot) -> Counter[str]:
    return Counter([one.kind for one in seen.entities] + [one.kind for one in seen.relations])


def wires(seen: Snapshot) -> set[tuple[str, ...]]:
    return {
        (tie.source.key, tie.target.key, str(tie.properties["width"]), str(tie.properties["speed"]))
        for tie in seen.relations if tie.kind == "LINK"
    }  # fmt: skip


# ── topology ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path", ["fattree_k4n3_208nodes.topo", "osm_fattree208/ibnetdiscover.t0.txt",
             "osm_fattree208/ibnetdiscover.hca2_down.txt"],
)  # fmt: skip
def test_a_fabric_of_208_nodes_has_the_counts_of_the_oracle(path: str) -> None:
    oracle = json.loads(real("ORACLES.json").read_text())[f"infiniband/{path}"]
    seen = parse_topology(real(f"infiniband/{path}").read_text(), AT)
    count = kinds(seen)
    assert (count["SW"], count["HCA"], count["LINK"]) == (oracle["switches"], oracle["cas"], oracle["links"])
    hosts = {tie.target.key for tie in seen.relations if tie.kind == "BELONGS_TO"}
    assert len(hosts) == oracle["distinct_hosts"]
    assert Counter(width + speed for _, _, width, speed in wires(seen)) == oracle["speed_of_links"]
    between = [ends for ends in wires(seen) if ends[0].startswith("Switch") and ends[1].startswith("Switch")]
    assert len(between) == oracle["inter_switch_links"]
    assert "LINK" in seen.complete, "each link is told from both its ends: the answer is whole"


def test_the_difference_of_two_captures_is_what_was_injected() -> None:
    folder = real("infiniband/osm_fattree208")
    before, after = (
        parse_topology((folder / f"ibnetdiscover.{name}.txt").read_text(), AT) for name in ("t0", "hca2_down")
    )
    assert wires(before) - wires(after) == {("Switch0/7", "Hca2/1", "4x", "EDR")}
    assert wires(after) <= wires(before)


def test_linkinfo_and_subnet_list_tell_the_same_links() -> None:
    folder = real("infiniband/osm_fattree208")
    links = wires(parse_topology((folder / "ibnetdiscover.t0.txt").read_text(), AT))
    by_linkinfo = parse_iblinkinfo((folder / "iblinkinfo.t1.txt").read_text(), AT)
    by_subnet = parse_subnet((folder / "opensm-subnet.lst").read_text(), AT)
    assert wires(by_linkinfo) == links == wires(by_subnet)
    assert by_linkinfo.complete and by_subnet.complete
    assert (kinds(by_subnet)["SW"], kinds(by_subnet)["HCA"]) == (80, 128)


@pytest.mark.parametrize("name", ["ibnetdiscover-p.whole.txt", "iblinkinfo.whole.txt", "opensm-subnet.whole.lst"])
def test_every_form_tells_the_same_of_a_captured_fabric(name: str) -> None:
    parse = {"ibnetdiscover-p": parse_topology, "iblinkinfo": parse_iblinkinfo, "opensm-subnet": parse_subnet}
    whole, other = parse_topology(own("ibnetdiscover.whole.txt"), AT), parse[name.partition(".")[0]](own(name), AT)
    assert wires(other) == wires(whole) and len(wires(whole)) == 65
    assert other.complete == whole.complete != frozenset()
    count = kinds(other)
    assert (count["SW"], count["HCA"], count["PORT"]) == (20, 33, 20 * 8 + 33)
    about = {one.key: one.properties for one in other.entities if one.kind == "PORT"}
    for port in whole.entities:
        if port.kind == "PORT" and "lid" in port.properties:
            assert about[port.key]["lid"] == port.properties["lid"]


def test_what_links_could_be() -> None:
    could = {one.key: one.properties for one in parse_capability(own("iblinkinfo.moved.txt"), AT).entities}
    assert (could["leaf1/3"]["could_width"], could["leaf1/3"]["could_speed"]) == ("12x", "HDR")
    assert (could["leaf1/7"]["could_width"], could["leaf1/7"]["could_speed"]) == ("12x", "QDR")
    assert "leaf1/8" not in could, "nothing is plugged there"
    folder = real("infiniband/osm_fattree208")
    ports = parse_iblinkinfo((folder / "iblinkinfo.t1.txt").read_text(), AT).entities
    told = [one.properties for one in ports if one.kind == "PORT"]
    assert {(p["could_width"], p["could_speed"]) for p in told} == {("12x", "HDR")}


def test_other_peoples_fabrics() -> None:
    first = parse_topology(real("infiniband/ibtopotool_1.topo").read_text(), AT)
    assert (kinds(first)["SW"], kinds(first)["HCA"], kinds(first)["LINK"]) == (2, 4, 7)
    assert {(w, s) for a, _, w, s in wires(first) if "ISR9024" in a or "SW-6IB4" in a} == {("4x", "SDR"), ("1x", "SDR")}
    third = parse_topology(real("infiniband/ibtopotool_3.topo").read_text(), AT)
    assert third.complete == frozenset(), "a query timed out"
    looped = {ends[:2] for ends in wires(third) if ends[0].rpartition("/")[0] == ends[1].rpartition("/")[0]}
    assert {(a.rpartition("/")[2], b.rpartition("/")[2]) for a, b in looped} == {("1", "2"), ("19", "21"), ("29", "30")}
    for name in ("ibtopotool_2.topo", "ibtopotool_4.topo"):
        assert parse_topology(real(f"infiniband/{name}").read_text(), AT).complete


@pytest.mark.parametrize(
    ("name", "switches", "adapters", "links"),
    [("netlist.clos3", 3, 8, 10), ("netlist.clos3_2x_modSw", 10, 18, 33), ("netlist.clos3_modSw", 5, 9, 15),
     ("netlist.clos3_multilink", 3, 8, 12), ("netlist.clos5", 7, 16, 22), ("netlist.clos7", 8, 16, 23)],
)  # fmt: skip
def test_netlists_of_ibsim(name: str, switches: int, adapters: int, links: int) -> None:
    text = real(f"infiniband/ibsim_netlists/{name}").read_text() + "\n"
    count = kinds(parse_topology(text, AT))
    assert (count["SW"], count["HCA"]) == (switches, adapters)
    assert count["LINK"] == links == len(re.findall(r"^\[", text, re.MULTILINE)) / 2


def fixture(path: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(real("infiniband/exporter_fixtures.tar.gz").read_bytes())) as tar:
        file = tar.extractfile(path)
        assert file is not None
        return file.read().decode()


def test_a_list_of_ports() -> None:
    look = read_ibnetdiscover(fixture("ibnetdiscover/test.out"))
    links = look.links()
    assert len(look.nodes) == 7 and len(links) == 4
    assert set(links.values()) == {("4x", "EDR")}
    assert not look.whole, "one end of a link is not told"
    assert {node.name for node in look.nodes.values() if 80 in node.seen} == {"ib-i7l2s01"}
    odd = read_ibnetdiscover(fixture("ibnetdiscover/test2.out"))
    names = {node.name for node in odd.nodes.values()}
    assert {"5FB0405-leaf-IB01", "5FB0406-spine-IB02", "worker20 mlx5_3"} <= names
    assert set(odd.links().values()) == {("4x", "HDR")}


def test_two_ports_of_one_adapter_in_a_list_of_ports() -> None:
    line = "CA {lid} {port} 0x{guid} 4x EDR - SW 9 {port} 0x00000000000000f0 ( 'n1 HCA-1' - 'SW1' )\n"
    text = line.format(lid=1, port=1, guid="a1") + line.format(lid=2, port=2, guid="a2")
    other = line.format(lid=3, port=1, guid="b1").replace(" 1 0x00000000000000f0", " 3 0x00000000000000f0")
    look = read_ibnetdiscover(text + other)
    assert len([node for node in look.nodes.values() if node.kind == "HCA"]) == 2


# ── what cannot be right ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.97, 0.999])
def test_half_a_capture_ends_nothing(part: float) -> None:
    text = own("ibnetdiscover.whole.txt")
    half = text[: int(len(text) * part)]
    seen = parse_topology(half, AT)
    assert seen.complete == frozenset()
    assert wires(seen) <= wires(parse_topology(text, AT)), "and nothing is told that is not so"


@pytest.mark.parametrize(("read", "name"), [(read_iblinkinfo, "iblinkinfo.whole.txt"),
                                            (read_subnet, "opensm-subnet.whole.lst"),
                                            (read_ibnetdiscover, "ibnetdiscover-p.whole.txt")])  # fmt: skip
def test_half_of_the_other_tools(read: object, name: str) -> None:
    assert callable(read)
    text = own(name)
    for part in (0.3, 0.6, 0.95):
        look = read(text[: int(len(text) * part)])
        assert isinstance(look, Look)
        look.links()
        assert not look.whole


def test_a_switch_that_vanished_in_the_middle_of_a_sweep() -> None:
    """Its neighbours were asked before it went, it itself no longer."""
    blocks = own("ibnetdiscover.whole.txt").split("\n\n")
    without = "\n\n".join(block for block in blocks if not re.search(r'^Switch\t8 "[^"]*"\s+# "leaf1"', block, re.M))
    assert len(without) < len("\n\n".join(blocks))
    seen = parse_topology(without, AT)
    assert seen.complete == frozenset()
    assert not any("leaf1/" in end for ends in wires(seen) for end in ends[:2])


def test_one_guid_on_two_nodes() -> None:
    text = own("ibnetdiscover.whole.txt")
    block = next(block for block in text.split("\n\n") if re.search(r'^Ca.*# "n05"', block, re.MULTILINE))
    seen = parse_topology(text + "\n" + block.replace('"n05"', '"copy"') + "\n", AT)
    problems = {one.key: one.properties["problem"] for one in seen.entities if one.properties.get("problem")}
    assert problems == {"n05": "copy has the same GUID"}
    assert seen.complete == frozenset()
    assert wires(seen) == wires(parse_topology(text, AT))


def test_nodes_of_one_name_are_told_apart() -> None:
    text = own("ibnetdiscover.whole.txt").replace('"n06"', '"n05"')
    keys = {one.key for one in parse_topology(text, AT).entities if one.kind == "HCA" and one.key.startswith("n05")}
    assert keys == {"n05 H-000000000010000c", "n05 H-000000000010000e"}


@pytest.mark.parametrize("parse", [parse_topology, parse_iblinkinfo, parse_subnet, parse_tables])
@pytest.mark.parametrize("text", ["", "slurm_load_jobs error: refused\n", "[1] \"S-1\"[2]\n"])
def test_what_is_no_answer_is_refused(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=r"."):
        parse(text, AT)


# ── forwarding tables ─────────────────────────────────────────────────────────────────────────


def test_every_dump_tells_the_same_tables() -> None:
    dumps = [own(f"{name}.small.{end}") for name, end in (
        ("dump_fts", "txt"), ("opensm.fdbs", "txt"), ("opensm-lfts", "dump"))]  # fmt: skip
    told = [{t.guid: t.ports for t in parse_tables(text, AT).tables} for text in dumps]
    assert told[0] == told[1] == told[2] and len(told[0]) == 4
    whole = {t.guid: t.ports for t in parse_tables(own("dump_fts.whole.txt"), AT).tables}
    assert len(whole) == 20 and {len(ports) for ports in whole.values()} == {54}, "53 lids, from 1 on"
    assert whole == {t.guid: t.ports for t in parse_tables(own("opensm.fdbs.whole.txt"), AT).tables}


def test_ibroute_tells_of_one_switch() -> None:
    text = (
        "Unicast lids [0x0-0x9] of switch Lid 1 guid 0x0000000000200000 (SW1):\n"
        "  Lid  Out   Destination\n       Port     Info \n"
        "0x0001 000 : (Switch portguid 0x0000000000200000: 'SW1')\n"
        "0x0002 003 : (Channel Adapter portguid 0x0000000000100001: 'compute0')\n2 valid lids dumped \n"
    )
    (table,) = parse_tables(text, AT).tables
    assert (table.switch, table.guid, table.ports) == ("SW1", "0x0000000000200000", bytes([255, 0, 3]))


def test_a_lid_that_cannot_be_reached() -> None:
    text = re.sub(r"0x0002 : .*", "0x0002 : UNREACHABLE", own("opensm.fdbs.small.txt"), count=1)
    assert parse_tables(text, AT).tables[0].ports[2] == 255


def test_a_switch_without_a_table_yet_has_none() -> None:
    text = (
        "Unicast lids [0x0-0x0] of switch DR path slid 0; dlid 0; 0,1 guid 0x0000000000200002 (SPINE1):\n"
        "  Lid  Out   Destination\n       Port     Info \n0 valid lids dumped \n"
    )
    (table,) = parse_tables(text, AT).tables
    assert (table.switch, table.ports) == ("SPINE1", b"")


def test_half_a_table_is_refused() -> None:
    text = own("dump_fts.whole.txt")
    lines = text.splitlines(keepends=True)
    for cut in (text[:-5], text[:4003], "".join([*lines[:9], *lines[10:]])):
        with pytest.raises(ValueError, match=r"cut short|were dumped"):
            parse_tables(cut, AT)


# ── counters ──────────────────────────────────────────────────────────────────────────────────


def test_perfquery() -> None:
    text = real("infiniband/osm_fattree208/perfquery.Switch0.5.txt").read_text()
    assert parse_perfquery(text) == {
        ("2", 5): {"xmit_data": 915192, "rcv_data": 915048, "xmit_packets": 12711, "rcv_packets": 12709}
    }
    both = parse_perfquery(fixture("perfquery/0x7cfe9003009ce5b0.out"))
    assert set(both) == {("1719", 1), ("1719", 2)}
    assert both["1719", 2] == {
        "xmit_data": 26006570014026, "rcv_data": 39078804993378, "xmit_packets": 122978948297,
        "rcv_packets": 93660802641, "xmit_wait": 36510964, "symbol_error": 0, "link_error_recovery": 0,
        "link_downed": 0, "rcv_errors": 0, "xmit_discards": 0,
    }  # fmt: skip
    driver = parse_perfquery(real("infiniband/port_counters.txt").read_text())
    assert driver["", 1]["xmit_data"] == 224862916, "told twice: the longer counter counts"
    assert driver["", 1]["xmit_discards"] == 8900
    details = "perfquery-rcv-error/0x506b4b03005c2740-1.out"
    for empty in ("", fixture("perfquery/0x506b4b0300cc02a6.out"), fixture(details)):
        with pytest.raises(ValueError, match="no counter"):
            parse_perfquery(empty)


def test_ibqueryerrors() -> None:
    text = real("infiniband/osm_fattree208/ibqueryerrors.t1.txt").read_text()
    assert parse_counters(text) == {("Switch0", 5): {
        "symbol_error": 55, "xmit_data": 915120, "rcv_data": 914976, "xmit_packets": 12710, "rcv_packets": 12708
    }}  # fmt: skip


def test_a_data_counter_wraps_and_goes_on() -> None:
    end = (1 << 64) - 1
    assert growth("xmit_data", end - 9, 5).amount == 15
    assert not growth("xmit_data", end - 9, 5).reset


def test_a_short_counter_stops_at_its_end() -> None:
    full = growth("symbol_error", 65_530, 65_535)
    assert (full.amount, full.full, full.reset) == (5, True, False)
    assert growth("symbol_error", 65_535, 65_535).full, "it says nothing any more"
    assert growth("xmit_data", 5, 0xFFFFFFFF, bits=32).full
    assert not growth("xmit_data", 0xFFFFFFF0, 3, bits=32).amount > 3, "one of 32 bits does not wrap"


def test_a_lower_value_is_a_reset() -> None:
    step = growth("symbol_error", 700, 20)
    assert (step.amount, step.reset) == (20, True)
    step = growth("xmit_data", 1 << 40, 10)
    assert (step.amount, step.reset) == (10, True), "far from its end it did not wrap"
    counted = total("symbol_error", [10, 12, 3, 3, 8])
    assert (counted.amount, counted.reset) == (2 + 3 + 5, True)
    assert total("symbol_error", [7]).amount == 0, "what was there before counts for nothing"


# ── OpenSM's log ──────────────────────────────────────────────────────────────────────────────


def test_what_opensm_logged_while_a_cable_was_pulled_and_put_back() -> None:
    """Its line is ``Nov 20 21:35:58 774384 [thread] 0x01 -> message``; each fault is told within ten seconds."""
    oracle = json.loads(real("ORACLES.json").read_text())["infiniband/osm_fattree208/osm.log"]
    folder = real("infiniband/osm_fattree208")
    rules = load_rules(DOMAIN)
    found: dict[str, list[tuple[datetime, dict[str, str]]]] = {}
    for line in (folder / "osm.log").read_text().splitlines():
        stamp, _, message = line.partition(" -> ")
        time = datetime.strptime(f"2026 {stamp[:22]}", "%Y %b %d %H:%M:%S %f").replace(tzinfo=UTC)
        for rule in rules:
            if match := re.search(rule.match, message):
                found.setdefault(rule.name, []).append((time, match.groupdict()))
    counts = {name: len(lines) for name, lines in found.items()}
    assert counts["link_state_changed"] == oracle["link_state_traps"]
    assert (counts["port_removed"], counts["port_discovered"]) == (oracle["removed_ports"], oracle["discovered_ports"])
    assert counts["subnet_up"] == oracle["subnet_up"]
    truth = json.loads((folder / "ground_truth.json").read_text())
    for command, rule in (("Unlink", "port_removed"), ("ReLink", "port_discovered")):
        injected = next(one["t"] for one in truth if one["event"] == "sim" and one["command"].startswith(command))
        ((time, fields),) = found[rule]
        assert 0 <= time.timestamp() - injected < 10 and fields == {"guid": "0x0000000001000005", "node": "Hca2"}


@pytest.mark.parametrize(("capture", "words"), [("topology", "SUBNET UP"), ("topology", "Link state change"),
                                                ("tables", "tables configured on all switches")])  # fmt: skip
def test_opensms_words_make_the_agent_look_at_once(capture: str, words: str) -> None:
    (one,) = [one for one in DOMAIN.captures if one.name == capture]
    lines = [line for line in real("infiniband/osm_fattree208/osm.log").read_text().splitlines() if words in line]
    assert lines and any(re.search(trigger, lines[0]) for trigger in one.triggers)
