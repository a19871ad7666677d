from __future__ import annotations

import numpy as np

from fasthash.data import load_dataset


def test_digits_need_no_files(monkeypatch):
    monkeypatch.delenv("FASTHASH_DATA", raising=False)
    dataset = load_dataset("digits")
    assert dataset.items.shape == (1797, 8, 8)
    assert dataset.items.max() == 255
    assert np.bincount(dataset.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert dataset.class_names == tuple("0123456789")
