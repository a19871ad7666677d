from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fasthash import losses
from tests.losses.conftest import BITS, CLASSES, SINGLE, U, labels_of, mean


def make(labels, **settings):
    return losses.CSQ(BITS, CLASSES, **settings)


def similarity(u, labels, loss):
    total = []
    for i, row in enumerate(np.tanh(u)):
        votes = sum(loss.centers[label].numpy() for label in labels_of(i, labels))
        center = np.where(votes == 0, loss.tie_bits.numpy(), np.sign(votes))
        total += [-math.log((1 + value * bit) / 2) for value, bit in zip(row, center, strict=True)]
    return mean(total)


def original(u, loss):
    return 1e-3 * mean(math.log(math.cosh(abs(math.tanh(value)) - 1)) for value in u.flatten())


@pytest.mark.parametrize(
    ("n_classes", "n_bits"),
    [
        *((10, 16), (32, 16), (100, 64), (10, 12), (21, 48), (4, 2), (8, 3)),
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((40_000, 32), (50_000, 16))),
    ],
)
def test_hash_centers(n_classes, n_bits):
    centers = losses.hash_centers(n_classes, n_bits)
    assert centers.shape == (n_classes, n_bits)
    assert set(centers.unique().tolist()) == {-1, 1}
    assert len(centers.unique(dim=0)) == n_classes
    assert torch.equal(centers, losses.hash_centers(n_classes, n_bits))
    if n_classes <= 2 * n_bits and n_bits in (16, 64):
        products = centers @ centers.T
        assert products.fill_diagonal_(-n_bits).max() <= 0  # at distance n_bits / 2 or more
    elif math.comb(n_bits, n_bits // 2) >= 2 * n_classes:
        assert (centers.sum(1) == 0).all()
    assert not torch.equal(losses.hash_centers(50, 12), losses.hash_centers(50, 12, seed=1))


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((9, 3), ValueError, "expected n_classes for 3 bits from 1 to 8, got 9"),
        ((0, 3), ValueError, "expected n_classes for 3 bits from 1 to 8, got 0"),
        ((2.0, 3), TypeError, "expected n_classes for 3 bits to be an integer, got float"),
        ((2, 0), ValueError, "expected n_bits from 1 to 4096, got 0"),
        ((2, 8.0), TypeError, "expected n_bits to be an integer, got float"),
    ],
    ids=str,
)
def test_bad_sizes(sizes, error, message):
    n_classes, n_bits = sizes
    with pytest.raises(error, match=f"^hash_centers: {message}$"):
        losses.hash_centers(n_classes, n_bits)
    with pytest.raises(error, match=f"^CSQ: {message}$"):
        losses.CSQ(n_bits, n_classes)


def test_random_centers_are_of_their_seed():
    plain, same, other = (losses.CSQ(12, 9, **seed) for seed in ({}, {"seed": 0}, {"seed": 1}))
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, same.get_buffer(name))
        assert not torch.equal(buffer, other.get_buffer(name))
    assert torch.equal(plain.centers, losses.hash_centers(9, 12))
    assert set(plain.tie_bits.tolist()) == {-1, 1}


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(ValueError, match="CSQ: expected labels from 0 to 1, got 0 to 2"):
        losses.CSQ(BITS, 2)(U, SINGLE)


@pytest.mark.parametrize(("n_classes", "n_bits"), [(10, 16), (10, 12), (7, 3)])
def test_centers_do_not_depend_on_torchs_defaults(n_classes, n_bits):
    expected = losses.CSQ(n_bits, n_classes)
    torch.set_default_dtype(torch.float64)
    try:
        loss, centers = losses.CSQ(n_bits, n_classes), losses.hash_centers(n_classes, n_bits)
    finally:
        torch.set_default_dtype(torch.float32)
    for found, wanted in [
        (loss.centers, expected.centers),
        (loss.tie_bits, expected.tie_bits),
        (centers, loss.centers),
    ]:
        assert found.dtype == torch.float32
        assert torch.equal(found, wanted)
    with torch.device("meta"):
        placed = losses.CSQ(n_bits, n_classes)
        assert {placed.centers.device.type, placed.tie_bits.device.type} == {"meta"}
        assert losses.hash_centers(n_classes, n_bits).device.type == "meta"
