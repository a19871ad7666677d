"""How far real outputs are from bits: the Wasserstein distances, and the penalties they replace.

Every module takes the raw outputs u [n, m] of a network, floating-point, n and m at least 1, and returns a scalar to be
minimised.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from fasthash.errors import (
    check_choice,
    check_flag,
    check_generator,
    check_integer,
    check_number,
    check_values,
)
from fasthash.ops.arrays import check_tensor
from fasthash.ops.wasserstein.op import check_law, check_sample, check_samples, distance_to_bits, sliced_distance


class HSWD(torch.nn.Module):
    """The mean Wasserstein distance of the bits to balanced ones; see `fasthash.hswd`, whose arguments these are.

    Source: Doan, Yang, Li, "One Loss for Quantization: Deep Hashing with Discrete Wasserstein Distributional Matching",
    2022, equation 7. The authors' code is `HSWD(target="bernoulli")`, its weight 0.1.
    """

    def __init__(
        self,
        p: float = 2,
        target: str = "balanced",
        *,
        values: tuple[float, float] = (-1.0, 1.0),
        root: bool = False,
        group: torch.distributed.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        check_law("HSWD", p, target, values)
        check_flag("HSWD", "root", root)
        self.p, self.target, self.values, self.root, self.group = p, target, values, root, group

    def forward(self, u: torch.Tensor, *, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return the loss; `generator` is of the Bernoulli target's draws."""
        check_tensor("HSWD", "u", u)
        sample, (low, high) = check_sample("HSWD", "u", u), self.values
        return distance_to_bits("HSWD", sample, self.target, self.p, low, high, self.root, generator, self.group)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"p={self.p}, target={self.target!r}, values={self.values}, root={self.root}"


