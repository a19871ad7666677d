"""The losses of IGAN, each term as the paper names it, its misprints corrected; numbers are those of its equations.

Where the paper sums over items, pairs or values, these are means: the weights do not depend on sizes.

Source: He, Li, Gao, Zhang, Song, "One Network for Multi-Domains: Domain Adaptive Hashing with Intersectant Generative
Adversarial Networks", 2019.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from fasthash.losses import HSWD

UNLABELLED = -1  # the pseudo-label of a target item whose class is not certain


def pseudo_labels(logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the class of each row of `logits` [n, n_classes] if its probability is above `threshold`, else -1 (4)."""
    probability, label = logits.detach().softmax(dim=1).max(dim=1)
    return torch.where(probability > threshold, label, UNLABELLED)


def label_prediction_loss(
    source: torch.Tensor, labels: torch.Tensor, target: torch.Tensor, pseudo: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """Return L_c (5): cross entropy of source logits and labels, and `epsilon` that of target logits and pseudo-labels.

    Both are means over the batch, to which unlabelled target items add nothing.
    """
    return functional.cross_entropy(source, labels) + epsilon * _cross_entropy(target, pseudo)


def supervised_hash_loss(
    u: torch.Tensor, labels: torch.Tensor, v: float, quantization: str = "original"
) -> torch.Tensor:
    """Return L_h (2): half the mean over pairs of (u_i u_j / d - s_ij)^2, and v / 2 of the quantisation term.

    That term is the mean over items and bits of (u - sign u)^2 or, with `quantization` "hswd", the mean Wasserstein
    distance of the bits to balanced ones.

    Args:
        u: source outputs from -1 to 1, [n, d].
        labels: their classes [n]; s_ij is 1 for pairs of one class, else -1.
        v: at least 0.
        quantization: "original" or "hswd".
    """
    similarity = torch.where(labels[:, None] == labels, 1.0, -1.0).to(u.dtype)
    pairs = (u @ u.T / u.shape[1] - similarity).square().mean()
    quantised = HSWD()(u) if quantization == "hswd" else (u - u.sign()).square().mean()
    return pairs / 2 + v / 2 * quantised


def semantic_centroid_loss(
    source: torch.Tensor, labels: torch.Tensor, target: torch.Tensor, pseudo: torch.Tensor, n_classes: int
) -> torch.Tensor:
    """Return L_s (3): the squared distances between the domains' centroids of u, summed over the classes.

    The paper prints x for u. A class that no target item is labelled with is left out.

    Args:
        source: u of source items, [n, d].
        labels: their classes [n].
        target: u of target items, [m, d].
        pseudo: their pseudo-labels [m], -1 for none.
        n_classes: N.

    Raises:
        ValueError: if a class has no source item.
    """
    ours = functional.one_hot(labels, n_classes).to(source.dtype)
    theirs = functional.one_hot(pseudo + 1, n_classes + 1)[:, 1:].to(target.dtype)
    n_ours, n_theirs = ours.sum(dim=0), theirs.sum(dim=0)
    if not n_ours.all():
        missing = ", ".join(map(str, torch.nonzero(n_ours == 0)[:, 0].tolist()))
        raise ValueError(
            f"semantic_centroid_loss: expected source items of each class in the batch, got none of {missing}"
        )
    centroids = ours.T @ source / n_ours[:, None], theirs.T @ target / n_theirs.clamp(min=1)[:, None]
    return ((centroids[0] - centroids[1]).square().sum(dim=1) * (n_theirs > 0)).sum()


def reconstruction_loss(
    source: torch.Tensor, source_again: torch.Tensor, target: torch.Tensor, target_again: torch.Tensor
) -> torch.Tensor:
    """Return L_1 (7): the mean absolute error of the reconstruction in each domain, summed."""
    return functional.l1_loss(source_again, source) + functional.l1_loss(target_again, target)


def discriminator_loss(
    source: torch.Tensor,
    labels: torch.Tensor,
    target: torch.Tensor,
    pseudo: torch.Tensor,
    source_fakes: torch.Tensor,
    target_fakes: torch.Tensor,
) -> torch.Tensor:
    """Return the discriminators' side of L_a (10): items are of their classes, generated ones of the N+1st, y^f.

    The paper prints x^ts twice; the second one is x^st.

    Args:
        source: D^s(x^s), logits [n, n_classes + 1].
        labels: y^s [n].
        target: D^t(x^t), logits [m, n_classes + 1].
        pseudo: pseudo-labels of the target [m], -1 for none.
        source_fakes: D^s(G^s(u^t)), logits [m, n_classes + 1].
        target_fakes: D^t(G^t(u^s)), logits [n, n_classes + 1].
    """
    fakes = sum(
        functional.cross_entropy(logits, logits.new_full((len(logits),), logits.shape[1] - 1, dtype=torch.long))
        for logits in (source_fakes, target_fakes)
    )
    return functional.cross_entropy(source, labels) + _cross_entropy(target, pseudo) + fakes


def generator_loss(
    source_fakes: torch.Tensor, pseudo: torch.Tensor, target_fakes: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the generators' and the encoder's side of L_a: what is generated is taken for its input's class.

    The paper writes one minimax; that the generator aims at the class is what the methods it follows do (DupGAN, GTA).
    The arguments are those of `discriminator_loss`.
    """
    return _cross_entropy(source_fakes, pseudo) + functional.cross_entropy(target_fakes, labels)


def _cross_entropy(logits: torch.Tensor, pseudo: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy summed over the labelled items, over the size of the batch."""
    return functional.cross_entropy(logits, pseudo, ignore_index=UNLABELLED, reduction="sum") / len(logits)
