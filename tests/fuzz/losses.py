"""Sound calls of the losses; their values are compared with those of the same numbers in plain float64 tensors."""

from __future__ import annotations

import inspect
from random import Random

import numpy as np
import torch

import fasthash as fh
from fasthash.losses.training_set import TrainingSetLoss
from tests.fuzz.calls import Call, close, option, target, value_of
from tests.fuzz.ops import tolerance
from tests.fuzz.values import at_least_one, numbers, seed

CLASSES = 4
SUPERVISED = [
    name
    for name in fh.losses.__all__
    if inspect.isclass(kind := getattr(fh.losses, name)) and issubclass(kind, fh.losses.HashingLoss)
]
QUANTIZERS = {
    "HSWD": {"p": "1", "target": "'bernoulli'", "values": "(0, 1)", "root": "True"},
    "SlicedWasserstein": {"n_projections": "10", "p": "1"},
    "OptimalTransport": {"p": "1"},
    "MagnitudeError": {"power": "3", "reduction": "'code'"},
    "LogCosh": {"reduction": "'code'"},
    "BitBalance": {"over": "'code'"},
}
STATE = "[x.tolist() for x in loss.state_dict().values()]"


def u_of(r: Random, n: int, m: int) -> str:
    return f"tensor(floats({seed(r)}, {n}, {m}, dtype={r.choice(('float32', 'float64'))!r}))"


def labels_of(r: Random, at: int, n: int, several: bool) -> str:
    shape = f"{n}, {CLASSES}" if several else str(n)
    dtype = r.choice(("int64", "int32", "uint8", "int8", "uint16", "uint64"))
    return f"tensor(integers({at}, {2 if several else CLASSES}, {shape}, dtype={dtype!r}))"


def settings_of(r: Random, kind: type, several: bool) -> dict[str, str]:
    """Arguments for the constructor of a supervised loss, of 17 items of training where it wants them."""
    own = {
        "n_bits": "8",
        "n_classes": str(CLASSES),
        "labels": f"tensor(integers(7, {2 if several else CLASSES}, 17{f', {CLASSES}' if several else ''}))",
    }
    further = {"seed": "3", "margin": "0.2", "gamma": "5", "alpha": "0.2", "beta": "0.1", "scale": "1", "mu": "0.1"}
    further |= {"nu": "2", "eta": "0.1", "similar_weight": "0.5", "n_inner": "2", "min_labels": "2", "signs": "False"}
    further |= {"quantization": r.choice(("'original'", "'none'", "'hswd'", "fh.losses.LogCosh()"))}
    further |= {"quantization_weight": "0.5"}
    parameters = inspect.signature(kind).parameters
    chosen = option(r, {name: made for name, made in further.items() if name in parameters})
    return {name: made for name, made in own.items() if name in parameters} | chosen


def made(name: str, settings: dict[str, str]) -> str:
    return f"fh.losses.{name}({', '.join(f'{name}={value}' for name, value in settings.items())})"


def constructed(name: str):
    def draw(r: Random) -> Call:
        kind = getattr(fh.losses, name)
        settings = settings_of(r, kind, r.random() < 0.3) if name in SUPERVISED else option(r, QUANTIZERS[name])

        def check(result, **given):
            assert type(result) is kind
            for argument, value in given.items():
                if hasattr(result, argument) and isinstance(value, (int, float, str)):
                    kept = getattr(result, argument)
                    assert kept == (value if isinstance(kept, (int, str)) else float(value))

        arrays = tuple(x for x in ("labels",) if x in settings)
        fixed = ("n_sweeps",)
        sizes = ("n_classes", "n_bits")
        return Call(f"fh.losses.{name}", name, settings, check, arrays=arrays, fixed=fixed, sizes=sizes)

    return draw


