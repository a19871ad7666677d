from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import ITQ, NeighborHashing
from fasthash.hashers.neighbor import _distances, _precision
from tests.hashers.conftest import clustered


def divergences(rows, projection, precisions):
    """Of the near and of the wide neighbours in float64, every row an anchor, as the docstring has them."""
    n_bits = projection.shape[1]
    others = ~torch.eye(len(rows), dtype=torch.bool)
    bits = torch.tanh(3 * rows @ projection)
    similarity = bits @ bits.T / n_bits
    directions = rows / rows.norm(dim=1, keepdim=True)
    values = []
    for x, precision, temperature in zip((rows, directions), precisions, (0.5 / n_bits**0.5, 0.2), strict=True):
        squares = (x[:, None] - x[None]).square().sum(2)
        log_p = (-precision * squares)[others].view(len(rows), -1).log_softmax(1)
        log_q = (similarity / temperature)[others].view(len(rows), -1).log_softmax(1)
        values.append((log_p.exp() * (log_p - log_q)).sum(1).mean())
    return torch.stack(values)


@pytest.mark.parametrize("wide", [0.0, 0.3, 1.0])
def test_the_first_step_goes_down_the_gradient(wide):
    """Adam's first step is the learning rate times the gradient's sign."""
    x = torch.from_numpy(np.asarray(clustered(90, 6)))
    start, moved = (NeighborHashing(4, wide=wide, n_iterations=n, learning_rate=1e-3).fit(x) for n in (0, 1))
    rows = x - x.mean(0)
    rows = rows / rows.square().mean().sqrt()
    precisions = [_precision(d, perplexity) for d, perplexity in zip(_distances(rows), (5, 9), strict=True)]
    projection = start.projection_.double()
    projection = (projection / (rows.double() @ projection).square().mean().sqrt()).requires_grad_()
    values = divergences(rows.double(), projection, precisions)
    np.testing.assert_allclose(moved.divergence_, values.detach()[None], rtol=1e-4)
    (torch.tensor([1 - wide, wide], dtype=torch.float64) @ (values / values.detach())).backward()
    step = moved.projection_ - projection.detach()
    certain = projection.grad.abs() > 1e-4
    assert certain.double().mean() > 0.9
    expected = -1e-3 * projection.detach().std(correction=0) * projection.grad.sign()
    torch.testing.assert_close(step[certain], expected[certain], rtol=0.01, atol=1e-6)


def test_a_precision_has_its_perplexity(rng):
    rows = torch.from_numpy(rng.normal(size=(400, 5))).float()
    for distances, perplexity in zip(_distances(rows), (5, 40), strict=True):
        log_p = (-_precision(distances, perplexity) * distances).log_softmax(1)
        entropy = -(log_p.exp() * log_p.clamp(min=-1e4)).sum(1)
        assert entropy.median().exp().item() == pytest.approx(perplexity, rel=1e-3)


def recall(hasher, x, queries):
    """Of the ten nearest rows among the first ten by the Hamming distance."""
    true = torch.cdist(queries, x).topk(10, largest=False).indices
    found = torch.from_numpy(fh.hamming_topk(hasher.encode(queries), hasher.encode(x), 10).ids.numpy())
    return (true[:, :, None] == found[:, None]).any(2).float().mean().item()


@pytest.mark.slow
def test_neighbours_are_kept_better_than_by_a_rotation(digits):
    """At the default weight; the wide scale alone ranks classes and the near one alone forgets them."""
    x, labels = torch.from_numpy(digits[0]), digits[1]
    x, queries, labels, asked = x[:1500], x[1500:], labels[:1500], labels[1500:]
    near, default, wide = (
        NeighborHashing(32, **weight, n_iterations=600).fit(x) for weight in ({"wide": 0}, {}, {"wide": 1})
    )
    itq = ITQ(32).fit(x)
    assert min(recall(default, x, queries), recall(near, x, queries)) > recall(itq, x, queries) + 0.005
    assert recall(itq, x, queries) > recall(wide, x, queries)
    ranked = [
        mean_average_precision(hasher.encode(queries).numpy(), asked, hasher.encode(x).numpy(), labels)
        for hasher in (near, itq, default, wide)
    ]
    assert (np.diff(ranked) > 0.002).all()
    assert (default.divergence_[-50:].mean(0) < 0.9 * default.divergence_[0]).all()


@pytest.mark.parametrize("x", [np.full((5, 3), 7), [[1, 2, 3]], [[1, 2, 3], [4, 5, 7]], [[0, 0, 0]] * 4 + [[1, 2, 3]]])
def test_few_or_equal_rows_have_finite_codes(x):
    x = np.asarray(x, dtype=np.float32)
    hasher = NeighborHashing(2, n_iterations=5).fit(x)
    assert torch.isfinite(hasher.projection_).all()
    assert np.isfinite(hasher.divergence_).all()
    assert hasher.encode(x).shape == (len(x), 1)


def test_scale_and_place_do_not_matter(rng):
    x = rng.normal(size=(300, 6)).astype(np.float32)
    hasher = NeighborHashing(4, n_iterations=3).fit(x)
    for moved in (x * np.float32(1e-18), x * np.float32(1e17), x + 3):
        other = NeighborHashing(4, n_iterations=3).fit(moved)
        np.testing.assert_allclose(other.divergence_, hasher.divergence_, rtol=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wide": 1.5}, "expected wide at least 0 and at most 1, got 1.5"),
        ({"wide": float("nan")}, "expected wide at least 0 and at most 1, got nan"),
        ({"n_iterations": -1}, "expected n_iterations at least 0, got -1"),
        ({"batch_size": 2}, "expected batch_size at least 3, got 2"),
        ({"learning_rate": 0}, "expected learning_rate above 0 and finite, got 0"),
        ({"n_bits": 65}, "expected n_bits for X of 64 columns from 1 to 64, got 65"),
    ],
)
def test_bad_settings(settings, message, digits):
    with pytest.raises(ValueError, match=f"^NeighborHashing.fit: {message}$"):
        NeighborHashing(**{"n_bits": 8, **settings}).fit(digits[0])


def test_progress_is_shown_and_changes_nothing(digits, capsys):
    settings = {"n_iterations": 3, "batch_size": 100}
    shown = NeighborHashing(16, progress=True, **settings).fit(digits[0])
    assert "neighbours 16 bits: 100%" in capsys.readouterr().err
    assert torch.equal(shown.projection_, NeighborHashing(16, **settings).fit(digits[0]).projection_)
    assert capsys.readouterr().err == ""
