"""Interfaces, and the Ethernet switches they are plugged into. Hosts are found by their addresses: each is an Alias."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

ENTITIES = (
    EntityKind(
        "Interface", "A network interface of a host", key="host/name",
        properties={
            "name": "string", "host": "string", "mac": "string", "addresses": "string", "mtu": "int", "speed": "int",
            "state": "string", "kind": "string",
        },
    ),
    EntityKind(
        "EthernetSwitch", "A switch or router that tells of itself by LLDP", key="chassis id",
        properties={"name": "string", "description": "string", "addresses": "string", "capabilities": "string"},
    ),
    EntityKind(
        "EthernetPort", "A port of an Ethernet switch", key="chassis id/port id",
        properties={"name": "string", "description": "string", "switch": "string"},
    ),
)

RELATIONS = (
    RelationKind("HAS_INTERFACE", "Host", "Interface", "The interface is the host's"),
    RelationKind("PORT_OF", "EthernetPort", "EthernetSwitch", "The port is the switch's"),
    RelationKind("PLUGGED_INTO", "Interface", "EthernetPort", "LLDP says that a cable joins them"),
    RelationKind("FACES", "Interface", "Interface", "Two hosts see each other by LLDP, without a switch that tells so"),
    RelationKind(
        "SEES", "Interface", "Alias", "The host has this MAC address among its neighbours (ARP, ND)",
        properties={"address": "string", "addresses": "string"},
    ),
)
