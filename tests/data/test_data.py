from __future__ import annotations

import builtins
import bz2
import gzip
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from fasthash.data import Dataset, ImageFiles, load_dataset, read_idx
from fasthash.errors import MissingDependencyError

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


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


def cut(path, n_bytes):
    path.write_bytes(path.read_bytes()[:-n_bytes])


# Datasets


def test_a_dataset_knows_its_classes(rng):
    dataset = Dataset("set", images_of(rng, 3, 4, 4), np.array([0, 1, 1]), {"test": np.array([2])}, ("a", "b", "c"))
    assert dataset.n_classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": np.zeros((3, 4))}, "expected items to be uint8 .* or float32 .*, got float64"),
        ({"items": np.zeros((3, 4, 4, 4), np.uint8)}, "got uint8 \\[3, 4, 4, 4\\]"),
        ({"items": np.full((3, 4), np.nan, np.float32)}, "expected items to be finite"),
        ({"labels": np.array([0, 1])}, "expected labels for 3 items, got 2"),
        ({"labels": np.array([0, 1, 2])}, "expected labels from 0 to 1, got 0 to 2"),
        ({"labels": np.array([0, 1, -1])}, "expected labels from 0 to 1, got -1 to 1"),
        ({"labels": np.array([0, 1, 1], np.int32)}, "expected labels of dtype int64 or bool, got int32"),
        ({"labels": np.zeros(3)}, "expected labels to be integers .*, got float64"),
        ({"labels": np.zeros((3, 3), np.bool_)}, "expected labels of 2 columns, one a class, got 3"),
        ({"splits": {"test": np.array([0, 3])}}, "positions from 0 to 2 in the split 'test', got 0 to 3"),
        ({"splits": {"test": np.array([-1, 2])}}, "positions from 0 to 2 in the split 'test', got -1 to 2"),
        ({"splits": {"test": np.array([True])}}, "int64 positions .* 'test', got bool"),
    ],
)
def test_a_dataset_refuses_what_does_not_fit(change, message):
    arguments = {
        "name": "set",
        "items": np.zeros((3, 4), np.float32),
        "labels": np.array([0, 1, 1]),
        "splits": {},
        "class_names": ("a", "b"),
    }
    with pytest.raises(ValueError, match="data set 'set': .*" + message):
        Dataset(**arguments | change)


# .npz


def test_npz_with_splits(rng, tmp_path):
    train, test = images_of(rng, 4, 5, 6), images_of(rng, 2, 5, 6)
    labels = np.array([2, 0, 1, 1], np.uint8), np.array([0, 2], np.uint8)
    np.savez(
        tmp_path / "digits.npz",
        train_images=train,
        train_labels=labels[0],
        test_images=test,
        test_labels=labels[1],
        class_names=np.array(["a", "b", "c"]),
        train_exact=np.ones(4, np.bool_),
    )
    dataset = load_dataset("digits", tmp_path)
    assert_holds(dataset, np.concatenate([train, test]), np.concatenate(labels), train=range(4), test=range(4, 6))
    assert (dataset.name, dataset.class_names) == ("digits", ("a", "b", "c"))


@pytest.mark.parametrize("n", [1, 2500])
def test_npz_of_differences(rng, tmp_path, n):
    images = images_of(rng, n, 3, 4, 3)
    planes = images.transpose(3, 0, 1, 2).copy()
    planes[[0, 2]] -= planes[1]
    delta = np.diff(np.diff(planes, axis=2, prepend=np.uint8(0)), axis=3, prepend=np.uint8(0))
    labels = rng.integers(0, 3, n)
    np.savez_compressed(tmp_path / "set.npz", train_delta=delta, train_labels=labels)
    assert_holds(load_dataset(tmp_path / "set.npz"), images, labels, train=range(n))


