"""Sound calls of the hashers and layers, and their projections in plain NumPy."""

from __future__ import annotations

from random import Random

import numpy as np
import torch

import fasthash as fh
from fasthash.hashers import AffineHasher, Hasher
from tests.fuzz.calls import Call, close, option, same_form, target
from tests.fuzz.ops import FLOATING, finite, reflections, tolerance
from tests.fuzz.values import array, at_least_one, numbers, seed, some_rows

D = 8
HASHERS = [kind.__name__ for kind in map(fh.hashers.HASHERS.get, fh.hashers.HASHERS)]
OWN = {
    "H2Q": {
        **{"loss": "'l1'", "optimizer": "'sgd'", "schedule": "'constant'", "learning_rate": "0.01", "epochs": "3"},
        **{"batch_size": "4", "init": "'itq'", "restarts": "2", "center": "False", "patience": "1"},
        **{"validation_fraction": "0.2", "random_state": "3"},
    },
    "ITQ": {"n_iterations": "3", "random_state": "3"},
    "LSH": {"center": "False", "random_state": "3"},
    "NeighborHashing": {
        **{"wide": "0.2", "n_iterations": "3", "batch_size": "4", "learning_rate": "0.1", "random_state": "3"},
    },
    "SpectralHashing": {},
}
FOREVER = ("n_iterations", "epochs", "patience", "restarts", "batch_size")


def settings_of(r: Random, name: str) -> dict[str, str]:
    quick = {"H2Q": {"epochs": "3"}, "NeighborHashing": {"n_iterations": "3"}}.get(name, {})
    return {"n_bits": str(r.randint(1, D)), **option(r, OWN.get(name, {})), **quick}


def embeddings(r: Random, n: int, dtype: str | None = None) -> str:
    return array(r, f"floats({seed(r)}, {n}, {D}, dtype={(dtype or r.choice(FLOATING))!r})")


def made(name: str, settings: dict[str, str]) -> str:
    return f"fh.hashers.{name}({', '.join(f'{name}={value}' for name, value in settings.items())})"


def constructed(name: str):
    def draw(r: Random) -> Call:
        def check(result, **given):
            assert {key: value for key, value in result.get_params().items() if key in given} == given

        settings = settings_of(r, name)
        return Call(f"fh.hashers.{name}", name, settings, check, fixed=tuple(settings))

    return draw


def fitted_with(name: str):
    """Parameters are checked by `fit`, as scikit-learn has it: a wrong one is an argument of the call that fits."""

    def draw(r: Random) -> Call:
        settings = {f"{key}": value for key, value in settings_of(r, name).items()}
        before = (
            f"kind, X = fh.hashers.{name}, floats({seed(r)}, 30, {D})\n"
            "def fit(**settings): return kind(**settings).fit(X)\n0"
        )

        def check(result, **given):
            assert result.n_features_in_ == D
            projected = result.transform(np.ones((2, D), np.float32))
            assert projected.shape == (2, int(given["n_bits"]))
            assert np.isfinite(projected).all()

        return Call("fit", f"{name}.fit", settings, check, before, fixed=FOREVER)

    return draw


def fit(name: str):
    def draw(r: Random) -> Call:
        def check(result, X, y=None):
            assert result.n_features_in_ == np.shape(X)[1]

        arguments = {"X": embeddings(r, r.choice((2, 9, 30))), **option(r, {"y": "None"})}
        settings = {"n_bits": "2"} if name != "H2Q" else {"n_bits": "2", "epochs": "2"}
        return Call(f"{made(name, settings)}.fit", f"{name}.fit", arguments, check, arrays=("X",), fixed=("y",))

    return draw


def applied(name: str, method: str):
    def draw(r: Random) -> Call:
        settings = {**settings_of(r, name), "n_bits": "8"}
        before = f"hasher = {made(name, settings)}.fit(floats({seed(r)}, 30, {D}))"

        def check(result, was, now, X):
            same_form(result, X)
            x, parts = numbers(X).astype(float), [np.array(part, float) for part in was]
            if not finite(x):
                return
            if issubclass(getattr(fh.hashers, name), AffineHasher):
                mean, projection, _ = parts
                expected = (x - mean) @ projection
            elif np.abs(x).max(initial=0) > 1e3:  # angles that float32 does not tell apart
                return
            else:
                mean, frequencies, phase, _ = parts
                expected = np.cos((x - mean) @ frequencies - phase)
            if method == "transform":
                close(result, expected, 1e-2)
            else:
                sure = np.abs(expected) > 1e-2
                bits = np.unpackbits(numbers(result), axis=1, bitorder="little")[:, :8]
                np.testing.assert_array_equal(bits[sure], (expected > 0)[sure])

        state = "[getattr(hasher, name).tolist() for name in hasher.TENSORS]"
        arguments = {"X": embeddings(r, some_rows(r))}
        return Call(f"hasher.{method}", f"{name}.{method}", arguments, check, before, state, arrays=("X",))

    return draw


