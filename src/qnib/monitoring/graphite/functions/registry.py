"""What a render function is: one decorated definition, from which calls, `/functions` and the docs are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from qnib.errors import NO_REGEX, WrongUse
from qnib.monitoring.graphite.functions.line import Lines, Window
from qnib.monitoring.graphite.targets import Call, Node, Path

# What parameters are, told by their annotation: names that `/functions` and Grafana's editor know.
Aggregation = str
Interval = str
Moment = str
NodeOrTag = int | str
FunctionName = str


class Context(Protocol):
    """What a function may ask for beside its arguments. One per request and target."""

    window: Window
    xff: float | None
    """As `setXFilesFactor` said; it holds for what is made of several series from then on."""
    stacks: dict[str, Any]

    def evaluate(self, target: Node | str | Lines, window: Window | None = None) -> Lines:
        """The series of a target, or of what was read already; in another window if one is given."""
        ...

    def moment(self, text: str) -> float:
        """Epoch seconds of ``now-1h`` and the like."""
        ...

    def happened(self, tags: Sequence[str]) -> Sequence[float]:
        """Epoch seconds of events in the window that bear all these tags."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """An argument that is read by the function itself, in a window it chooses."""

    context: Context
    node: Node | Lines

    def lines(self, window: Window | None = None) -> Lines:
        return self.context.evaluate(self.node, window)

    def since(self, seconds: float) -> Lines:
        """From so much before the window on: what a moving function needs to begin with."""
        window = self.context.window
        return self.lines(Window(window.start - seconds, window.end))


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    group: str
    description: str
    make: Callable[..., Any]
    params: tuple[inspect.Parameter, ...]
    in_context: bool
    """Whether it wants a `Context`, too."""
    style: bool
    """It only says how to draw, which a reader of numbers need not know."""


FUNCTIONS: dict[str, Function] = {}

Made = TypeVar("Made", bound=Callable[..., Any])


def graphite(group: str, *names: str, style: bool = False) -> Callable[[Made], Made]:
    """Register a function under `names`; the first line of its docstring is shown to people."""

    def register(make: Made) -> Made:
        told = inspect.signature(make).parameters
        params = tuple(p for p in told.values() if p.name != "context")
        text = (make.__doc__ or "").strip().partition("\n")[0]
        for name in names:
            FUNCTIONS[name] = Function(name, group, text, make, params, "context" in told, style)
        return make

    return register


def call(name: str, args: Sequence[Any], named: dict[str, Any], context: Context) -> Any:
    """Apply a function to arguments as they were written. Raises WrongUse for an unknown one and for wrong arguments.

    Gives series; of `mapSeries` lists of them.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        raise WrongUse(
            f"There is no function {name!r} here.", where=name, try_next="`/functions` lists those there are.",
        )  # fmt: skip
    extra = {"context": context} if function.in_context else {}
    try:
        positional = [_read(arg, param, context) for arg, param in zip(args, _each(function, len(args)), strict=True)]
        by_name = {p.name: p for p in function.params}
        keywords = {key: _read(arg, by_name.get(key), context) for key, arg in named.items()}
        return function.make(*positional, **keywords, **extra)
    except (TypeError, IndexError, AttributeError, ZeroDivisionError, *NO_REGEX) as error:
        raise WrongUse(
            f"The arguments of {name} do not fit: {error}.", where=name,
            try_next=f"it takes {', '.join(p.name for p in function.params) or 'none'}.",
        ) from error  # fmt: skip


def _each(function: Function, count: int) -> list[inspect.Parameter | None]:
    """The parameter that each of `count` arguments is for."""
    many = inspect.Parameter.VAR_POSITIONAL
    plain = [p for p in function.params if p.kind is not many]
    rest = next((p for p in function.params if p.kind is many), None)
    return [*plain[:count], *([rest] * (count - len(plain)))]


def _read(arg: Any, param: inspect.Parameter | None, context: Context) -> Any:
    kind = str(param.annotation) if param else ""
    if kind == "Source":
        return Source(context, arg)
    if isinstance(arg, Path | Call):
        return context.evaluate(arg)
    if isinstance(arg, str) and kind.partition(" |")[0] in {"float", "int", "bool"}:
        return _from_text(arg, kind)
    if kind.startswith("float") and type(arg) is int:
        return float(arg)
    return arg


def _from_text(text: str, kind: str) -> Any:
    """A number or truth that was written in quotes, as some dashboards do."""
    if kind.startswith("bool"):
        return text.lower() not in {"", "false", "0", "no"}
    number = float(text)
    return int(number) if kind.startswith("int") or number == int(number) else number
