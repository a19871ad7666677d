"""Calls as lines of Python, and what may come of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError

import fasthash as fh
from fasthash.errors import MissingDependencyError
from tests.fuzz import values
from tests.fuzz.values import FORMS, HARMLESS_ELSEWHERE, SIZES, WRONG

NAMES: dict[str, Any] = {
    **{name: value for name, value in vars(values).items() if not name.startswith("_")},
    **{"fh": fh, "np": np, "torch": torch, "Decimal": Decimal, "Fraction": Fraction, "Path": Path},
}
PREAMBLE = "from tests.fuzz.calls import *; globals().update(NAMES)"


@dataclass
class Call:
    """A call of a public function or method.

    Attributes:
        function: what is called, an expression; after `before` has run.
        where: what its errors begin with, or several things that they may begin with.
        arguments: by name, expressions.
        check: is given the result and the arguments by name, and raises an AssertionError if it is not right.
        before: statements that make what `function` needs.
        state: an expression of what a call that is refused leaves as it was; where there is one, `check` is given its
            value before the call and after, too.
        sizes: the arguments that are sizes of what is allocated.
        arrays: the arguments that are arrays.
        fixed: the arguments that are not spoiled: a large value would be right and take forever, or name a file.
        without: parts of the expressions that arguments are not spoiled by.
        spoiled: the arguments that were.
    """

    function: str
    where: str | tuple[str, ...]
    arguments: dict[str, str]
    check: Callable[..., None]
    before: str = ""
    state: str = ""
    sizes: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    spoiled: list[str] = field(default_factory=list)

    def line(self) -> str:
        arguments = ", ".join(f"{name}={made}" for name, made in self.arguments.items())
        return f"{self.before}{'; ' if self.before else ''}{self.function}({arguments})"


Draw = Callable[[Random], Call]
TARGETS: dict[str, Draw] = {}


WEIGHTS: dict[str, float] = {}  # how often a name is called, beside 1


NEEDS: dict[str, str] = {}  # the optional package that a name needs


def target(*names: str, weight: float = 1.0, needs: str = "") -> Callable[[Draw], Draw]:
    """Say of which public names a function draws sound calls; those that take long have a small weight."""

    def add(draw: Draw) -> Draw:
        TARGETS.update(dict.fromkeys(names, draw))
        WEIGHTS.update(dict.fromkeys(names, weight))
        NEEDS.update(dict.fromkeys(names, needs))
        return draw

    return add


def tried(pool: Sequence[str], call: Call) -> Sequence[str]:
    return [made for made in pool if not any(part in made for part in call.without)] if call.without else pool


def can_be_called(name: str) -> bool:
    """Return whether the optional package that a name needs is installed."""
    return not NEEDS[name] or find_spec(NEEDS[name]) is not None


def drawn(name: str, r: Random) -> Call:
    """Return a call of a public name: sound, in odd forms, or with one or two arguments spoiled."""
    call = TARGETS[name](r)
    names = [argument for argument in call.arguments if argument not in call.fixed]
    if names and r.random() < 0.75:
        for argument in r.sample(names, min(len(names), r.choice((1, 1, 1, 2)))):
            made = call.arguments[argument]
            if argument in call.arrays and made != "None" and r.random() < 0.7:
                call.arguments[argument] = r.choice(tried(FORMS, call)).format(made)
            else:
                pool = WRONG + (SIZES if argument in call.sizes else SIZES + HARMLESS_ELSEWHERE)
                call.arguments[argument] = r.choice(tried(pool, call))
            call.spoiled.append(argument)
    return call


class WrongError(AssertionError):
    """A call came to what it must not come to."""


def run(call: Call) -> None:
    """Make a call, and raise `WrongError` with the line to paste unless it is answered rightly or refused by name."""
    names = dict(NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(call.before, names)
            function = eval(call.function, names)
            given = {name: eval(made, names) for name, made in call.arguments.items()}
            before = eval(call.state, names) if call.state else None
        except Exception as error:
            if call.spoiled:  # that form there is not, of this value
                return
            raise WrongError(f"{PREAMBLE}; {call.line()}\n  cannot be made: {error!r}") from error
        kept = {name: held(value) for name, value in given.items()}
    problem = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = function(**given)
        except Exception as error:
            problem = improper(call, error)
            if problem is None and call.state and eval(call.state, names) != before:
                problem = "was refused but changed something"
        else:
            try:
                states = (before, eval(call.state, names)) if call.state else ()
                call.check(result, *states, **given)
            except Exception as error:
                problem = f"gave {result!r:.300}, which is not right: {type(error).__name__}: {error!s:.500}"
        if problem is None and any(held(value) != kept[name] for name, value in given.items()):
            problem = "wrote into an argument"
    if problem is not None:
        raise WrongError(f"{PREAMBLE}; {call.line()}\n  {problem}")


def held(value: Any) -> bytes | None:
    """What an array holds, to be compared."""
    if isinstance(value, torch.Tensor):
        dense = value.layout is torch.strided and value.device.type == "cpu" and not value.is_nested
        return values.numbers(value.resolve_conj()).tobytes() if dense and not value.is_quantized else None
    return np.asarray(value).tobytes() if isinstance(value, np.ndarray) and value.dtype != object else None


def improper(call: Call, error: Exception) -> str | None:
    """Return what is wrong with an error, or None."""
    message, begins = str(error), (call.where,) if isinstance(call.where, str) else call.where
    if isinstance(error, (MissingDependencyError, NotFittedError)):
        return None
    if not call.spoiled:
        return f"is sound, but was refused: {type(error).__name__}: {message:.500}"
    if isinstance(error, PROMISED.get(begins[0], ())):
        return None
    if not isinstance(error, (TypeError, ValueError, MemoryError)):
        return f"ended in {type(error).__name__}: {message:.500}"
    rest = next((message.removeprefix(where) for where in begins if message.startswith(where)), "")
    if isinstance(error, MemoryError) and re.search(r"\bbytes\b", rest):
        return None
    names = [*call.arguments, *WORDS.get(begins[0], ()), "tensors", "query"]
    if not any(re.search(rf"\b{re.escape(name)}\b", rest, re.IGNORECASE) for name in names):
        return f"was refused without saying where and what: {type(error).__name__}: {message:.500}"
    return None


WORDS: dict[str, tuple[str, ...]] = {}  # what arguments are called in errors besides their names, by where
PROMISED: dict[str, tuple[type[Exception], ...]] = {}  # further errors that are documented, by where


def same_form(result: Any, given: Any) -> None:
    """Raise unless a result is a tensor where a tensor was given, else an array."""
    wanted = torch.Tensor if isinstance(given, torch.Tensor) else np.ndarray
    assert isinstance(result, wanted) or (wanted is np.ndarray and np.isscalar(result)), f"{type(result)}"


def equal(result: Any, expected: Any) -> None:
    np.testing.assert_array_equal(values.numbers(result), expected)
    assert values.numbers(result).dtype == np.asarray(expected).dtype


def close(result: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Raise unless numbers are near each other, infinities and NaN the same."""
    np.testing.assert_allclose(values.numbers(result), expected, rtol=tolerance, atol=tolerance)


def value_of(made: str) -> Any:
    """Return what an expression makes."""
    return eval(made, dict(NAMES))


def option(r: Random, arguments: Mapping[str, str], share: float = 0.3) -> dict[str, str]:
    """Return some of the arguments."""
    return {name: made for name, made in arguments.items() if r.random() < share}
