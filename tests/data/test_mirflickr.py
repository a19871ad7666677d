from __future__ import annotations

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.data.conftest import gray_values, write_image

TOPICS = {"animals": "2\n10\n", "people": "10\r\n1\r\n", "people_r1": "1\n", "README": "Topics of images.\n"}


def write_mirflickr(folder, images="mirflickr", lists="annotations", topics=TOPICS):
    for number in (1, 2, 3, 10):
        write_image(folder / images / f"im{number}.jpg", 20 * number)
    (folder / lists).mkdir(parents=True)
    for topic, numbers in topics.items():
        (folder / lists / f"{topic}.txt").write_text(numbers)


@pytest.mark.parametrize(("images", "lists"), [(".", "annotations"), ("mirflickr", "mirflickr25k_annotations_v080")])
def test_images_that_have_topics(tmp_path, images, lists):
    write_mirflickr(tmp_path / "mirflickr25k", images, lists)
    dataset = load_dataset("mirflickr25k", tmp_path)
    assert gray_values(dataset) == pytest.approx([20, 40, 200], abs=3)
    assert dataset.labels.dtype == np.bool_
    assert dataset.labels.tolist() == [[False, True], [True, False], [True, True]]
    assert dataset.class_names == ("animals", "people")
    assert dataset.splits == {}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lists": "elsewhere"}, FileNotFoundError, "expected lists of topics in annotations or .*, got none"),
        ({"topics": {"a": "1\n", "b": "4"}}, FileNotFoundError, "expected the image .*im4.jpg, which has a topic but"),
        ({"topics": {"a": "1\n", "b": "x"}}, ValueError, "b.txt: expected the numbers of images, a line each, got x"),
        ({"topics": {"a": "1\n", "b": ""}}, ValueError, "b.txt: expected the numbers of images, a line each, got none"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changes, error, message):
    write_mirflickr(tmp_path / "mirflickr25k", **changes)
    with pytest.raises(error, match=message):
        load_dataset("mirflickr25k", tmp_path)
