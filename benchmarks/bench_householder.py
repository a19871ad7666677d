"""A Householder rotation forward and backward on one thread, beside torch's own ways and the bare matrix products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations

import fasthash as fh
from fasthash.ops.householder import KERNELS
from fasthash.ops.householder.op import kept_rows
from fasthash.ops.householder.reference import reflect

from .conftest import runnable

BATCH, WIDTHS = 128, [16, 32, 64, 128, 256]


def sequential(x, v, dy):
    y = reflect(x, v, False)
    y.backward(dy)
    return y, v.grad


def linalg(x, v, dy):
    """LAPACK's factors have ones on the diagonal, so the vectors are divided by theirs; they have zeros below it."""
    lower = v.triu() / v.diagonal()[:, None]
    u = torch.linalg.householder_product(lower.T, 2 / lower.square().sum(1))
    y = x @ u.T
    y.backward(dy)
    return y, v.grad


def orthogonal(x, v, dy):
    layer = parametrizations.orthogonal(torch.nn.Linear(len(v), len(v), bias=False), orthogonal_map="householder")

    def run(x, v, dy):
        y = layer(x)
        y.backward(dy)
        return y, None

    return run


def autograd(kernel=None):
    def run(x, v, dy):
        y = fh.householder_apply(x, v, kernel=kernel)
        y.backward(dy)
        return y, v.grad

    return run


def bare(kernel):
    def run(x, v, dy):
        y, q, s_inverse = kernel.function("householder_apply")(x, v, False)
        rows = kept_rows(x, y, q)
        return y, kernel.function("householder_backward")(dy, rows, v, q, s_inverse, False, False)[1]

    return run


def products(x, v, dy):
    """Nothing but the closed form's matrix products and triangular solves, of the same sizes, by torch's BLAS."""
    w = v.detach()
    s = torch.mm(w, w.T)
    q = torch.linalg.solve_triangular(s, torch.mm(x, w.T), upper=True, left=False)
    y = torch.addmm(x, q, w, alpha=-1)
    z = torch.linalg.solve_triangular(s, torch.mm(dy, w.T), upper=True, left=False)
    return y, torch.mm(torch.mm(z.T, q), w).addmm_(z.T, x).addmm_(q.T, dy)


ROWS = {
    "floor: bare products and solves": products,
    "fasthash": autograd(),
    "fasthash closed form in plain torch, with autograd": autograd("torch"),
    "reflection after reflection, autograd": sequential,
    "torch.linalg.householder_product": linalg,
    "parametrizations.orthogonal householder": orthogonal,
    **{f"fasthash {name}, kernel alone": bare(kernel) for name, kernel in runnable(KERNELS, "reference").items()},
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("width", WIDTHS)
def bench_rotation(benchmark, width, name, rng, scale):
    k = scale(width, 16)
    x, v, dy = (
        torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for shape in ((BATCH, k), (k, k), (BATCH, k))
    )
    if name == "torch.linalg.householder_product":
        v = v.triu()
    v.requires_grad_()
    function = ROWS[name](x, v, dy) if ROWS[name] is orthogonal else ROWS[name]
    benchmark.group = f"rotation forward and backward, {BATCH} x {width} float32, {width} reflections"
    benchmark.extra_info.update(row=name, bytes=(4 * BATCH + 2 * width) * width * 4)

    def run():
        v.grad = None
        return function(x, v, dy)

    slow = k > 64
    y, dv = benchmark.pedantic(run, rounds=10 if slow else 30, iterations=3 if slow else 10, warmup_rounds=2)
    if ROWS[name] is products:
        return
    if ROWS[name] is orthogonal:  # whose parameters are its own
        torch.testing.assert_close(y.detach().norm(dim=1), x.norm(dim=1))
        return
    leaf = v.detach().double().requires_grad_()
    expected = reflect(x.double(), leaf, False)
    expected.backward(dy.double())
    torch.testing.assert_close(y.detach().double(), expected.detach(), atol=1e-4, rtol=1e-3)
    wanted = leaf.grad.triu() if name == "torch.linalg.householder_product" else leaf.grad
    torch.testing.assert_close(dv.double(), wanted, atol=1e-3 * float(wanted.abs().max()), rtol=1e-3)