def saved(name: str):
    def draw(r: Random) -> Call:
        before = f"hasher = {made(name, settings_of(r, name))}.fit(floats({seed(r)}, 30, {D}))"

        def check(result, was, now, path):
            assert [getattr(Hasher.load(path), name).tolist() for name in kind.TENSORS] == was == now

        kind = getattr(fh.hashers, name)
        state = "[getattr(hasher, name).tolist() for name in hasher.TENSORS]"
        return Call("hasher.save", name, {"path": "folder() / 'hasher'"}, check, before, state, fixed=("path",))

    return draw


def loaded(name: str):
    def draw(r: Random) -> Call:
        def check(result, path):
            assert type(result).__name__ == name

        before = f"{made(name, settings_of(r, name))}.fit(floats({seed(r)}, 30, {D})).save(folder() / 'hasher')"
        arguments = {"path": "folder() / 'hasher'"}
        return Call(f"fh.hashers.{name}.load", name, arguments, check, before, fixed=("path",))

    return draw


for _name in HASHERS:
    target(f"fasthash.hashers.{_name}")(constructed(_name))
    target(f"fasthash.hashers.{_name} parameters", weight=0.2)(fitted_with(_name))
    target(f"fasthash.hashers.{_name}.fit", weight=0.2)(fit(_name))
    target(f"fasthash.hashers.{_name}.save", weight=0.02)(saved(_name))
    target(f"fasthash.hashers.{_name}.load", weight=0.02)(loaded(_name))
    for _method in ("transform", "encode"):
        target(f"fasthash.hashers.{_name}.{_method}", weight=0.2)(applied(_name, _method))


def layer_of(r: Random) -> tuple[str, int]:
    k = at_least_one(r)
    reflected = f", {r.randint(1, k)}" if r.random() < 0.5 else ""
    return (
        f"layer = fh.layers.HouseholderRotation({k}{reflected}, generator=torch.Generator().manual_seed({seed(r)}))",
        k,
    )


LAYER_STATE = "layer.v.tolist()"


@target("fasthash.layers.HouseholderRotation")
def householder_rotation(r: Random) -> Call:
    def check(result, k, n_reflections=None, init="random", generator=None, dtype=None, device=None):
        l = int(k) if n_reflections is None else int(n_reflections)
        assert result.v.shape == (l, int(k))
        if result.v.device.type == "cpu":
            close(result.matrix(), reflections(result.v), tolerance(result.v))

    k = at_least_one(r)
    further = {"n_reflections": str(r.randint(1, k)), "generator": "torch.Generator().manual_seed(3)"}
    further |= {"dtype": r.choice(("torch.float64", "torch.float16")), "device": "'cpu'"}
    arguments = {"k": str(k), **option(r, further)}
    if r.random() < 0.2:
        arguments |= {"k": "4", "n_reflections": "2", "init": "'identity'"}
    return Call("fh.layers.HouseholderRotation", "HouseholderRotation", arguments, check, sizes=("k",))


@target("fasthash.layers.HouseholderRotation.forward")
def rotate(r: Random) -> Call:
    def check(result, was, now, x):
        same_form(result, x)
        if finite(x):
            close(result, numbers(x).astype(float) @ reflections(torch.tensor(was)).T, tolerance(result))

    before, k = layer_of(r)
    x = f"tensor(floats({seed(r)}, {some_rows(r)}, {k}, dtype={r.choice(FLOATING)!r}))"
    return Call("layer", "HouseholderRotation", {"x": x}, check, before, LAYER_STATE, arrays=("x",))


def whole(method: str):
    def draw(r: Random) -> Call:
        def check(result, was, now):
            close(result if method == "matrix" else result.weight, reflections(torch.tensor(was)))

        return Call(f"layer.{method}", f"HouseholderRotation.{method}", {}, check, layer_of(r)[0], LAYER_STATE)

    return draw


for _method in ("matrix", "as_linear"):
    target(f"fasthash.layers.HouseholderRotation.{_method}")(whole(_method))


@target("fasthash.layers.HouseholderRotation.fold_into")
def fold_into(r: Random) -> Call:
    def check(result, was, now, linear):
        x = torch.ones(2, linear.in_features)
        expected = numbers(linear(x)).astype(float) @ reflections(torch.tensor(was)).T
        close(result(x), expected)

    before, k = layer_of(r)
    made = f"torch.nn.Linear({at_least_one(r)}, {k}, bias={r.random() < 0.5})"
    return Call("layer.fold_into", "HouseholderRotation.fold_into", {"linear": made}, check, before, LAYER_STATE)
