from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fasthash as fh
from fasthash.hashers import H2Q, ITQ, LSH, AffineHasher, Hasher, SpectralHashing
from fasthash.hashers.base import principal_axes
from tests.conftest import damaged
from tests.hashers.conftest import HASHERS, SEEDED


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
    estimator = hasher(16, random_state=3).fit(x)
    assert clone(estimator).get_params()["random_state"] == 3
    np.testing.assert_array_equal(clone(estimator).fit(x).encode(x), estimator.encode(x))
    assert not np.array_equal(hasher(16, random_state=4).fit(x).encode(x), estimator.encode(x))


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
            match=f"{other.__name__}.load: expected a file of {other.__name__} at .*, got one of {hasher.__name__}",
        ):
            other.load(tmp_path / "hasher.safetensors")


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        ITQ.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        ITQ.load(tmp_path)
    (tmp_path / "text").write_text("not a hasher, but long enough to look at")
    with pytest.raises(ValueError, match=r"ITQ.load: expected a file of ITQ at .*text, got no whole safetensors file"):
        ITQ.load(tmp_path / "text")
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match="at .*other, got one of format None, where 'fasthash hasher 1' is read"):
        ITQ.load(tmp_path / "other")
    save_file({"x": torch.zeros(1)}, tmp_path / "older", {"format": "fasthash hasher 0"})
    with pytest.raises(ValueError, match="^Hasher.load: expected .* at .*older, got one of format 'fasthash hasher 0'"):
        Hasher.load(tmp_path / "older")
    with pytest.raises(NotFittedError):
        ITQ(8).save(tmp_path / "unfitted")
    assert not (tmp_path / "unfitted").exists()


def saved_before(estimator, path, tensors=(), without=(), **metadata):
    """Write what `save` wrote before there were checksums, with tensors and metadata in place of its own."""
    own = {"format": "fasthash hasher 1", "class": type(estimator).__name__, "n_features_in": "64"}
    own["parameters"] = json.dumps(estimator.get_params())
    fitted = {name: getattr(estimator, name) for name in estimator.TENSORS if name not in without} | dict(tensors)
    save_file(fitted, path, own | metadata)


@pytest.mark.parametrize("hasher", HASHERS)
def test_files_without_a_checksum_are_read(hasher, digits, tmp_path):
    estimator = hasher(24).fit(digits[0])
    saved_before(estimator, tmp_path / "a")
    np.testing.assert_array_equal(Hasher.load(tmp_path / "a").encode(digits[0]), estimator.encode(digits[0]))


@pytest.mark.parametrize("hasher", HASHERS)
def test_what_does_not_fit_together_is_refused(hasher, digits, tmp_path):
    estimator = hasher(24).fit(digits[0])

    def changed(**parameters):
        return json.dumps(estimator.get_params() | parameters)

    mean, wide = estimator.mean_, list(estimator.TENSORS)[1]
    broken = getattr(estimator, wide).clone()
    broken[3, 4] = torch.nan
    cases = [
        ({"tensors": {"mean_": mean[:-1].clone()}}, r"mean_ is float32 \[63\], not float32 \[d\] with d = 64"),
        ({"tensors": {"mean_": mean.double()}}, r"mean_ is float64 \[64\], not float32 \[d\]"),
        ({"tensors": {"mean_": mean.int()}}, r"mean_ is int32"),
        ({"tensors": {"mean_": mean[None].clone()}}, r"mean_ is float32 \[1, 64\]"),
        ({"tensors": {wide: broken}}, f"{wide} is not finite"),
        ({"tensors": {"more_": mean.clone()}}, "its tensors are .*more_"),
        ({"without": ["mean_"]}, "its tensors are"),
        (
            {"parameters": changed(n_bits=23)},
            r"not float32 \[d, n_bits\] with d = 64, n_bits = 23",
        ),
        ({"parameters": changed(n_bits=0)}, "expected n_bits from 1 to 4096, got 0"),
        ({"parameters": changed(n_bats=24)}, "n_bats"),
        ({"parameters": "[24]"}, "must be a mapping"),
        ({"parameters": "{"}, "damaged: "),
        ({"parameters": "[" * 99999}, "damaged: "),
        ({"n_features_in": "63"}, r"mean_ is float32 \[64\], not float32 \[d\] with d = 63"),
        ({"n_features_in": "0"}, "expected n_features_in at least 1, got 0"),
        ({"n_features_in": "many"}, "'many'"),
        ({"blake2b": "0" * 32}, "does not match its checksum"),
        ({"blake2c": "0" * 32}, "described by blake2c, class, format, n_features_in, parameters"),
        ({"class": "Unheard"}, "one of Unheard, where Hasher or .*LSH.* is read$"),
    ]
    for changes, message in cases:
        saved_before(estimator, tmp_path / "a", **changes)
        with pytest.raises(ValueError, match=f"^Hasher.load: expected a file of Hasher at .*a, got .*{message}"):
            Hasher.load(tmp_path / "a")


