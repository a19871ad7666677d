"""Training of H2Q's rotations on a GPU: one program a run, which walks the steps of several epochs without a host.

The mathematics is in `fasthash/ops/h2q/README.md`. Rows of v beyond k are those of the identity and idle.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from fasthash.ops.h2q.plan import Plan

MAX_BITS = 128
ELEMENTS = 4096  # of a product that a program sums in registers
ROWS = 64  # of a batch at a time, at most
DEPTH = 16  # of a product at a time
BLOCK = 16  # reflections at a time
POSITIONS = 1024  # of an epoch's order at a time
SHUFFLES = 24  # rounds, in each of which about half of the rows change places


@triton.jit
def _mixed(x):
    """The hash with which MurmurHash3 ends, of 32 bits."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B
    x = (x ^ (x >> 13)) * 0xC2B2AE35
    return x ^ (x >> 16)


@triton.jit
def _shuffled(positions, n, key, SHUFFLES: tl.constexpr):
    """The rows at some positions of an order of n: rounds that swap, or not, pairs whose sum modulo n is random."""
    for _ in range(SHUFFLES):
        key = _mixed(key + 0x9E3779B9)
        total = key % n
        partners = tl.where(positions <= total, total - positions, total + n - positions)
        pairs = tl.maximum(positions, partners)
        positions = tl.where(_mixed(pairs ^ key) >> 31 == 0, positions, partners)
    return positions


@triton.jit
def _objective(z, k, LOSS: tl.constexpr):
    """What rotated rows [n, k] pay, as elements whose mean is the objective, and the derivative of their sum."""
    inside = tl.arange(0, z.shape[1])[None, :] < k
    if LOSS == "l2":
        d = z - tl.where(z > 0, 1.0, -1.0)
        costs, slopes = d * d, 2 * d
    elif LOSS == "l1":
        d = z - tl.where(z > 0, 1.0, -1.0)
        costs, slopes = tl.abs(d), tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, 0.0))
    elif LOSS == "bit_var":
        e = tl.exp(-tl.abs(z))
        s = 1 / (1 + e)
        costs = s * s * e
        slopes = costs * (1 - e) * s * tl.where(z < 0, 1.0, -1.0)
    else:
        squares = tl.where(inside, z * z, float("inf"))
        least = tl.min(squares, axis=1)[:, None]
        e = tl.exp(least - squares)
        total = tl.sum(e, axis=1)[:, None]
        costs, slopes = tl.log(total) - least + z * 0, -2 * k * z * e / total
    return tl.where(inside, costs, 0.0), tl.where(inside, slopes, 0.0)