def test_npz_of_features_with_several_labels(rng, tmp_path):
    features, labels = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 4), dtype=np.uint8)
    np.savez(tmp_path / "scene.npz", features=features, labels=labels)
    dataset = load_dataset(str(tmp_path / "scene.npz"))
    assert_holds(dataset, features.astype(np.float32), labels)
    assert dataset.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": None}, "expected the array 'train_labels', got train_images"),
        ({"train_images": None}, "expected the arrays train_images"),
        ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(2, int)}, "expected the arrays train_images"),
        ({"train_features": np.zeros((3, 3))}, "expected one array of items for each split, got 'train_features'"),
        ({"train_labels": np.zeros(2, int)}, "expected labels for 3 items, got 2"),
        ({"train_labels": np.array([0, 1, 2])}, "expected labels from 0 to 1, got 0 to 2"),
        ({"train_labels": np.zeros((3, 3), np.bool_)}, "expected labels of 2 columns, one a class, got 3"),
        ({"train_labels": np.array([0, None, 1])}, "expected a readable array 'train_labels', got Object arrays"),
        ({"train_images": np.zeros((3, 2, 2))}, "expected items to be uint8 .*, got float64"),
        (
            {"test_images": np.zeros((1, 4, 5), np.uint8)},
            "expected items of the shape \\[4, 4\\] each, as in .*, got \\[4, 5\\]",
        ),
        ({"test_labels": np.array([[1, 0]])}, "expected labels of the shape \\[\\] each, as in .*, got \\[2\\]"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, change, message):
    arrays = {
        "train_images": np.zeros((3, 4, 4), np.uint8),
        "train_labels": np.array([0, 1, 0]),
        "test_images": np.zeros((1, 4, 4), np.uint8),
        "test_labels": np.array([1]),
        "class_names": np.array(["a", "b"]),
    } | change
    if "train_images" in change and change["train_images"] is None:
        arrays = {"train_labels": arrays["train_labels"]}
    path = tmp_path / "set.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        load_dataset(path)


def test_npz_of_differences_in_another_shape(tmp_path):
    np.savez(tmp_path / "set.npz", train_delta=np.zeros((2, 3, 4, 3), np.uint8), train_labels=np.zeros(2, int))
    with pytest.raises(ValueError, match="expected train_delta of uint8 \\[3, n, h, w\\], got uint8 \\[2, 3, 4, 3\\]"):
        load_dataset(tmp_path / "set.npz")


def test_damaged_npz(rng, tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=images_of(rng, 9, 8, 8), labels=np.zeros(9, int))
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=f"{path}: expected an .npz archive"):
        load_dataset(path)
    path.write_bytes(whole[:300] + bytes(64) + whole[364:])
    with pytest.raises(ValueError, match=f"{path}: expected a readable array 'images', got Bad CRC-32"):
        load_dataset(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match=f"{path}: expected an .npz archive"):
        load_dataset(path)


# idx


def write_idx(path, array, code, compress=False):
    data = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(data, mtime=0) if compress else data)


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)])
@pytest.mark.parametrize("compress", [False, True])
def test_idx_of_every_dtype(rng, tmp_path, dtype, code, compress):
    array = (rng.normal(size=(3, 2, 4)) * 50).astype(dtype)
    write_idx(tmp_path / "array", array, code, compress)
    read = read_idx(tmp_path / "array")
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected idx .*, got the bytes b''"),
        (b"\0\0\x0a\x01\0\0\0\1\0", "expected idx"),
        (b"\0\1\x08\x01\0\0\0\1\0", "expected idx"),
        (
            b"\0\0\x08\x02\0\0\0\2\0\0\0\3" + bytes(5),
            r"expected 18 bytes, as its header of shape \[2, 3\] says, got 17",
        ),
        (b"\0\0\x08\x01\0\0\0\1" + bytes(2), "expected 9 bytes, .* got 10"),
        (b"\0\0\x08\x02\0\0", "expected 12 bytes, .* got 6"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\1\0", mtime=0)[:-3], "expected a whole gzip file"),
    ],
)
def test_damaged_idx(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=f"{tmp_path / 'file'}: {message}"):
        read_idx(tmp_path / "file")


