"""What can be chosen by name, from this package and from others, known without importing it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
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
