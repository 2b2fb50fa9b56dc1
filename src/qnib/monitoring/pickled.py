"""Carbon's pickles, as carbon-relay sends them: a length of four octets, then a list of ``(path, (time, value))``.

A pickle is a program, and the standard library's reader runs it. This one knows nothing but lists, tuples, texts and
numbers: whatever asks for more is refused as a whole, and counted. What it finds goes on as carbon's lines.
"""

from __future__ import annotations

import codecs
import struct
from typing import Any

from qnib.monitoring.frames import row
from qnib.monitoring.spool import Format
from qnib.monitoring.streams import Stream

_HEAD = 4
_MOST_TIMES = 8
"""How many times larger than the longest frame its lines may be: a path that is told once may be meant often."""

_NUMBERS = {ord(op): struct.Struct(form) for op, form in (("J", "<i"), ("K", "<B"), ("M", "<H"), ("G", ">d"))}
_TEXTS = {
    ord(op): struct.Struct(form)
    for op, form in (
        ("X", "<I"), ("\x8c", "<B"), ("\x8d", "<Q"), ("T", "<i"), ("U", "<B"), ("B", "<I"), ("C", "<B"), ("\x8e", "<Q"),
    )
}  # fmt: skip
_MEMO_PUT = {ord("q"): struct.Struct("<B"), ord("r"): struct.Struct("<I")}
_MEMO_GET = {ord("h"): struct.Struct("<B"), ord("j"): struct.Struct("<I")}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_CONSTANTS = {ord("N"): None, 0x88: True, 0x89: False}
_LONGS = {0x8A: struct.Struct("<B"), 0x8B: struct.Struct("<i")}
_LINES = frozenset(b"IFLSVpg")  # protocol 0: the argument is text up to a newline
_LONGEST_NUMBER = 255  # octets


class PickleStream(Stream):
    """Frames of pickles over TCP. A length that no frame has closes the connection: nothing after it can be found."""

    format: Format = "carbon"
    limited = True  # unlike lines, they are read in Python

    def data_received(self, data: bytes) -> None:
        self.weigh(data)
        gathered = self.rest = self.rest if isinstance(self.rest, bytearray) else bytearray()
        gathered += data
        while len(gathered) >= _HEAD and not self.skipping:
            size = int.from_bytes(gathered[:_HEAD])
            if size > self.longest:
                self.too_long(bytes(gathered))
                self.skipping = True
                self.stop()
            elif len(gathered) < _HEAD + size:
                break
            else:
                self._frame(bytes(gathered[_HEAD : _HEAD + size]))
                del gathered[: _HEAD + size]
        if self.skipping:
            gathered.clear()

    def _frame(self, frame: bytes) -> None:
        try:
            lines, refused = points(frame, _MOST_TIMES * self.longest)
        except ValueError as error:
            self.receiver.reject(self.origin, f"no pickle of points: {error}", frame)
            return
        if lines:
            self.receiver.spool.append(self.format, row(self.receiver.now(), self.prefix, lines))
        if refused:
            told = f"{len(refused)} of {len(refused) + len(lines)}, the first is number {refused[0] + 1}"
            self.receiver.reject(self.origin, "points that are not (path, (time, value))", told.encode())


def points(frame: bytes, most: int) -> tuple[list[bytes], list[int]]:
    """Lines ``path value time`` of at most `most` octets, and which items (from 0) are no points.

    Raises ValueError for what is no pickle of a list, or of one that would fill more memory.
    """
    told = decode(frame)
    if not isinstance(told, list):
        raise ValueError("it is not a list")
    lines: list[bytes] = []
    refused: list[int] = []
    total = 0
    for number, item in enumerate(told):
        try:
            path, (time, value) = item
            if not isinstance(path, bytes):
                raise TypeError
            line = b"%b %a %a" % (path, _number(value), _number(time))
        except (TypeError, ValueError, OverflowError):
            refused.append(number)
            continue
        total += len(line)
        if total > most:
            raise ValueError(f"its points are longer than {most} octets")
        lines.append(line)
    return lines, refused