def write_mnist(folder, rng, separator="-", end="", n_labels=3):
    folder.mkdir(parents=True)
    images, labels = images_of(rng, 5, 28, 28), np.array([9, 0, 3, 1, 2], np.uint8)
    parts = {"train": (images[:3], labels[:n_labels]), "t10k": (images[3:], labels[3:])}
    for prefix, (part, classes) in parts.items():
        write_idx(folder / f"{prefix}-images{separator}idx3-ubyte{end}", part, 8, bool(end))
        write_idx(folder / f"{prefix}-labels{separator}idx1-ubyte{end}", classes, 8, bool(end))
    return images, labels


@pytest.mark.parametrize(
    ("name", "folder", "separator", "end"),
    [
        ("mnist", "mnist", "-", ""),
        ("mnist", "MNIST/raw", ".", ""),
        ("fashion_mnist", "fashion_mnist", "-", ".gz"),
        ("fashion_mnist", "FashionMNIST/raw", ".", ".gz"),
    ],
)
def test_mnist_under_every_file_name(rng, tmp_path, name, folder, separator, end):
    images, labels = write_mnist(tmp_path / folder, rng, separator, end)
    dataset = load_dataset(name, tmp_path)
    assert_holds(dataset, images, labels, train=range(3), test=range(3, 5))
    assert dataset.class_names[9] == ("9" if name == "mnist" else "Ankle boot")


def test_mnist_with_a_missing_or_short_file(rng, tmp_path):
    write_mnist(tmp_path / "short", rng, n_labels=2)
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte: expected labels for 3 items, got 2"):
        load_dataset(tmp_path / "short")
    (tmp_path / "short" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="expected t10k-labels-idx1-ubyte besides"):
        load_dataset(tmp_path / "short")


# CIFAR


def python2_pickle(value):
    """Bytes as Python 2's cPickle wrote them with protocol 2: str is bytes, an array is a call of _reconstruct."""

    def write(value):
        if isinstance(value, dict):
            return b"}(" + b"".join(write(key) + write(item) for key, item in value.items()) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(write, value)) + b"e"
        if isinstance(value, str):
            return (
                b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
            ) + value.encode()
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        data = b"T" + struct.pack("<i", value.size) + value.tobytes()
        return (
            made + b"(K\x01" + write(value.shape[0]) + write(value.shape[1]) + b"\x86" + dtype + b"\x89" + data + b"tb"
        )

    return b"\x80\x02" + write(value) + b"."


