"""What the commands share: options from settings, files, and errors told without a traceback."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.util import find_spec
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import click

from fasthash.errors import MissingDependencyError

_F = TypeVar("_F", bound=Callable[..., Any])


class OneOf(click.Choice[str]):
    """A name among those that a registry has when it is asked."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names, self.case_sensitive = names, True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names."""
        return tuple(self.names)


def options_of(settings: type) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command an option for each field of a settings class."""
    hints = get_type_hints(settings)

    def decorate(command: _F) -> _F:
        for field in reversed(dataclasses.fields(settings)):
            command = click.option(f"--{field.name.replace('_', '-')}", field.name, **_declaration(field, hints))(
                command
            )
        return command

    return decorate


def _declaration(field: dataclasses.Field[Any], hints: dict[str, Any]) -> dict[str, Any]:
    shared = {"help": field.metadata["help"]}
    if field.default is dataclasses.MISSING:  # a mapping from names to numbers
        return {**shared, "multiple": True, "metavar": "NAME=NUMBER", "callback": _named_numbers}
    shared["default"] = field.default
    shared["show_default"] = field.default is not None
    if "choices" in field.metadata:
        return {**shared, "type": OneOf(field.metadata["choices"])}
    if hints[field.name] is bool:
        return {**shared, "is_flag": True}
    kinds = [kind for kind in get_args(hints[field.name]) or (hints[field.name],) if kind is not type(None)]
    return {**shared, "type": kinds[0]}


def _named_numbers(context: click.Context, parameter: click.Parameter, values: Iterable[str]) -> dict[str, float]:
    named = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            named[name] = float(number) if "." in number or "e" in number else int(number)
        except ValueError:
            raise click.BadParameter(f"expected NAME=NUMBER, got {value!r}") from None
    return named


def _spelled(parameter: click.Parameter) -> str:
    """Return how a user writes a parameter."""
    return parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name


def _of_command(message: str, command: click.Command | None) -> str:
    """Return a function's message about one of its arguments, or two, as one about the command's."""
    names: dict[str | None, str] = {}
    for parameter in command.params if command else ():
        spelled = _spelled(parameter)
        names = {f"n_{parameter.name}": spelled} | names | {parameter.name: spelled}
    said = re.match(r"[\w.]+: expected (?!at least|at most)(\w+)(?: and (\w+))?", message)
    if said is None or said[1] not in names:
        return message
    more = f" and {names[said[2]]}{message[said.end(2) :]}" if said[2] in names else message[said.end(1) :]
    return f"expected {names[said[1]]}{more}"


@contextlib.contextmanager
def told_plainly(command_called: Callable[[], click.Command | None] = lambda: None) -> Iterator[None]:
    """Turn what a user can hit into a message without a traceback, in the words of the command that was called."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read the output has gone: click ends without a word
    except MemoryError as error:
        raise _out_of_memory(error) from error
    except RuntimeError as error:
        if not re.search("out of memory|allocate memory", str(error)):
            raise
        raise _out_of_memory(error) from error
    except (TypeError, ValueError, OSError, ImportError, ArithmeticError) as error:
        raise click.ClickException(_of_command(str(error), command_called())) from error


def _out_of_memory(error: Exception) -> click.ClickException:
    said = str(error).partition("\n")[0]
    return click.ClickException(f"expected less to compute, got more than fits into memory{said and f' ({said})'}")


def example(line: str) -> str:
    """Return what a command's help ends with."""
    return f"\b\nExample:\n  {line}"


class Command(click.Command):
    """A command that writes no file over one that it reads, nor over another that it writes."""

    def invoke(self, context: click.Context) -> Any:
        """Refuse that before any work, and run."""
        values = ((each, context.params.get(each.name or "")) for each in self.params if _is_place(each.type))
        files = [(each, _file_of(value)) for each, value in values if value is not None and str(value) != "-"]
        for written, path in files:
            for other, theirs in files if _is_written(written.type) else ():
                if other is not written and (path == theirs or _is_same(path, theirs)):
                    both = f"{_spelled(written)} than for {_spelled(other)}"
                    raise click.UsageError(
                        f"expected another file for {both}, got {context.params[written.name or '']}"
                    )
        return super().invoke(context)


