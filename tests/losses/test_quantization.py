from __future__ import annotations

import itertools
import math
import re

import pytest
import torch

import fasthash as fh
from fasthash import losses

U = torch.tensor([[0.5, -2.0], [-1.0, 3.0]], dtype=torch.float64)  # |u| - 1: -0.5, 1, 0, 2


@pytest.mark.parametrize(
    ("name", "settings", "by_hand"),
    [
        ("MagnitudeError", {"power": 1}, 3.5 / 4),
        ("MagnitudeError", {}, 5.25 / 4),
        ("MagnitudeError", {"reduction": "code"}, 5.25 / 2),
        ("MagnitudeError", {"power": 3}, 9.125 / 4),
        ("LogCosh", {}, sum(math.log(math.cosh(d)) for d in (0.5, 1, 0, 2)) / 4),
        ("LogCosh", {"reduction": "code"}, sum(math.log(math.cosh(d)) for d in (0.5, 1, 0, 2)) / 2),
        ("BitBalance", {}, (0.25**2 + 0.5**2) / 2),
        ("BitBalance", {"over": "code"}, (0.75**2 + 1) / 2),
        ("HSWD", {}, (0.5**2 + 0 + 1 + 2**2) / 4),
        ("HSWD", {"p": 1}, (0.5 + 0 + 1 + 2) / 4),
        ("HSWD", {"values": (0, 1)}, (0.5**2 + 1 + 2**2 + 2**2) / 4),
        ("HSWD", {"root": True}, ((0.5**2 + 0 + 1 + 2**2) / 4) ** 0.5),
    ],
    ids=str,
)
def test_against_hand_computed_numbers(name, settings, by_hand):
    loss = getattr(losses, name)(**settings)
    assert math.isclose(loss(U).item(), by_hand, rel_tol=1e-12)
    assert torch.autograd.gradcheck(loss, (torch.randn(5, 3, dtype=torch.float64, requires_grad=True),))
    assert repr(loss).startswith(f"{name}(")
    assert all(f"{setting}={value!r}" in repr(loss) for setting, value in settings.items() if setting != "power")


def test_log_cosh_of_large_outputs_is_finite():
    u = torch.tensor([[1e4, -1e30]], requires_grad=True)
    loss = losses.LogCosh()(u)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.equal(u.grad, torch.tensor([[0.5, -0.5]]))


