from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.hashers import SpectralHashing


def spectral_hashing(x, n_bits):
    """The eigenfunctions and eigenvalues in float64, by listing every mode of every component."""
    x = x.astype(np.float64)
    centred = x - x.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n_bits]
    components = centred @ axes
    low, ranges = components.min(0), np.ptp(components, axis=0)
    modes = [
        ((k * np.pi / ranges[i]) ** 2, i, k * np.pi / ranges[i])
        for i in range(axes.shape[1])
        if ranges[i] > 1e-6
        for k in range(1, n_bits + 1)
    ]
    modes.sort(key=lambda mode: mode[0])
    functions = [np.sin(np.pi / 2 + omega * (components[:, i] - low[i])) for _, i, omega in modes[:n_bits]]
    return np.stack(functions, axis=1), np.array([eigenvalue for eigenvalue, *_ in modes[:n_bits]])


@pytest.mark.parametrize("n_bits", [1, 16, 64, 200])
def test_spectral_hashing_agrees_with_its_formula(n_bits, digits):
    x = digits[0]
    hasher = SpectralHashing(n_bits).fit(x)
    expected, eigenvalues = spectral_hashing(x, n_bits)
    assert hasher.eigenvalues_.dtype == torch.float64
    assert (hasher.eigenvalues_.diff() >= 0).all()
    np.testing.assert_allclose(hasher.eigenvalues_, eigenvalues, rtol=1e-4)
    functions = hasher.transform(x)
    # An axis that points the other way turns the sign of its odd modes.
    directions = np.sign((functions * expected).sum(0))
    np.testing.assert_allclose(functions * directions, expected, atol=2e-3)
    certain = np.abs(expected) > 2e-3
    bits = fh.unpack_bits(hasher.encode(x), n_bits)
    np.testing.assert_array_equal((bits * directions)[certain], np.sign(expected)[certain])


def test_spectral_hashing_follows_the_widest_components(rng):
    widths = np.array([2, 0.1, 5])
    x = (rng.random((5000, 3)) * widths).astype(np.float32)
    modes = SpectralHashing(5).fit(x).frequencies_.numpy() * widths[:, None] / np.pi
    np.testing.assert_allclose(np.abs(modes[2]), [1, 2, 0, 3, 4], atol=0.15)
    np.testing.assert_allclose(np.abs(modes[0]), [0, 0, 1, 0, 0], atol=0.15)


@pytest.mark.parametrize(
    ("n", "value"), [(1, 1.0), (9, 0.1), (4, 0.0), (50, 1234.5678), (50, -1e6), (7, -1e-30)], ids=str
)
def test_spectral_hashing_of_constant_columns(n, value, rng):
    constant, varied = np.full((n, 3), value, np.float32), rng.random((n, 2), dtype=np.float32)
    hasher = SpectralHashing(12).fit(constant)
    assert (hasher.transform(constant) == 1).all()
    assert (hasher.transform(constant + 1) == 1).all()
    mixed = np.concatenate([constant, varied], axis=1)
    functions = SpectralHashing(12).fit(mixed).transform(mixed)
    assert not np.isnan(functions).any()
    if n > 1:
        assert (functions.std(0) > 0.05).all()


def test_spectral_hashing_takes_more_bits_than_columns_and_limits_them(digits):
    assert SpectralHashing(100).fit(digits[0]).encode(digits[0]).shape == (1797, 13)
    with pytest.raises(ValueError, match="SpectralHashing.fit: expected n_bits from 1 to 4096, got 4097"):
        SpectralHashing(4097).fit(digits[0])
