"""The build ID of an ELF file: what tells two builds of a library apart, whatever they are called."""

from __future__ import annotations

import os
import struct

_NOTE, _BUILD_ID = 4, 3
"""PT_NOTE and NT_GNU_BUILD_ID of the ELF specification and of the GNU toolchain."""
_LONGEST = 64 << 10


def build_id(path: str) -> str:
    """The first 12 hex digits of the build ID, ``size-N`` for an ELF file without one, empty for no ELF file.

    Reads a few hundred octets. Raises OSError when the file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - called for every library of a job, pathlib costs
        head = file.read(64)
        if len(head) < 64 or head[:4] != b"\x7fELF":
            return ""
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        start = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        if size < (56 if wide else 32):
            return ""
        file.seek(start)
        table = file.read(min(size * count, _LONGEST))
        for at in range(0, len(table) - size + 1, size):
            if struct.unpack_from(order + "I", table, at)[0] != _NOTE:
                continue
            if wide:
                offset, length = struct.unpack_from(order + "Q", table, at + 8)[0], struct.unpack_from(
                    order + "Q", table, at + 32)[0]
            else:
                offset, length = struct.unpack_from(order + "I", table, at + 4)[0], struct.unpack_from(
                    order + "I", table, at + 16)[0]
            file.seek(offset)
            if found := _in_notes(file.read(min(length, _LONGEST)), order):
                return found[:12]
        return f"size-{os.fstat(file.fileno()).st_size}"


def _in_notes(notes: bytes, order: str) -> str:
    at = 0
    while at + 12 <= len(notes):
        name, length, kind = struct.unpack_from(order + "III", notes, at)
        body = at + 12 + (name + 3 & ~3)
        if kind == _BUILD_ID and notes[at + 12:at + 16] == b"GNU\0":
            return notes[body:body + length].hex()
        at = body + (length + 3 & ~3)
    return ""
