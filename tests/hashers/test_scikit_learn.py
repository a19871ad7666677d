"""scikit-learn's own checks of every hasher, and what they leave out: columns with names, set_output, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fasthash as fh
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import ITQ, LSH
from tests.hashers.conftest import HASHERS, SEEDED

QUICK = {"H2Q": {"epochs": 2}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("packed_output", [False, True], ids=["projections", "packed"])
@pytest.mark.parametrize("hasher", HASHERS)
def test_scikit_learns_checks(hasher, packed_output):
    check_estimator(hasher(n_bits=1, packed_output=packed_output, **QUICK.get(hasher.__name__, {})))


@pytest.mark.parametrize("hasher", HASHERS)
def test_a_pipeline_gives_packed_codes(hasher, digits, tmp_path):
    pixels = digits[0][:300]
    made = Pipeline([("scale", StandardScaler()), ("hash", hasher(12, **QUICK.get(hasher.__name__, {})))])
    projections = made.fit_transform(pixels)
    assert projections.shape == (300, 12)
    made.set_params(hash__packed_output=True)
    codes, scaled = made.transform(pixels), made[:-1].transform(pixels)
    assert (codes.dtype, codes.shape) == (np.uint8, (300, 2))
    np.testing.assert_array_equal(codes, made["hash"].encode(scaled))
    assert (codes != fh.pack_bits(projections)).mean() < 0.01  # but where a projection is within rounding of zero
    np.testing.assert_array_equal(clone(made).fit_transform(pixels), codes)
    made["hash"].save(tmp_path / "hasher")
    assert hasher.load(tmp_path / "hasher").packed_output is True
    tensor = made["hash"].transform(torch.from_numpy(scaled))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor, codes)
    with pytest.raises(TypeError, match=f"^{hasher.__name__}.transform: expected packed_output to be True or False"):
        made.set_params(hash__packed_output=1).transform(pixels)


def test_packed_codes_in_frames_are_bytes_with_names(rng):
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(rng.standard_normal((30, 4)), columns=list("abcd"))
    hasher = LSH(20, packed_output=True).set_output(transform="pandas")
    out = hasher.fit_transform(x)
    assert list(out.columns) == ["lsh0", "lsh1", "lsh2"]
    assert set(map(str, out.dtypes)) == {"uint8"}
    np.testing.assert_array_equal(out.to_numpy(), hasher.encode(x))


def retrieval_score(estimator, x, y):
    """The mAP of each item among the others of its fold."""
    codes = estimator.transform(x)
    return mean_average_precision(codes, y, codes, y, leave_one_out=True)


def test_what_is_retrieved_chooses_parameters(digits):
    pixels, labels = digits[0][:400], digits[1][:400]
    pipeline = make_pipeline(PCA(30), ITQ(4, packed_output=True))
    scores = cross_val_score(pipeline, pixels, labels, scoring=retrieval_score, cv=3)
    assert len(scores) == 3
    assert (scores > 0.15).all()  # 0.1 by chance
    grid = {"itq__n_bits": np.array([2, 24]), "itq__n_iterations": [20]}
    search = GridSearchCV(pipeline, grid, scoring=retrieval_score, cv=3).fit(pixels, labels)
    assert search.best_params_["itq__n_bits"] == 24
    assert search.best_score_ > scores.mean()
    assert search.transform(pixels).shape == (400, 3)


def test_parameters_that_numpy_made_are_saved(rng, tmp_path):
    x = rng.standard_normal((30, 4))
    made = ITQ(np.int64(3), n_iterations=np.int32(5), random_state=np.uint8(2)).fit(x)
    made.save(tmp_path / "hasher")
    read = ITQ.load(tmp_path / "hasher")
    assert (read.n_bits, read.n_iterations, read.random_state) == (3, 5, 2)
    np.testing.assert_array_equal(read.encode(x), made.encode(x))


@pytest.mark.parametrize("hasher", SEEDED)
def test_random_states(hasher, rng, tmp_path):
    """An integer is a seed; a RandomState is drawn from, so that two fits differ; None is NumPy's global one."""
    x, quick = rng.standard_normal((60, 16)), QUICK.get(hasher.__name__, {})

    def projection(random_state, fits=1):
        made = hasher(16, random_state=random_state, **quick)
        for _ in range(fits):
            made.fit(x)
        made.save(tmp_path / "hasher")
        read = hasher.load(tmp_path / "hasher")
        np.testing.assert_array_equal(read.projection_, made.projection_)
        return made.projection_.numpy()

    np.testing.assert_array_equal(projection(3), projection(np.int64(3), 2))
    assert not np.array_equal(projection(3), projection(4))
    once, again, twice = (projection(np.random.RandomState(0), fits) for fits in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, twice)
    np.random.seed(0)
    first, second = projection(None), projection(None)
    np.random.seed(0)
    np.testing.assert_array_equal(projection(None), first)
    assert not np.array_equal(first, second)
    for wrong in (np.random.default_rng(0), "3", 1.0):
        with pytest.raises(TypeError, match=f"^{hasher.__name__}.fit: expected random_state to be an integer, a"):
            projection(wrong)
    with pytest.raises(ValueError, match=f"^{hasher.__name__}.fit: expected random_state at least 0, got -1$"):
        projection(-1)


def test_metadata_routing_passes_by():
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), LSH(8, packed_output=True))
        assert pipeline.fit_transform(np.eye(4), np.arange(4)).shape == (4, 1)


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


@pytest.mark.parametrize("hasher", HASHERS)
def test_a_search_takes_lengths_in_an_array(hasher, digits):
    lengths = GridSearchCV(
        hasher(4, **QUICK.get(hasher.__name__, {})),
        {"n_bits": np.array([4, 8])},
        scoring=lambda estimator, x, y=None: estimator.transform(x).shape[1],
        cv=2,
        error_score="raise",
    )
    assert lengths.fit(digits[0][:100]).best_params_ == {"n_bits": 8}