class SlicedWasserstein(torch.nn.Module):
    """The sliced Wasserstein distance to random bits; see `fasthash.sliced_wasserstein`.

    Source: Doan, Yang, Li, 2022, equation 5, where 1,000 to 10,000 projections did best.
    """

    def __init__(self, n_projections: int = 1000, p: float = 2) -> None:
        super().__init__()
        self.n_projections = check_integer("SlicedWasserstein", "n_projections", n_projections, 1)
        self.p = check_number("SlicedWasserstein", "p", p, minimum=1)

    def forward(
        self, u: torch.Tensor, target: torch.Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return the distance to `target` [k, m], or to fresh random bits in the shape of `u`."""
        where = "SlicedWasserstein"
        target = random_bits(where, u, generator) if target is None else check_tensor(where, "target", target)
        samples = check_samples(where, u=_outputs(where, u), target=target)
        return sliced_distance(where, *samples, self.n_projections, self.p, generator)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"n_projections={self.n_projections}, p={self.p}"


class OptimalTransport(torch.nn.Module):
    """The exact Wasserstein distance of a small batch to random bits: that of the best assignment.

    The assignment by scipy takes O(n^3) time: a baseline, not a loss for large batches.

    Args:
        p: power of an item's distance to its target, the root of their mean squared difference; at least 1. The paper
            has 1 (the Euclidean distance, here over the root of m), its authors' code 2.

    Source: Doan et al., "Image Hashing by Minimizing Independent Relaxed Wasserstein Distance", 2020 (OT-AE).
    """

    def __init__(self, p: float = 2) -> None:
        super().__init__()
        self.p = check_number("OptimalTransport", "p", p, minimum=1)

    def forward(
        self, u: torch.Tensor, target: torch.Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return the mean over items of the distance to the item's target, to the power of p.

        Args:
            u: [n, m], finite.
            target: [n, m] of the dtype of `u`; by default fresh random bits.
            generator: of the random bits, on the device of `u`.
        """
        from scipy.optimize import linear_sum_assignment

        where = "OptimalTransport"
        target = random_bits(where, u, generator) if target is None else check_tensor(where, "target", target)
        check_samples(where, u=_outputs(where, u), target=target)
        check_values(where, "u", u)
        if target.shape != u.shape:
            raise ValueError(f"{where}: expected target of the shape of u, {list(u.shape)}, got {list(target.shape)}")
        if not torch.isfinite(u).all():
            raise ValueError(f"{where}: expected u to be finite, got a NaN or an infinity")
        x, z = u.detach().double(), target.detach().double()
        cost = z.square().sum(1) - 2 * x @ z.T if self.p == 2 else torch.cdist(x, z) ** self.p
        _, assigned = linear_sum_assignment(cost.cpu().numpy())
        errors = u - target[torch.from_numpy(assigned).to(u.device)]
        if self.p == 2:
            return errors.square().mean()
        distances: torch.Tensor = torch.linalg.vector_norm(errors, dim=1) / u.shape[1] ** 0.5
        return (distances**self.p).mean()

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"p={self.p}"


class MagnitudeError(torch.nn.Module):
    """| |u| - 1 |^power: at power 1 DHN's original relaxation, 2 the square error to the sign, 3 GreedyHash's cubic.

    Args:
        power: above 0; below 1 the gradient is 0 where |u| = 1, where it has none.
        reduction: "mean" over the elements, or "code": summed over a code's bits, then the mean over codes.

    Source: Su et al., "Greedy Hash", 2018, equation 6; Li, Wang, Kang, "Feature Learning based Deep Supervised Hashing
    with Pairwise Labels" (DPSH), 2016, whose |u - sign u|^2 it is at power 2.
    """

    def __init__(self, power: float = 2, reduction: str = "mean") -> None:
        super().__init__()
        self.power = check_number("MagnitudeError", "power", power, above=0)
        self.reduction = check_choice("MagnitudeError", "reduction", reduction, _REDUCTIONS)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        u = _outputs("MagnitudeError", u)
        errors = (u.abs() - 1).abs()
        if self.power >= 1:
            return _reduce(errors**self.power, self.reduction)
        is_zero = errors == 0
        return _reduce(torch.where(is_zero, 0, torch.where(is_zero, 1, errors) ** self.power), self.reduction)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"power={self.power}, reduction={self.reduction!r}"


class LogCosh(torch.nn.Module):
    """Log cosh(|u| - 1), the smooth magnitude error of DHN and CSQ; least where |u| = 1.

    Args:
        reduction: as in `MagnitudeError`.

    Source: Zhu et al., "Deep Hashing Network for Efficient Similarity Retrieval", 2016, equation 9.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_choice("LogCosh", "reduction", reduction, _REDUCTIONS)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        d = (_outputs("LogCosh", u).abs() - 1).abs()
        return _reduce(d + functional.softplus(-2 * d) - math.log(2), self.reduction)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"reduction={self.reduction!r}"


class BitBalance(torch.nn.Module):
    """The mean square of average outputs: zero where +1 and -1 are as frequent.

    Args:
        over: "batch", each bit over the batch; "code", each code over its bits, as DBDH's code has it.

    Source: Zheng, Zhang, Lu, "Deep balanced discrete hashing for image retrieval", 2020.
    """

    def __init__(self, over: str = "batch") -> None:
        super().__init__()
        self.over = check_choice("BitBalance", "over", over, ("batch", "code"))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        return _outputs("BitBalance", u).mean(dim=0 if self.over == "batch" else 1).square().mean()

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"over={self.over!r}"


_REDUCTIONS = ("mean", "code")


def random_bits(where: str, u: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return independent -1 and +1 in the shape, dtype and device of `u` [n, m]."""
    u = _outputs(where, u)
    check_generator(where, "generator", generator, u.device)
    return torch.randint(0, 2, u.shape, generator=generator, device=u.device).to(u.dtype) * 2 - 1


def _outputs(where: str, u: torch.Tensor) -> torch.Tensor:
    """Return `u`, or raise unless it is a floating-point matrix of something."""
    return check_sample(where, "u", check_tensor(where, "u", u))


def _reduce(errors: torch.Tensor, reduction: str) -> torch.Tensor:
    return errors.mean() if reduction == "mean" else errors.sum(dim=1).mean()
