"""What ops that know only their first derivative share."""

from __future__ import annotations

from typing import Any

import torch


def only_once(where: str, gradient: torch.Tensor, *inputs: torch.Tensor | None) -> torch.Tensor:
    """Return `gradient`, a function of `inputs`, whose own derivative is an error that begins with `where`.

    Without it that derivative would silently be taken for zero. It is for the backward pass of an autograd function.
    """
    if not torch.is_grad_enabled():
        return gradient
    return _OnlyOnce.apply(where, gradient, *inputs)  # type: ignore[no-any-return, no-untyped-call]


def no_second_derivative(where: str) -> RuntimeError:
    """Return the error for a derivative of a gradient."""
    return RuntimeError(f"{where}: expected one derivative to be taken, got a second; the kernels know only the first")


class _OnlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, where: str, gradient: torch.Tensor, *inputs: torch.Tensor | None) -> torch.Tensor:
        ctx.where = where
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        raise no_second_derivative(ctx.where)
