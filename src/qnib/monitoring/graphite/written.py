"""Points as JSON, many at a time: the numbers become text in Arrow's kernels, on two cores, not one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qnib.monitoring.graphite.functions.line import Line, Values

_AT_ONCE = 1 << 18
_TELLING = 4096  # numbers that tell whether the others are like them
_WRITING = ThreadPoolExecutor(2, thread_name_prefix="written")


def datapoints(lines: Sequence[Line], known: bool) -> Iterator[str]:
    """Of each line ``[[value, epoch seconds], …]``: what is unknown is null, or left out when only what is `known` is
    wanted; infinity is 1e9999."""
    some: list[list[Line]] = [[]]
    count = 0
    for line in lines:
        if count + len(line.values) > _AT_ONCE:
            some.append([])
            count = 0
        some[-1].append(line)
        count += len(line.values)
    for texts in _WRITING.map(lambda part: _written(part, known), filter(None, some)):
        yield from texts


def _written(lines: Sequence[Line], known: bool) -> list[str]:
    values = np.concatenate([line.values for line in lines]).astype(np.float64, copy=False)
    ends = np.cumsum([0, *(len(line.values) for line in lines)])
    numbers = _array(values, pa.float64())
    texts = _texts(values, numbers)
    unknown = np.isnan(values)
    if np.isinf(values).any():
        texts = pc.replace_substring(texts, "inf", "1e9999")
    stamps: dict[tuple[float, float, int], pa.Array] = {}
    for line in lines:
        if (key := (line.start, line.step, len(line.values))) not in stamps:
            times = pc.cast(_array(line.times.astype(np.int64), pa.int64()), pa.string())
            stamps[key] = pc.binary_join_element_wise(_COMMA, times, _BETWEEN, _NOTHING)
    after = pa.concat_arrays([stamps[line.start, line.step, len(line.values)] for line in lines])
    if unknown.any() and known:
        heard = pc.invert(pc.is_nan(numbers))
        ends = np.concatenate([[0], np.cumsum(~unknown)])[ends]
        texts, after = texts.filter(heard), after.filter(heard)
    elif unknown.any():
        texts = pc.replace_substring(texts, "nan", "null")
    # The texts of an array lie one behind the other: what a line has is one piece of them
    _, offsets, octets = pc.binary_join_element_wise(texts, after, _NOTHING).buffers()
    if octets is None:
        return ["[]"] * len(lines)
    borders = np.frombuffer(offsets, np.int32)[ends].tolist()
    told = memoryview(octets)
    return [f"[[{str(told[a : b - 2], 'ascii')}]" if a < b else "[]" for a, b in pairwise(borders)]


def _texts(values: Values, numbers: pa.Array) -> pa.Array:
    """Of what is measured in steps, as most is, each number is written once: a fifth of the time."""
    some = values[:: len(values) // _TELLING + 1]
    if 2 * len(np.unique(some)) > len(some):
        return pc.cast(numbers, pa.string())
    coded = numbers.dictionary_encode()
    return coded.dictionary.cast(pa.string()).take(coded.indices)


def _array(values: Values, kind: pa.DataType) -> pa.Array:
    """Without a copy, and without Arrow looking for pandas, which takes a second."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _text(text: str) -> pa.Scalar:
    borders = pa.py_buffer(np.array([0, len(text)], np.int32))
    return pa.Array.from_buffers(pa.string(), 1, [None, borders, pa.py_buffer(text.encode())])[0]


_COMMA, _BETWEEN, _NOTHING = map(_text, (",", "],[", ""))
