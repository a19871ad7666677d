from __future__ import annotations

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.data.conftest import gray_values, write_image


def test_folder_of_classes(tmp_path):
    for i, file in enumerate(("cat/a.jpg", "cat/b/c.PNG", "dog/0.bmp", "train/x.webp")):
        write_image(tmp_path / "pets" / file, 10 * i)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / ".cache").mkdir()
    write_image(tmp_path / "pets" / "dog" / ".hidden.png", 255)
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


@pytest.mark.parametrize(
    ("files", "got"),
    [
        (("Testing/glioma/0.jpg", "Training/glioma/0.jpg"), "Testing, Training, the first Testing/glioma/0.jpg"),
        (("amazon/images/mug/0.jpg",), "amazon, the first amazon/images/mug/0.jpg"),
        (("test/pets/cat/0.png", "train/pets/cat/0.png"), "test/pets, train/pets, the first test/pets/cat/0.png"),
        ([f"{i}/x/0.png" for i in range(6)], "0, 1, 2, 3, 4, ..., the first 0/x/0.png"),
    ],
)
def test_folders_that_only_have_folders_are_no_classes(tmp_path, files, got):
    for file in files:
        write_image(tmp_path / "kag" / file)
    message = "expected a folder of images for each class, or such folders in parts of the names train, val, .*, got "
    with pytest.raises(ValueError, match=f"^{tmp_path}/kag: {message}folders with images only further below: {got}$"):
        load_dataset(tmp_path / "kag")
