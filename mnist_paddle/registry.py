"""Tables of named components: models, losses, optimizers, ... Anyone may add one, in the package or outside it."""

import difflib
import functools
import inspect
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar, cast

from .arguments import check, is_checked
from .errors import UsageError

Component = TypeVar("Component", bound=Callable[..., Any])


@dataclass(frozen=True)
class Argument:
    """An argument that users may give: its type (None: not annotated, or not one of `arguments`) and its default."""

    kind: object
    default: object = None
    required: bool = False


@dataclass(frozen=True)
class Entry:
    """What is known of a component: its name, one line about it, and the arguments that users may give."""

    name: str
    description: str
    arguments: dict[str, Argument]


class Registry(dict[str, Callable[..., Any]]):
    """A dict from names to components; a component's function name is its name, its docstring's first line its description.

    `given` names the arguments that the program passes by position; all others are the user's.

    >>> LOSSES = Registry("loss", given=("outputs", "labels"))
    >>> @LOSSES.register
    ... def zero(outputs, labels, scale: float = 1.0):
    ...     "Nothing is ever wrong."
    >>> LOSSES.pick("zero") is zero
    True
    >>> LOSSES.entries()["zero"].arguments
    {'scale': Argument(kind=<class 'float'>, default=1.0, required=False)}
    """

    def __init__(self, kind: str, given: tuple = ()) -> None:
        super().__init__()
        self.kind, self.given = kind, given

    def register(self, component: Component) -> Component:
        """Decorator: put `component` into the table under its own name.

        A function then checks its arguments against their annotations whenever it is called: what does not fit is a `UsageError`.
        Raises `ValueError` for a name that is taken (re-running a notebook's cell replaces its component) and for a function that
        does not take what the program passes.
        """
        name = component.__name__
        if name in self and not (_is_interactive(component) and _is_interactive(self[name])):
            raise ValueError(f"there is already a {self.kind} called {name!r} ({_place(self[name])}); choose another name")
        self._check_signature(component)
        if inspect.isfunction(component):
            component = cast(Component, _checking(f"{self.kind} {name}", component))
        self[name] = component
        return component

    def _check_signature(self, component: Callable[..., Any]) -> None:
        parameters = _parameters(component)
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            return
        if sum(_is_positional(parameter) for parameter in parameters) < len(self.given):
            wanted = f"def {component.__name__}({', '.join(self.given)}, /)"
            raise ValueError(f"a {self.kind} is called with {' and '.join(self.given)}: {wanted}")

    def entries(self) -> dict[str, Entry]:
        """What is known of every component, by name."""
        return {name: _entry(name, component, len(self.given)) for name, component in self.items()}

    def arguments(self, name: str, values: dict) -> dict:
        """`values` in the form that the component `name` takes them; a `UsageError` for those it does not know or take."""
        self.pick(name)
        known = self.entries()[name].arguments
        return check_arguments(f"{self.kind} {name}", known, values)

    def pick(self, name: str) -> Callable[..., Any]:
        """The component called `name`; a `UsageError` that lists the choices where there is none."""
        if name not in self:
            raise UsageError(unknown(self.kind, name, self))
        return self[name]


def check_arguments(owner: str, known: dict[str, Argument], values: dict) -> dict:
    """`values` in the form that a component with the `known` arguments takes them; a `UsageError` that names the `owner`."""
    for key in values:
        if key not in known:
            raise UsageError(f"{owner}: {unknown('argument', key, known or ['(none)'])}")
    return {key: check_argument(owner, key, known[key].kind, value) for key, value in values.items()}


def check_argument(owner: str, name: str, kind: object, value: Any) -> Any:
    """`value` as the argument `name` of the component `owner` takes it; a `UsageError` where it does not fit `kind`."""
    try:
        return value if kind is None else check(kind, value)
    except ValueError as error:
        raise UsageError(f"{owner}: {name} {error}") from None


@functools.cache
def _entry(name: str, component: Callable[..., Any], given: int) -> Entry:
    """What a live component says of itself; the first `given` positional arguments are the program's."""
    kinds, arguments = _annotations(component), {}
    for parameter in _parameters(component):
        if given and _is_positional(parameter):
            given -= 1
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            required = parameter.default is parameter.empty
            default = None if required else parameter.default
            arguments[parameter.name] = Argument(kinds.get(parameter.name), default, required)
    return Entry(name, (component.__doc__ or "").strip().partition("\n")[0], arguments)


def _parameters(component: Callable[..., Any]) -> list:
    try:
        return list(inspect.signature(component).parameters.values())
    except (TypeError, ValueError):  # of a builtin, which has no signature
        return []


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def _annotations(component: Callable[..., Any]) -> dict:
    """The annotated types of a component's arguments; none where only a type checker can read them."""
    try:
        return typing.get_type_hints(component.__init__ if inspect.isclass(component) else component, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _is_interactive(component: Callable[..., Any]) -> bool:
    """Whether a component was defined in a notebook or at a prompt, where running a cell again means to replace it."""
    return component.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")


def _place(component: Callable[..., Any]) -> str:
    """Where a component is defined."""
    code = getattr(inspect.unwrap(component), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else f"module {component.__module__}"


def _checking(owner: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, checking its arguments first."""
    # Without tensors, which would cost 3 microseconds each in every call of a loss.
    kinds = {name: kind for name, kind in _annotations(function).items() if is_checked(kind)}
    order = [parameter.name for parameter in _parameters(function) if _is_positional(parameter)]

    @functools.wraps(function)
    def checked(*given: Any, **arguments: Any) -> Any:
        fitting = [check_argument(owner, name, kinds.get(name), value) for name, value in zip(order, given)]
        arguments = {name: check_argument(owner, name, kinds.get(name), value) for name, value in arguments.items()}
        return function(*fitting, *given[len(order) :], **arguments)

    return checked


def call(kind: str, component: Callable[..., Any], arguments: dict) -> Any:
    """Call a component with the user's arguments; a `UsageError` for what it finds wrong with their values."""
    try:
        return component(**arguments)
    except (TypeError, ValueError, AssertionError, IndexError, MemoryError, OverflowError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise UsageError(f"--{kind}_args {arguments}: {reason}") from error


def unknown(kind: str, name: object, choices: Iterable[str]) -> str:
    """The sentence for a name that is not among `choices`, with the nearest one first."""
    near = nearest(str(name), choices)
    hint = f"did you mean {near!r}? " if near else ""
    return f"there is no {kind} {name!r}; {hint}choices: {', '.join(choices)}"


def nearest(name: str, choices: Iterable[str], cutoff: float = 0.6) -> Optional[str]:
    """The choice that was probably meant: the same letters in another order, else the most similar one; or None.

    >>> nearest("adma", ["adamax", "adam"])
    'adam'
    """
    similar = difflib.get_close_matches(name, list(choices), n=3, cutoff=cutoff)
    swapped = [choice for choice in choices if len(choice) > 2 and sorted(choice) == sorted(name)]
    return next(iter([*swapped, *similar]), None)
