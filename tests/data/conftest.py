"""Files as data sets are released, and what is read from them."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest


def images_of(rng, n, *shape):
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8)


def assert_holds(dataset, items, labels, **splits):
    """The data set is these arrays, in this order, with splits of these positions."""
    assert dataset.items.dtype == items.dtype
    np.testing.assert_array_equal(dataset.items, items)
    assert dataset.labels.dtype == (np.bool_ if labels.ndim == 2 else np.int64)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.splits.keys() == splits.keys()
    for name, positions in splits.items():
        assert dataset.splits[name].dtype == np.int64
        assert dataset.splits[name].tolist() == list(positions)


def write_idx(path, array, code, compress=False):
    data = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(data, mtime=0) if compress else data)


def write_mnist(folder, rng, separator="-", end="", n_labels=3):
    folder.mkdir(parents=True)
    images, labels = images_of(rng, 5, 28, 28), np.array([9, 0, 3, 1, 2], np.uint8)
    parts = {"train": (images[:3], labels[:n_labels]), "t10k": (images[3:], labels[3:])}
    for prefix, (part, classes) in parts.items():
        write_idx(folder / f"{prefix}-images{separator}idx3-ubyte{end}", part, 8, bool(end))
        write_idx(folder / f"{prefix}-labels{separator}idx1-ubyte{end}", classes, 8, bool(end))
    return images, labels


def write_image(path, gray=0, mode="RGB", size=(6, 4)):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new(mode, size, gray if mode in "LP" else (gray,) * len(mode)).save(path)


def gray_values(dataset):
    return [int(dataset.items[i][0, 0, 0]) for i in range(len(dataset.items))]


def table(path, **columns):
    arrow = pytest.importorskip("pyarrow")
    arrow.parquet = pytest.importorskip("pyarrow.parquet")
    arrow.parquet.write_table(arrow.table(columns), path)


def binary(x):
    arrow = pytest.importorskip("pyarrow")
    return arrow.array([row.tobytes() for row in x], arrow.binary(x.shape[1]))


def lists(x, kind):
    arrow = pytest.importorskip("pyarrow")
    if kind == "fixed":
        return arrow.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1])
    of = {"list": arrow.list_, "large": arrow.large_list}[kind]
    return arrow.array(list(x), of(arrow.from_numpy_dtype(x.dtype)))


def arrow_file(path, compression=None, batches=1, stream=False, **columns):
    arrow = pytest.importorskip("pyarrow")
    whole = arrow.table(columns)
    options = {} if stream else {"options": arrow.ipc.IpcWriteOptions(compression=compression)}
    with (arrow.ipc.new_stream if stream else arrow.ipc.new_file)(str(path), whole.schema, **options) as writer:
        writer.write_table(whole, max_chunksize=-(-len(whole) // batches))


def hdf5(path, x, **settings):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("x", data=x, **settings)
