from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.ops.wasserstein import KERNELS, slicing
from fasthash.ops.wasserstein.reference import sorted_cost, two_point_cost
from tests.conftest import on_kernel_device, opcheck, runnable

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


def loss_and_gradient(kernel, x, n_low, *law):
    loss, saved = kernel.function("two_point_wasserstein")(x, n_low, *law, True)
    return loss, kernel.function("two_point_backward")(torch.ones_like(loss), x, saved, *law)


def assert_close(result, expected, dtype):
    cost, gradient = (part.detach().cpu().double() for part in result)
    scale = float(expected[1].abs().max()) + 1e-300
    np.testing.assert_allclose(cost, expected[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 1e-2)
    np.testing.assert_allclose(gradient / scale, expected[1] / scale, atol=TOLERANCE[dtype] * 3)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kernels_agree_with_sorting(kernel, shape, dtype):
    interpreted = kernel.package == "triton" and bool(os.environ.get("TRITON_INTERPRET"))
    if interpreted and shape[0] > 100:
        shape = (shape[0], 3)  # a column takes a tenth of a second
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for values, make in VALUES.items():
        x = make(noise.to(dtype))
        powers = (2.0,) if interpreted and values not in ("normal", "at the target") else (2.0, 1.0, 3.0)
        for kind in ("balanced", "bernoulli"):
            n_low, split = law(kind, *shape)
            for p in powers if kind == "balanced" else (2.0,):
                given_x, counts = on_kernel_device(kernel, x, n_low)
                result = loss_and_gradient(kernel, given_x, counts, split, -1.0, 1.0, p)
                assert result[0].dtype == result[1].dtype == dtype
                assert_close(result, by_sorting(x, n_low, split, -1.0, 1.0, p), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precisions(kernel, dtype):
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    n_low, split = law("balanced", 50, 7)
    given_x, counts = on_kernel_device(kernel, x, n_low)
    result = loss_and_gradient(kernel, given_x, counts, split, 0.0, 1.0, 2.0)
    assert result[0].dtype == result[1].dtype == dtype
    if KERNELS["reference"] != kernel:  # which is as exact as its dtype
        assert_close(result, by_sorting(x, n_low, split, 0.0, 1.0, 2.0), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_any_strides(kernel):
    x = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    for view in (x.T, x[::3], x[:, ::2], x[5:6].expand(9, 60), x[:, 7:40]):
        n_low, split = law("balanced", *view.shape)
        given_x, counts = on_kernel_device(kernel, view, n_low)
        result = loss_and_gradient(kernel, given_x, counts, split, -1.0, 1.0, 2.0)
        assert_close(result, by_sorting(view, n_low, split, -1.0, 1.0, 2.0), torch.float32)


@cache
def several_threads_cases(n):
    """Inputs, one column of which is left over at every width, and what is expected of every kernel."""
    x = torch.randn(n, 33, generator=torch.Generator().manual_seed(0))
    cases = []
    for ties in (3, 32):
        x = x.clone()
        x[:, ties] = x[:, ties].round()
        for kind in ("balanced", "bernoulli"):
            n_low, split = law(kind, *x.shape)
            cases += [(x, n_low, split, p, by_sorting(x, n_low, split, -1.0, 1.0, p)) for p in (2.0, 1.0, 3.0)]
    return cases


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
@pytest.mark.parametrize("n", [20_000, 20_001])
def test_long_columns_on_several_threads(kernel, n):
    for x, n_low, split, p, expected in several_threads_cases(n):
        assert_close(loss_and_gradient(kernel, x, n_low, split, -1.0, 1.0, p), expected, torch.float32)


@pytest.fixture
def long_columns(monkeypatch):
    """The GPU kernels of long columns for every column, in tiles that Triton's interpreter gets through."""
    pytest.importorskip("triton")
    from fasthash.ops.wasserstein import kernel_triton, kernel_triton_long

    monkeypatch.setattr(kernel_triton, "MAX_ELEMENTS", dict.fromkeys(kernel_triton.MAX_ELEMENTS, 0))
    settings = {
        "SAMPLE": 16,
        "DEVIATIONS": 1,
        "CHUNK": 8,
        "STEP": 4,
        "COLUMNS": 4,
        "SLOTS": 4,
        "TILE": 32,
        "REST": 8,
        "TILE_WARPS": 1,
    }
    for name, value in settings.items():
        monkeypatch.setattr(kernel_triton_long, name, value)
    return kernel_triton_long


def assert_agrees_with_sorting(x, p=2.0, split=0.5):
    """For counts from 0 to n, and a next element whose mass is split."""
    n_low, _ = law("bernoulli", *x.shape)
    n_low[len(n_low) // 2] = len(x) // 2
    given_x, counts = on_kernel_device(KERNELS["triton"], x, n_low)
    result = loss_and_gradient(KERNELS["triton"], given_x, counts, split, -0.3, 1.0, p)
    assert result[0].dtype == result[1].dtype == x.dtype
    assert_close(result, by_sorting(x, n_low, split, -0.3, 1.0, p), x.dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "values"),
    [(torch.float32, values) for values in VALUES]
    + [(dtype, values) for dtype in TOLERANCE for values in ("normal", "rounded, many ties") if dtype != torch.float32],
    ids=str,
)
def test_long_columns_on_a_gpu(long_columns, values, dtype):
    noise = torch.randn(67, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_agrees_with_sorting(VALUES[values](noise.to(dtype)))


@pytest.mark.slow
@pytest.mark.parametrize("values", ["normal", "rounded, many ties"])
@pytest.mark.parametrize(
    ("deviations", "tile"), [(0, 32), (9, 32), (9, 128)], ids=["missed", "too much between", "all between"]
)
def test_any_bracket_of_a_long_column(long_columns, monkeypatch, values, deviations, tile):
    """The sample may be right, wrong or useless; at 32 a tile the list has room for 32."""
    monkeypatch.setattr(long_columns, "DEVIATIONS", deviations)
    monkeypatch.setattr(long_columns, "TILE", tile)
    noise = torch.randn(67, 3, generator=torch.Generator().manual_seed(0))
    assert_agrees_with_sorting(VALUES[values](noise))


def test_long_columns_of_a_dozen_values(long_columns):
    """A chunk has elements at either end of the bracket before the one between at which the column is parted."""
    x = torch.randint(0, 12, (67, 9), generator=torch.Generator().manual_seed(0)).float()
    assert_agrees_with_sorting(x)


def test_long_columns_in_order_of_rows(long_columns):
    """All that lies between is in one or two chunks."""
    x = torch.randn(67, 3, generator=torch.Generator().manual_seed(0)).sort(dim=0).values
    for view in (x, x.flip(0), x.round()):
        assert_agrees_with_sorting(view)


@pytest.mark.slow
def test_the_brackets_of_columns_of_real_length(monkeypatch):
    """In columns in any order they hold the median, and little else; nothing of kernels' sizes is changed."""
    pytest.importorskip("triton")
    from fasthash.ops.wasserstein import kernel_triton, kernel_triton_long

    collected = []

    class Search:
        def __getitem__(self, grid):
            def launch(x, n_low, bracket, counts, *arguments, **options):
                collected.append(counts)
                search[grid](x, n_low, bracket, counts, *arguments, **options)

            return launch

    search = kernel_triton_long.two_point_search_kernel
    monkeypatch.setattr(kernel_triton_long, "two_point_search_kernel", Search())
    n = max(8_501, kernel_triton.MAX_ELEMENTS[torch.float64] + 1)
    noise = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = (torch.arange(len(noise)) // 850) % 3 * 5
    x = torch.stack([noise, noise.sort().values, noise + classes, noise**9, (noise * 2).round()], dim=1)
    n_low, split = law("balanced", *x.shape)
    given_x, _ = on_kernel_device(KERNELS["triton"], x, n_low)
    result = loss_and_gradient(KERNELS["triton"], given_x, None, split, -1.0, 1.0, 2.0)
    assert_close(result, by_sorting(x, n_low, split, -1.0, 1.0, 2.0), x.dtype)
    below, at_least, between, at_most = (
        (collected[0].long() >> shift & 255).sum(dim=0).cpu() for shift in (0, 8, 16, 24)
    )
    assert bool((below <= n // 2).all())
    assert bool((below + at_least + between + at_most > n // 2).all())
    assert bool((between < 0.11 * len(x)).all())
    assert between[4] == 0  # all at either end


@pytest.mark.parametrize("shape", [(8, 1), (9, 3), (40, 1), (15, 9)], ids=str)
@pytest.mark.parametrize("p", [1.0, 2.5])
def test_long_columns_of_any_shape_and_power(long_columns, shape, p):
    assert_agrees_with_sorting(torch.randn(shape, generator=torch.Generator().manual_seed(0)), p)


def test_long_columns_of_any_strides(long_columns):
    x = torch.randn(21, 30, generator=torch.Generator().manual_seed(0)).bfloat16()
    for view in (x.T[:, :3], x[::2, ::7], x[5:6].expand(9, 30)[:, :3], x[:, 7:10]):
        assert_agrees_with_sorting(view, split=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("value", [torch.nan, -torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_nan_or_an_infinity_in_a_long_column(long_columns, value):
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    x[[0, 17, 39], 2] = value
    for n_low in (torch.full((5,), 20), torch.tensor([20, 0, 0, 20, 40]), torch.tensor([20, 0, 40, 20, 40])):
        given_x, counts = on_kernel_device(KERNELS["triton"], x, n_low)
        cost, gradient = loss_and_gradient(KERNELS["triton"], given_x, counts, 0.0, -1.0, 1.0, 2.0)
        assert not torch.isfinite(cost)
        others = [0, 1, 3, 4]
        expected = by_sorting(x[:, others], n_low[others], 0.0, -1.0, 1.0, 2.0)[1] * 4 / 5
        np.testing.assert_allclose(gradient.cpu()[:, others].double(), expected, rtol=1e-2)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_gpu_takes_columns_one_by_one(monkeypatch, dtype):
    """Where they do not fit in one program together."""
    pytest.importorskip("triton")
    from fasthash.ops.wasserstein import kernel_triton

    monkeypatch.setattr(kernel_triton, "MAX_ELEMENTS", dict.fromkeys(kernel_triton.MAX_ELEMENTS, 64))
    noise = torch.randn(53, 3, generator=torch.Generator().manual_seed(0))
    for values in (noise, (noise * 2).round() / 2):
        assert_agrees_with_sorting(values.to(dtype))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("n", [8, 9])
def test_half_of_the_rows_are_low_by_default(kernel, n):
    given_x, counts = on_kernel_device(kernel, torch.randn(n, 3), torch.full((3,), n // 2))
    given = loss_and_gradient(kernel, given_x, counts, 0.5, -1.0, 1.0, 2.0)
    for part, right in zip(loss_and_gradient(kernel, given_x, None, 0.5, -1.0, 1.0, 2.0), given, strict=True):
        assert torch.equal(part, right)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_no_gradient_is_kept_unless_wanted(kernel):
    given_x, counts = on_kernel_device(kernel, torch.randn(8, 3), torch.tensor([0, 4, 8]))
    function = kernel.function("two_point_wasserstein")
    loss, saved = function(given_x, counts, 0.0, -1.0, 1.0, 2.0, False)
    assert saved.shape == (0, 0)
    assert loss == function(given_x, counts, 0.0, -1.0, 1.0, 2.0, True)[0]


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_ties_are_taken_in_order_of_rows(kernel):
    x, n_low = on_kernel_device(kernel, torch.zeros(6, 2), torch.tensor([2, 4]))
    _, gradient = loss_and_gradient(kernel, x, n_low, 0.0, -1.0, 1.0, 2.0)
    assert (gradient * 6).sign().tolist() == [[1, 1], [1, 1], [-1, 1], [-1, 1], [-1, -1], [-1, -1]]
    x, n_low = on_kernel_device(kernel, torch.zeros(5, 1), torch.tensor([2]))
    _, gradient = loss_and_gradient(kernel, x, n_low, 0.5, -1.0, 1.0, 2.0)
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
        cost, gradient = loss_and_gradient(kernel, given_x, counts, split, -1.0, 1.0, 2.0)
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


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_the_gradient_of_a_root_at_no_distance(p):
    """0, where the square root of a square has the slope infinity times 0."""
    bits = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    for distance in (fh.hswd(bits, p, root=True), fh.wasserstein_1d(bits, bits.detach(), p, root=True)):
        assert distance == 0
        (gradient,) = torch.autograd.grad(distance, bits)
        assert gradient.tolist() == [[0, 0], [0, 0]]
    sliced = fh.sliced_wasserstein(bits, bits.detach(), 3, p, root=True)
    assert torch.autograd.grad(sliced, bits)[0].isfinite().all()


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
    with pytest.raises(RuntimeError, match="expected one derivative to be taken, got a second"):
        (gradient.sum() + x.sum()).backward()


def test_the_registered_op():
    for x in (torch.randn(6, 3), torch.randn(7, 3, dtype=torch.float64), torch.randn(5, 4).T):
        for wanted in (False, True):
            n_low, split = law("balanced", *x.shape)
            leaf = x.clone().requires_grad_(wanted)
            for counts in (n_low, None):
                opcheck(torch.ops.fasthash.two_point_wasserstein, (leaf, counts, split, -1.0, 1.0, 2.0, wanted))
        upstream, saved = torch.ones((), dtype=x.dtype), torch.randn(x.shape, dtype=x.dtype)
        opcheck(torch.ops.fasthash.two_point_backward, (upstream, x, saved, split, -1.0, 1.0, 2.0))


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
        ((torch.zeros(2, 3), 0.5), ValueError, "expected p at least 1 and finite, got 0.5"),
        ((torch.zeros(2, 3), float("nan")), ValueError, "expected p at least 1 and finite, got nan"),
        ((torch.zeros(2, 3), float("inf")), ValueError, "expected p at least 1 and finite, got inf"),
        ((torch.zeros(2, 3), "2"), TypeError, "expected p to be a number, got str"),
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
    for values in ((1, 0), (0, float("inf"))):
        with pytest.raises(ValueError, match=r"hswd: expected values finite and in ascending order, got \("):
            fh.hswd(torch.zeros(2, 3), values=values)
    with pytest.raises(TypeError, match=r"hswd: expected values to be two numbers, got \(1,\)"):
        fh.hswd(torch.zeros(2, 3), values=(1,))
    with pytest.raises(TypeError, match="hswd: expected group to be a ProcessGroup, got int"):
        fh.hswd(torch.zeros(2, 3), group=3)


def as_torch_users_write_it(x, y, p):
    """Loss and gradients for as many rows in both, in float64."""
    leaves = [u.double().clone().requires_grad_() for u in (x, y)]
    cost = (leaves[0].sort(dim=0, stable=True).values - leaves[1].sort(dim=0, stable=True).values).abs().pow(p).mean()
    return cost.detach(), *torch.autograd.grad(cost, leaves)


def assert_parts_close(result, expected, dtype):
    assert all(part.dtype == dtype for part in result)
    for gradient, wanted in zip(result[1:], expected[1:], strict=True):
        assert_close((result[0], gradient), (expected[0], wanted), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", [*SHAPES, (300, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sorted_distance_agrees_with_torch(kernel, shape, dtype):
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)]
    for name, make in VALUES.items():
        x, y = make(noise[0]), noise[1] if name == "denormal" else make(noise[1])
        for p in (2.0, 1.0, 3.0):
            result = kernel.function("sorted_wasserstein")(*on_kernel_device(kernel, x, y), p, True)
            assert_parts_close(result, as_torch_users_write_it(x, y, p), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("counts", [(1, 7), (4, 6), (5, 3), (40, 100), (101, 64)], ids=str)
@pytest.mark.parametrize("p", [1.0, 2.0, 2.5])
def test_sorted_distance_between_samples_of_other_sizes(kernel, counts, p):
    """A sample in which every value stands k times is the same sample."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in counts)
    alike = x.repeat_interleave(counts[1], dim=0), y.repeat_interleave(counts[0], dim=0)
    cost, gradient_x, gradient_y = as_torch_users_write_it(*alike, p)
    expected = (
        cost,
        gradient_x.unflatten(0, (counts[0], counts[1])).sum(dim=1),
        gradient_y.unflatten(0, (counts[1], counts[0])).sum(dim=1),
    )
    result = kernel.function("sorted_wasserstein")(*on_kernel_device(kernel, x, y), p, True)
    assert_parts_close(result, expected, torch.float64)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_pot_says_the_same_of_samples_of_any_size(p):
    ot = pytest.importorskip("ot")
    x, y = np.random.default_rng(0).standard_normal(20), np.random.default_rng(1).standard_normal(30)
    ours = sorted_cost(torch.from_numpy(x)[:, None], torch.from_numpy(y)[:, None], p)
    np.testing.assert_allclose(ours, ot.wasserstein_1d(x, y, p=p), rtol=1e-6)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sorted_distance_of_half_precisions(kernel, dtype):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(50, 7, generator=generator).to(dtype) for _ in range(2))
    result = kernel.function("sorted_wasserstein")(*on_kernel_device(kernel, x, y), 2.0, True)
    assert result[0].dtype == result[1].dtype == dtype
    if KERNELS["reference"] != kernel:
        assert_parts_close(result, as_torch_users_write_it(x, y, 2.0), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_sorted_distance_of_any_strides(kernel):
    x = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    y = torch.randn(60, 60, generator=torch.Generator().manual_seed(1))
    for view, other in ((x.T[:40], x[:, :40]), (x[::2, ::3], y[:20, ::3]), (x[5:6].expand(9, 60), y[:9])):
        result = kernel.function("sorted_wasserstein")(*on_kernel_device(kernel, view, other), 2.0, True)
        assert_parts_close(result, as_torch_users_write_it(view, other, 2.0), torch.float32)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_a_nan_shows_in_the_sorted_distance(kernel):
    x, y = torch.randn(70, 3), torch.randn(70, 3)
    for value in (torch.nan, -torch.nan, torch.inf):
        x[3, 1] = value
        cost, gradient, _ = kernel.function("sorted_wasserstein")(*on_kernel_device(kernel, x, y), 2.0, True)
        assert not torch.isfinite(cost)
        expected = as_torch_users_write_it(x[:, ::2], y[:, ::2], 2.0)[1] * 2 / 3
        np.testing.assert_allclose(gradient.cpu()[:, ::2], expected, atol=1e-6)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_gradients_of_wasserstein_1d(p):
    generator = torch.Generator().manual_seed(1)
    x, y, z = (torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True) for n in (6, 6, 4))
    assert torch.autograd.gradcheck(lambda x, y: fh.wasserstein_1d(x, y, p, root=True), (x, y))
    assert torch.autograd.gradcheck(lambda x, y: fh.wasserstein_1d(x, y, p), (x, z))
    assert torch.autograd.gradcheck(lambda y: fh.wasserstein_1d(x.detach(), y, p), (y,))
    (gradient,) = torch.autograd.grad(fh.wasserstein_1d(x, y, p), x, create_graph=True)
    with pytest.raises(RuntimeError, match="expected one derivative to be taken, got a second"):
        (gradient.sum() + x.sum()).backward()


def test_the_registered_sorting_op_and_its_compilation():
    for x, y in (
        (torch.randn(6, 3), torch.randn(9, 3)),
        (torch.randn(4, 7, dtype=torch.float64).T[:5], torch.ones(2, 4)),
    ):
        for wanted in (False, True):
            leaves = [u.to(x.dtype).clone().requires_grad_(wanted) for u in (x, y)]
            opcheck(torch.ops.fasthash.sorted_wasserstein, (*leaves, 2.0, wanted))
    torch.compiler.reset()
    x, y = torch.randn(9, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
    loss = torch.compile(lambda x, y: fh.wasserstein_1d(x * 2, y), backend="aot_eager", fullgraph=True)(x, y)
    expected = fh.wasserstein_1d(x * 2, y)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, (x, y)), torch.autograd.grad(expected, (x, y)))


def test_sliced_distance_is_that_of_projections(monkeypatch):
    monkeypatch.setattr(slicing, "ELEMENTS_AT_ONCE", 1)
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(n, 6, generator=generator, dtype=torch.float64, requires_grad=True) for n in (20, 30))

    def sliced(x, y, **settings):
        return fh.sliced_wasserstein(x, y, 50, generator=torch.Generator().manual_seed(2), **settings)

    directions = torch.randn(6, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    directions /= directions.norm(dim=0)
    expected = fh.wasserstein_1d(x @ directions, y @ directions, kernel="reference")
    torch.testing.assert_close(sliced(x, y), expected)
    torch.testing.assert_close(torch.autograd.grad(sliced(x, y), (x, y)), torch.autograd.grad(expected, (x, y)))
    assert torch.autograd.gradcheck(lambda x, y: sliced(x, y, root=True), (x, y))
    assert fh.sliced_wasserstein(x, y, 3) != fh.sliced_wasserstein(x, y, 3)
    half = fh.sliced_wasserstein(x.bfloat16(), y.bfloat16(), 2000)
    assert half.dtype == torch.bfloat16
    assert abs(half - fh.sliced_wasserstein(x, y, 2000)) < 0.03


def test_autocast_does_not_lower_the_precision_of_the_sliced_distance():
    x, y = torch.randn(9, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
    results = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = fh.sliced_wasserstein(x, y, 20)
            results.append((loss, *torch.autograd.grad(loss, (x, y))))
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_sliced_distance_compiles():
    x, y = torch.randn(9, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
    torch.compiler.reset()
    compiled = torch.compile(lambda x, y: fh.sliced_wasserstein(x * 2, y, 20), backend="aot_eager", fullgraph=True)
    results = []
    for function in (compiled, lambda x, y: fh.sliced_wasserstein(x * 2, y, 20)):
        torch.manual_seed(3)
        loss = function(x, y)
        results.append((loss, *torch.autograd.grad(loss, (x, y))))
    torch.testing.assert_close(*results)


def test_pot_says_the_same():
    """On the axes as directions, the sliced distance to balanced bits is hswd."""
    ot = pytest.importorskip("ot")
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bits = torch.ones(40, 8, dtype=torch.float64)
    bits[:20] = -1
    for p in (1, 2, 3):
        other = ot.sliced_wasserstein_distance(x, bits, projections=torch.eye(8, dtype=torch.float64), p=p)
        torch.testing.assert_close(fh.hswd(x, p, root=True), other)
        torch.testing.assert_close(fh.wasserstein_1d(x, bits, p, root=True), other)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_have_the_loss_of_the_whole_batch(world, tmp_path):
    generator = torch.Generator().manual_seed(0)
    cases = []
    for sizes, dtype, make in (
        ((20, 13, 8), torch.float32, VALUES["normal"]),
        ((7, 8, 2), torch.float32, VALUES["rounded, many ties"]),
        ((6, 5, 4), torch.float64, VALUES["zeros of both signs"]),
        ((1, 1, 1), torch.float64, VALUES["normal"]),
        ((5, 6, 9), torch.float32, VALUES["all equal"]),
        ((31, 2, 4), torch.float64, VALUES["heavy tails"]),
        ((8, 8, 8), torch.bfloat16, VALUES["normal"]),
    ):
        parts = [make(torch.randn(n, 5, generator=generator).to(dtype)) for n in sizes[:world]]
        cases += [{"parts": parts, "p": p, "target": "balanced"} for p in (2, 1, 3)]
    ones = [torch.ones(500, 200), torch.ones(300, 200), torch.ones(200, 200)][:world]
    cases.append({"parts": ones, "p": 2, "target": "bernoulli"})
    torch.save(cases, tmp_path / "batch")
    script = Path(__file__).parent / "distributed_hswd.py"
    ranks = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(world), tmp_path / "store", tmp_path / "batch"],
            stdout=subprocess.PIPE,
            env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(world)
    ]
    results = [json.loads(rank.communicate(timeout=300)[0]) for rank in ranks]
    for i, case in enumerate(cases[:-1]):
        x = torch.cat(case["parts"]).requires_grad_()
        expected = fh.hswd(x, case["p"])
        (gradient,) = torch.autograd.grad(expected, x)
        tolerance = 1e-2 if x.dtype == torch.bfloat16 else 1e-5
        for rank in range(world):
            np.testing.assert_allclose(results[rank][i]["loss"], expected.item(), rtol=tolerance)
        ours = torch.cat([torch.tensor(results[rank][i]["gradient"]) for rank in range(world)]) / world
        np.testing.assert_allclose(ours, gradient.float(), atol=tolerance)
    # Where all are 1, those that the draw counts as -1 cost 4: the mean over columns is 2, up to the draws.
    drawn = [results[rank][-1]["loss"] for rank in range(world)]
    assert len(set(drawn)) == 1
    n = sum(map(len, ones))
    assert 0 < abs(drawn[0] - 2) < 6 * 2 / (n * 200) ** 0.5


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (
            fh.wasserstein_1d,
            (torch.zeros(3, 2), torch.zeros(3, 3)),
            ValueError,
            "y with as many columns as x, 2, got 3",
        ),
        (fh.wasserstein_1d, (torch.zeros(3, 2), torch.zeros(0, 2)), ValueError, "y with at least one row"),
        (fh.wasserstein_1d, (torch.zeros(3, 2), torch.zeros(3, 2).int()), TypeError, "y of a floating-point dtype"),
        (fh.wasserstein_1d, (torch.zeros(3, 2), torch.zeros(3, 2).double()), TypeError, "y of the dtype of x, float32"),
        (fh.wasserstein_1d, (torch.zeros(3, 2), torch.zeros(3, 2), 0), ValueError, "p at least 1 and finite, got 0"),
        (fh.sliced_wasserstein, (torch.zeros(3, 2), torch.zeros(3, 2), 0), ValueError, "n_projections at least 1"),
        (
            fh.sliced_wasserstein,
            (torch.zeros(3, 2), torch.zeros(3, 2), 1.5),
            TypeError,
            "n_projections to be an integer",
        ),
    ],
)
def test_bad_samples(function, arguments, error, message):
    with pytest.raises(error, match=f"{function.__name__}: expected {message}"):
        function(*arguments)