@pytest.mark.parametrize("p", [1, 2, 3])
def test_optimal_transport_is_the_best_of_all_assignments(p):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    bits = losses.quantization.random_bits("test", u, generator)
    orders = map(list, itertools.permutations(range(6)))
    best = min(((u - bits[order]).square().mean(dim=1).sqrt() ** p).mean() for order in orders)
    loss = losses.OptimalTransport(p)
    torch.testing.assert_close(loss(u, bits), best)
    assert torch.autograd.gradcheck(lambda u: loss(u, bits), (u,))
    if p == 2:
        assert loss(u, bits) >= fh.wasserstein_1d(u, bits)  # which moves every column by itself
    seeded = [loss(u, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert seeded[0] == seeded[1] != loss(u)


def test_optimal_transport_to_any_target():
    """Rows of a target are of unlike lengths, as those of bits are not."""
    generator = torch.Generator().manual_seed(0)
    loss = losses.OptimalTransport()
    for _ in range(5):
        u, target = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(2))
        best = min((u - target[list(order)]).square().mean() for order in itertools.permutations(range(6)))
        torch.testing.assert_close(loss(u, target), best)


def test_sliced_wasserstein_draws_bits():
    u = torch.randn(50, 8, requires_grad=True)
    loss = losses.SlicedWasserstein(200)
    assert loss(u) != loss(u)
    assert loss(u, generator=torch.Generator().manual_seed(1)) == loss(u, generator=torch.Generator().manual_seed(1))
    assert loss(u, u.detach()) == 0
    loss(u).backward()
    assert torch.isfinite(u.grad).all()
    bits = losses.quantization.random_bits("test", u)
    assert set(bits.unique().tolist()) == {-1, 1}


def test_draws_are_of_their_generator():
    u = torch.randn(50, 8)
    for loss in (losses.HSWD(target="bernoulli"), losses.SlicedWasserstein(5), losses.OptimalTransport()):
        first, again, other = (loss(u, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert first == again != other


def test_random_bits_are_as_hswd_draws_them():
    """The authors' target, drawn here in full, has the law of the binomial counts that hswd draws."""
    u = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    in_full = torch.stack([fh.wasserstein_1d(u, losses.quantization.random_bits("", u, generator)) for _ in range(300)])
    drawn = torch.stack([losses.HSWD(target="bernoulli")(u, generator=generator) for _ in range(300)])
    assert abs(in_full.mean() - drawn.mean()) < 6 * drawn.std() / 150**0.5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.MagnitudeError(0), ValueError, "MagnitudeError: expected power above 0 and finite, got 0"),
        (
            lambda: losses.MagnitudeError(2, "sum"),
            ValueError,
            "MagnitudeError: expected reduction to be one of 'mean', 'code', got 'sum'",
        ),
        (
            lambda: losses.LogCosh("sum"),
            ValueError,
            "LogCosh: expected reduction to be one of 'mean', 'code', got 'sum'",
        ),
        (
            lambda: losses.BitBalance("bits"),
            ValueError,
            "BitBalance: expected over to be one of 'batch', 'code', got 'bits'",
        ),
        (lambda: losses.MagnitudeError()(U[0]), ValueError, r"MagnitudeError: expected u of shape \[n, m\], got \[2\]"),
        (lambda: losses.LogCosh()(torch.zeros(3)), ValueError, r"LogCosh: expected u of shape \[n, m\], got \[3\]"),
        (lambda: losses.BitBalance()(U[0]), ValueError, r"BitBalance: expected u of shape \[n, m\], got \[2\]"),
        (
            lambda: losses.SlicedWasserstein(0),
            ValueError,
            "SlicedWasserstein: expected n_projections at least 1, got 0",
        ),
        (
            lambda: losses.SlicedWasserstein()(U.int()),
            TypeError,
            "SlicedWasserstein: expected u of a floating-point dtype, got int32",
        ),
        (
            lambda: losses.SlicedWasserstein()(U[0]),
            ValueError,
            r"SlicedWasserstein: expected u of shape \[n, m\], got \[2\]",
        ),
        (
            lambda: losses.OptimalTransport(0.5),
            ValueError,
            r"OptimalTransport: expected p at least 1 and finite, got 0\.5",
        ),
        (
            lambda: losses.OptimalTransport()(torch.full((2, 2), torch.nan)),
            ValueError,
            "OptimalTransport: expected u to be finite, got a NaN or an infinity$",
        ),
        (
            lambda: losses.OptimalTransport()(U, U[:1]),
            ValueError,
            r"OptimalTransport: expected target of the shape of u, \[2, 2\], got \[1, 2\]$",
        ),
        (
            lambda: losses.OptimalTransport()(torch.ones(2, 2).int()),
            TypeError,
            "OptimalTransport: expected u of a floating-point dtype, got int32",
        ),
        (
            lambda: losses.OptimalTransport()(U[0]),
            ValueError,
            r"OptimalTransport: expected u of shape \[n, m\], got \[2\]",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.parametrize(
    "name", ["HSWD", "SlicedWasserstein", "OptimalTransport", "MagnitudeError", "LogCosh", "BitBalance"]
)
@pytest.mark.parametrize("shape", [[0, 4], [4, 0]], ids=str)
def test_a_mean_over_nothing_is_refused(name, shape):
    message = re.escape(f"{name}: expected u with at least one row and one column, got {shape}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        getattr(losses, name)()(torch.empty(shape))


@pytest.mark.parametrize("power", [0.5, 1, 1.5, 2])
def test_the_magnitude_error_has_no_slope_at_the_signs(power):
    u = torch.tensor([[1.0, -1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    value = losses.MagnitudeError(power)(u)
    assert value.item() == pytest.approx(2**power / 3)
    value.backward()
    assert u.grad.tolist() == [[0, 0, pytest.approx(power * 2 ** (power - 1) / 3)]]