def _number(value: Any) -> float:
    """As carbon takes them: texts, too; but none so long that reading it a thousand times is work."""
    if isinstance(value, bytes) and len(value) > _LONGEST_NUMBER:
        raise ValueError
    return float(value)


def decode(data: bytes) -> Any:
    """What a pickle of protocol 0 to 5 holds: None, bool, int, float, list, tuple, and any text as its octets.

    Raises ValueError for everything else; no name is ever looked up, nothing is called.
    """
    try:
        return _decode(data)
    except (IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"it is cut off or broken ({type(error).__name__})") from error


def _decode(data: bytes) -> Any:  # noqa: PLR0912, PLR0915  a branch for each kind of instruction
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    at = 0
    while True:
        op = data[at]
        at += 1
        if form := _NUMBERS.get(op):
            stack.append(form.unpack_from(data, at)[0])
            at += form.size
        elif form := _TEXTS.get(op):
            piece, at = _piece(data, at, form)
            stack.append(piece)
        elif form := _MEMO_PUT.get(op):
            memo[form.unpack_from(data, at)[0]] = stack[-1]
            at += form.size
        elif form := _MEMO_GET.get(op):
            stack.append(memo[form.unpack_from(data, at)[0]])
            at += form.size
        elif count := _TUPLES.get(op):
            if len(stack) < count:
                raise IndexError
            stack[-count:] = [tuple(stack[-count:])]
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif form := _LONGS.get(op):
            piece, at = _piece(data, at, form, _LONGEST_NUMBER)
            stack.append(int.from_bytes(piece, "little", signed=True))
        elif op in _LINES:
            end = data.index(b"\n", at)
            _line(op, data[at:end], stack, memo)
            at = end + 1
        else:
            match op:
                case 0x28:  # MARK
                    marks.append(len(stack))
                case 0x5D:  # EMPTY_LIST
                    stack.append([])
                case 0x29:  # EMPTY_TUPLE
                    stack.append(())
                case 0x61:  # APPEND
                    last = stack.pop()
                    _list(stack[-1]).append(last)
                case 0x65 | 0x6C | 0x74:  # APPENDS, LIST, TUPLE: what came after the mark
                    mark = marks.pop()
                    items = stack[mark:]
                    del stack[mark:]
                    if op == 0x65:
                        _list(stack[-1]).extend(items)
                    else:
                        stack.append(items if op == 0x6C else tuple(items))
                case 0x94:  # MEMOIZE
                    memo[len(memo)] = stack[-1]
                case 0x80:  # PROTO
                    at += 1
                case 0x95:  # FRAME
                    at += 8
                case 0x2E:  # STOP
                    return stack.pop()
                case _:
                    raise ValueError(f"instruction {chr(op)!a} is none of lists, tuples, texts and numbers")


def _piece(data: bytes, at: int, form: struct.Struct, most: int | None = None) -> tuple[bytes, int]:
    """Octets that their length stands before, and where what follows begins."""
    (size,) = form.unpack_from(data, at)
    at += form.size
    if not 0 <= size <= (len(data) - at if most is None else min(most, len(data) - at)):
        raise ValueError("a text or number is longer than the pickle, or than any is")
    return data[at : at + size], at + size


def _line(op: int, text: bytes, stack: list[Any], memo: dict[int, Any]) -> None:
    match chr(op):
        case "I" | "L":
            stack.append(int(text.removesuffix(b"L")))
        case "F":
            stack.append(float(text))
        case "S":
            stack.append(codecs.escape_decode(text[1:-1])[0])
        case "V":
            stack.append(text.decode("raw-unicode-escape").encode("utf-8", "replace"))
        case "p":
            memo[int(text)] = stack[-1]
        case "g":
            stack.append(memo[int(text)])


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value
