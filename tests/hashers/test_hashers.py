from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fasthash as fh
from fasthash.hashers import H2Q, ITQ, LSH, AffineHasher, Hasher, SpectralHashing

SEEDED = [LSH, ITQ, H2Q]
HASHERS = [*SEEDED, SpectralHashing]


def quantisation_error(projections):
    """Mean squared distance of the projections, scaled to a root mean square of 1, to their signs."""
    z = np.asarray(projections, dtype=np.float64)
    z = z / np.sqrt((z**2).mean())
    return ((np.abs(z) - 1) ** 2).mean()


@pytest.mark.slow
@pytest.mark.parametrize("hasher", HASHERS)
def test_estimator_contract(hasher, digits, rng):
    x = digits[0]
    estimator = hasher(16)
    with pytest.raises(NotFittedError):
        estimator.transform(x)
    with pytest.raises(NotFittedError):
        estimator.encode(x)
    assert estimator.fit(x) is estimator
    assert estimator.n_features_in_ == 64
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params() == {**copy.get_params(), "n_bits": 16}
    with pytest.raises(NotFittedError):
        copy.transform(x)
    np.testing.assert_array_equal(copy.fit(x).encode(x), estimator.encode(x))
    assert make_pipeline(StandardScaler(), hasher(16)).fit_transform(x).shape == (1797, 16)


@pytest.mark.parametrize("hasher", SEEDED)
def test_seeds(hasher, digits):
    x = digits[0]
    estimator = hasher(16, seed=3).fit(x)
    assert clone(estimator).get_params()["seed"] == 3
    np.testing.assert_array_equal(clone(estimator).fit(x).encode(x), estimator.encode(x))
    assert not np.array_equal(hasher(16, seed=4).fit(x).encode(x), estimator.encode(x))