def test_a_hasher_of_another_class_is_told_how_it_is_read(digits, tmp_path):
    ITQ(24).fit(digits[0]).save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"^LSH.load: .* got one of ITQ, where LSH is read; Hasher.load reads any$"):
        LSH.load(tmp_path / "a")


def test_an_offset_that_is_not_the_means_is_refused(digits, tmp_path):
    estimator = ITQ(24).fit(digits[0])
    offset = estimator.offset_.clone()
    offset[5] += 1e-6
    saved_before(estimator, tmp_path / "a", {"offset_": offset})
    with pytest.raises(ValueError, match="at .*a, got one that is damaged: offset_ is not mean_ @ projection_"):
        Hasher.load(tmp_path / "a")


@pytest.mark.parametrize("hasher", HASHERS)
def test_a_damaged_file_is_refused(hasher, rng, tmp_path):
    path = tmp_path / "hasher"
    hasher(8).fit(rng.standard_normal((50, 12))).save(path)
    for content in damaged(path.read_bytes(), 300):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^Hasher.load: expected a file of Hasher at {path}, got "):
            Hasher.load(path)


def test_a_loaded_hasher_does_not_change_with_its_file(digits, tmp_path):
    estimator = ITQ(24).fit(digits[0])
    estimator.save(tmp_path / "a")
    loaded = ITQ.load(tmp_path / "a")
    with open(tmp_path / "a", "r+b") as file:
        file.write(b"\xff" * (tmp_path / "a").stat().st_size)
    np.testing.assert_array_equal(loaded.encode(digits[0]), estimator.encode(digits[0]))


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize(
    ("n_bits", "x", "error", "message"),
    [
        (0, np.ones((3, 4)), ValueError, "expected n_bits.* from 1 to .*, got 0"),
        (8.0, np.ones((3, 4)), TypeError, "expected n_bits.* to be an integer, got float"),
        (2, np.ones((3, 4), dtype=complex), ValueError, "expected X of real numbers, got complex128"),
        (
            2,
            np.ones(4),
            ValueError,
            r"expected X of shape \[n, d\], got \[4\]. Reshape your data: X\[None\] is one row",
        ),
        (2, np.ones((0, 4)), ValueError, r"expected X with at least one row and one column, got 0 sample\(s\)"),
        (2, np.array([[0.0, 1.0], [np.nan, 0.0]]), ValueError, "expected X to be finite, got NaN at row 1, column 0"),
        (2, np.array([[0.0, np.inf]]), ValueError, "expected X to be finite, got inf at row 0, column 1"),
    ],
)
def test_bad_input_to_fit(hasher, n_bits, x, error, message):
    estimator = hasher(n_bits)
    with pytest.raises(error, match=f"^{hasher.__name__}.fit: {message}"):
        estimator.fit(x)
    with pytest.raises(NotFittedError):
        estimator.transform(np.ones((3, 4)))


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize("method", ["transform", "encode"])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((3, 5)), ValueError, "expected X with 4 columns, as fitted, got 5: .*"),
        (
            np.ones((3, 4), complex),
            ValueError,
            "expected X of real numbers, got complex128. Complex .*",
        ),
        (
            np.ones(4),
            ValueError,
            r"expected X of shape \[n, d\], got \[4\]. Reshape your data: X\[None\] is one row",
        ),
        ([["a"]], TypeError, "expected X to be a numeric array, got .*"),
    ],
)
def test_bad_input_after_fit(hasher, method, x, error, message, rng):
    estimator = hasher(2).fit(rng.standard_normal((9, 4)))
    with pytest.raises(error, match=f"^{hasher.__name__}.{method}: {message}$"):
        getattr(estimator, method)(x)


@pytest.mark.parametrize("hasher", HASHERS)
def test_nan_has_no_code(hasher, digits):
    with pytest.raises(ValueError, match="without NaN, got one at row 1, column 0"):
        hasher(8).fit(digits[0]).encode(np.stack([np.zeros(64), np.full(64, np.nan)]))


def test_axes_of_numbers_whose_squares_are_beyond_float32():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    large, small = (principal_axes(scale * x, 4) for scale in (2.0**70, 1))
    torch.testing.assert_close((large * small).sum(0).abs(), torch.ones(4))


@pytest.mark.parametrize("hasher", HASHERS)
def test_autocast_does_not_change_what_is_fitted_or_returned(hasher, digits):
    x = torch.from_numpy(digits[0][:300])
    estimator = hasher(16).fit(x)
    projections, codes = estimator.transform(x), estimator.encode(x)
    with torch.autocast("cpu", torch.bfloat16):
        fitted = hasher(16).fit(x)
        assert all(torch.equal(getattr(fitted, name), getattr(estimator, name)) for name in hasher.TENSORS)
        assert torch.equal(estimator.transform(x), projections)
        assert torch.equal(estimator.encode(x), codes)
        np.testing.assert_array_equal(estimator.transform(x.numpy()), projections.numpy())
        assert torch.equal(estimator.set_params(packed_output=True).transform(x), codes)


