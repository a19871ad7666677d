"""Householder products in plain torch, one reflection after the other, by autograd: the specification."""

from __future__ import annotations

import torch

from fasthash.ops.autocast import without_autocast


def reflect(x: torch.Tensor, v: torch.Tensor, transpose: bool) -> torch.Tensor:
    """Return U x_i, or U^T x_i, for each row of `x`, differentiable; U = H_1 ... H_l of the rows of `v` [l, k]."""
    for u in v if transpose else v.flip(0):
        x = x - torch.outer(x @ u, u) * (2 / (u @ u))
    return x


@without_autocast
def householder_apply(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rotated rows [n, k] and two empty tensors: the backward pass starts anew."""
    nothing = v.new_empty((0, 0))
    return reflect(_rows(x, v), v.detach(), transpose), nothing, nothing


@without_autocast
def householder_backward(
    dy: torch.Tensor,
    x: torch.Tensor | None,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients in `x`, or an empty tensor, and in `v`."""
    with torch.enable_grad():
        rows, vectors = _rows(x, v).requires_grad_(), v.detach().requires_grad_()
        dx, dv = torch.autograd.grad(reflect(rows, vectors, transpose), (rows, vectors), dy)
    return dx if with_dx else v.new_empty((0, 0)), dv


def _rows(x: torch.Tensor | None, v: torch.Tensor) -> torch.Tensor:
    return torch.eye(v.shape[1], dtype=v.dtype, device=v.device) if x is None else x.detach()
