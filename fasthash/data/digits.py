"""The 1,797 handwritten digits that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, number_names

FILES = "comes with scikit-learn"


def read_digits(name: str, folder: Path) -> Dataset:
    """Return the digits as images of 8 x 8 pixels from 0 to 255; no file in `folder` is read."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return Dataset(name, images, labels.astype(np.int64), {}, number_names(labels))
