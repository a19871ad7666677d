"""What others add by a call or by an entry point, and that it is offered everywhere."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fasthash as fh
from fasthash.plugins import Registry, outlined

MODULE = """
import numpy as np
import torch
from dataclasses import dataclass

import fasthash as fh
from fasthash.data import Dataset, Layout
from fasthash.hashers import AffineHasher
from fasthash.recipes import Backbone, HashingNetwork, RecipeSettings, Training, option


class Flat(AffineHasher):
    def __init__(self, n_bits):
        self.n_bits = n_bits

    def _fit_affine(self, where, x):
        return x.mean(0), torch.eye(x.shape[1])[:, : self.n_bits]


def pairs(n_classes):
    def loss(u, labels):
        alike = (labels[:, None] == labels).float()
        return torch.nn.functional.mse_loss(u.tanh() @ u.tanh().T / u.shape[1], alike)

    return loss


def read(name, folder):
    x = np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int64)
    return Dataset(name, x, labels, {"train": np.arange(200), "test": np.arange(200, 300)}, ("0", "1"))


PLACES = [("halves", Layout("nothing", read))]


def build(shape, pretrained):
    return torch.nn.Linear(shape[0], 5), 5


BACKBONE = Backbone(build, takes_features=True)


@dataclass(frozen=True)
class LeastSquares(RecipeSettings):
    training = f"{__name__}:LeastSquaresTraining"
    summary = "Train a linear layer by least squares."

    dataset: str = option("halves", "a data set")
    protocol: str = option("published-v1", "who trains", choices=fh.recipes.PROTOCOLS)
    ridge: float = option(0.1, "of the squares", minimum=0)


class LeastSquaresTraining(Training[LeastSquares]):
    title = "least squares"

    def __init__(self, settings, given):
        super().__init__(settings, given)
        torch.manual_seed(settings.seed)
        self.network = HashingNetwork("linear", self.dataset.items.shape[1:], settings.bits)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, weight_decay=settings.ridge)
        self.state = {"network": self.network, "optimizer": self.optimizer}

    def step(self, number, items, labels, indices):
        loss = (self.network(items) - (labels[:, None] * 2.0 - 1)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}
"""
ENTRY_POINTS = """
[fasthash.losses]
pairs = theirs:pairs
[fasthash.hashers]
flat = theirs:Flat
[fasthash.datasets]
halves = theirs:PLACES
[fasthash.backbones]
five = theirs:BACKBONE
[fasthash.recipes]
least-squares = theirs:LeastSquares
"""
REGISTERING = """
from theirs import *

fh.losses.LOSSES.register("pairs", pairs)
fh.hashers.HASHERS.register("flat", Flat)
fh.data.DATASETS.register("halves", PLACES)
fh.recipes.BACKBONES.register("five", BACKBONE)
fh.recipes.RECIPES.register("least-squares", LeastSquares)
"""


COMMANDS = """
import contextlib, io, json, sys
from fasthash.cli import main

outputs = []
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        main(command, standalone_mode=False)
    outputs.append(output.getvalue())
print(json.dumps(outputs))
"""


@pytest.fixture(params=["entry points", "calls"])
def fasthash(request, tmp_path):
    """The outputs of commands in a process that has another package, or imports another module."""
    (tmp_path / "theirs.py").write_text(MODULE)
    imported = []
    if request.param == "entry points":
        described = tmp_path / "theirs-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text(ENTRY_POINTS)
    else:
        (tmp_path / "registering.py").write_text(REGISTERING)
        imported = ["--import", "registering"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*commands):
        listed = json.dumps([[*imported, *command] for command in commands])
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, listed], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_what_others_add_is_offered_by_the_commands(fasthash, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32))
    options = ["--bits", "8", "--epochs", "2", "--batch-size", "50", "--device", "cpu"]
    names = ["--dataset", "halves", "--protocol", "published-v1", "--method", "pairs", "--network", "five"]
    recipes, settings, _, _, results = fasthash(
        ["train", "--help"],
        ["train", "least-squares", "--help"],
        ["train", "least-squares", *options, "--out", "a"],
        ["fit", "flat", "x.npy", "flat.safetensors", "--bits", "8"],
        ["train", "supervised", *names, *options, "--out", "b"],
    )
    assert "least-squares" in recipes
    assert "--ridge" in settings
    assert "mAP" in results
    models = {"a": "a/network.safetensors", "b": "b/network.safetensors", "c": "flat.safetensors"}
    fasthash(*(["encode", model, "x.npy", f"{name}.npy"] for name, model in models.items()))
    assert all(np.load(tmp_path / f"{name}.npy").shape == (40, 1) for name in models)


def test_a_registry_loads_what_is_asked_for():
    things = Registry("fasthash.nothing", {"here": 3, "there": "fasthash.errors:MAX_BITS"})
    assert "theirs" not in things
    assert things.register("theirs", 5) == 5

    @things.register("function")
    def function():
        pass

    assert list(things) == ["here", "there", "theirs", "function"]
    assert [things[name] for name in things] == [3, fh.errors.MAX_BITS, 5, function]
    assert len(things) == 4
    assert repr(things) == "fasthash.nothing: here, there, theirs, function"
    with pytest.raises(ValueError, match="expected a new name, got 'here', which is registered already"):
        things.register("here", 4)
    with pytest.raises(TypeError, match="expected name to be a string, got int"):
        things.register(3, 4)
    with pytest.raises(KeyError):
        things["elsewhere"]


@pytest.mark.parametrize("name", ["lsh", "spectral", "itq", "h2q", "neighbor"])
def test_the_outline_of_a_hasher_is_what_inspection_finds(name):
    kind = fh.hashers.HASHERS[name]
    outline = outlined(f"{kind.__module__}:{kind.__name__}")
    assert inspect.getdoc(outline) == inspect.getdoc(kind)
    assert inspect.signature(outline).parameters == inspect.signature(kind).parameters


OUTLINES = """
raise RuntimeError("imported")

