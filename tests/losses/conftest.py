"""A batch for every loss, and the words of the papers: float64 numbers for a pair of rows or an item."""

from __future__ import annotations

import math

import numpy as np
import torch

N, BITS, CLASSES = 6, 8, 3
U = torch.randn(N, BITS, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.5
INDICES = torch.arange(N)
SINGLE = torch.tensor([0, 1, 2, 0, 1, 0])
SEVERAL = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 1]])


def labels_of(item, labels):
    return {int(labels[item])} if labels.ndim == 1 else set(labels[item].nonzero().flatten().tolist())


def pairs(labels):
    """Every pair of items, the diagonal included, and whether they are similar."""
    for i in range(len(labels)):
        for j in range(len(labels)):
            yield i, j, bool(labels_of(i, labels) & labels_of(j, labels))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def mean_over_pairs(labels, function):
    return mean(function(i, j, s) for i, j, s in pairs(labels))


TRAINING = {"single": torch.tensor([0, 0, 0, 1, 2, 2, 1]), "several": SEVERAL[[0, 1, 1, 4, 2]]}  # of other shares


def weights(labels):
    """What similar and dissimilar pairs weigh where both kinds count alike."""
    kinds = [s for *_, s in pairs(labels)]
    return {True: len(kinds) / sum(kinds), False: len(kinds) / (len(kinds) - sum(kinds))}


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def hamming(a, b):
    """The distance of real rows that is Hamming's of bits, kept off 0 and the number of bits as DCH's code does."""
    return len(a) * (1e-5 + (1 - cosine(a, b)) / 2 * (1 - 2e-5))


def likelihood(t, s):
    """-log p(s) where the logit of similarity is t."""
    return math.log1p(math.exp(t)) - s * t


def square_error_to_sign(u):
    return mean(sum((value - np.sign(value)) ** 2 for value in row) for row in u)
