"""Interfaces, neighbours and LLDP: what the tools' forms have in common, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.domains.golden import AT
from tests.domains.test_identity import Record

from qnib.domains.network import interfaces, lldp
from qnib.domains.network.happened import events
from qnib.model import Change, Entity, Ref, Relation, Snapshot

SAMPLES = Path(lldp.__file__).parent / "samples"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def ties(snapshot: Snapshot, kind: str) -> list[tuple[str, str]]:
    return sorted((tie.source.key, tie.target.key) for tie in snapshot.relations if tie.kind == kind)


# ── LLDP ──────────────────────────────────────────────────────────────────────────────────────


SWITCH = "52:45:2d:1c:70:80"


def test_all_of_lldpds_forms_say_the_same() -> None:
    one = lldp.parse_lldp(sample("lldp.one"), AT)
    assert ties(one, "PLUGGED_INTO") == [("{host}/eth0", f"{SWITCH}/swp1")]
    for form in ("two", "keyvalue", "shared_json0"):
        seen = lldp.parse_lldp(sample(f"lldp.{form}"), AT)
        assert ("{host}/eth0", f"{SWITCH}/swp1") in ties(seen, "PLUGGED_INTO"), form
        (switch,) = [one for one in seen.entities if one.key == SWITCH]
        assert (switch.properties["name"], switch.properties["capabilities"]) == ("leaf-eth1", "Bridge Router")


def test_no_neighbours_is_an_answer() -> None:
    for text in (sample("lldp.none"), "", "\n"):
        seen = lldp.parse_lldp(text, AT)
        assert not seen.entities and seen.complete == {"PLUGGED_INTO", "FACES"}


def test_several_neighbours_on_one_interface() -> None:
    seen = lldp.parse_lldp(sample("lldp.shared_json0"), AT)
    assert len([tie for tie in ties(seen, "PLUGGED_INTO") if tie[0] == "{host}/eth0"]) == 2


def test_a_known_host_is_no_switch_whatever_it_says() -> None:
    """lldpd on a host that forwards packets, as hosts with containers do, calls itself a router."""
    record = Record()
    text = sample("lldp.keyvalue")
    assert len(lldp.settle(lldp.parse_lldp(text, AT), record, AT).entities) == 4
    record.held[Ref("Host", "node11")] = Entity("Host", "node11")
    seen = lldp.settle(lldp.parse_lldp(text, AT), record, AT)
    assert sorted(one.key for one in seen.entities) == [SWITCH, f"{SWITCH}/swp1"]
    assert ties(seen, "FACES") == [("{host}/eth1", "node11/eth1")], "its port is named by its description"
    assert ties(seen, "PORT_OF") == [(f"{SWITCH}/swp1", SWITCH)]


def test_interfaces_with_dots_in_their_names() -> None:
    text = sample("lldp.keyvalue").replace("lldp.eth0.", "lldp.eth0.100.")
    assert ("{host}/eth0.100", f"{SWITCH}/swp1") in ties(lldp.parse_lldp(text, AT), "PLUGGED_INTO")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lldpctl: command not found", "nothing of lldpctl"), ("{", "no JSON"), ("{}", "no member lldp"),
        ('{"lldp": {"interface": {"eth0": {"via": "LLDP"}}}}', "eth0 without chassis"),
        ("lldp.eth0.rid=1\n", "line 1 belongs to no neighbour"),
        ("lldp.eth0.via=LLDP\nlldp.eth0.chassis.mac=aa\n", "without chassis or port"),
        ("lldp.eth0.via=LLDP\nlldp.nonsense\n", "line 2"),
    ],
)
def test_what_is_not_lldpctls_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lldp.parse_lldp(text, AT)


# ── interfaces and neighbours ─────────────────────────────────────────────────────────────────


def test_an_interface_and_the_names_it_gives_its_host() -> None:
    seen = interfaces.parse_interfaces(sample("interfaces.node"), AT)
    (eth0,) = [one for one in seen.entities if one.key == "{host}/eth0"]
    assert eth0.properties == {
        "name": "eth0", "host": "{host}", "mac": "b6:8c:2a:a2:b5:fc", "mtu": 9000, "speed": 10000, "state": "up",
        "kind": "ether", "addresses": "10.9.8.10/24 fd00:9::10/64",
    }  # fmt: skip
    assert not any(one.key.endswith("/lo") for one in seen.entities)
    assert ("address:10.9.8.10", "{host}") in ties(seen, "ALIAS_OF")
    assert not any("fe80" in alias for alias, _ in ties(seen, "ALIAS_OF")), "link-local ones are everywhere"


def test_bridges_of_containers_name_no_host() -> None:
    text = sample("interfaces.node").replace('"ifname":"eth0"', '"ifname":"docker0"')
    aliases = {alias for alias, _ in ties(interfaces.parse_interfaces(text, AT), "ALIAS_OF")}
    assert "address:10.9.8.10" not in aliases and "mac:5e:1f:a0:ee:fe:6b" in aliases


def test_a_list_of_links_tells_no_addresses() -> None:
    text = '[{},{"ifname":"eth0","flags":["UP"],"mtu":1500,"operstate":"UNKNOWN","link_type":"ether",' \
        '"address":"02:00:00:00:00:01"}]'
    (made,) = [one for one in interfaces.parse_interfaces(text, AT).entities if one.kind == "Interface"]
    assert "addresses" not in made.properties and made.properties["state"] == "down", "no carrier"


def test_three_tools_see_the_same_neighbours() -> None:
    told = [dict(ties(interfaces.parse_neighbours(sample(f"neighbours.{form}"), AT), "SEES"))
            for form in ("ip", "text", "arp")]
    assert told[0] == told[1] == told[2]
    seen = interfaces.parse_neighbours(sample("neighbours.ip"), AT)
    assert {tie.target.key: tie.properties["addresses"] for tie in seen.relations} == {
        "mac:1e:2c:59:69:5c:72": "10.9.8.1 fd00:9::1", "mac:9a:1c:b6:05:57:f6": "10.9.8.11",
    }, "10.9.8.99 did not answer"


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (interfaces.parse_interfaces, "ip: not found", "no JSON of ip: 'ip: not found'"),
        (interfaces.parse_interfaces, "{}", "list of objects"),
        (interfaces.parse_interfaces, "[] what", "no speed of an interface: ' what'"),
        (interfaces.parse_interfaces, '[{"ifname":"e","address":"02:00:00:00:00:01"}]', "e has no mtu"),
        (interfaces.parse_neighbours, "[] x", "more than a list"),
        (interfaces.parse_neighbours, "what is this", "line 1 is no neighbour"),
        (interfaces.parse_neighbours, "IP address\n1.2.3.4 0x1\n", "line 2"),
    ],
)
def test_what_is_not_ips_is_refused(parse: object, text: str, said: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=said):
        parse(text, AT)


# ── what happened ─────────────────────────────────────────────────────────────────────────────


def test_links_that_change_are_told() -> None:
    def interface(**told: object) -> Entity:
        return Entity("Interface", "n1/eth0", {"name": "eth0", "state": "up", "speed": 10000, "mtu": 9000, **told})  # type: ignore[arg-type]

    def told(after: Entity) -> list[str]:
        return [f"{one.kind}: {one.message}" for one in events([Change("changed", after, interface())], Record(), AT)]

    assert told(interface(state="down")) == ["interface.down: eth0 of n1 is down"]
    assert told(interface(speed=1000)) == ["interface.speed: eth0 of n1 has speed 1000 Mb/s, before 10000 Mb/s"]
    assert told(interface(mtu=1500)) == ["interface.mtu: eth0 of n1 has mtu 1500, before 9000"]
    assert told(interface(speed=None)) == [], "not told any more is no change"
    old, new = (Relation("PLUGGED_INTO", Ref("Interface", "n1/eth0"), Ref("EthernetPort", f"sw/{n}")) for n in (1, 2))
    (moved,) = events([Change("began", new), Change("ended", old)], Record(), AT)
    assert moved.message == "eth0 of n1 is plugged into sw/2, no longer into sw/1"
    assert events([Change("ended", old)], Record(), AT) == []
