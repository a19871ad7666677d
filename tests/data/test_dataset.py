from __future__ import annotations

import numpy as np
import pytest

from fasthash.data import DATASETS, load_dataset
from tests.data.conftest import assert_holds, images_of, write_mnist


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
    assert f"Registered names: {', '.join(DATASETS)}" in message


@pytest.mark.parametrize("path", ["sets/none.npz", "sets/none"])
def test_a_path_that_is_not_there(tmp_path, path):
    with pytest.raises(FileNotFoundError, match=f"looked for\n  {tmp_path / path}"):
        load_dataset(tmp_path / path)
    with pytest.raises(FileNotFoundError, match=f"looked for\n  {path}(.*\n)*  {tmp_path / path}"):
        load_dataset(path, tmp_path)


def test_a_name_that_is_nearly_one_is_recognised(tmp_path):
    with pytest.raises(FileNotFoundError, match="; did you mean 'digits'\\?$"):
        load_dataset("Digit", tmp_path)
