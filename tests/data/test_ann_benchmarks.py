"""Data sets of ann-benchmarks, as that project's `write_output` of several years writes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.data import AnnBenchmark, read_ann_benchmark, write_ann_benchmark
from fasthash.errors import MissingDependencyError
from tests.conftest import damaged

RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, (60, 20)).astype(bool)
VECTORS = RNG.standard_normal((60, 5)).astype(np.float32)
TRAIN, TEST = slice(0, 50), slice(50, 60)


def nearest(rows, distances_of, k=8):
    distances = np.stack([distances_of(rows[TRAIN], query) for query in rows[TEST]])
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(distances, ids, axis=1)


def differing(rows, query):
    return (rows ^ query).sum(1)


def euclidean(rows, query):
    return np.sqrt(((rows - query) ** 2).sum(1))


def theirs(path, rows, ids, distances, old=False, **attributes):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        file.create_dataset("train", data=rows[TRAIN])
        file.create_dataset("test", data=rows[TEST])
        file.create_dataset("neighbors", data=ids.astype(np.int32 if old else np.int64))
        file.create_dataset("distances", data=distances.astype(np.float32 if old else np.float64))


def ours():
    codes = fh.pack_bits(BITS)
    return AnnBenchmark(codes[TRAIN], codes[TEST], fh.hamming_topk(codes[TEST], codes[TRAIN], 8), "hamming", 20)


@pytest.mark.parametrize("old", [False, True])
def test_bits_are_codes_and_their_distances_numbers_of_bits(tmp_path, old, monkeypatch):
    monkeypatch.setattr("fasthash.data.ann_benchmarks._BLOCK", 7)
    ids, distances = nearest(BITS, differing)
    new = {} if old else {"type": "dense", "dimension": 20}
    share = distances / 20 if old else distances  # SciPy's
    theirs(tmp_path / "x.hdf5", BITS, ids, share, old, distance="hamming", point_type="bit", **new)
    read = read_ann_benchmark(tmp_path / "x.hdf5")
    assert (read.distance, read.dimension) == ("hamming", 20)
    np.testing.assert_array_equal(read.train, fh.pack_bits(BITS[TRAIN]))
    np.testing.assert_array_equal(read.test, fh.pack_bits(BITS[TEST]))
    np.testing.assert_array_equal(read.neighbors.ids, ids)
    np.testing.assert_array_equal(read.neighbors.distances, distances)
    assert (read.neighbors.ids.dtype, read.neighbors.distances.dtype) == (np.int64, np.int32)
    found = fh.hamming_topk(read.test, read.train, 8)
    np.testing.assert_array_equal(found.distances, read.neighbors.distances)


def test_vectors_are_mapped(tmp_path):
    ids, distances = nearest(VECTORS, euclidean)
    theirs(tmp_path / "x.hdf5", VECTORS, ids, distances, True, distance="euclidean", point_type="float")
    read = read_ann_benchmark(str(tmp_path / "x.hdf5"))
    assert (read.distance, read.dimension) == ("euclidean", 5)
    assert isinstance(read.train, np.memmap)
    np.testing.assert_array_equal(read.train, VECTORS[TRAIN])
    np.testing.assert_array_equal(read.test, VECTORS[TEST])
    np.testing.assert_array_equal(read.neighbors.distances, distances.astype(np.float32))


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
def test_what_is_written_is_that_projects_and_is_read(tmp_path, form):
    h5py = pytest.importorskip("h5py")
    benchmark = ours()
    given = benchmark._replace(train=form(benchmark.train), test=form(benchmark.test))
    write_ann_benchmark(tmp_path / "x.hdf5", given)
    with h5py.File(tmp_path / "x.hdf5") as file:
        expected = {"type": "dense", "distance": "hamming", "dimension": 20, "point_type": "bit"}
        assert dict(file.attrs) == expected
        assert file["train"].dtype == bool
        np.testing.assert_array_equal(file["train"], BITS[TRAIN])
        np.testing.assert_array_equal(file["test"], BITS[TEST])
        assert file["neighbors"].dtype == np.int64
        np.testing.assert_array_equal(file["distances"], nearest(BITS, differing)[1])
    read = read_ann_benchmark(tmp_path / "x.hdf5")
    for name in ("train", "test"):
        np.testing.assert_array_equal(getattr(read, name), getattr(benchmark, name))
    np.testing.assert_array_equal(read.neighbors.ids, benchmark.neighbors.ids)
    assert read[3:] == benchmark[3:]


def test_vectors_are_written_as_float32(tmp_path):
    pytest.importorskip("h5py")
    ids, distances = nearest(VECTORS, euclidean)
    x = VECTORS.astype(np.float64)
    write_ann_benchmark(tmp_path / "x.hdf5", AnnBenchmark(x[TRAIN], x[TEST], fh.Hits(distances, ids), "euclidean", 5))
    read = read_ann_benchmark(tmp_path / "x.hdf5")
    assert read.train.dtype == np.float32
    np.testing.assert_array_equal(read.train, VECTORS[TRAIN])
    np.testing.assert_array_equal(read.neighbors.distances, distances)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"distance": "jaccard"}, "expected a distance of angular, euclidean, hamming, got jaccard"),
        ({"rows": VECTORS}, "expected train of 0 and 1, got others"),
        ({"ids": np.full((10, 8), 50)}, "expected neighbors from 0 to 49, got 50 to 50"),
        (
            {"ids": np.zeros((9, 8), int)},
            r"expected train, .* that fit, got \[50, 20\], \[10, 20\], \[9, 8\], \[10, 8\]",
        ),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, changed, message):
    ids, distances = nearest(BITS, differing)
    given = {"rows": BITS, "ids": ids, "distances": distances, "distance": "hamming", **changed}
    theirs(tmp_path / "x.hdf5", given.pop("rows"), given.pop("ids"), given.pop("distances"), **given)
    with pytest.raises(ValueError, match=f"^read_ann_benchmark: .*x.hdf5: {message}"):
        read_ann_benchmark(tmp_path / "x.hdf5")


def test_a_file_that_lacks_an_array_or_is_damaged_is_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.hdf5"
    write_ann_benchmark(path, ours())
    whole = path.read_bytes()
    with h5py.File(path, "a") as file:
        del file["neighbors"]
    with pytest.raises(ValueError, match="^read_ann_benchmark: .*x.hdf5: expected the array 'neighbors', got"):
        read_ann_benchmark(path)
    refused = 0
    for content in damaged(whole, 100):
        path.write_bytes(content)
        try:
            read_ann_benchmark(path)
        except ValueError as error:
            assert str(error).startswith(f"read_ann_benchmark: {path}: expected ")  # noqa: PT017
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"distance": "jaccard"},
            ValueError,
            "expected benchmark.distance to be one of 'angular', 'euclidean', 'hamming'",
        ),
        ({"dimension": 0}, ValueError, "expected benchmark.dimension at least 1, got 0"),
        ({"dimension": 12}, ValueError, "expected benchmark.train of 2 columns for dimension 12, got 3"),
        ({"train": BITS[TRAIN]}, TypeError, "expected benchmark.train of dtype uint8"),
        ({"distance": "angular"}, TypeError, "expected benchmark.train of a floating-point dtype, got uint8"),
        ({"test": fh.pack_bits(BITS)}, ValueError, "expected benchmark.neighbors of 60 queries, got ids int64"),
        ({"neighbors": None}, TypeError, "expected benchmark to be an AnnBenchmark with Hits, got AnnBenchmark"),
        (
            {"neighbors": fh.Hits(np.zeros((10, 1)), np.full((10, 1), -1))},
            ValueError,
            "expected benchmark.neighbors with ids from 0 to 49, got -1 to -1",
        ),
    ],
)
def test_fields_that_do_not_fit_are_refused(tmp_path, changed, error, message):
    with pytest.raises(error, match=f"^write_ann_benchmark: {message}"):
        write_ann_benchmark(tmp_path / "x.hdf5", ours()._replace(**changed))
    assert list(tmp_path.iterdir()) == []


def test_what_is_none_is_refused(tmp_path):
    with pytest.raises(TypeError, match="^write_ann_benchmark: expected benchmark to be an AnnBenchmark .*, got tuple"):
        write_ann_benchmark(tmp_path / "x.hdf5", tuple(ours()))
    for call in (read_ann_benchmark, lambda path: write_ann_benchmark(path, ours())):
        with pytest.raises(TypeError, match="ann_benchmark: expected path to be a string or a path, got int"):
            call(3)
    with pytest.raises(FileNotFoundError):
        read_ann_benchmark(tmp_path / "none.hdf5")


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "x.hdf5").write_bytes(b"x")
    with pytest.raises(MissingDependencyError, match=r"reading HDF5 files needs h5py, .*\[hdf5\]"):
        read_ann_benchmark(tmp_path / "x.hdf5")
    with pytest.raises(MissingDependencyError, match=r"writing HDF5 files needs h5py, .*\[hdf5\]"):
        write_ann_benchmark(tmp_path / "x.hdf5", ours())