class Commands(click.Group):
    """A group whose commands, and the reading of their arguments, fail with a message."""

    command_class = Command

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the group's own arguments."""
        with told_plainly():
            return super().make_context(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        """Read a command's arguments and run it."""
        with told_plainly(lambda: self.get_command(context, context.invoked_subcommand or "")):
            return super().invoke(context)


class ArrayFile(click.ParamType[str]):
    """A file that `fasthash.data.read_array` reads, as it takes it."""

    name = "array"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Refuse what is no such file."""
        from fasthash.data.arrays import READERS, located

        path, _ = located(value)
        click.Path(exists=True, dir_okay=False).convert(str(path), parameter, context)
        if path.suffix not in READERS:
            self.fail(
                f"expected a file in {', '.join(READERS)}, got {path.name} in {path.suffix or 'no format'}",
                parameter,
                context,
            )
        return str(value)


def _is_place(kind: click.ParamType[Any]) -> bool:
    """Return whether a parameter is a file, or what may be one."""
    return isinstance(kind, ArrayFile) or (isinstance(kind, click.Path) and kind.file_okay)


def _is_written(kind: click.ParamType[Any]) -> bool:
    """Return whether a parameter is a file that is not read."""
    return isinstance(kind, click.Path) and not kind.exists and not kind.dir_okay


def _file_of(place: str | Path) -> Path:
    from fasthash.data.arrays import located

    return Path(os.path.realpath(located(place)[0]))


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def replaceable(path: Path) -> Path:
    """Refuse before any work what could not be written after it."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise click.BadParameter(f"expected a file in a folder that exists, got {path}")
    if not os.access(target.parent, os.W_OK):
        raise click.BadParameter(f"expected a file in a folder that can be written to, got {path}")
    if target.exists() and not target.is_file():
        raise click.BadParameter(f"expected a file, got {path}, which is none")
    return path


def makeable(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Path | None:
    """Refuse before any work a folder that could not be made or written to after it."""
    if folder is None:
        return None
    there = next(path for path in (folder, *Path(os.path.abspath(folder)).parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise click.BadParameter(f"expected a folder that can be written to, got {folder}")
    return folder


def given(name: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command the path of a file to read."""
    return click.argument(name, type=click.Path(exists=True, dir_okay=False, path_type=Path))


def given_array(name: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command what `fasthash.data.read_array` takes."""
    return click.argument(name, type=ArrayFile())


def written(name: str, *extensions: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command the path of a file to write, of one of these extensions if any."""
    return click.argument(name, type=click.Path(dir_okay=False, path_type=Path), callback=writable(*extensions))


def writable(
    *extensions: str, piped: bool = False
) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """Return a callback that refuses before any work a file of other extensions, if any, or that cannot be written.

    With `piped`, "-" is the standard output.
    """

    def check(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path is None or (piped and str(path) == "-"):
            return path
        if extensions and path.suffix not in extensions:
            pipe = ", or - for the standard output" if piped else ""
            raise click.BadParameter(f"expected a file in {', '.join(extensions)}{pipe}, got {path}")
        if path.suffix == ".parquet" and find_spec("pyarrow") is None:
            raise MissingDependencyError(f"writing {path}", "pyarrow", "parquet")
        return replaceable(path)

    return check


def options_of_parameters(kind: type, without: Collection[str]) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command an option for each parameter of a constructor.

    Help is the class's docstring; a parameter that is no number, string or bool has no option.
    """
    documented = documented_parameters(kind)

    def decorate(command: _F) -> _F:
        for name, parameter in reversed(list(signature(kind).parameters.items())):
            required, value = parameter.default is Parameter.empty, parameter.default
            annotated = type(value) if parameter.annotation is Parameter.empty else parameter.annotation
            # By its words: what an annotation names may be imported for type checkers alone.
            words = re.findall(r"\w+", getattr(annotated, "__name__", str(annotated)))
            kinds = [each for each in (bool, int, float, str) if each.__name__ in words]
            if name in without or not kinds:
                continue
            option = f"--{name.replace('_', '-')}"
            declared = f"{option}/--no-{option[2:]}" if kinds[0] is bool else option
            default = {"required": True} if required else {"default": value, "show_default": value is not None}
            command = click.option(declared, name, type=kinds[0], help=documented.get(name), **default)(command)
        return command

    return decorate


def documented_parameters(kind: type) -> dict[str, str]:
    """Return what the section "Args" of a class's docstring says of each parameter."""
    section = re.search(r"^Args:\n((?: .*\n|\n)*)", f"{getdoc(kind) or ''}\n", re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