def called(name: str):
    def draw(r: Random) -> Call:
        kind = getattr(fh.losses, name)
        several, n = r.random() < 0.3, r.choice((1, 2, 5, 9))
        settings = settings_of(r, kind, several)
        settings |= {"quantization": "'original'"} if settings.get("quantization") == "'swd'" else {}
        arguments = {"u": u_of(r, n, 8), "labels": labels_of(r, seed(r), n, several)}
        if issubclass(kind, TrainingSetLoss):
            arguments["indices"] = f"tensor(ids({seed(r)}, 4))"
            arguments["u"] = u_of(r, 4, 8)
            arguments["labels"] = f"{settings['labels']}[{arguments['indices']}]"
        evaluated = "" if r.random() < 0.5 else "; loss.eval()"

        def check(result, was, now, u, labels, indices=None):
            assert result.shape == ()
            if u.device.type == "meta" or not torch.isfinite(u).all():
                return
            plain = value_of(made(name, settings)).train(not evaluated)
            plain.load_state_dict(dict(zip(plain.state_dict(), map(torch.tensor, was), strict=True)))
            x = torch.from_numpy(numbers(u).astype(float))
            y = torch.from_numpy(numbers(labels).astype(np.int64 if labels.ndim == 1 else bool))
            close(result, float(plain.double()(x, y, indices).detach()), 10 * max(tolerance(result), tolerance(u)))

        before = f"loss = {made(name, settings)}{evaluated}"
        return Call("loss", name, arguments, check, before, STATE, arrays=tuple(arguments))

    return draw


def ended(name: str):
    def draw(r: Random) -> Call:
        settings = settings_of(r, getattr(fh.losses, name), r.random() < 0.3)

        def check(result, was, now):
            assert result is None

        return Call("loss.end_epoch", name, {}, check, f"loss = {made(name, settings)}", STATE)

    return draw


for _name in SUPERVISED:
    if _name != "HashingLoss":
        target(f"fasthash.losses.{_name}")(constructed(_name))
        target(f"fasthash.losses.{_name}.forward")(called(_name))
        target(f"fasthash.losses.{_name}.end_epoch")(ended(_name))


def term(name: str, u, settings):
    """The value of a quantisation term that draws nothing, in plain NumPy."""
    if name == "MagnitudeError":
        errors = np.abs(np.abs(u) - 1) ** settings.power
    elif name == "LogCosh":
        errors = np.log(np.cosh(np.abs(u) - 1))
    elif name == "BitBalance":
        return np.mean(u.mean(0 if settings.over == "batch" else 1) ** 2)
    else:
        return None
    return errors.mean() if settings.reduction == "mean" else errors.sum(1).mean()


def quantized_term(name: str):
    def draw(r: Random) -> Call:
        settings = option(r, QUANTIZERS[name])
        n, m = at_least_one(r), at_least_one(r)
        arguments = {"u": u_of(r, n, m)}
        if name in ("SlicedWasserstein", "OptimalTransport"):
            rows = n if name == "OptimalTransport" else at_least_one(r)
            dtype = arguments["u"].partition("dtype=")[2][:-2]
            arguments |= option(r, {"target": f"tensor(floats({seed(r)}, {rows}, {m}, dtype={dtype}))"}, 0.5)
        if name in ("HSWD", "SlicedWasserstein", "OptimalTransport"):
            arguments |= option(r, {"generator": "torch.Generator().manual_seed(3)"})

        def check(result, u, target=None, generator=None):
            assert result.shape == ()
            if u.device.type == "meta" or 0 in u.shape:
                return
            expected = term(name, numbers(u).astype(float), value_of(made(name, settings)))
            if expected is not None and np.isfinite(expected) and np.abs(numbers(u)).max() < 100:
                close(result, expected, 10 * tolerance(result))

        return Call(
            "loss",
            name,
            arguments,
            check,
            f"loss = {made(name, settings)}",
            arrays=("u", "target"),
            sizes=("n_projections",),
        )

    return draw


for _name in QUANTIZERS:
    target(f"fasthash.losses.{_name}")(constructed(_name))
    target(f"fasthash.losses.{_name}.forward")(quantized_term(_name))


@target("fasthash.losses.hash_centers")
def hash_centers(r: Random) -> Call:
    def check(result, n_classes, n_bits, seed=0):
        assert result.shape == (int(n_classes), int(n_bits))
        assert set(result.unique().tolist()) <= {-1.0, 1.0}
        assert len(result.unique(dim=0)) == int(n_classes)

    n_bits = r.choice((1, 3, 4, 8, 12, 16))
    arguments = {"n_classes": str(r.randint(1, min(40, 2**n_bits))), "n_bits": str(n_bits), **option(r, {"seed": "3"})}
    return Call("fh.losses.hash_centers", "hash_centers", arguments, check, sizes=("n_classes",))
