from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.ops.wasserstein import KERNELS
from fasthash.ops.wasserstein.reference import two_point_cost

from .conftest import on_kernel_device, runnable

TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}  # relative
SHAPES = [(1, 1), (2, 3), (7, 5), (64, 16), (65, 17), (130, 33)]

VALUES = {
    "normal": lambda x: x,
    "rounded, many ties": lambda x: (x * 2).round() / 2,
    "all equal": lambda x: x * 0 + 0.25,
    "zeros of both signs": lambda x: torch.where(x > 0, 0.0, -0.0).to(x.dtype),
    "denormal": lambda x: x * torch.finfo(x.dtype).tiny / 8,
    "heavy tails": lambda x: x**9,
    "at the target": lambda x: x.sign(),
}


def law(kind, n, m):
    """The low counts and the split mass of a target, with the extreme counts among them."""
    if kind == "balanced":
        return torch.full((m,), n // 2), n % 2 / 2
    counts = torch.randint(0, n + 1, (m,), generator=torch.Generator().manual_seed(n))
    counts[0], counts[-1] = 0, n
    return counts, 0.0


def by_sorting(x, n_low, split, low, high, p):
    """Loss and gradient in float64 by a stable sort and autograd."""
    leaf = x.double().clone().requires_grad_()
    cost = two_point_cost(leaf, n_low, split, low, high, p)
    return cost.detach(), torch.autograd.grad(cost, leaf)[0]


def assert_close(result, expected, dtype):
    cost, gradient = (part.detach().cpu().double() for part in result)
    scale = float(expected[1].abs().max()) + 1e-300
    np.testing.assert_allclose(cost, expected[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 1e-2)
    np.testing.assert_allclose(gradient / scale, expected[1] / scale, atol=TOLERANCE[dtype] * 3)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kernels_agree_with_sorting(kernel, shape, dtype):
    if kernel.package == "triton" and shape[0] > 100 and os.environ.get("TRITON_INTERPRET"):
        shape = (shape[0], 3)  # a column takes the interpreter a tenth of a second
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for make in VALUES.values():
        x = make(noise.to(dtype))
        for kind in ("balanced", "bernoulli"):
            n_low, split = law(kind, *shape)
            for p in (2.0, 1.0, 3.0) if kind == "balanced" else (2.0,):
                given_x, counts = on_kernel_device(kernel, x, n_low)
                result = kernel.function("two_point_wasserstein")(given_x, counts, split, -1.0, 1.0, p, True)
                assert result[0].dtype == result[1].dtype == dtype
                assert_close(result, by_sorting(x, n_low, split, -1.0, 1.0, p), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precisions(kernel, dtype):
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    n_low, split = law("balanced", 50, 7)
    given_x, counts = on_kernel_device(kernel, x, n_low)
    result = kernel.function("two_point_wasserstein")(given_x, counts, split, 0.0, 1.0, 2.0, True)
    assert result[0].dtype == result[1].dtype == dtype
    if KERNELS["reference"] != kernel:  # which is as exact as its dtype
        assert_close(result, by_sorting(x, n_low, split, 0.0, 1.0, 2.0), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_any_strides(kernel):
    x = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    for view in (x.T, x[::3], x[:, ::2], x[5:6].expand(9, 60), x[:, 7:40]):
        n_low, split = law("balanced", *view.shape)
        given_x, counts = on_kernel_device(kernel, view, n_low)
        result = kernel.function("two_point_wasserstein")(given_x, counts, split, -1.0, 1.0, 2.0, True)
        assert_close(result, by_sorting(view, n_low, split, -1.0, 1.0, 2.0), torch.float32)


@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
@pytest.mark.parametrize("n", [20_000, 20_001])
def test_long_columns_on_several_threads(kernel, n):
    x = torch.randn(n, 40, generator=torch.Generator().manual_seed(0))
    x[:, 3] = x[:, 3].round()
    n_low, split = law("balanced", *x.shape)
    result = kernel.function("two_point_wasserstein")(x, n_low, split, -1.0, 1.0, 2.0, True)
    assert_close(result, by_sorting(x, n_low, split, -1.0, 1.0, 2.0), torch.float32)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_ties_are_taken_in_order_of_rows(kernel):
    x, n_low = on_kernel_device(kernel, torch.zeros(6, 2), torch.tensor([2, 4]))
    _, gradient = kernel.function("two_point_wasserstein")(x, n_low, 0.0, -1.0, 1.0, 2.0, True)
    assert (gradient * 6).sign().tolist() == [[1, 1], [1, 1], [-1, 1], [-1, 1], [-1, -1], [-1, -1]]
    x, n_low = on_kernel_device(kernel, torch.zeros(5, 1), torch.tensor([2]))
    _, gradient = kernel.function("two_point_wasserstein")(x, n_low, 0.5, -1.0, 1.0, 2.0, True)
    np.testing.assert_allclose(gradient[:, 0].cpu() * 5 / 2, [1, 1, 0, -1, -1], atol=1e-6)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("row", [0, 3, 8])
def test_a_nan_or_an_infinity_shows_in_the_loss(kernel, value, row):
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    x[row, 2] = value
    for kind in ("balanced", "bernoulli"):
        n_low, split = law(kind, 9, 5)
        given_x, counts = on_kernel_device(kernel, x, n_low)
        cost, gradient = kernel.function("two_point_wasserstein")(given_x, counts, split, -1.0, 1.0, 2.0, True)
        assert not torch.isfinite(cost)
        others = [0, 1, 3, 4]
        expected = by_sorting(x[:, others], n_low[others], split, -1.0, 1.0, 2.0)[1] * 4 / 5
        np.testing.assert_allclose(gradient.cpu()[:, others], expected, atol=1e-6)


@given(st.data())
def test_properties(data):
    n, m = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    seed = data.draw(st.integers(0, 2**32 - 1))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, m, generator=generator, dtype=torch.float64)
    loss = fh.hswd(x)
    assert loss >= 0
    torch.testing.assert_close(fh.hswd(x[torch.randperm(n, generator=generator)]), loss)
    torch.testing.assert_close(fh.hswd(x[:, torch.randperm(m, generator=generator)]), loss)
    torch.testing.assert_close(fh.hswd(-x), loss)  # the law is symmetric
    torch.testing.assert_close(fh.hswd(torch.cat([x, x])), loss)  # and a sample twice is the same sample
    torch.testing.assert_close(fh.hswd((x + 1) / 2, values=(0, 1)), loss / 4)
    torch.testing.assert_close(fh.hswd(x, root=True), loss.sqrt())


def test_bits_in_balance_have_no_loss():
    x = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert fh.hswd(x) == 0
    assert fh.hswd(torch.ones(4, 2)) == 2  # half of the ones have to go to -1
    assert fh.hswd((x + 1) / 2, values=(0, 1), p=1) == 0


@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("root", [False, True])
def test_gradient_of_the_public_function(n, p, root):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: fh.hswd(x, p, root=root), (x,))
    assert torch.autograd.gradcheck(
        lambda x: fh.hswd(x, p, "bernoulli", generator=torch.Generator().manual_seed(4)), (x,)
    )
    weighted = torch.autograd.grad(0.1 * fh.hswd(x, p), x)[0]
    torch.testing.assert_close(weighted, 0.1 * torch.autograd.grad(fh.hswd(x, p), x)[0])


def test_the_gradient_can_be_taken_again_and_not_differentiated():
    x = torch.randn(6, 3, requires_grad=True)
    loss = fh.hswd(x)
    first = torch.autograd.grad(loss, x, retain_graph=True)[0].clone()
    assert torch.equal(torch.autograd.grad(loss, x, retain_graph=True)[0], first)
    (gradient,) = torch.autograd.grad(fh.hswd(x), x, create_graph=True)
    assert torch.equal(gradient, first)
    with pytest.raises(RuntimeError, match="hswd: expected one derivative to be taken, got a second"):
        (gradient.sum() + x.sum()).backward()


def test_the_registered_op():
    for x in (torch.randn(6, 3), torch.randn(7, 3, dtype=torch.float64), torch.randn(5, 4).T):
        for wanted in (False, True):
            n_low, split = law("balanced", *x.shape)
            leaf = x.clone().requires_grad_(wanted)
            torch.library.opcheck(
                torch.ops.fasthash.two_point_wasserstein, (leaf, n_low, split, -1.0, 1.0, 2.0, wanted)
            )


def test_compiles_without_a_graph_break():
    torch.compiler.reset()
    x = torch.randn(9, 21, requires_grad=True)
    loss = torch.compile(lambda x: fh.hswd(x * 2), backend="aot_eager", fullgraph=True)(x)
    (gradient,) = torch.autograd.grad(loss, x)
    expected = fh.hswd(x * 2)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, x)[0])


