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
    """Return the rotated rows [n, k] and two empty tensors: the backward pass starts at the rotated rows."""
    nothing = v.new_empty((0, 0))
    rows = torch.eye(v.shape[1], dtype=v.dtype, device=v.device) if x is None else x.detach()
    return reflect(rows, v.detach(), transpose), nothing, nothing


@without_autocast
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
    vectors = v.detach().requires_grad_()
    x = reflect(rows.detach(), v.detach(), not transpose).requires_grad_()
    with torch.enable_grad():
        dx, dv = torch.autograd.grad(reflect(x, vectors, transpose), (x, vectors), dy)
    return dx if with_dx else v.new_empty((0, 0)), dv
