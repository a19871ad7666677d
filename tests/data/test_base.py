from __future__ import annotations

import builtins

import numpy as np
import pytest

from fasthash.data import Dataset, ImageFiles, load_dataset
from fasthash.errors import MissingDependencyError
from tests.data.conftest import images_of, write_image


def test_a_dataset_knows_its_classes(rng):
    dataset = Dataset("set", images_of(rng, 3, 4, 4), np.array([0, 1, 1]), {"test": np.array([2])}, ("a", "b", "c"))
    assert dataset.n_classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": np.zeros((3, 4))}, "expected items to be uint8 .* or float32 .*, got float64"),
        ({"items": np.zeros((3, 4, 4, 4), np.uint8)}, "got uint8 \\[3, 4, 4, 4\\]"),
        ({"items": np.full((3, 4), np.nan, np.float32)}, "expected items to be finite"),
        ({"labels": np.array([0, 1])}, "expected labels of shape \\[3\\] or \\[3, c\\], got \\[2\\]"),
        ({"labels": np.array([0, 1, 2])}, "expected labels from 0 to 1, got 0 to 2"),
        ({"labels": np.array([0, 1, -1])}, "expected labels from 0 to 1, got -1 to 1"),
        ({"labels": np.array([0, 1, 1], np.int32)}, "expected labels of dtype int64 or bool, got int32"),
        ({"labels": np.zeros(3)}, "expected labels to be integers .*, got float64"),
        ({"labels": np.zeros((3, 3), np.bool_)}, "expected labels of 2 columns, got 3"),
        ({"labels": np.array([[0], [1], [1]])}, "expected labels .* c from 2, got \\[3, 1\\]; pass labels\\[:, 0\\]"),
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


def cut(path, n_bytes):
    path.write_bytes(path.read_bytes()[:-n_bytes])


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


GRAYS = np.array([[0, 128, 129], [257 * 200, 65407, 65535]])  # 128 / 257 is below a half


@pytest.mark.parametrize(
    ("name", "dtype", "mode"),
    [("x.png", "<u2", "I;16"), ("x.tif", "<u2", "I;16"), ("x.tif", ">u2", "I;16B"), ("x.tif", "<i4", "I")],
)
def test_gray_of_16_bits_is_brought_to_8(tmp_path, name, dtype, mode):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(GRAYS.astype(dtype)).save(tmp_path / name)
    if name == "x.tif":
        with image.open(tmp_path / name) as opened:
            assert opened.mode == mode
    decoded = ImageFiles([tmp_path / name])[0]
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.repeat([[[0], [0], [1]], [[200], [255], [255]]], 3, axis=2))


@pytest.mark.parametrize(
    ("grays", "got"),
    [
        (GRAYS.astype("f4") / 65535, "float32 from 0.0 to 1.0"),
        (GRAYS.astype("i4") * 2, "int32 from 0 to 131070"),
        (GRAYS.astype("i4") - 1, "int32 from -1 to 65534"),
    ],
)
def test_gray_of_neither_8_nor_16_bits_is_refused(tmp_path, grays, got):
    pytest.importorskip("PIL.Image").fromarray(grays).save(tmp_path / "x.tif")
    message = f"expected an image of 8 or 16 bits a colour, got gray values of {got}"
    with pytest.raises(ValueError, match=f"^{tmp_path}/x.tif: {message}$"):
        ImageFiles([tmp_path / "x.tif"])[0]


def test_an_image_of_too_many_pixels_is_told_by_its_file(tmp_path, monkeypatch):
    write_image(tmp_path / "x.png")
    monkeypatch.setattr(pytest.importorskip("PIL.Image"), "MAX_IMAGE_PIXELS", 6)
    with pytest.raises(ValueError, match=f"^{tmp_path}/x.png: expected an image that Pillow can decode, got .*24 pix"):
        ImageFiles([tmp_path / "x.png"])[0]


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
