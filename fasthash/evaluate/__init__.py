"""Retrieval metrics on codes, and pictures of them (`fasthash.evaluate.plots`, which needs matplotlib)."""

from fasthash.evaluate.metrics import (
    PrecisionRecallCurve,
    mean_average_precision,
    precision_at,
    precision_recall_curve,
)

__all__ = ["PrecisionRecallCurve", "mean_average_precision", "precision_at", "precision_recall_curve"]