def planes(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def cifar_files(release, images, labels, names):
    """The files of a release by name; every file but the test one has two images."""
    hundred = release.startswith("cifar-100")
    train = ["train"] if hundred else [f"data_batch_{i}" for i in range(1, 6)]
    batches = dict(
        zip(
            [*train, "test" if hundred else "test_batch"], np.split(np.arange(len(labels)), len(train) + 1), strict=True
        )
    )
    if release.endswith(("bin", "binary")):
        records = np.column_stack([labels] * (1 + hundred) + [planes(images)]).astype(np.uint8)
        if hundred:
            records[:, 0] //= 5
        files = {f"{name}.bin": records[rows].tobytes() for name, rows in batches.items()}
        return files | {"fine_label_names.txt" if hundred else "batches.meta.txt": "\n".join([*names, ""]).encode()}
    files = {
        name: python2_pickle(
            {
                "batch_label": name,
                "fine_labels" if hundred else "labels": labels[rows].tolist(),
                "data": planes(images[rows]),
                "filenames": [f"{row}.png" for row in rows],
            }
        )
        for name, rows in batches.items()
    }
    meta = {"fine_label_names" if hundred else "label_names": list(names), "num_vis": 3072}
    return files | {"meta" if hundred else "batches.meta": python2_pickle(meta)}


def cifar(rng, release):
    hundred = release.startswith("cifar-100")
    n = 4 if hundred else 12
    names = [f"class_{i}" for i in range(100)] if hundred else CIFAR10_NAMES
    images, labels = images_of(rng, n, 32, 32, 3), rng.integers(0, len(names), n)
    labels[0] = len(names) - 1
    return images, labels, names, cifar_files(release, images, labels, names)


RELEASES = [
    ("cifar10", "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
    ("cifar10", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
    ("cifar100", "cifar-100-binary", "cifar-100-binary.tar.gz"),
    ("cifar100", "cifar-100-python", "cifar-100-python.tar.gz"),
]


def write_files(folder, files):
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def write_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in reversed(files.items()):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(("name", "folder", "archive"), RELEASES)
@pytest.mark.parametrize("place", ["root", "folder of its own", "archive", "path"])
def test_cifar(rng, tmp_path, name, folder, archive, place):
    images, labels, names, files = cifar(rng, folder)
    if place == "archive":
        write_archive(tmp_path / archive, folder, files)
    else:
        write_files(tmp_path / (name if place == "folder of its own" else "") / folder, files)
    dataset = load_dataset(tmp_path / folder) if place == "path" else load_dataset(name, tmp_path)
    n_train = 2 if name == "cifar100" else 10
    assert_holds(dataset, images, labels, train=range(n_train), test=range(n_train, len(labels)))
    assert dataset.class_names == tuple(names)
    assert set(os.listdir(tmp_path)) == {{"archive": archive, "folder of its own": name}.get(place, folder)}


@pytest.mark.parametrize(
    ("release", "file", "data", "message"),
    [
        ("cifar-10-batches-bin", "data_batch_2.bin", bytes(3073 + 3000), "expected records of 3073 bytes, got 6073"),
        ("cifar-10-batches-bin", "data_batch_2.bin", b"", "expected records of 3073 bytes, got 0"),
        ("cifar-10-batches-bin", "test_batch.bin", bytes([10]) + bytes(3072), "labels from 0 to 9, got 10 to 10"),
        ("cifar-10-batches-py", "data_batch_1", b"\x80\x02}(", "expected a pickle of arrays and plain values"),
        ("cifar-10-batches-py", "data_batch_1", python2_pickle([1]), "with a ndarray b'data', got NoneType"),
        (
            "cifar-10-batches-py",
            "data_batch_1",
            python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}),
            "expected labels for 2 items, got 1",
        ),
        (
            "cifar-10-batches-py",
            "data_batch_1",
            python2_pickle({"data": np.zeros((2, 307), np.uint8), "labels": [1, 1]}),
            r"expected data of uint8 \[n, 3072\], got uint8 \[2, 307\]",
        ),
    ],
)
def test_damaged_cifar(rng, tmp_path, release, file, data, message):
    write_files(tmp_path / release, cifar(rng, release)[-1] | {file: data})
    with pytest.raises(ValueError, match=f"{tmp_path / release / file}: .*{message}"):
        load_dataset("cifar10", tmp_path)


def test_cifar_with_a_missing_batch(rng, tmp_path):
    *_, files = cifar(rng, "cifar-10-batches-py")
    del files["data_batch_3"]
    write_archive(tmp_path / "cifar-10-python.tar.gz", "cifar-10-batches-py", files)
    with pytest.raises(FileNotFoundError, match="cifar-10-python.tar.gz: .*got no data_batch_3$"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("kept", [30, 5000])
def test_truncated_archive(rng, tmp_path, kept):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, "cifar-10-batches-bin", cifar(rng, "cifar-10-batches-bin")[-1])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{path}: expected a whole .tar.gz archive"):
        load_dataset("cifar10", tmp_path)


def test_an_archive_with_another_checksum(rng, tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, "cifar-10-batches-bin", cifar(rng, "cifar-10-batches-bin")[-1])
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path}: expected a whole .tar.gz archive, got CRC check failed"):
        load_dataset("cifar10", tmp_path)


