"""Points as JSON, a million at a time: the numbers become text in Arrow's kernels, not one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qnib.monitoring.graphite.functions.line import Line, Values

_AT_ONCE = 1 << 20


def datapoints(lines: Sequence[Line], known: bool) -> Iterator[str]:
    """Of each line ``[[value, epoch seconds], …]``: what is unknown is null, or left out when only what is `known` is
    wanted; infinity is 1e9999."""
    some: list[Line] = []
    count = 0
    for line in lines:
        if some and count + len(line.values) > _AT_ONCE:
            yield from _written(some, known)
            some, count = [], 0
        some.append(line)
        count += len(line.values)
    if some:
        yield from _written(some, known)


def _written(lines: Sequence[Line], known: bool) -> Iterator[str]:
    values = np.concatenate([line.values for line in lines]).astype(np.float64, copy=False)
    times = np.concatenate([line.times for line in lines]).astype(np.int64)
    ends = np.cumsum([len(line.values) for line in lines])
    unknown = np.isnan(values)
    if known:
        ends = np.concatenate([[0], np.cumsum(~unknown)])[ends]
        values, times, unknown = values[~unknown], times[~unknown], unknown[~unknown]
    texts = pc.cast(_array(values, pa.float64()), pa.string())
    if unknown.any():
        texts = pc.replace_substring(texts, "nan", "null")
    if np.isinf(values).any():
        texts = pc.replace_substring(texts, "inf", "1e9999")
    pairs = pc.binary_join_element_wise(texts, pc.cast(_array(times, pa.int64()), pa.string()), ",")
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    for joined in pc.binary_join(pa.ListArray.from_arrays(_array(offsets, pa.int32()), pairs), "],["):
        text = joined.as_py()
        yield f"[[{text}]]" if text else "[]"


def _array(values: Values, kind: pa.DataType) -> pa.Array:
    """Without a copy, and without Arrow looking for pandas, which takes a second."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
