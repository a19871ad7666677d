from __future__ import annotations

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.data.conftest import gray_values, write_image

CLASSES = ("/a/airfield 0", "/c/cathedral/indoor 1")
IMAGES = ("/c/cathedral/indoor/00000001.jpg 1", "/a/airfield/00000002.jpg 0", "/a/airfield/00000001.jpg 0")


def write_places(folder, lists="", images="data_256", classes=CLASSES, listed=IMAGES):
    (folder / lists).mkdir(parents=True, exist_ok=True)
    (folder / lists / "categories_places365.txt").write_text("\n".join(classes))
    (folder / lists / "places365_train_standard.txt").write_text("\n".join(listed))
    for i, line in enumerate(IMAGES):
        write_image(folder / images / line.split()[0].removeprefix("/"), 40 * i)


@pytest.mark.parametrize(("lists", "images"), [("", "data_256"), ("filelist_places365-standard", "data_large")])
def test_the_training_images_with_their_classes(tmp_path, lists, images):
    write_places(tmp_path / "places365", lists, images)
    dataset = load_dataset("places365", tmp_path)
    assert gray_values(dataset) == pytest.approx([0, 40, 80], abs=3)
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [1, 0, 0]
    assert dataset.class_names == ("a/airfield", "c/cathedral/indoor")
    assert {name: split.tolist() for name, split in dataset.splits.items()} == {"train": [0, 1, 2]}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"listed": ["/a/b.jpg"]}, ValueError, "standard.txt, line 1: expected a path and a class, got '/a/b.jpg'"),
        ({"listed": [IMAGES[0], "/a x"]}, ValueError, "standard.txt, line 2: expected a path and a class, got '/a x'"),
        ({"listed": []}, ValueError, "standard.txt: expected lines of a path and a class, got none"),
        ({"classes": CLASSES[:1]}, ValueError, "standard.txt, line 1: expected a class below 1, got 1"),
        ({"listed": ["/x.jpg 0"]}, FileNotFoundError, "line 1: expected the image .*/x.jpg, which is not there"),
        ({"images": "data"}, FileNotFoundError, "places365: expected the images in data_256 or data_large or "),
    ],
)
def test_files_that_do_not_fit(tmp_path, changes, error, message):
    write_places(tmp_path / "places365", **changes)
    with pytest.raises(error, match=message):
        load_dataset("places365", tmp_path)


def test_without_names_of_the_classes(tmp_path):
    write_places(tmp_path / "places365")
    (tmp_path / "places365" / "categories_places365.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"categories_places365\.txt"):
        load_dataset("places365", tmp_path)
