"""Every public function and method, called with sound arguments, with odd ones and with wrong ones."""

from __future__ import annotations

import importlib
import inspect
from importlib.util import find_spec
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from fasthash.plugins import Registry
from tests.fuzz.calls import NEEDS, PREAMBLE, TARGETS, WEIGHTS, Call, WrongError, can_be_called, drawn, run
from tests.fuzz.targets import load

load()

PLOTS = ("fasthash.evaluate.plots",) if find_spec("matplotlib") else ()
PACKAGES = ("fasthash", *(f"fasthash.{name}" for name in fh.__all__ if inspect.ismodule(getattr(fh, name))), *PLOTS)
EXAMPLES = 16  # of a name; `make fuzz` makes as many as are asked for
ELSEWHERE = {
    "fasthash.data.Layout": "returned",
    "fasthash.hashers.AffineHasher": "a base",
    "fasthash.hashers.Hasher": "a base",
    "fasthash.losses.HashingLoss": "a base",
    "fasthash.recipes.Backbone": "what others register",
    "fasthash.recipes.Given": "made by `train`",
    "fasthash.recipes.Parts": "checked by `train`",
    "fasthash.recipes.Protocol": "what others register",
    "fasthash.recipes.RecipeSettings": "a base",
    "fasthash.recipes.Run": "made by `train`",
    "fasthash.recipes.Training": "a base",
}
INNER = (  # of losses and modules: called by `forward`, which checks
    *(
        "similarity",
        "original_quantizer",
        "check_batch",
        "remember",
        "quantization_term",
        "terms",
        "weighted",
        "activation",
        "precise",
    ),
    "extra_repr",
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads wait longer for each other than small tensors take."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def marks(name):
    return pytest.mark.skipif(not can_be_called(name), reason=f"needs {NEEDS[name]}")


def public_names():
    """Every public function, class and method of ours, by its shortest name."""
    seen = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == package]
        names = getattr(module, "__all__", [name for name in own if name[0] != "_"])
        for name in names:
            thing = getattr(module, name)
            if inspect.ismodule(thing) or isinstance(thing, str | Registry) or id(thing) in seen:
                continue
            if getattr(thing, "__module__", "").startswith("fasthash"):
                seen[id(thing)] = f"{package}.{name}", thing
    for name, thing in seen.values():
        is_result = inspect.isclass(thing) and issubclass(thing, tuple)
        if name in ELSEWHERE or is_result:
            continue
        yield name
        for method, member in inspect.getmembers(thing) if inspect.isclass(thing) else ():
            ours = getattr(member, "__module__", "") or ""
            if callable(member) and method[0] != "_" and ours.startswith("fasthash") and method not in INNER:
                yield f"{name}.{method}"


def test_every_public_name_is_called():
    names = set(public_names())
    assert len(names) > 100
    assert names - TARGETS.keys() == set()
    assert {name for name in TARGETS if " " not in name and can_be_called(name)} - names == set()


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in TARGETS])
def test_a_call_is_answered_rightly_or_refused_by_name(name):
    @settings(max_examples=max(2, round(EXAMPLES * min(1, 5 * WEIGHTS[name]))))
    @given(st.randoms(use_true_random=False))
    def call_it(r):
        run(drawn(name, r))

    call_it()


def test_calls_are_the_same_for_the_same_number():
    names = ["fasthash.hamming_topk", "fasthash.MultiIndex.search", "fasthash.losses.CSQ.forward"]
    lines = [[drawn(name, Random(7)).line() for name in names] for _ in range(2)]
    assert lines[0] == lines[1]


def never(*_, **__):
    raise AssertionError("no answer is right")


@pytest.mark.parametrize(
    ("function", "arguments", "spoiled", "message"),
    [
        ("fh.pack_bits", {"x": "floats(0, 2, 3)"}, [], "which is not right: AssertionError: no answer is right"),
        ("fh.pack_bits", {"x": "None"}, [], "is sound, but was refused: TypeError: pack_bits: expected x"),
        ("{}.pop", {}, ["x"], "was refused without saying where and what: TypeError"),
        ("torch.ones(3).reshape", {"shape": "(2,)"}, ["shape"], "ended in RuntimeError"),
    ],
)
def test_what_must_not_come_is_told_with_the_line_to_paste(function, arguments, spoiled, message):
    call = Call(function, "pack_bits", arguments, never, spoiled=spoiled)
    with pytest.raises(WrongError) as told:
        run(call)
    line, _, problem = str(told.value).partition("\n  ")
    assert message in problem
    assert line == f"{PREAMBLE}; {function}({', '.join(f'{k}={v}' for k, v in arguments.items())})"


def test_an_argument_that_is_written_to_is_told():
    call = Call("(lambda x: x.zero_())", "f", {"x": "torch.ones(3)"}, lambda result, x: None)
    with pytest.raises(WrongError, match="wrote into an argument"):
        run(call)


def test_a_refused_call_that_changed_something_is_told():
    before = "kept = []\ndef f(x): kept.append(x); raise ValueError('f: expected x')\n0"
    call = Call("f", "f", {"x": "1"}, never, before, "list(kept)", spoiled=["x"])
    with pytest.raises(WrongError, match="was refused but changed something"):
        run(call)
