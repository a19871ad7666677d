from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fasthash.errors import check_choice, check_flag, check_integer, check_number, memory_error
from fasthash.hashers.affine import AffineHasher
from fasthash.hashers.base import principal_axes, seed_of
from fasthash.hashers.itq import procrustes_rotation
from fasthash.ops.h2q import LOSSES, MAX_BITS_ON_GPU, Plan, trainer
from fasthash.ops.householder.op import rotated

_LEARNING_RATES = {"adam": 0.005, "sgd": 0.1}
_STARTS = ("identity", "itq")
_ITQ_ITERATIONS = 10
_WIDE = (
    128  # bits from which the cube of the width is most of a step: fewer steps of larger batches from a better start
)
_STEPS = 8000  # by default, and of wider codes at most
_WIDE_STEPS, _WIDE_EPOCHS, _WIDE_BATCH = 100, 40, 4  # at least so many steps; rows of a batch a bit
_CALLS = 50  # of the trainer, after each of which the progress bar moves


class H2Q(AffineHasher):
    """Householder quantisation: the rotation that brings embeddings closest to their signs, by gradient descent.

    With rows x scaled to length sqrt(n_bits) and z = U x, where U is a product of n_bits Householder reflections,
    minimises one of four objectives over the reflections' vectors:

    - "l2": mean (z - sign z)^2, which ITQ minimises too, and "l1": mean |z - sign z|;
    - "min_entry": mean over rows of log sum exp(-z^2), which pushes the smallest entry away from zero;
    - "bit_var": mean s (1 - s) for s = 1 / (1 + e^-z), the variance of a random bit that is 1 with probability s.

    Distances between embeddings do not change, only which orthants they fall into. The whole training is one compiled
    loop; see `csrc/h2q`. Embeddings on a GPU are trained on there, by one kernel of which every multiprocessor runs a
    training of its own; codes of more than 128 bits are trained by the processor.

    Args:
        n_bits: length of the code, 1 to the number of columns of `X`; where it is less, the leading principal
            components are rotated, as ITQ does.
        loss: one of the four.
        optimizer: "adam" or "sgd".
        schedule: "cosine", from the learning rate down to 0, with vectors of length 1; or "constant", with vectors
            whose growing length slows down their rotation, as in the paper.
        learning_rate: above 0; by default 0.005 for Adam and 0.1 for SGD. The paper's text has Adam at 0.1, and at 0.01
            for "bit_var"; its code SGD at these rates.
        epochs: passes over the rows; by default as many as make about 8,000 steps, and beyond 128 bits 40, but 100 to
            8,000 steps, which takes about as long as 50 iterations of ITQ. The paper makes 300.
        batch_size: rows a step; by default 128, and beyond 128 bits 4 n_bits.
        init: "identity", to start from the embeddings as they are; or "itq", from the rotation of 10 iterations of ITQ.
            By default the first, and beyond 128 bits the second.
        restarts: how many trainings, the first from there, the others from random rotations, in parallel on the
            processors or multiprocessors, of which each runs one (a GPU has one or two hundred, and as many restarts
            as that keep no other waiting); the best on the rows that decide is kept.
        center: whether the mean is subtracted; the paper does not.
        validation_fraction: share of the rows that is held out and decides which epoch is kept; with 0 all rows
            decide, which does better where there are few.
        patience: epochs without a better objective on the rows that decide after which to stop; None never stops early.
        progress: whether to show a progress bar.
        random_state: of the held-out rows, the order of the others, and random rotations.
        packed_output: see `Hasher`.

    Attributes:
        history_: of the training that was kept, float64 arrays with an element an epoch: "objective", the mean over the
            rows, each before its step; "held_out", the mean over the rows that decide; "orthogonality_error", the
            largest element of |U U^T - I|.
        objective_: the objective on the rows that decide of the rotation that was kept.

    Source: Schwengber, Resende, Orenstein, Oliveira, "Deep Hashing via Householder Quantization", 2023.
    """

    history_: dict[str, NDArray[np.float64]]
    objective_: float

    def __init__(
        self,
        n_bits: int,
        *,
        loss: str = "l2",
        optimizer: str = "adam",
        schedule: str = "cosine",
        learning_rate: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        init: str | None = None,
        restarts: int = 1,
        center: bool = True,
        validation_fraction: float = 0,
        patience: int | None = None,
        progress: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        packed_output: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.init = init
        self.restarts = restarts
        self.center = center
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.progress = progress
        self.random_state = random_state
        self.packed_output = packed_output

    def _fit_affine(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_bits = self._check_parameters(where, x.shape[1])
        seed = seed_of(where, self.random_state)
        mean = x.mean(0) if self.center else torch.zeros_like(x[0])
        whole = n_bits == x.shape[1]
        axes = torch.eye(x.shape[1], dtype=x.dtype, device=x.device) if whole else principal_axes(x - mean, n_bits)
        rows = (x - mean) @ axes  # [n, n_bits]
        rows *= n_bits**0.5 / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
        if (self.init or _STARTS[n_bits > _WIDE]) == "itq":
            rotation, _ = procrustes_rotation(rows, _ITQ_ITERATIONS, seed)
            axes, rows = axes @ rotation, rows @ rotation
        try:
            v = self._train(where, rows, seed)
        except MemoryError as error:
            raise memory_error(f"{where} of {self.restarts} restarts", error) or error from None
        return mean, axes @ rotated(where, None, v.double()).to(axes)

    def _check_parameters(self, where: str, n_columns: int) -> int:
        """Return the length of the code, or raise."""
        n_bits = check_integer(where, f"n_bits for X of {n_columns} columns", self.n_bits, 1, n_columns)
        check_choice(where, "loss", self.loss, LOSSES)
        check_choice(where, "optimizer", self.optimizer, _LEARNING_RATES)
        check_choice(where, "schedule", self.schedule, ("cosine", "constant"))
        if self.init is not None:
            check_choice(where, "init", self.init, _STARTS)
        if self.learning_rate is not None:
            check_number(where, "learning_rate", self.learning_rate, above=0)
        check_number(where, "validation_fraction", self.validation_fraction, minimum=0, below=1)
        check_integer(where, "restarts", self.restarts, 1)
        for name in ("center", "progress"):
            check_flag(where, name, getattr(self, name))
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) is not None:
                check_integer(where, name, getattr(self, name), 1)
        return n_bits

    def _train(self, where: str, rows: torch.Tensor, seed: int) -> torch.Tensor:
        """Return the vectors [n_bits, n_bits] of the best rotation of the rows, of length sqrt(n_bits) each."""
        rows = rows if rows.shape[1] <= MAX_BITS_ON_GPU else rows.cpu()
        restarts, wide = int(self.restarts), rows.shape[1] > _WIDE
        batch_size = int(self.batch_size or (_WIDE_BATCH * rows.shape[1] if wide else 128))
        rng = np.random.default_rng(seed)
        order = torch.from_numpy(rng.permutation(len(rows))).to(rows.device)
        n_held_out = int(float(self.validation_fraction) * len(rows))
        training = rows[order[n_held_out:]]
        held_out = rows[order[:n_held_out]] if n_held_out else training
        start = rng.standard_normal((restarts, rows.shape[1], rows.shape[1]), dtype=np.float32)
        start[0] = np.eye(rows.shape[1])  # the product of its reflections is -I
        batches = -(-len(training) // batch_size)
        steps = min(max(_WIDE_EPOCHS * batches, _WIDE_STEPS), _STEPS) if wide else _STEPS
        epochs = int(self.epochs or 0) or max(1, round(steps / batches))
        plan = Plan(
            loss=self.loss,
            optimizer=self.optimizer,
            rate=float(self.learning_rate or _LEARNING_RATES[self.optimizer]),
            cosine=self.schedule == "cosine",
            renormalize=self.schedule == "cosine",
            epochs=epochs,
            batch_size=batch_size,
            patience=int(self.patience or 0),
            seed=seed,
        )
        runs = trainer(training, held_out, start, plan, where=where)
        with tqdm(total=epochs, unit="epoch", disable=not self.progress, desc=f"H2Q {self.n_bits} bits") as bar:
            while not runs.finished:
                runs.train(-(-epochs // _CALLS))
                histories = [runs.history(run) for run in range(restarts)]
                bar.update(max(map(len, histories)) - bar.n)
                bar.set_postfix(objective=f"{min(history[-1, 1] for history in histories):.4f}")
        best = int(np.argmin([np.nanmin(history[:, 1], initial=np.inf) for history in histories]))
        self.history_ = dict(zip(("objective", "held_out", "orthogonality_error"), histories[best].T, strict=True))
        self.objective_ = float(histories[best][:, 1].min())
        return torch.from_numpy(runs.best(best))
