from __future__ import annotations

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.data.conftest import gray_values, write_image


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
        (["a.png 0 2"], ValueError, "test.txt, line 1: expected a path and labels of 0 and 1, .*, got 'a.png 0 2'"),
        (["a.png 1"], ValueError, "line 1: expected .* one for each of two or more classes, got 'a.png 1'"),
        (["a.png"], ValueError, "test.txt, line 1: expected a path and labels of 0 and 1, .*, got 'a.png'"),
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