def rounding(estimator, x):
    """How far the projections that `encode` compares may be from those that `transform` returns."""
    if not isinstance(estimator, AffineHasher):
        return 0
    magnitudes = (torch.from_numpy(x).abs() + estimator.mean_.abs()) @ estimator.projection_.abs()
    return 2 * (x.shape[1] + 2) * torch.finfo(torch.float32).eps * magnitudes.numpy()


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize("n_bits", [1, 16, 20, 64])
def test_codes_are_the_signs_of_the_projections(hasher, n_bits, digits):
    x = digits[0]
    estimator = hasher(n_bits).fit(x)
    projections = estimator.transform(x)
    assert projections.dtype == np.float32
    assert projections.shape == (1797, n_bits)
    certain = np.abs(projections) > rounding(estimator, x)
    assert certain.mean() > 0.98
    bits = fh.unpack_bits(estimator.encode(x), n_bits)
    np.testing.assert_array_equal(bits[certain], np.where(projections > 0, 1, -1)[certain])
    tensor = torch.from_numpy(x)
    assert isinstance(estimator.transform(tensor), torch.Tensor)
    np.testing.assert_array_equal(hasher(n_bits).fit(tensor.double()).encode(tensor).numpy(), estimator.encode(x))
    assert estimator.encode(x[:0]).shape == (0, (n_bits + 7) // 8)
    np.testing.assert_array_equal(estimator.encode(tensor.half()).numpy(), estimator.encode(x))  # pixels are 0 to 16


def test_every_hasher_is_loaded_where_nothing_else_was(digits, tmp_path):
    methods = (LSH, SpectralHashing, ITQ, H2Q)
    for method in methods:
        method(8).fit(digits[0][:200]).save(tmp_path / f"{method.__name__}.safetensors")
    script = """
import sys
from fasthash.hashers.base import Hasher
print(*(type(Hasher.load(path)).__name__ for path in sys.argv[1:]))
"""
    files = [tmp_path / f"{method.__name__}.safetensors" for method in methods]
    output = subprocess.check_output([sys.executable, "-c", script, *files], text=True)
    assert output.split() == [method.__name__ for method in methods]


@pytest.mark.parametrize("hasher", HASHERS)
def test_saved_and_loaded(hasher, digits, tmp_path):
    x = digits[0]
    estimator = hasher(24).fit(x)
    estimator.save(tmp_path / "hasher.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["hasher.safetensors"]
    for loaded in (hasher.load(tmp_path / "hasher.safetensors"), Hasher.load(str(tmp_path / "hasher.safetensors"))):
        assert type(loaded) is hasher
        assert loaded.get_params() == estimator.get_params()
        np.testing.assert_array_equal(loaded.encode(x), estimator.encode(x))
    for name in hasher.TENSORS:
        assert torch.equal(getattr(loaded, name), getattr(estimator, name))
    assert loaded.n_features_in_ == 64
    for other in {*HASHERS} - {hasher}:
        with pytest.raises(
            ValueError,
            match=f"{other.__name__}.load: expected a file of {other.__name__}, got one of {hasher.__name__}",
        ):
            other.load(tmp_path / "hasher.safetensors")


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        ITQ.load(tmp_path / "none")
    (tmp_path / "text").write_text("not a hasher, but long enough to look at")
    with pytest.raises(ValueError, match=r"ITQ.load: expected a safetensors file of a hasher at .*text"):
        ITQ.load(tmp_path / "text")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match="ITQ.load: expected a file in the format 'fasthash hasher 1', got None"):
        ITQ.load(tmp_path / "other")
    with pytest.raises(NotFittedError):
        ITQ(8).save(tmp_path / "unfitted")
    assert not (tmp_path / "unfitted").exists()


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize(
    ("n_bits", "x", "error", "message"),
    [
        (0, np.ones((3, 4)), ValueError, "expected n_bits.* from 1 to .*, got 0"),
        (8.0, np.ones((3, 4)), TypeError, "expected n_bits.* to be an integer, got float"),
        (2, np.ones((3, 4), dtype=int), TypeError, "expected X of a floating-point dtype, got int64"),
        (2, np.ones(4), ValueError, r"expected X of shape \[n, d\], got \[4\]; pass X\[None\] for a single row"),
        (2, np.ones((0, 4)), ValueError, r"expected X with at least one row and one column, got \[0, 4\]"),
        (2, np.array([[0.0, 1.0], [np.nan, 0.0]]), ValueError, "expected X to be finite, got nan at row 1, column 0"),
        (2, np.array([[0.0, np.inf]]), ValueError, "expected X to be finite, got inf at row 0, column 1"),
    ],
    ids=str,
)
def test_bad_input_to_fit(hasher, n_bits, x, error, message):
    estimator = hasher(n_bits)
    with pytest.raises(error, match=f"{hasher.__name__}.fit: {message}"):
        estimator.fit(x)
    with pytest.raises(NotFittedError):
        estimator.transform(np.ones((3, 4)))


def test_bad_input_after_fit(digits):
    estimator = LSH(8).fit(digits[0])
    with pytest.raises(ValueError, match="LSH.transform: expected X with 64 columns, as fitted, got 63"):
        estimator.transform(digits[0][:, 1:])
    with pytest.raises(ValueError, match="LSH.encode: expected X with 64 columns, as fitted, got 63"):
        estimator.encode(digits[0][:, 1:])
    with pytest.raises(ValueError, match="without NaN, got one at row 1, column 0"):
        estimator.encode(np.stack([np.zeros(64), np.full(64, np.nan)]))
    with pytest.raises(ValueError, match="without NaN, got one at row 1, column 0"):
        SpectralHashing(8).fit(digits[0]).encode(np.stack([np.zeros(64), np.full(64, np.nan)]))


def test_itq_refuses_more_bits_than_columns(digits):
    with pytest.raises(ValueError, match="ITQ.fit: expected n_bits for X of 64 columns from 1 to 64, got 65"):
        ITQ(65).fit(digits[0])


@pytest.mark.parametrize("n_bits", [16, 32, 64])
def test_itq_objective_never_rises(n_bits, digits):
    itq = ITQ(n_bits).fit(digits[0])
    objective = np.array(itq.objective_)
    assert len(objective) == 51
    assert (np.diff(objective) <= 1e-6).all()
    assert objective[-1] == pytest.approx(quantisation_error(itq.transform(digits[0])), abs=1e-5)


@pytest.mark.parametrize("n_bits", [16, 32, 64])
def test_itq_beats_a_random_rotation_and_a_transposed_factor(n_bits, digits):
    """FAISS's ITQMatrix multiplies U V^T with a factor transposed, and hardly improves on where it starts."""
    faiss = pytest.importorskip("faiss")
    x = digits[0]
    itq = ITQ(n_bits).fit(x)
    random_rotation = ITQ(n_bits, n_iterations=0).fit(x)
    np.testing.assert_allclose(itq.projection_.T @ itq.projection_, np.eye(n_bits), atol=1e-5)
    axes = np.linalg.eigh(np.cov(x.T, dtype=np.float64))[1][:, ::-1][:, :n_bits].astype(np.float32)
    components = np.ascontiguousarray((x - x.mean(0)) @ axes)
    transposed = faiss.ITQMatrix(n_bits)
    transposed.train(components)
    ours, at_random, theirs = map(
        quantisation_error, (itq.transform(x), random_rotation.transform(x), transposed.apply(components))
    )
    assert ours < 0.95 * at_random
    assert ours < 0.95 * theirs


def test_lsh_hyperplanes(digits):
    x = digits[0]
    centred, through_origin = LSH(256).fit(x), LSH(256, center=False).fit(x)
    np.testing.assert_allclose(centred.transform(x).mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(through_origin.transform(x), x @ through_origin.projection_.numpy(), atol=1e-3)
    u, v = x[:1] - x.mean(0), x[1:2] - x.mean(0)
    angle = np.arccos((u @ v.T).item() / np.linalg.norm(u) / np.linalg.norm(v))
    wide = LSH(4096).fit(x)
    distance = fh.hamming_distance(wide.encode(x[:1]), wide.encode(x[1:2])).item()
    assert distance / 4096 == pytest.approx(angle / np.pi, abs=0.03)  # 3.8 standard deviations


@pytest.mark.parametrize("hasher", SEEDED)
def test_codes_far_from_the_origin(hasher, rng):
    """What is compared with the offset is as large as the mean, but only its rounding may show."""
    x = rng.standard_normal((2000, 32)).astype(np.float32) + 100
    estimator = hasher(32).fit(x)
    projections, bits = estimator.transform(x), fh.unpack_bits(estimator.encode(x), 32)
    certain = np.abs(projections) > 1e-3 * projections.std()
    np.testing.assert_array_equal(bits[certain], np.sign(projections)[certain])


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