@triton.jit
def _product(a_ptr, row_stride, column_stride, b_ptr, TILE: tl.constexpr, K: tl.constexpr, DEPTH: tl.constexpr):
    """A B of matrices [TILE, K] and [K, K] in memory, B in C order."""
    i = tl.arange(0, TILE)[:, None]
    j = tl.arange(0, K)[None, :]
    total = tl.zeros([TILE, K], tl.float32)
    for first in range(0, K, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        a = tl.load(a_ptr + i * row_stride + depth[None, :] * column_stride)
        total = tl.dot(a, tl.load(b_ptr + depth[:, None] * K + j), total, input_precision="ieee")
    return total


@triton.jit
def _rotated(x_ptr, order_ptr, first, end, k, rotation_ptr, ROWS: tl.constexpr, K: tl.constexpr, DEPTH: tl.constexpr):
    """Those rows of x times U^T that stand from `first` to `end` in an order, without one in x; zeros beyond."""
    positions = first + tl.arange(0, ROWS)
    rows = _rows(order_ptr, positions, end)
    j = tl.arange(0, K)[None, :]
    z = tl.zeros([ROWS, K], tl.float32)
    for start in range(0, K, DEPTH):
        depth = start + tl.arange(0, DEPTH)
        inside = (positions < end)[:, None] & (depth < k)[None, :]
        x = tl.load(x_ptr + rows[:, None] * k + depth[None, :], mask=inside, other=0)
        z = tl.dot(x, tl.load(rotation_ptr + depth[:, None] * K + j), z, input_precision="ieee")
    return z


@triton.jit
def _rows(order_ptr, positions, end):
    if order_ptr is None:
        return positions.to(tl.int64)
    else:
        return tl.load(order_ptr + positions, mask=positions < end, other=0).to(tl.int64)


@triton.jit
def _factors(w_ptr, t_ptr, K: tl.constexpr, BLOCK: tl.constexpr):
    """Write T of each block of rows of W, [K, BLOCK]: reflected at them in order, rows are X - X W^T T W."""
    block = tl.arange(0, K // BLOCK)[:, None, None] * BLOCK
    i = tl.arange(0, BLOCK)[None, :, None]
    j = tl.arange(0, BLOCK)[None, None, :]
    gram = tl.zeros([K // BLOCK, BLOCK, BLOCK], tl.float32)
    for first in range(0, K, BLOCK):
        w = tl.load(w_ptr + (block + i) * K + first + j)
        gram = tl.dot(w, tl.permute(w, (0, 2, 1)), gram, input_precision="ieee")
    t = tl.where(i == j, 2.0, tl.where((i ^ 1 == j) & (i < j), -4 * gram, 0))
    for level in tl.static_range(1, 4):
        corners = tl.where((i >> level + 1 == j >> level + 1) & (i >> level < j >> level), gram, 0)
        t -= tl.dot(tl.dot(t, corners, input_precision="ieee"), t, input_precision="ieee")
    tl.store(t_ptr + (block + i) * BLOCK + j, t)


@triton.jit
def _reflected(rows, multiples_ptr, w_ptr, t_ptr, BACKWARD: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr):
    """Rows reflected at those of W, in order or backward; writes the multiples of each that were taken."""
    row = tl.arange(0, rows.shape[0])[:, None] * K
    i = tl.arange(0, BLOCK)[:, None]
    j = tl.arange(0, BLOCK)[None, :]
    columns = tl.arange(0, K)[None, :]
    for step in range(0, K, BLOCK):
        first = K - BLOCK - step if BACKWARD else step
        w = tl.load(w_ptr + (first + i) * K + columns)
        t = tl.load(t_ptr + first * BLOCK + (j * BLOCK + i if BACKWARD else i * BLOCK + j))
        multiples = tl.dot(tl.dot(rows, tl.trans(w), input_precision="ieee"), t, input_precision="ieee")
        tl.store(multiples_ptr + row + first + j, multiples)
        rows = tl.dot(-multiples, w, rows, input_precision="ieee")
    return rows


@triton.jit
def _unit_rows(v):
    """Rows of length 1, and their lengths."""
    lengths = tl.sqrt(tl.sum(v * v, axis=1))[:, None]
    return v / lengths, lengths


@triton.jit
def _rotation(v_ptr, w_ptr, t_ptr, q_ptr, rotation_ptr, K: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr):
    """Write W, the rows of v at length 1, T, Q and U^T = I - Q W."""
    i = tl.arange(0, PART)[:, None]
    j = tl.arange(0, K)[None, :]
    part = i * K + j
    for top in range(0, K * K, PART * K):
        w, _ = _unit_rows(tl.load(v_ptr + top + part))
        tl.store(w_ptr + top + part, w)
    tl.debug_barrier()
    _factors(w_ptr, t_ptr, K, BLOCK)
    tl.debug_barrier()
    for top in range(0, K, PART):
        identity = (top + i == j).to(tl.float32)
        rotation = _reflected(identity, q_ptr + top * K, w_ptr, t_ptr, True, K, BLOCK)
        tl.store(rotation_ptr + top * K + part, rotation)
    tl.debug_barrier()


@triton.jit
def _add_slope(
    x_ptr, order_ptr, first, end, k, slopes_ptr, g_ptr, is_first,
    ROWS: tl.constexpr, K: tl.constexpr, DEPTH: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """Add to G the product of X^T and the derivatives in the rotated rows, for a tile of rows."""
    j = tl.arange(0, K)[None, :]
    for top in range(0, K, TILE):
        i = top + tl.arange(0, TILE)[:, None]
        g = tl.load(g_ptr + i * K + j, mask=(i < K) & ~is_first, other=0)
        for start in range(0, ROWS, DEPTH):
            depth = start + tl.arange(0, DEPTH)
            rows = _rows(order_ptr, first + depth, end)[None, :]
            x = tl.load(x_ptr + rows * k + i, mask=(i < k) & (first + depth < end)[None, :], other=0)
            g = tl.dot(x, tl.load(slopes_ptr + depth[:, None] * K + j), g, input_precision="ieee")
        tl.store(g_ptr + i * K + j, g)


@triton.jit
def _pull_back(
    w_ptr, t_ptr, q_ptr, z_ptr, g_ptr, sum_ptr,
    K: tl.constexpr, DEPTH: tl.constexpr, TILE: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write Z and A + A^T of the gradient in W of a function of U whose gradient in U^T is G."""
    j = tl.arange(0, K)[None, :]
    part = tl.arange(0, PART)[:, None] * K + j
    for top in range(0, K * K, PART * K):
        _reflected(tl.load(g_ptr + top + part), z_ptr + top, w_ptr, t_ptr, False, K, BLOCK)
    tl.debug_barrier()
    for top in range(0, K, TILE):
        i = top + tl.arange(0, TILE)[:, None]
        a = _product(z_ptr + top, 1, K, q_ptr, TILE, K, DEPTH)
        tl.store(sum_ptr + i * K + j, a, mask=i <= j)
        tl.store(sum_ptr + j * K + i, a, mask=i < j)
    tl.debug_barrier()


@triton.jit
def _update(
    v_ptr, w_ptr, q_ptr, z_ptr, g_ptr, sum_ptr, first_moment_ptr, second_moment_ptr, rate, correction,
    ADAM: tl.constexpr, RENORMALIZE: tl.constexpr, K: tl.constexpr, DEPTH: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """Move v against its gradient: that in W without its part along w, divided by the row's length."""
    j = tl.arange(0, K)[None, :]
    for top in range(0, K, TILE):
        i = top + tl.arange(0, TILE)[:, None]
        place = i * K + j
        slope = _product(sum_ptr + top * K, K, 1, w_ptr, TILE, K, DEPTH)
        slope -= _product(q_ptr + top, 1, K, g_ptr, TILE, K, DEPTH)
        slope -= tl.load(z_ptr + j * K + i)
        v = tl.load(v_ptr + place)
        w, lengths = _unit_rows(v)
        change = (slope - tl.sum(slope * w, axis=1)[:, None] * w) / lengths
        if ADAM:
            mean = tl.load(first_moment_ptr + place) * 0.9 + change * 0.1
            square = tl.load(second_moment_ptr + place) * 0.999 + change * change * 0.001
            tl.store(first_moment_ptr + place, mean)
            tl.store(second_moment_ptr + place, square)
            change = mean / (tl.sqrt(square) / correction + 1e-8)
        v -= change * rate
        if RENORMALIZE:
            v, _ = _unit_rows(v)
        tl.store(v_ptr + place, v)


@triton.jit(do_not_specialize=["first_epoch", "last_epoch", "patience"])
def h2q_kernel(
    x_ptr, held_out_ptr, v_ptr, first_moment_ptr, second_moment_ptr, best_ptr, least_ptr, best_epoch_ptr, epoch_ptr,
    history_ptr, keys_ptr, rates_ptr, order_ptr, scratch_ptr,
    n, n_held_out, k, batch_size, first_epoch, last_epoch, patience,
    LOSS: tl.constexpr, ADAM: tl.constexpr, RENORMALIZE: tl.constexpr, K: tl.constexpr, TILE: tl.constexpr,
    PART: tl.constexpr, ROWS: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
    POSITIONS: tl.constexpr, SHUFFLES: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, K)[:, None] * K + tl.arange(0, K)[None, :]
    x_row = tl.arange(0, ROWS)[:, None]
    v_ptr += run * K * K
    first_moment_ptr += run * K * K
    second_moment_ptr += run * K * K
    order_ptr += run * n
    w_ptr = scratch_ptr + run * (5 * K + BLOCK + ROWS) * K
    q_ptr = w_ptr + K * K
    z_ptr = q_ptr + K * K
    g_ptr = z_ptr + K * K
    rotation_ptr = g_ptr + K * K  # U^T, and A + A^T when that is not needed any more
    t_ptr = rotation_ptr + K * K
    slopes_ptr = t_ptr + K * BLOCK
    key = tl.load(keys_ptr + run).to(tl.uint32)
    least = tl.load(least_ptr + run)
    best_epoch = tl.load(best_epoch_ptr + run)
    epoch = tl.load(epoch_ptr + run)
    while (epoch < last_epoch) & ((patience == 0) | (epoch - best_epoch < patience)):
        epoch_key = _mixed(key + epoch.to(tl.uint32))
        for start in range(0, n, POSITIONS):
            positions = start + tl.arange(0, POSITIONS)
            order = _shuffled(positions.to(tl.uint32), tl.full([], n, tl.uint32), epoch_key, SHUFFLES)
            tl.store(order_ptr + positions, order.to(tl.int32), mask=positions < n)
        total = tl.zeros([], tl.float64)
        step = (epoch - first_epoch) * tl.cdiv(n, batch_size)
        for first in range(0, n, batch_size):
            end = tl.minimum(first + batch_size, n)
            tl.debug_barrier()
            _rotation(v_ptr, w_ptr, t_ptr, q_ptr, rotation_ptr, K, PART, BLOCK)
            for tile in range(first, end, ROWS):
                z = _rotated(x_ptr, order_ptr, tile, end, k, rotation_ptr, ROWS, K, DEPTH)
                costs, slopes = _objective(z, k, LOSS)
                total += tl.sum(tl.where(tile + x_row < end, costs, 0.0)).to(tl.float64)
                slopes = tl.where(tile + x_row < end, slopes, 0.0) / ((end - first) * k)
                tl.store(slopes_ptr + x_row * K + tl.arange(0, K)[None, :], slopes)
                tl.debug_barrier()
                _add_slope(x_ptr, order_ptr, tile, end, k, slopes_ptr, g_ptr, tile == first, ROWS, K, DEPTH, TILE)
                tl.debug_barrier()
            _pull_back(w_ptr, t_ptr, q_ptr, z_ptr, g_ptr, rotation_ptr, K, DEPTH, TILE, PART, BLOCK)
            _update(
                v_ptr, w_ptr, q_ptr, z_ptr, g_ptr, rotation_ptr, first_moment_ptr, second_moment_ptr,
                tl.load(rates_ptr + 2 * step), tl.load(rates_ptr + 2 * step + 1), ADAM, RENORMALIZE, K, DEPTH, TILE,
            )  # fmt: skip
            step += 1
        tl.debug_barrier()
        _rotation(v_ptr, w_ptr, t_ptr, q_ptr, rotation_ptr, K, PART, BLOCK)
        held_out = tl.zeros([], tl.float64)
        for first in range(0, n_held_out, ROWS):
            z = _rotated(held_out_ptr, None, first, n_held_out, k, rotation_ptr, ROWS, K, DEPTH)
            costs, _ = _objective(z, k, LOSS)
            held_out += tl.sum(tl.where(first + x_row < n_held_out, costs, 0.0)).to(tl.float64)
        held_out /= n_held_out * tl.full([], k, tl.float64)
        error = tl.zeros([], tl.float32)
        for top in range(0, K, TILE):
            product = _product(rotation_ptr + top, 1, K, rotation_ptr, TILE, K, DEPTH)
            identity = top + tl.arange(0, TILE)[:, None] == tl.arange(0, K)[None, :]
            largest = tl.max(tl.abs(product - tl.where(identity, 1.0, 0.0)))
            error = tl.where(largest <= error, error, largest)  # a NaN too
        history = history_ptr + (run * (last_epoch - first_epoch) + epoch - first_epoch) * 3
        tl.store(history, total / (n * tl.full([], k, tl.float64)))
        tl.store(history + 1, held_out)
        tl.store(history + 2, error.to(tl.float64))
        epoch += 1
        better = held_out < least
        least = tl.where(better, held_out, least)
        best_epoch = tl.where(better, epoch, best_epoch)
        tl.store(best_ptr + run * K * K + place, tl.load(v_ptr + place), mask=better)
    tl.store(least_ptr + run, least)
    tl.store(best_epoch_ptr + run, best_epoch)
    tl.store(epoch_ptr + run, epoch)


def shape(columns: int) -> dict[str, int]:
    """Return the kernel's constants for matrices of so many columns."""
    at_once = ELEMENTS // columns
    tiles = {
        "TILE": min(columns, at_once),
        "PART": min(columns, 2 * at_once),
        "ROWS": min(ROWS, at_once),
        "DEPTH": DEPTH,
        "BLOCK": BLOCK,
    }
    return {"K": columns, "POSITIONS": POSITIONS, "SHUFFLES": SHUFFLES, **tiles}


def options(columns: int) -> dict[str, int | None]:
    """Return how the kernel is launched for so many columns, which is what keeps its matrices in registers."""
    registers = 255 if columns <= 64 else None  # where the compiler would spill to run two programs at once
    return {"num_warps": 8, "num_stages": 2 if columns <= 64 else 1, "maxnreg": registers}


class H2QTrainer:
    """Training of several rotations of the same rows, each from its own start, as `_core.H2QTrainer` does it.

    The order of the rows differs from that of the compiled core; one batch an epoch gives the same steps.

    Args:
        x: float32 [n, k], rows of length sqrt(k), on the GPU; k at most `MAX_BITS`.
        held_out: float32 [n_held_out, k], where `x` is.
        v: float32 [runs, k, k], the vectors each run starts from.
        plan: how they are trained.
    """

    def __init__(
        self,
        x: torch.Tensor,
        held_out: torch.Tensor,
        v: NDArray[np.float32],
        plan: Plan,
    ) -> None:
        runs, self._k, _ = v.shape
        n, columns, device = len(x), max(16, triton.next_power_of_2(self._k)), x.device
        self._x, self._held_out = x.contiguous(), held_out.contiguous()
        self._plan, self._adam = plan, plan.optimizer == "adam"
        self._v = torch.eye(columns, device=device).repeat(runs, 1, 1)
        self._v[:, : self._k, : self._k] = torch.from_numpy(v)
        self._moments = torch.zeros((2, *self._v.shape), device=device)
        self._best = self._v.clone()
        self._least = torch.full((runs,), torch.inf, dtype=torch.float64, device=device)
        self._best_epoch = torch.zeros(runs, dtype=torch.int32, device=device)
        self._epoch = torch.zeros_like(self._best_epoch)
        keys = np.random.default_rng(plan.seed).integers(2**31, size=runs, dtype=np.int32)
        self._keys = torch.from_numpy(keys).to(device)
        self._order = torch.empty((runs, n), dtype=torch.int32, device=device)
        self._options = {"LOSS": plan.loss, "ADAM": self._adam, "RENORMALIZE": plan.renormalize} | shape(columns)
        self._scratch = torch.empty((runs, 5 * columns + BLOCK + self._options["ROWS"], columns), device=device)
        self._epochs_begun, self._finished = 0, False
        self._histories = [np.empty((0, 3)) for _ in range(runs)]

    def train(self, epochs: int) -> None:
        """Train every run for up to `epochs` more, in one launch, and wait for it."""
        first, last = self._epochs_begun, min(self._epochs_begun + epochs, self._plan.epochs)
        n, runs = len(self._x), len(self._v)
        history = torch.empty((runs, last - first, 3), dtype=torch.float64, device=self._x.device)
        with torch.cuda.device_of(self._x):
            h2q_kernel[(runs,)](
                self._x, self._held_out, self._v, *self._moments, self._best, self._least, self._best_epoch,
                self._epoch, history, self._keys, self._rates(first, last), self._order, self._scratch,
                n, len(self._held_out), self._k, self._plan.batch_size, first, last, self._plan.patience,
                **self._options, **options(self._v.shape[2]),
            )  # fmt: skip
        self._epochs_begun = last
        ended = self._epoch.cpu().numpy()
        lost = ended - self._best_epoch.cpu().numpy() >= (self._plan.patience or np.inf)
        self._finished = bool((lost | (ended == self._plan.epochs)).all())
        parts = zip(history.cpu().numpy(), ended, strict=True)
        self._histories = [
            np.concatenate([before, part[: max(0, end - first)]])
            for before, (part, end) in zip(self._histories, parts, strict=True)
        ]

    def _rates(self, first: int, last: int) -> torch.Tensor:
        """Return each step's rate, with Adam's correction of the first moment, and that of the second, [steps, 2]."""
        batches = -(-len(self._x) // self._plan.batch_size)
        done = np.arange(first * batches, last * batches, dtype=np.float64)
        rates = np.full_like(done, self._plan.rate)
        if self._plan.cosine:
            rates *= (1 + np.cos(np.pi * done / (batches * self._plan.epochs))) / 2
        if self._adam:
            rates /= 1 - 0.9 ** (done + 1)
        rates = np.stack([rates, np.sqrt(1 - 0.999 ** (done + 1))], axis=1)
        return torch.from_numpy(rates.astype(np.float32)).to(self._x.device)

    @property
    def finished(self) -> bool:
        """Whether every run has had its epochs or lost its patience."""
        return self._finished

    @property
    def order(self) -> NDArray[np.int32]:
        """The order of the rows in each run's last epoch, [runs, n]."""
        return self._order.cpu().numpy()

    def history(self, run: int) -> NDArray[np.float64]:
        """Return an epoch's objective, that on the held-out rows and the error of orthogonality, [epochs, 3]."""
        return self._histories[run]

    def best(self, run: int) -> NDArray[np.float32]:
        """Return v [k, k] after the epoch of the least objective on the held-out rows."""
        return self._best[run, : self._k, : self._k].cpu().numpy()
