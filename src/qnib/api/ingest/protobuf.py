"""Messages of protocols whose makers ship no Python, declared by the numbers of their fields; and snappy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from qnib.errors import TooLarge

Fields = Sequence[tuple[str, int, str]]
"""Name, number and kind of each: ``string``, ``int64`` …, or another message's name; ``*`` after it: many."""


def declared(package: str, root: str, messages: Mapping[str, Fields]) -> Any:
    """The class of the message `root`; `package` is a name of ours, once in the program."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"qnib/{package}.proto", package=f"qnib.{package}", syntax="proto3")
    for name, fields in messages.items():
        made = file.message_type.add(name=name)
        for field, number, told in fields:
            kind = told.removesuffix("*")
            made.field.add(
                name=field, number=number, label=kinds.LABEL_REPEATED if kind != told else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if kind in messages else kinds.Type.Value(f"TYPE_{kind.upper()}"),
                type_name=f".qnib.{package}.{kind}" if kind in messages else None,
            )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"qnib.{package}.{root}"))


def unsnapped(body: bytes, largest: int) -> bytes:
    """What snappy's block format packed. Raises ValueError when it did not, TooLarge when it unpacks to too much."""
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size <= largest:
            return bytes(cramjam.snappy.decompress_raw(body))
    except Exception as error:  # the library has its own kinds of error
        raise ValueError(f"not packed by snappy: {error}") from error
    raise TooLarge(
        f"A body may have {largest} octets, this has {size}.", where="the request's body",
        try_next="send smaller batches, or raise http.max_body.",
    )


def read(kind: Any, octets: bytes) -> Any:
    """A message of the class `kind`. Raises ValueError for what is none."""
    try:
        return kind.FromString(octets)
    except Exception as error:  # DecodeError, and what else a version of the library raises
        raise ValueError(f"not a {kind.DESCRIPTOR.name} in protobuf: {error}") from error
