"""Sound calls of the readers of data, the recipes' settings and what encodes."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import torch

import fasthash as fh
from fasthash.recipes.settings import RECIPES
from tests.fuzz.calls import PROMISED, WORDS, Call, option, target
from tests.fuzz.values import array, at_least_one, numbers, seed, some_rows

CLASSES = "('a', 'b', 'c')"


def dataset_of(r: Random) -> dict[str, str]:
    n = at_least_one(r)
    several = r.random() < 0.3
    return {
        "name": "'set'",
        "items": r.choice((f"integers({seed(r)}, 256, {n}, 4, 4, dtype='uint8')", f"floats({seed(r)}, {n}, 5)")),
        "labels": f"integers({seed(r)}, {2 if several else 3}, {n}{', 3' if several else ''}, "
        f"dtype={'bool' if several else 'int64'!r})",
        "splits": r.choice(("{}", f"{{'train': np.arange({n})}}")),
        "class_names": CLASSES,
    }


@target("fasthash.data.Dataset")
def dataset(r: Random) -> Call:
    def check(result, **given):
        for name, value in given.items():
            assert getattr(result, name) is value
        assert isinstance(result.name, str)
        assert isinstance(result.items, np.ndarray | fh.data.ImageFiles)
        assert result.labels.dtype in (np.int64, bool)
        assert len(result.labels) == len(result.items)
        assert all(x.dtype == np.int64 for x in result.splits.values())
        assert result.n_classes == len(result.class_names)

    return Call("fh.data.Dataset", "data set", dataset_of(r), check, arrays=("items", "labels"))


WORDS["data set"] = ("split",)


@target("fasthash.data.ImageFiles")
def image_files(r: Random) -> Call:
    def check(result, paths):
        assert len(result) == len(paths)

    return Call("fh.data.ImageFiles", "ImageFiles", {"paths": "[Path('a.png'), 'b.png']"}, check)


@target("fasthash.data.load_dataset", weight=0.05)
def load_dataset(r: Random) -> Call:
    def check(result, name, root=None):
        assert len(result.items) == 1797

    arguments = {"name": "'digits'", **option(r, {"root": "folder()"})}
    return Call("fh.data.load_dataset", "load_dataset", arguments, check)


@target("fasthash.features.extract", weight=0.2)
def extract(r: Random) -> Call:
    n = at_least_one(r)

    def check(result, dataset, out, network, **rest):
        made = fh.data.load_dataset(str(out))
        assert result == made.items.shape == (n, 48)
        assert np.array_equal(made.labels, dataset.labels)
        assert np.abs(made.items - dataset.items.reshape(n, 1, 16).repeat(3, 1).reshape(n, 48) / 255).max() < 1e-3

    images = f"integers({seed(r)}, 256, {n}, 4, 4, dtype='uint8')"
    before = (
        "network = torch.nn.Flatten(); network.transform = lambda image: image.float() / 255; "
        "(folder() / 'x.npz').unlink(missing_ok=True)"
    )
    arguments = {
        "dataset": f"fh.data.Dataset('set', {images}, np.zeros({n}, 'int64'), {{}}, ('a',))",
        "out": "folder() / 'x.npz'",
        "network": "network",
        **option(r, {"layer": "None", "weights": "None", "seed": "3", "dtype": "'float16'", "batch_size": "2"}),
        **option(r, {"part_size": "3", "per_class": "17", "device": "'cpu'", "workers": "0", "progress": "False"}),
    }
    where = ("extract", "load_dataset")
    return Call("fh.features.extract", where, arguments, check, before, fixed=("workers", "network"))


@target("fasthash.data.read_array")
def read_array(r: Random) -> Call:
    def check(result, place):
        assert result.tolist() == [[1, 2]]

    before = "np.save(folder() / 'array.npy', [[1, 2]]); np.savez(folder() / 'arrays.npz', x=[[1, 2]], y=[3])"
    place = r.choice(("folder() / 'array.npy'", "str(folder() / 'arrays.npz:x')"))
    return Call("fh.data.read_array", "read_array", {"place": place}, check, before)


HITS = "fh.Hits(floats(0, 2, 3), ids(0, 6).reshape(2, 3))"
RADIUS_HITS = "fh.RadiusHits(np.array([0, 1, 3]), floats(0, 3), ids(0, 3))"
BENCHMARK = "fh.data.AnnBenchmark(packed(0, 9, 2), packed(1, 2, 2), fh.Hits(np.ones((2, 1)), np.ones((2, 1), int)), "


@target("fasthash.data.write_array")
def write_array(r: Random) -> Call:
    extension, dtype = r.choice((("fbin", "float32"), ("ivecs", "int32"), ("u8bin", "uint8")))

    def check(result, path, array):
        read, given = fh.data.read_array(path), numbers(array)
        np.testing.assert_array_equal(read if len(given) else read.reshape(given.shape), given)

    made = f"as_dtype(integers({seed(r)}, 100, {at_least_one(r)}, 3), {dtype!r})"
    arguments = {"path": f"folder() / 'written.{extension}'", "array": array(r, made)}
    return Call("fh.data.write_array", "write_array", arguments, check, arrays=("array",), fixed=("path",))


@target("fasthash.data.write_ground_truth")
def write_ground_truth(r: Random) -> Call:
    read = fh.data.read_ground_truth

    def check(result, path, hits):
        found = (read if len(hits) == 2 else fh.data.read_range_ground_truth)(path)
        np.testing.assert_array_equal(found.ids, hits.ids)

    arguments = {"path": "folder() / 'written.bin'", "hits": r.choice((HITS, RADIUS_HITS))}
    return Call("fh.data.write_ground_truth", "write_ground_truth", arguments, check, fixed=("path",))


@target("fasthash.data.read_ground_truth")
def read_ground_truth(r: Random) -> Call:
    def check(result, path):
        assert result.ids.shape == (2, 3)

    before = f"fh.data.write_ground_truth(folder() / 'nearest.bin', {HITS})"
    return Call("fh.data.read_ground_truth", "read_ground_truth", {"path": "folder() / 'nearest.bin'"}, check, before)


@target("fasthash.data.read_range_ground_truth")
def read_range_ground_truth(r: Random) -> Call:
    def check(result, path):
        assert result.offsets.tolist() == [0, 1, 3]

    before = f"fh.data.write_ground_truth(folder() / 'within.bin', {RADIUS_HITS})"
    name = "read_range_ground_truth"
    return Call(f"fh.data.{name}", name, {"path": "folder() / 'within.bin'"}, check, before)


@target("fasthash.data.write_ann_benchmark", needs="h5py")
def write_ann_benchmark(r: Random) -> Call:
    def check(result, path, benchmark):
        np.testing.assert_array_equal(fh.data.read_ann_benchmark(path).train, benchmark.train)

    arguments = {"path": "folder() / 'written.hdf5'", "benchmark": f"{BENCHMARK}'hamming', 16)"}
    return Call("fh.data.write_ann_benchmark", "write_ann_benchmark", arguments, check, fixed=("path",))


@target("fasthash.data.read_ann_benchmark", needs="h5py")
def read_ann_benchmark(r: Random) -> Call:
    def check(result, path):
        assert (result.distance, result.dimension) == ("hamming", 16)

    before = f"fh.data.write_ann_benchmark(folder() / 'read.hdf5', {BENCHMARK}'hamming', 16))"
    return Call("fh.data.read_ann_benchmark", "read_ann_benchmark", {"path": "folder() / 'read.hdf5'"}, check, before)


PROMISED |= {
    "extract": (FileNotFoundError, FileExistsError),
    "load_dataset": (FileNotFoundError,),
    "read_ann_benchmark": (OSError,),
    "read_array": (OSError,),
    "read_ground_truth": (OSError,),
    "read_range_ground_truth": (OSError,),
    "read_idx": (OSError,),
    "HashingNetwork.load": (OSError,),
}
WORDS |= {"read_array": ("file",), "extract": ("name", "images")}


@target("fasthash.data.read_idx")
def read_idx(r: Random) -> Call:
    def check(result, path):
        assert result.tolist() == [1, 2]

    before = r"(folder() / 'idx').write_bytes(b'\0\0\x08\x01\0\0\0\x02\x01\x02')"
    return Call("fh.data.read_idx", "read_idx", {"path": "folder() / 'idx'"}, check, before)


def settings(name: str):
    kind = RECIPES[name]

    def draw(r: Random) -> Call:
        fields = {field.name: field for field in dataclasses.fields(kind)}
        arguments = {}
        for key in r.sample(sorted(fields), r.randint(1, 4)):
            field = fields[key]
            default = field.default_factory() if field.default is dataclasses.MISSING else field.default
            arguments[key] = repr(r.choice(list(field.metadata.get("choices", [default]))))

        def check(result, **given):
            for key, value in given.items():
                kept, bounds = getattr(result, key), fields[key].metadata["bounds"]
                assert kept == value
                if isinstance(kept, int | float) and not isinstance(kept, bool):
                    assert kept >= bounds.get("minimum", -np.inf)
                    assert kept > bounds.get("above", -np.inf)

        return Call(f"fh.recipes.{kind.__name__}", kind.__name__, arguments, check)

    return draw


for _name in RECIPES:
    target(f"fasthash.recipes.{RECIPES[_name].__name__}")(settings(_name))

NETWORKS = {"linear": 1, "mlp": 1, "encoder": 1, "cnn": 8, "lenet": 4, "strided": 1, "resnet9_narrow": 8}


def network_of(r: Random) -> tuple[dict[str, str], tuple[int, ...]]:
    architecture = r.choice(sorted(NETWORKS))
    least = NETWORKS[architecture]
    shape = (least + r.randrange(4), least + r.randrange(4), *((3,) if r.random() < 0.3 else ()))
    if architecture in ("linear", "mlp", "encoder") and r.random() < 0.5:
        shape = (at_least_one(r),)
    arguments = {"architecture": repr(architecture), "item_shape": repr(shape), "n_bits": str(r.choice((1, 8, 12)))}
    return arguments | option(r, {"augmentation": "'flip-crop'"}), shape


def items_of(r: Random, n: int, shape: tuple[int, ...]) -> str:
    sizes = ", ".join(map(str, shape))
    if len(shape) == 1:
        return f"floats({seed(r)}, {n}, {sizes})"
    return f"integers({seed(r)}, 256, {n}, {sizes}, dtype='uint8')"


def made(arguments: dict[str, str]) -> str:
    return f"network = fh.recipes.HashingNetwork({', '.join(f'{k}={v}' for k, v in arguments.items())}); network.eval()"


@target("fasthash.recipes.HashingNetwork")
def hashing_network(r: Random) -> Call:
    def check(result, architecture, item_shape, n_bits, augmentation="none", pretrained=False):
        assert result.item_shape == tuple(item_shape)
        dtype = torch.float32 if len(item_shape) == 1 else torch.uint8
        if np.prod(item_shape) > 10_000:
            return
        items = torch.zeros(2, *item_shape, dtype=dtype)
        for mode in (True, False):
            assert result.train(mode)(items).shape == (2, int(n_bits))

    arguments = network_of(r)[0]
    arguments |= option(r, {"pretrained": "False"})
    return Call("fh.recipes.HashingNetwork", "HashingNetwork", arguments, check)


WORDS["HashingNetwork"] = ("images", "linear", "network of ImageNet", "torchvision")


@target(*(f"fasthash.recipes.HashingNetwork.{x}" for x in ("forward", "prepare", "outputs")))
def network_forward(r: Random) -> Call:
    def check(result, items):
        assert result.shape == (len(items), n_bits)
        if (len(items) and numbers(items).dtype.kind in "ui") or len(shape) == 1:
            assert torch.isfinite(result).all() or not np.isfinite(numbers(items)).all()

    arguments, shape = network_of(r)
    n_bits = int(arguments["n_bits"])
    items = f"tensor({items_of(r, at_least_one(r), shape)})"
    return Call("network", "HashingNetwork", {"items": items}, check, made(arguments), arrays=("items",))


@target("fasthash.recipes.HashingNetwork.standardize")
def standardize(r: Random) -> Call:
    def check(result, mean, deviation):
        assert result is None

    arguments, shape = network_of(r)
    n = shape[0] if len(shape) == 1 else 3 if len(shape) == 3 else 1
    given = {"mean": f"tensor(floats({seed(r)}, {n}))", "deviation": f"tensor(floats({seed(r)}, {n}) ** 2)"}
    where = "HashingNetwork.standardize"
    return Call("network.standardize", where, given, check, made(arguments), arrays=("mean", "deviation"))


@target("fasthash.recipes.HashingNetwork.save", "fasthash.recipes.HashingNetwork.load", weight=0.2)
def network_saved(r: Random) -> Call:
    def check(result, path):
        assert type(result).__name__ == "HashingNetwork"

    before = made(network_of(r)[0]) + "; network.save(folder() / 'network')"
    arguments = {"path": "folder() / 'network'"}
    return Call("fh.recipes.HashingNetwork.load", "HashingNetwork.load", arguments, check, before)


@target("fasthash.recipes.encode")
def encode(r: Random) -> Call:
    def check(result, network, items, rotation=None):
        assert result.dtype == np.uint8
        assert len(result) == len(items)
        if rotation is None:
            assert result.shape[1] == (network.n_bits + 7) // 8

    arguments, shape = network_of(r)
    given = {"network": "network", "items": array(r, items_of(r, some_rows(r), shape))}
    given |= option(r, {"rotation": "None"})
    where = ("encode", "HashingNetwork")  # the network is the user's, and so are its errors
    return Call("fh.recipes.encode", where, given, check, made(arguments), arrays=("items",), fixed=("network",))


@target("fasthash.recipes.split", weight=0.1)
def split(r: Random) -> Call:
    def check(result, dataset, protocol, seed=0):
        assert len(np.intersect1d(result.query, result.database)) == 0

    before = "digits = fh.data.load_dataset('digits')"
    arguments = {"dataset": "digits", "protocol": "'digits-v1'", **option(r, {"seed": "3"})}
    return Call("fh.recipes.split", "split", arguments, check, before)


WORDS |= {"split": ("data set",), "encode": ("images",)}


@target("fasthash.recipes.train", weight=0.005)
def train(r: Random) -> Call:
    def check(result, settings, **given):
        assert 0 <= result.results["mAP"] <= 1

    short = "protocol='digits-v1', network='linear', bits=8, epochs=1, validate_every=1"
    arguments = {"settings": f"fh.recipes.SupervisedSettings({short}, dataset='digits')"}
    further = {"dataset": "fh.data.load_dataset('digits')", "parts": "None", "resume": "False", "device": "'cpu'"}
    arguments |= option(r, further | {"workers": "0", "progress": "False"})
    return Call("fh.recipes.train", "train", arguments, check)


@target("fasthash.recipes.option")
def option_of_settings(r: Random) -> Call:
    def check(result, default, help):
        assert result.metadata["help"] == help

    return Call("fh.recipes.option", "option", {"default": "3", "help": "'of it'"}, check, fixed=("default", "help"))
