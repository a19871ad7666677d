"""scikit-learn's own checks of every hasher, and what they leave out: columns with names, set_output, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fasthash as fh
from fasthash.hashers import ITQ, LSH
from tests.hashers.conftest import HASHERS

QUICK = {"H2Q": {"epochs": 2}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("hasher", HASHERS)
def test_scikit_learns_checks(hasher):
    check_estimator(hasher(n_bits=1, **QUICK.get(hasher.__name__, {})))


@pytest.mark.parametrize("hasher", HASHERS)
def test_columns_in_another_order_are_refused(hasher, rng, tmp_path):
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(rng.standard_normal((30, 4)), columns=list("abcd"))
    made = hasher(2, **QUICK.get(hasher.__name__, {})).fit(x)
    assert made.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    made.save(tmp_path / "hasher")
    for fitted in (made, hasher.load(tmp_path / "hasher")):
        np.testing.assert_array_equal(fitted.encode(x), made.encode(torch.tensor(x.to_numpy())).numpy())
        for method in (fitted.transform, fitted.encode):
            with pytest.raises(
                ValueError, match=f"{hasher.__name__}.{method.__name__}: expected X of the columns that"
            ):
                method(x[list("bacd")])


def test_frames_come_out_where_they_are_asked_for(rng):
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(rng.standard_normal((30, 4)), columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), ITQ(3)).set_output(transform="pandas")
    out = pipeline.fit_transform(x)
    assert list(out.columns) == ["itq0", "itq1", "itq2"]
    assert list(out.index) == list(x.index)
    np.testing.assert_array_equal(fh.pack_bits(out.to_numpy()), pipeline[-1].encode(pipeline[:-1].transform(x)))


def test_names_of_the_bits():
    assert LSH(2).fit(np.eye(3)).get_feature_names_out().tolist() == ["lsh0", "lsh1"]


def test_integers_are_embeddings(digits):
    pixels = digits[0]
    expected = ITQ(8).fit(pixels)
    for x in (pixels.astype(np.uint8), torch.from_numpy(pixels).long(), pixels.astype(object)):
        np.testing.assert_array_equal(np.asarray(ITQ(8).fit(x).encode(x)), expected.encode(pixels))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (csr_array(np.eye(4)), TypeError, "expected X to be a dense array, got a sparse one, csr_array"),
        (np.array([[{}] * 4]), TypeError, "expected X to be a numeric array, got ndarray: float"),
        (np.full((2, 4), np.nan), ValueError, "expected X to be finite, got NaN or an infinity in row 0"),
        (np.array([[1.0] * 4, [np.inf] * 4]), ValueError, "expected X to be finite, got NaN or an infinity in row 1"),
    ],
    ids=["sparse", "objects", "NaN", "infinite"],
)
def test_what_is_no_embeddings(x, error, message):
    with pytest.raises(error, match=f"^LSH.transform: {message}"):
        LSH(2).fit(np.eye(4)).transform(x)


def test_damaged_names_are_refused(rng, tmp_path):
    pandas = pytest.importorskip("pandas")
    made = LSH(2).fit(pandas.DataFrame(rng.standard_normal((30, 2)), columns=["a", "b"]))
    for names in (["a"], ["a", "b", "c"]):
        made.feature_names_in_ = np.array(names, dtype=object)
        made.save(tmp_path / "hasher")
        with pytest.raises(ValueError, match="one that is damaged: feature_names_in are not the names of 2 columns"):
            LSH.load(tmp_path / "hasher")
