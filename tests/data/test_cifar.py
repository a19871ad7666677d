from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.data.conftest import assert_holds, images_of

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


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
            "expected labels of shape \\[2\\] or \\[2, c\\], got \\[1\\]",
        ),
        (
            "cifar-10-batches-py",
            "data_batch_1",
            python2_pickle({"data": np.zeros((2, 307), np.uint8), "labels": [1, 1]}),
            r"expected data of uint8 \[n, 3072\], got uint8 \[2, 307\]",
        ),
        (
            "cifar-10-batches-py",
            "data_batch_1",
            python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": "ab"}),
            "expected a dictionary with a list b'labels', got bytes",
        ),
        (
            "cifar-10-batches-py",
            "data_batch_1",
            python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": ["a", "b"]}),
            r"expected labels to be integers \[n\] or indicators \[n, c\], got \|S1 \[2\]",
        ),
        (
            "cifar-10-batches-py",
            "batches.meta",
            python2_pickle({"label_names": [*CIFAR10_NAMES[:9], 9]}),
            r"expected the names of classes in b'label_names', got \[b'airplane'.*, 9\]$",
        ),
        (
            "cifar-10-batches-py",
            "batches.meta",
            python2_pickle({"names": CIFAR10_NAMES}),
            "expected a dictionary with a list b'label_names', got NoneType$",
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
