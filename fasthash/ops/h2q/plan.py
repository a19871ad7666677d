"""How rotations are trained."""

from __future__ import annotations

from typing import NamedTuple


class Plan(NamedTuple):
    """What every run of a training has in common.

    Attributes:
        loss: "l2", "l1", "min_entry" or "bit_var".
        optimizer: "adam" or "sgd".
        rate: of learning, at the first step.
        cosine: whether it falls to 0 after the last step.
        renormalize: whether the vectors are given length 1 after each step.
        epochs: that a run takes.
        batch_size: rows a step.
        patience: epochs without a better objective on the held-out rows after which a run ends; 0 for all epochs.
        seed: of the order of rows; every run has its own.
    """

    loss: str
    optimizer: str
    rate: float
    cosine: bool
    renormalize: bool
    epochs: int
    batch_size: int
    patience: int
    seed: int
