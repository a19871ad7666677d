"""Householder products in closed form, the compact WY representation, as torch's matrix products."""

from __future__ import annotations

import torch

from fasthash.ops.autocast import without_autocast


@without_autocast
def householder_apply(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rotated rows [n, k], and for the backward pass Q [n, l] and the inverse of S [l, l]."""
    w, _ = _unit(v)
    gram = w.double() @ w.double().T  # in float64, as in csrc/householder/gram_triangle.cpp
    s = gram.triu(1) + torch.diag(gram.diagonal() / 2)
    identity = torch.eye(len(s), dtype=s.dtype, device=s.device)
    s_inverse = torch.linalg.solve_triangular(s, identity, upper=True).to(w.dtype)
    p = w.T if x is None else x.detach() @ w.T
    q = p @ (s_inverse if transpose else s_inverse.T)
    y = -(q @ w)
    if x is None:
        y.diagonal().add_(1)
    else:
        y += x.detach()
    return y, q, s_inverse


@without_autocast
def householder_backward(
    dy: torch.Tensor,
    rows: torch.Tensor | None,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients in `x`, or an empty tensor, and in `v`."""
    w, norms = _unit(v)
    z = -(dy @ w.T) @ (s_inverse.T if transpose else s_inverse)
    a = -(z.T @ q)
    a = (a.tril(-1) if transpose else a.triu(1)) - torch.diag((z * q).sum(0) / 2)
    dw = (z.T if rows is None else z.T @ rows.detach()) - q.T @ dy + (a + a.T) @ w
    return dy + z @ w if with_dx else v.new_empty((0, 0)), dw / norms


def _unit(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    largest = v.detach().abs().amax(1, keepdim=True)
    v = v.detach() / largest  # whose squares are in the range of the dtype
    norms = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return v / norms, largest * norms
