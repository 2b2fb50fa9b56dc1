"""Render functions as `/functions` and the docs tell of them, from their declarations."""

from __future__ import annotations

import inspect
import math
from typing import Any

from qnib.monitoring.graphite.functions.line import AGGREGATIONS
from qnib.monitoring.graphite.functions.registry import Function

_TYPES = {
    "Lines": "seriesList", "Source": "seriesList", "list[Lines]": "seriesLists", "float": "float", "int": "integer",
    "bool": "boolean", "str": "string", "Aggregation": "aggFunc", "Interval": "interval", "Moment": "date",
    "NodeOrTag": "nodeOrTag", "FunctionName": "string", "Span": "intOrInterval",
}  # fmt: skip
_SUGGESTED = {"interval": ["10min", "1h", "1d"], "intOrInterval": [5, 7, 10, "1min", "5min", "1hour"]}


def described(function: Function) -> dict[str, Any]:
    """One function in the shape of graphite-web's ``/functions``."""
    return {
        "name": function.name, "group": function.group, "module": "qnib", "description": function.description,
        "function": f"{function.name}({', '.join(p.name for p in function.params)})",
        "params": [_param(one) for one in function.params],
    }  # fmt: skip


def _param(one: inspect.Parameter) -> dict[str, Any]:
    kind = _TYPES.get(str(one.annotation).partition(" |")[0], "any")
    entry: dict[str, Any] = {"name": one.name, "type": kind}
    if one.kind is inspect.Parameter.VAR_POSITIONAL:
        entry |= {"multiple": True, "required": True}
    elif one.default is inspect.Parameter.empty:
        entry["required"] = True
    elif one.default is not None and one.default != math.inf:
        entry["default"] = one.default
    if kind == "aggFunc":
        entry["options"] = list(AGGREGATIONS)
    if kind in _SUGGESTED:
        entry["suggestions"] = _SUGGESTED[kind]
    return entry
