"""What can be chosen by name, from this package and from others, known without importing it."""

from __future__ import annotations

import ast
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
from importlib.util import find_spec
from inspect import Parameter, Signature
from typing import Any, Generic, TypeVar, cast, overload

_T = TypeVar("_T")
_U = TypeVar("_U")
_MISSING: Any = object()


def located(thing: _T | str) -> _T:
    """Return a thing, or what is where a string says, "module:attribute"."""
    if not isinstance(thing, str):
        return thing
    module, _, attribute = thing.partition(":")
    return cast(_T, getattr(import_module(module), attribute))


def qualified_name(thing: Any) -> str:
    """Return where the class of a thing is, or a function; of one without a name, a checksum of its code too."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} {zlib.crc32(thing.__code__.co_code):08x}" if name.endswith("<lambda>") else name


def outlined(place: str) -> type | None:
    """Return a class with the docstring and the parameters of the one at "module:class", whose module is not imported.

    None if the source has no such class, or not its constructor, or defaults that are no literals.
    """
    module, _, name = place.partition(":")
    try:
        loader: Any = getattr(find_spec(module), "loader", None)
        body = ast.parse(loader.get_source(module) or "").body
        source = next(each for each in body if isinstance(each, ast.ClassDef) and each.name == name)
        made = next(each for each in source.body if isinstance(each, ast.FunctionDef) and each.name == "__init__")
        signature = Signature(list(_parameters(made.args))[1:])
    except (AttributeError, ImportError, StopIteration, SyntaxError, ValueError):
        return None
    return type(name, (), {"__doc__": ast.get_docstring(source, clean=False), "__signature__": signature})


def _parameters(arguments: ast.arguments) -> Iterator[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    for kind, named, defaults in (
        (Parameter.POSITIONAL_OR_KEYWORD, positional, [*required, *arguments.defaults]),
        (Parameter.KEYWORD_ONLY, arguments.kwonlyargs, arguments.kw_defaults),
    ):
        for each, default in zip(named, defaults, strict=True):
            value = Parameter.empty if default is None else ast.literal_eval(default)
            annotation = Parameter.empty if each.annotation is None else ast.unparse(each.annotation)
            yield Parameter(each.arg, kind, default=value, annotation=annotation)


class Registry(Mapping[str, _T], Generic[_T]):
    """A mapping from names to things of one kind, each loaded when it is first asked for.

    Besides its own it has what a call of `register` adds, and what installed packages declare as entry points:

        [project.entry-points."fasthash.losses"]
        triplet = "their_package.losses:Triplet"

    Args:
        group: of the entry points.
        own: by name a thing, or where it is, "module:attribute".
    """

    def __init__(self, group: str, own: Mapping[str, _T | str]) -> None:
        self.group = group
        self._own: dict[str, Any] = dict(own)
        self._points: dict[str, metadata.EntryPoint] | None = None  # once they were looked for

    @property
    def _declared(self) -> dict[str, metadata.EntryPoint]:
        if self._points is not None:
            return self._points
        declared: dict[str, metadata.EntryPoint] = {}
        for point in metadata.entry_points(group=self.group):
            if point.name in self._own or point.name in declared:
                raise ValueError(
                    f"{self.group}: expected each name once, got {point.name!r} again as an entry point, {point.value}"
                )
            declared[point.name] = point
        self._points = declared
        return declared

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._declared

    def __len__(self) -> int:
        return len(self._own) + len(self._declared)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or name in self._declared)

    def __getitem__(self, name: str) -> _T:
        if name in self._own:
            self._own[name] = located(self._own[name])
            return cast(_T, self._own[name])
        point = self._declared[name]
        try:
            return cast(_T, point.load())
        except (ImportError, AttributeError) as error:
            raise ImportError(
                f"{self.group}: expected {name!r} at {point.value}, an entry point, got {error}"
            ) from error

    def outline(self, name: str) -> Any:
        """Return a class, or of one that is not loaded what its source says of docstring and parameters, if it does."""
        thing = self._own[name] if name in self._own else self._declared[name].value
        return (outlined(thing) or self[name]) if isinstance(thing, str) else thing

    def load_all(self, declared: bool = True) -> None:
        """Load everything, so that base classes know what is derived from them; or all but what packages declare."""
        for name in self if declared else list(self._own):
            self[name]

    @overload
    def register(self, name: str) -> Callable[[_U], _U]: ...

    @overload
    def register(self, name: str, thing: _T) -> _T: ...

    def register(self, name: str, thing: Any = _MISSING) -> Any:
        """Add a thing under a new name; without `thing`, return a decorator that does.

        Raises:
            TypeError: if the name is not a string.
            ValueError: if there is one of that name.
        """
        where = f"{self.group}.register"
        if not isinstance(name, str):
            raise TypeError(f"{where}: expected name to be a string, got {type(name).__name__}")
        if not name or thing is None:
            raise ValueError(f"{where}: expected a name and a thing, got {name!r} and {thing!r}")

        def add(value: _U) -> _U:
            if name in self:
                raise ValueError(f"{where}: expected a new name, got {name!r}, which is registered already")
            self._own[name] = value
            return value

        return add if thing is _MISSING else add(thing)

    def __repr__(self) -> str:
        return f"{self.group}: {', '.join(self)}"
