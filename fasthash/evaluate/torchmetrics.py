"""The metrics of this folder as torchmetrics has them, for loops that see a batch at a time and for several ranks.

Each is given the items of the database and the queries batch by batch, and computes once. Needs torchmetrics (the
extra "torchmetrics").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fasthash.errors import MissingDependencyError, check_choice, check_flag, check_matrix
from fasthash.evaluate import metrics
from fasthash.evaluate.names import BY_EMBEDDINGS
from fasthash.ops.arrays import check_tensor
from fasthash.ops.packing import pack_bits

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat
except ImportError as error:
    raise MissingDependencyError("metrics of batches", "torchmetrics", "torchmetrics") from error

_PARTS = ("database", "query")


class RetrievalMetric(Metric):
    """Base of the metrics: gathers codes and labels, over ranks too, whose items follow each other.

    Args:
        function: of `fasthash.evaluate`, what is computed.
        leading: what it takes before the codes.
        settings: what it takes after them. With `leave_one_out` every item is a query too.
        options: of torchmetrics' `Metric`.
    """

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False

    def __init__(
        self, function: Callable[..., Any], leading: tuple[int, ...], settings: dict[str, Any], options: dict[str, Any]
    ) -> None:
        super().__init__(**options)
        self._function, self._leading, self._settings = function, leading, settings
        where = type(self).__name__
        self._leaves_one_out = check_flag(where, "leave_one_out", settings.get("leave_one_out", False))
        self._with_outputs = settings.get("ties") in BY_EMBEDDINGS
        kinds = ("codes", "labels", "outputs") if self._with_outputs else ("codes", "labels")
        for part in _PARTS[: 1 if self._leaves_one_out else 2]:
            for kind in kinds:
                self.add_state(f"{part}_{kind}", default=[], dist_reduce_fx="cat")

    def update(self, outputs: torch.Tensor, labels: torch.Tensor, part: str = "database") -> None:
        """Take a batch.

        Args:
            outputs: real outputs, whose signs are the codes, or -1 and +1, [n, n_bits]; or packed codes, uint8
                [n, n_bits / 8], where ties are not broken by outputs.
            labels: classes, [n], or several an item, [n, c].
            part: what the batch is of, "database" or "query"; with `leave_one_out` the database.
        """
        where = type(self).__name__
        check_choice(where, "part", part, _PARTS[: 1 if self._leaves_one_out else 2])
        x = check_tensor(where, "outputs", outputs).detach()
        check_matrix(where, "outputs", x, "n_bits")
        packed = x.dtype == torch.uint8
        if packed and self._with_outputs:
            raise TypeError(
                f"{where}: expected outputs of a floating-point dtype for ties {self._settings['ties']!r}, got uint8"
            )
        y = check_tensor(where, "labels", labels).detach()
        if len(y) != len(x):
            raise ValueError(f"{where}: expected labels of {len(x)} items, got {len(y)}")
        getattr(self, f"{part}_codes").append(x if packed else pack_bits(x))
        getattr(self, f"{part}_labels").append(y)
        if self._with_outputs:
            getattr(self, f"{part}_outputs").append(x)

    def forward(self, *arguments: Any, **named: Any) -> None:
        """Take a batch as `update` does: it has no value of its own, as what it finds is in others."""
        self.update(*arguments, **named)

    def compute(self) -> Any:
        """Return the metric of all that was taken: a scalar, or a curve."""
        query, database = _PARTS[0 if self._leaves_one_out else 1], _PARTS[0]
        for part in (database, query):
            if len(getattr(self, f"{part}_codes")) == 0:
                raise ValueError(f"{type(self).__name__}: expected batches of the {part} before compute, got none")

        def taken(part: str, kind: str) -> torch.Tensor:
            whole: torch.Tensor = dim_zero_cat(getattr(self, f"{part}_{kind}"))
            return whole

        retrieval = [taken(part, kind) for part in (query, database) for kind in ("codes", "labels")]
        settings = self._settings
        if self._with_outputs:
            settings = settings | {
                "query_embeddings": taken(query, "outputs"),
                "embeddings": taken(database, "outputs"),
            }
        value = self._function(*self._leading, *retrieval, **settings)
        return torch.tensor(value, device=self.device) if isinstance(value, float) else value


class MeanAveragePrecision(RetrievalMetric):
    """`fasthash.evaluate.mean_average_precision`, whose arguments these are; `options` are torchmetrics'."""

    def __init__(
        self,
        *,
        at: int | None = None,
        within: int | None = None,
        ties: str = "expected",
        unanswered: str = "zero",
        leave_one_out: bool = False,
        **options: Any,
    ) -> None:
        settings = {"at": at, "within": within, "ties": ties, "unanswered": unanswered, "leave_one_out": leave_one_out}
        super().__init__(metrics.mean_average_precision, (), settings, options)


class PrecisionAt(RetrievalMetric):
    """`fasthash.evaluate.precision_at`, whose arguments these are; `options` are torchmetrics'."""

    def __init__(self, k: int, *, ties: str = "expected", leave_one_out: bool = False, **options: Any) -> None:
        super().__init__(metrics.precision_at, (k,), {"ties": ties, "leave_one_out": leave_one_out}, options)


class RecallAt(RetrievalMetric):
    """`fasthash.evaluate.recall_at`, whose arguments these are; `options` are torchmetrics'."""

    def __init__(
        self,
        k: int,
        *,
        ties: str = "expected",
        unanswered: str = "zero",
        leave_one_out: bool = False,
        **options: Any,
    ) -> None:
        settings = {"ties": ties, "unanswered": unanswered, "leave_one_out": leave_one_out}
        super().__init__(metrics.recall_at, (k,), settings, options)


class PrecisionWithin(RetrievalMetric):
    """`fasthash.evaluate.precision_within`, whose arguments these are; `options` are torchmetrics'."""

    def __init__(self, radius: int, *, unanswered: str = "zero", leave_one_out: bool = False, **options: Any) -> None:
        settings = {"unanswered": unanswered, "leave_one_out": leave_one_out}
        super().__init__(metrics.precision_within, (radius,), settings, options)


class PrecisionRecallCurve(RetrievalMetric):
    """`fasthash.evaluate.precision_recall_curve`, whose arguments these are; `options` are torchmetrics'."""

    higher_is_better = None

    def __init__(self, *, leave_one_out: bool = False, **options: Any) -> None:
        super().__init__(metrics.precision_recall_curve, (), {"leave_one_out": leave_one_out}, options)

    def plot(self, name: str = "codes") -> Any:
        """Return the picture of `fasthash.evaluate.plots.precision_recall_figure`, with the curve under a name."""
        from fasthash.evaluate.plots import precision_recall_figure

        return precision_recall_figure({name: self.compute()})


class PrecisionRecallByRank(RetrievalMetric):
    """`fasthash.evaluate.precision_recall_by_rank`, whose arguments these are; `options` are torchmetrics'."""

    higher_is_better = None

    def __init__(
        self, *, at: int | None = None, ties: str = "expected", leave_one_out: bool = False, **options: Any
    ) -> None:
        settings = {"at": at, "ties": ties, "leave_one_out": leave_one_out}
        super().__init__(metrics.precision_recall_by_rank, (), settings, options)

    def plot(self, name: str = "codes") -> Any:
        """Return the picture of `fasthash.evaluate.plots.precision_at_figure`, with the precisions under a name."""
        from fasthash.evaluate.plots import precision_at_figure

        precision = self.compute().precision.tolist()
        return precision_at_figure({name: dict(enumerate(precision, start=1))})