class Command:
    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "posix.system"), (eval, "builtins.eval"), (np.load, "numpy.load")]
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_code_is_refused(rng, tmp_path, function, name, protocol):
    proof = tmp_path / "proof"
    argument = {os.system: f"touch {proof}", eval: f"open({str(proof)!r}, 'w')", np.load: str(proof)}[function]
    data = pickle.dumps({"data": Command(function, argument), "labels": [0]}, protocol)
    write_files(tmp_path / "cifar10", cifar(rng, "cifar-10-batches-py")[-1] | {"data_batch_1": data})
    name = name.replace("builtins", "__builtin__") if protocol == 2 else name
    with pytest.raises(ValueError, match=f"data_batch_1: .*a reference to {name}, which could run code"):
        load_dataset(tmp_path / "cifar10")
    assert not proof.exists()


# USPS


def usps(rng):
    values = rng.choice([-1.0, -0.5, 0.0, 0.999, 1.0], (5, 256))
    gray = {-1.0: 0, -0.5: 64, 0.0: 128, 0.999: 255, 1.0: 255}
    images = np.vectorize(gray.get)(values).astype(np.uint8).reshape(-1, 16, 16)
    return values, images, np.array([6, 0, 9, 1, 2])


def svmlight(values, labels):
    """LIBSVM's lines, which leave zeros out."""
    lines = (
        " ".join([str(label + 1), *(f"{i}:{value:g}" for i, value in enumerate(row, 1) if value)])
        for row, label in zip(values, labels, strict=True)
    )
    return bz2.compress("\n".join([*lines, ""]).encode())


def zip_lines(values, labels):
    lines = (
        " ".join([f"{label:.4f}", *(f"{value:.4f}" for value in row)]) + " "
        for row, label in zip(values, labels, strict=True)
    )
    return gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)


@pytest.mark.parametrize("folder", ["usps", "."])
@pytest.mark.parametrize(
    ("write", "train", "test"), [(svmlight, "usps.bz2", "usps.t.bz2"), (zip_lines, "zip.train.gz", "zip.test.gz")]
)
def test_usps(rng, tmp_path, write, train, test, folder):
    values, images, labels = usps(rng)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / train).write_bytes(write(values[:3], labels[:3]))
    with pytest.raises(FileNotFoundError, match=f"expected {test} besides {train}"):
        load_dataset("usps", tmp_path)
    (tmp_path / folder / test).write_bytes(write(values[3:], labels[3:]))
    dataset = load_dataset("usps", tmp_path)
    assert_holds(dataset, images, labels, train=range(3), test=range(3, 5))
    assert dataset.n_classes == 10


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("usps.bz2", svmlight(np.zeros((1, 256)), [10]), "expected labels from 0 to 9, got 10 to 10"),
        ("usps.bz2", svmlight(np.ones((1, 257)), [1]), "expected LIBSVM's format with 256 features"),
        ("usps.bz2", svmlight(np.full((1, 256), 2), [1]), "expected pixels from -1 to 1, got 2.0 to 2.0"),
        ("usps.bz2", bz2.compress(b"1 word\n"), "expected LIBSVM's format"),
        ("usps.bz2", svmlight(np.ones((9, 256)), [1] * 9)[:-9], "expected LIBSVM's format"),
        ("usps.bz2", b"1 1:1\n", "expected LIBSVM's format"),
        ("zip.train.gz", zip_lines(np.zeros((2, 255)), [1, 1]), "expected 257 numbers a line, got 256"),
        ("zip.train.gz", zip_lines(np.zeros((2, 256)), [1, 0.5]), "expected whole numbers as labels, got 0.5"),
        ("zip.train.gz", gzip.compress(b"1 word\n", mtime=0), "expected lines of numbers"),
        ("zip.train.gz", zip_lines(np.zeros((2, 256)), [1, 1])[:-9], "expected lines of numbers"),
        ("zip.train.gz", b"1 0\n", "expected lines of numbers"),
    ],
)
def test_damaged_usps(tmp_path, file, data, message):
    test = {"usps.bz2": "usps.t.bz2", "zip.train.gz": "zip.test.gz"}[file]
    (tmp_path / file).write_bytes(data)
    (tmp_path / test).write_bytes((svmlight if test.endswith("bz2") else zip_lines)(np.zeros((1, 256)), [1]))
    with pytest.raises(ValueError, match=f"{tmp_path / file}: {message}"):
        load_dataset("usps", tmp_path)