def test_no_gradient_where_none_is_wanted():
    x = torch.randn(9, 4, requires_grad=True)
    with torch.no_grad():
        assert not fh.hswd(x).requires_grad
    with torch.inference_mode():
        assert fh.hswd(x) == fh.hswd(x.detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = fh.hswd(torch.nn.Linear(4, 8)(x))
        loss.backward()
    assert loss.dtype == torch.bfloat16
    assert x.grad is not None


def test_bernoulli_targets_are_drawn_anew_and_reproducibly():
    x = torch.randn(64, 16)
    draws = torch.stack([fh.hswd(x, target="bernoulli") for _ in range(400)])
    assert len(draws.unique()) > 100
    as_published = []
    for _ in range(400):
        target = torch.randn(64, 16).sign()
        as_published.append((x.sort(dim=0).values - target.sort(dim=0).values).square().mean())
    spread = draws.std() / 20
    assert abs(draws.mean() - torch.stack(as_published).mean()) < 6 * spread
    seeded = [fh.hswd(x, target="bernoulli", generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert seeded[0] == seeded[1]


def test_numpy_in_numpy_out(rng):
    x = rng.standard_normal((10, 4))
    loss = fh.hswd(x)
    assert isinstance(loss, np.ndarray)
    assert loss == fh.hswd(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3, 2, dtype=torch.int64),), TypeError, "expected x of a floating-point dtype, got int64"),
        ((torch.zeros(3),), ValueError, r"expected x of shape \[n, m\], got \[3\]"),
        ((torch.zeros(0, 3),), ValueError, r"expected x with at least one row and one column, got \[0, 3\]"),
        ((torch.zeros(2, 3), 0.5), ValueError, "expected p at least 1, got 0.5"),
        ((torch.zeros(2, 3), float("nan")), ValueError, "expected p at least 1, got nan"),
        (
            (torch.zeros(2, 3), 2, "uniform"),
            ValueError,
            "expected target to be one of 'balanced', 'bernoulli', got 'uniform'",
        ),
    ],
    ids=str,
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match="hswd: " + message):
        fh.hswd(*arguments)


def test_a_bad_kernel_is_named_by_the_public_function():
    with pytest.raises(ValueError, match="hswd: expected kernel to be one of .* got 'fast'"):
        fh.hswd(torch.zeros(2, 3), kernel="fast")


def test_bad_values():
    with pytest.raises(ValueError, match=r"hswd: expected values in ascending order, got \(1, 0\)"):
        fh.hswd(torch.zeros(2, 3), values=(1, 0))
