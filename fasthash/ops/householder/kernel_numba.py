"""Householder products by numba, row after row and reflection after reflection: the portable CPU kernel."""

from __future__ import annotations

import numba
import numpy as np
import torch


@numba.njit(cache=True, nogil=True)
def _factors(v):
    """The factor 2 / |v_i|^2 of each reflection of unit vectors, which is 2 but for rounding, and those vectors."""
    l, k = v.shape
    w = np.empty_like(v)
    factors = np.empty(l, v.dtype)
    norms = np.empty(l, v.dtype)
    for j in range(l):
        largest = np.abs(v[j]).max()
        total = 0.0
        for column in range(k):
            total += (v[j, column] / largest) ** 2
        norms[j] = largest * np.sqrt(total)
        unit = 0.0
        for column in range(k):
            w[j, column] = v[j, column] / largest / np.sqrt(total)
            unit += np.float64(w[j, column]) ** 2
        factors[j] = 2 / unit
    return w, factors, norms


@numba.njit(cache=True, nogil=True)
def _reflect(row, w, factor):
    """Replace `row` by its reflection, and return its product with `w` before."""
    product = row[0] * 0
    for column in range(len(row)):
        product += row[column] * w[column]
    for column in range(len(row)):
        row[column] -= factor * product * w[column]
    return product


@numba.njit(cache=True, nogil=True)
def _apply(y, v, transpose):
    w, factors, _ = _factors(v)
    l = len(v)
    for i in range(len(y)):
        for step in range(l):
            j = step if transpose else l - 1 - step
            _reflect(y[i], w[j], factors[j])


@numba.njit(cache=True, nogil=True)
def _backward(dx, x, v, transpose, dv):
    """Turn `dx`, on entry the gradient in the rotated rows, into that in `x`, and `x`, on entry those rows, back."""
    w, factors, norms = _factors(v)
    l, k = v.shape
    dv[:] = 0
    for i in range(len(x)):
        for step in range(l):
            j = l - 1 - step if transpose else step
            after = _reflect(x[i], w[j], factors[j])
            slope = _reflect(dx[i], w[j], factors[j])
            for column in range(k):  # `after` = -(product before), and dx and x are those before the reflection
                dv[j, column] += factors[j] * (after * dx[i, column] - slope * x[i, column])
    for j in range(l):
        inside = dv[j, 0] * 0
        for column in range(k):
            inside += dv[j, column] * w[j, column]
        for column in range(k):
            dv[j, column] = (dv[j, column] - inside * w[j, column]) / norms[j]


def householder_apply(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rotated rows [n, k] and two empty tensors: the backward pass starts at the rotated rows."""
    y = torch.eye(v.shape[1], dtype=v.dtype, device="cpu") if x is None else _copy(x)
    _apply(y.numpy(), v.detach().numpy(), transpose)
    return y, v.new_empty((0, 0)), v.new_empty((0, 0))


def householder_backward(
    dy: torch.Tensor,
    rows: torch.Tensor,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients in `x`, or an empty tensor, and in `v`."""
    dx = _copy(dy)
    dv = torch.empty(v.shape, dtype=v.dtype, device="cpu")
    _backward(dx.numpy(), _copy(rows).numpy(), v.detach().numpy(), transpose, dv.numpy())
    return dx if with_dx else v.new_empty((0, 0)), dv


def _copy(x: torch.Tensor) -> torch.Tensor:
    return x.detach().clone(memory_format=torch.contiguous_format)