INTEGERS = {"n_iterations": 3, "batch_size": 50, "epochs": 2, "restarts": 2, "patience": 2, "random_state": 3}


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize("kind", [np.int64, np.uint8])
@pytest.mark.parametrize("n_bits", [20, 64])
def test_integers_of_numpy_are_integers(hasher, kind, n_bits, digits, tmp_path):
    x = digits[0][:300]
    settings = {name: value for name, value in INTEGERS.items() if name in inspect.signature(hasher).parameters}
    expected = hasher(n_bits, **settings).fit(x)
    given = {name: kind(value) for name, value in settings.items()}
    estimator = hasher(kind(n_bits), **given).fit(x)
    assert all(torch.equal(getattr(estimator, name), getattr(expected, name)) for name in hasher.TENSORS)
    np.testing.assert_array_equal(estimator.encode(x), expected.encode(x))
    assert estimator.get_params() == expected.get_params()
    assert all(type(estimator.get_params()[name]) is kind for name in ("n_bits", *given))
    estimator.save(tmp_path / "a")
    assert Hasher.load(tmp_path / "a").get_params() == expected.get_params()


def test_names_of_packed_codes_of_almost_as_many_bits_as_an_integer_of_numpy_holds(digits):
    estimator = LSH(np.uint8(250), packed_output=True).fit(digits[0])
    assert estimator.get_feature_names_out().shape == estimator.transform(digits[0][:1])[0].shape == (32,)


@pytest.mark.parametrize("hasher", HASHERS)
def test_torchs_defaults_do_not_change_what_is_fitted(hasher, digits):
    x = digits[0][:300]
    expected = hasher(16).fit(x)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            estimator = hasher(16).fit(x)
            projections, codes = estimator.transform(x), estimator.encode(x)
    finally:
        torch.set_default_dtype(torch.float32)
    for name in hasher.TENSORS:
        torch.testing.assert_close(getattr(estimator, name), getattr(expected, name), rtol=0, atol=0)
    np.testing.assert_array_equal(projections, expected.transform(x))
    np.testing.assert_array_equal(codes, expected.encode(x))


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-60, 2.0**50, 2.0**100])
def test_scales_beyond_the_squares_of_float32_do_not_matter(hasher, scale, rng):
    x = rng.standard_normal((60, 8), dtype=np.float32)
    expected, estimator = hasher(6).fit(x), hasher(6).fit(x * np.float32(scale))
    np.testing.assert_array_equal(estimator.encode(x * np.float32(scale)), expected.encode(x))
    torch.testing.assert_close(estimator.mean_ / scale, expected.mean_)
    assert all(getattr(estimator, name).isfinite().all() for name in hasher.TENSORS)
    assert np.isfinite(estimator.transform(x * np.float32(scale))).all()


@pytest.mark.parametrize("hasher", HASHERS)
@pytest.mark.parametrize(("value", "dtype"), [(3e37, np.float32), (-3e37, np.float32), (1e300, np.float64)])
def test_embeddings_whose_sums_are_beyond_float32_are_refused(hasher, value, dtype, rng):
    x = rng.standard_normal((60, 8)).astype(dtype)
    x[7, 5] = value
    message = (
        f"{hasher.__name__}.fit: expected X of shape [60, 8] from -1.42e+36 to 1.42e+36, as sums are in float32, got "
    )
    with pytest.raises(ValueError, match="^" + re.escape(f"{message}{value:.3g} at row 7, column 5") + "$"):
        hasher(6).fit(x)


def test_projections_beyond_float32_are_refused_as_such(rng):
    estimator = LSH(6).fit(rng.standard_normal((60, 8)))
    with pytest.raises(
        ValueError, match="^LSH.transform: expected X whose projections are finite in float32, got .* row 1"
    ):
        estimator.transform(np.array([[0.0] * 8, [3e38] * 8], dtype=np.float32))


@pytest.mark.parametrize("hasher", HASHERS)
def test_what_could_not_be_loaded_is_not_saved(hasher, digits, tmp_path):
    x = digits[0][:300]
    estimator = hasher(24).fit(x)
    codes = estimator.encode(x)
    for value, message in (
        (8, r".* is float32 \[64, 24\], not float32 \[d, n_bits\] with d = 64, n_bits = 8"),
        (0, ".*got 0"),
    ):
        estimator.set_params(n_bits=value)
        with pytest.raises(
            ValueError,
            match=f"^{hasher.__name__}.save: expected parameters and attributes as `fit` left them, .*{message}",
        ):
            estimator.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    estimator.set_params(n_bits=24, packed_output=True).save(tmp_path / "a")
    np.testing.assert_array_equal(Hasher.load(tmp_path / "a").transform(x), codes)