# SVHN


def write_svhn(folder, images, labels, n_train):
    classes = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
    for name, rows in (("train", slice(n_train)), ("test", slice(n_train, None))):
        arrays = {"X": images[rows].transpose(1, 2, 3, 0), "y": classes[rows]}
        savemat(folder / f"{name}_32x32.mat", arrays, do_compression=True)


def test_svhn(rng, tmp_path):
    images, labels = images_of(rng, 5, 32, 32, 3), np.array([0, 9, 1, 0, 5])
    write_svhn(tmp_path, images, labels, 3)
    dataset = load_dataset("svhn", tmp_path)
    assert_holds(dataset, images, labels, train=range(3), test=range(3, 5))
    assert dataset.n_classes == 10


def test_damaged_svhn(rng, tmp_path):
    images, path = images_of(rng, 5, 32, 32, 3), tmp_path / "train_32x32.mat"
    write_svhn(tmp_path, images, np.array([0, 9, 1, 11, 5]), 3)
    with pytest.raises(ValueError, match="test_32x32.mat: expected labels from 1 to 10, got 5 to 11"):
        load_dataset("svhn", tmp_path)
    whole = path.read_bytes()
    for data in (whole[:-100], whole[:140], whole[:50], b"", b"no MATLAB" * 100):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"{path}: expected"):
            load_dataset("svhn", tmp_path)
    savemat(path, {"X": images})
    with pytest.raises(ValueError, match=r"expected X of uint8 \[32, 32, 3, n\] and y .*, got {'X': 'uint8 \[5, 32"):
        load_dataset("svhn", tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(FileNotFoundError, match="expected test_32x32.mat besides train_32x32.mat"):
        load_dataset("svhn", tmp_path)


# Image files


def write_image(path, gray=0, mode="RGB", size=(6, 4)):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new(mode, size, gray if mode in "LP" else (gray,) * len(mode)).save(path)


def gray_values(dataset):
    return [int(dataset.items[i][0, 0, 0]) for i in range(len(dataset.items))]


def test_image_files_are_decoded_when_asked(tmp_path):
    write_image(tmp_path / "gray.png", 7, "L")
    write_image(tmp_path / "alpha.png", 9, "RGBA", (3, 5))
    write_image(tmp_path / "cut.jpg", 5, size=(64, 64))
    cut(tmp_path / "cut.jpg", 300)
    (tmp_path / "text.png").write_text("no image")
    files = ImageFiles([tmp_path / name for name in ("gray.png", "alpha.png", "cut.jpg", "text.png", "none.png")])
    assert len(files) == 5
    assert files[0].dtype == np.uint8
    np.testing.assert_array_equal(files[0], np.full((4, 6, 3), 7))
    np.testing.assert_array_equal(files[np.int64(1)], np.full((5, 3, 3), 9))
    for i, name in ((2, "cut.jpg"), (3, "text.png"), (-1, "none.png")):
        with pytest.raises(ValueError, match=f"{tmp_path / name}: expected an image that Pillow can decode"):
            files[i]
    with pytest.raises(IndexError):
        files[5]


def test_image_files_need_pillow(tmp_path, monkeypatch):
    def without_pillow(name, *arguments):
        if name.startswith("PIL"):
            raise ImportError(name)
        return imported(name, *arguments)

    imported = builtins.__import__
    write_image(tmp_path / "cat" / "0.png")
    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(MissingDependencyError, match="Pillow, but Pillow is not installed; pip install .*images"):
        load_dataset(tmp_path)


def test_folder_of_classes(tmp_path):
    for i, file in enumerate(("cat/a.jpg", "cat/b/c.PNG", "dog/0.bmp", "train/x.webp")):
        write_image(tmp_path / "pets" / file, 10 * i)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / ".cache").mkdir()
    dataset = load_dataset("pets", tmp_path)
    assert dataset.class_names == ("cat", "dog", "train")
    assert dataset.labels.tolist() == [0, 0, 1, 2]
    assert dataset.labels.dtype == np.int64
    assert gray_values(dataset) == pytest.approx([0, 10, 20, 30], abs=3)
    assert dataset.splits == {}