class Mixed:
    "What it is."

    def __init__(self, b: int, c=(1, -2), *, d: float | None = None, e, **others):
        pass


class Named:
    def __init__(self, a=DEFAULT):
        pass


class Inheriting(Mixed):
    pass
"""


def test_an_outline_is_of_literals_that_stand_in_the_source(tmp_path, monkeypatch):
    (tmp_path / "outlines.py").write_text(OUTLINES)
    (tmp_path / "no_python.py").write_text("class Mixed")
    monkeypatch.syspath_prepend(tmp_path)
    outline = outlined("outlines:Mixed")
    assert outline.__doc__ == "What it is."
    assert str(inspect.signature(outline)) == "(b: 'int', c=(1, -2), *, d: 'float | None' = None, e)"
    for place in ("outlines:Named", "outlines:Inheriting", "outlines:Absent", "no_python:Mixed", "absent.part:Mixed"):
        assert outlined(place) is None
    assert outlined("fasthash._core:Mixed") is None


def test_what_has_no_outline_is_loaded_for_it():
    things = Registry("fasthash.nothing", {"here": int, "there": "json:JSONDecoder"})
    assert things.outline("here") is int
    assert things.outline("there") is json.JSONDecoder


def declare(folder, name, entry_points):
    """Make a distribution in a folder."""
    described = folder / f"{name}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(entry_points)


def test_an_entry_point_may_not_take_a_name_that_is_there(tmp_path, monkeypatch):
    declare(tmp_path, "theirs", "[fasthash.nothing]\nhere = theirs:thing\n[fasthash.others]\nnew = theirs:thing\n")
    declare(tmp_path, "ours", "[fasthash.others]\nnew = ours:thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="expected each name once, got 'new' again as an entry point, "):
        list(Registry("fasthash.others", {}))
    with pytest.raises(ValueError, match="expected each name once, got 'here' again as an entry point, theirs:thing"):
        list(Registry("fasthash.nothing", {"here": 3}))


@pytest.mark.parametrize(
    "registry",
    [
        fh.losses.LOSSES,
        fh.hashers.HASHERS,
        fh.data.DATASETS,
        fh.recipes.BACKBONES,
        fh.recipes.PROTOCOLS,
        fh.recipes.RECIPES,
    ],
    ids=lambda registry: registry.group,
)
def test_everything_that_is_registered_can_be_loaded(registry):
    registry.load_all()
    assert len(registry) > 3


def test_an_entry_point_that_cannot_be_loaded_is_named_and_harms_no_other(tmp_path, monkeypatch):
    declare(tmp_path, "theirs", "[fasthash.nothing]\nnew = not_there:thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    things = Registry("fasthash.nothing", {"here": 3})
    assert things["here"] == 3
    things.load_all(declared=False)
    with pytest.raises(ImportError, match="expected 'new' at not_there:thing, an entry point, got No module"):
        things["new"]
    with pytest.raises(ValueError, match="expected a new name, got 'new', which is registered already"):
        things.register("new", 4)


@pytest.mark.parametrize(("name", "thing"), [("", 3), ("name", None)])
def test_nothing_is_not_registered(name, thing):
    with pytest.raises(ValueError, match="fasthash.nothing.register: expected a name and a thing, got"):
        Registry("fasthash.nothing", {}).register(name, thing)


def importing(folder, *modules):
    command = [sys.executable, "-m", "fasthash", *(f"--import={module}" for module in modules), "train", "--help"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_modules_are_imported_from_the_folder_that_the_command_is_called_in(tmp_path):
    (tmp_path / "mine.py").write_text("print('imported')")
    assert importing(tmp_path, "mine").stdout.startswith("imported")
    (tmp_path / "nested.py").write_text("import absent_module")
    assert "No module named 'absent_module'" in importing(tmp_path, "nested").stderr
    for module in ("absent", "absent.part", ""):
        done = importing(tmp_path, module)
        assert done.returncode == 2
        assert f"expected a module that can be imported, got {module!r}" in done.stderr


@pytest.mark.slow
def test_a_broken_recipe_is_told_without_a_traceback(tmp_path, monkeypatch):
    declare(tmp_path, "theirs", "[fasthash.recipes]\nbroken = not_there:Settings\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "fasthash", "train", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: fasthash.recipes: expected 'broken' at not_there:Settings, an entry point, got "
    )
