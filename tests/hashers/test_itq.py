from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.hashers import ITQ


def quantisation_error(projections):
    """Mean squared distance of the projections, scaled to a root mean square of 1, to their signs."""
    z = np.asarray(projections, dtype=np.float64)
    z = z / np.sqrt((z**2).mean())
    return ((np.abs(z) - 1) ** 2).mean()


def test_itq_refuses_more_bits_than_columns(digits):
    with pytest.raises(ValueError, match="ITQ.fit: expected n_bits for X of 64 columns from 1 to 64, got 65"):
        ITQ(65).fit(digits[0])


@pytest.mark.parametrize(
    ("n_iterations", "error", "message"),
    [
        (-1, ValueError, "expected n_iterations at least 0, got -1"),
        (2.0, TypeError, "expected n_iterations to be an integer, got float"),
    ],
)
def test_bad_iterations(n_iterations, error, message, digits):
    with pytest.raises(error, match=f"^ITQ.fit: {message}$"):
        ITQ(8, n_iterations=n_iterations).fit(digits[0])


def test_embeddings_all_alike_have_a_rotation():
    itq = ITQ(2).fit(np.full((5, 3), 7, np.float32))
    np.testing.assert_array_equal(itq.transform(np.full((5, 3), 7, np.float32)), np.zeros((5, 2)))
    np.testing.assert_allclose(itq.projection_.T @ itq.projection_, np.eye(2), atol=1e-6)
    assert itq.objective_ == [1] * 21


@pytest.mark.parametrize("n_bits", [16, 32, 64])
def test_itq_objective_never_rises(n_bits, digits):
    itq = ITQ(n_bits).fit(digits[0])
    objective = np.array(itq.objective_)
    assert len(objective) == 21
    assert (np.diff(objective) <= 0).all()
    assert objective[-1] == pytest.approx(quantisation_error(itq.transform(digits[0])), abs=1e-5)


@pytest.mark.parametrize("n_iterations", range(1, 12))
def test_rotations_that_raise_the_objective_are_given_up(n_iterations):
    """Of 30 rows, most momentum goes too far."""
    x = np.random.default_rng(0).standard_normal((30, 6)).astype(np.float32)
    itq = ITQ(6, n_iterations=n_iterations).fit(x)
    assert (np.diff(itq.objective_) <= 0).all()
    assert itq.objective_[-1] == pytest.approx(quantisation_error(itq.transform(x)), abs=1e-5)


@pytest.mark.parametrize("n_bits", [16, 32, 64])
def test_momentum_gets_further_than_the_turns_of_the_paper(n_bits, digits):
    itq = ITQ(n_bits).fit(digits[0])
    start = ITQ(n_bits, n_iterations=0).fit(digits[0])
    v, rotation = start.transform(digits[0]).astype(np.float64), np.eye(n_bits)
    for _ in range(50):
        u, _, wt = np.linalg.svd(np.sign(v @ rotation).T @ v)
        rotation = (u @ wt).T
    assert itq.objective_[0] == pytest.approx(quantisation_error(v), abs=1e-5)
    assert itq.objective_[-1] < quantisation_error(v @ rotation)


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


def test_progress_is_shown_and_changes_nothing(digits, capsys):
    shown = ITQ(16, n_iterations=3, progress=True).fit(digits[0])
    assert "ITQ 16 bits: 100%" in capsys.readouterr().err
    assert torch.equal(shown.projection_, ITQ(16, n_iterations=3).fit(digits[0]).projection_)
    assert capsys.readouterr().err == ""