def test_folder_of_splits(tmp_path):
    for i, file in enumerate(("test/b/0.png", "train/a/0.png", "train/a/1.png", "train/b/0.png", "train/c/0.png")):
        write_image(tmp_path / file, 10 * i)
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.labels.tolist() == [1, 0, 0, 1, 2]
    assert gray_values(dataset) == [0, 10, 20, 30, 40]
    assert {name: split.tolist() for name, split in dataset.splits.items()} == {"test": [0], "train": [1, 2, 3, 4]}


def test_office31(tmp_path):
    for i, file in enumerate(("amazon/images/bike/f1.jpg", "amazon/images/mug/f1.jpg", "dslr/images/mug/f1.jpg")):
        write_image(tmp_path / "office31" / file, 10 * i)
    dataset = load_dataset("office31/amazon", tmp_path)
    assert (dataset.name, dataset.class_names) == ("office31/amazon", ("bike", "mug"))
    assert load_dataset("office31/dslr", tmp_path).items.paths[0].parts[-4:] == ("dslr", "images", "mug", "f1.jpg")


def test_a_class_without_images(tmp_path):
    write_image(tmp_path / "cat" / "0.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path / 'dog'}: expected images .*, got none"):
        load_dataset(tmp_path)


# Lists


def write_lists(folder, prefix="", **lists):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{prefix}{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("prefix", "images"),
    [
        ("", "coco/"),
        ("./", "coco/"),
        ("coco/", "coco/"),
        ("./data/coco/", "coco/"),
        ("/home/someone/dataset/coco/", "coco/"),
        ("", ""),
    ],
)
def test_lists_of_images_with_several_labels(tmp_path, prefix, images):
    for i, file in enumerate(("val2014/a.jpg", "train2014/b.jpg", "train2014/c.jpg")):
        write_image(tmp_path / images / file, 40 * i)
    write_lists(
        tmp_path / "coco",
        prefix,
        train=["train2014/b.jpg 1 1 0"],
        test=["val2014/a.jpg 0 0 1"],
        database=["train2014/c.jpg 0 0 0", "train2014/b.jpg 1 1 0"],
    )
    dataset = load_dataset("coco", tmp_path)
    assert gray_values(dataset) == pytest.approx([40, 0, 80], abs=3)
    assert dataset.labels.dtype == np.bool_
    np.testing.assert_array_equal(dataset.labels, [[1, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert {name: split.tolist() for name, split in dataset.splits.items()} == {
        "train": [0],
        "test": [1],
        "database": [2, 0],
    }
    assert dataset.class_names == ("0", "1", "2")


def test_lists_of_images_with_one_label(tmp_path):
    for file in "abc":
        write_image(tmp_path / "imagenet100" / f"{file}.JPEG")
    write_lists(tmp_path / "imagenet100", train=["a.JPEG 0 0 1 0", "b.JPEG 1 0 0 0"], test=["c.JPEG 0 1 0 0", ""])
    dataset = load_dataset("imagenet100", tmp_path)
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [2, 0, 1]
    assert dataset.n_classes == 4
    assert dataset.splits.keys() == {"train", "test"}


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["a.png 0 2"], ValueError, "test.txt, line 1: expected a path and labels of 0 and 1, got 'a.png 0 2'"),
        (["a.png"], ValueError, "test.txt, line 1: expected a path and labels of 0 and 1, got 'a.png'"),
        (["a.png 0 1", "b.png 0 1 0"], ValueError, "line 2: expected 2 labels as in .*train.txt, got 3"),
        (["a.png 1 0"], ValueError, "test.txt, line 1: expected the labels that .*a.png had before, got others"),
        (["", ""], ValueError, "test.txt: expected lines of a path and labels, got none"),
        (["b.png 1 0", "c.png 1 0"], FileNotFoundError, "line 2: expected the image .*c.png, which is not there"),
        (["x/c.png 1 0"], FileNotFoundError, "line 1: expected the image 'x/c.png' in .*nuswide_21 or .*, where it is"),
        (["x/b.png 1 0", "y/b.png 1 0"], ValueError, "line 2: expected a path that starts with 'x/'"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, lines, error, message):
    for file in "ab":
        write_image(tmp_path / "nuswide_21" / f"{file}.png")
    write_lists(tmp_path / "nuswide_21", train=["a.png 0 1"], test=lines)
    with pytest.raises(error, match=message):
        load_dataset("nuswide_21", tmp_path)


# Names


def test_root_is_an_environment_variable(rng, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTHASH_DATA", str(tmp_path))
    images, labels = write_mnist(tmp_path / "mnist", rng)
    assert_holds(load_dataset("mnist"), images, labels, train=range(3), test=range(3, 5))
    (tmp_path / "other").mkdir()
    with pytest.raises(FileNotFoundError, match="found no data set 'mnist'"):
        load_dataset("mnist", tmp_path / "other")


def test_a_name_prefers_the_npz_and_a_path_is_what_it_says(rng, tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist", rng)
    np.savez(tmp_path / "mnist.npz", images=images_of(rng, 1, 2, 2), labels=np.array([0]))
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("mnist", tmp_path).items) == 1
    assert len(load_dataset("mnist.npz").items) == 1
    assert len(load_dataset("./mnist").items) == 5
    assert (load_dataset("./mnist").name, load_dataset("mnist.npz").name) == ("mnist", "mnist")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", ["mnist.npz", "mnist: train-images-idx3-ubyte", "MNIST/raw: train-images"]),
        ("cifar10", ["cifar10.npz", "cifar-10-batches-bin/, cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"]),
        ("usps", ["usps.npz", "usps.bz2, usps.t.bz2, or zip.train.gz, zip.test.gz"]),
        ("svhn", ["svhn: train_32x32.mat"]),
        ("coco", ["coco: train.txt, test.txt"]),
        ("office31/dslr", ["office31/dslr: <class>/"]),
        ("my_set", ["my_set.npz", "my_set: train-images", "my_set: cifar-10", "my_set: train.txt", "my_set: <class>/"]),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_what_is_not_found_is_told_with_every_place(tmp_path, monkeypatch, name, files, given):
    monkeypatch.delenv("FASTHASH_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(name, tmp_path if given else None)
    message = str(caught.value)
    assert f"found no data set {name!r}" in message
    for file in files:
        assert file in message
    assert (f"{tmp_path}/" if given else "$FASTHASH_DATA/") in message
    root = f"now {tmp_path}" if given else "neither is set"
    assert f"set the environment variable FASTHASH_DATA to the folder that holds it ({root})" in message
    assert "Registered names: cifar10, cifar100, coco, digits, fashion_mnist, imagenet100, mnist" in message


@pytest.mark.parametrize("path", ["sets/none.npz", "sets/none"])
def test_a_path_that_is_not_there(tmp_path, path):
    with pytest.raises(FileNotFoundError, match=f"looked for\n  {tmp_path / path}"):
        load_dataset(tmp_path / path)
    with pytest.raises(FileNotFoundError, match=f"looked for\n  {path}(.*\n)*  {tmp_path / path}"):
        load_dataset(path, tmp_path)


def test_digits_need_no_files(monkeypatch):
    monkeypatch.delenv("FASTHASH_DATA", raising=False)
    dataset = load_dataset("digits")
    assert dataset.items.shape == (1797, 8, 8)
    assert dataset.items.max() == 255
    assert np.bincount(dataset.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert dataset.class_names == tuple("0123456789")
